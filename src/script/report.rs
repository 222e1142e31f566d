//! What came of a script.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ScriptFailure;

/// What a script did, as far as it came.
///
/// Every text is escaped: control characters and the like as in Rust (`\r`, `\u{7f}`), bytes that
/// are not UTF-8 as `\xNN`. A backslash is not doubled, so that ordinary text reads as it was sent.
/// A text that was cut at [`ScriptLimits::evidence`](super::ScriptLimits::evidence) ends in `…`.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptReport {
    /// One record per step that was begun, in order.
    pub steps: Vec<StepRecord>,
    /// The labels of the steps that matched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Bytes received until the script ended, used or not.
    pub bytes_received: u64,
    /// Bytes written.
    pub bytes_sent: u64,
    /// Why the script stopped early. `None` if it passed or was not at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ScriptFailure>,
    /// The last bytes received, unless the script passed or nothing came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

impl ScriptReport {
    /// The value that the group called `name` took last.
    pub fn capture(&self, name: &str) -> Option<&str> {
        let captures = self.steps.iter().rev().flat_map(|step| &step.captures);
        captures.into_iter().find_map(|capture| {
            (capture.name.as_deref() == Some(name)).then_some(capture.value.as_str())
        })
    }
}

/// What one step did. Times are nanoseconds since the instant the engine was given as its origin.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its place in the script, counted from 0.
    pub index: usize,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does.
    pub kind: StepKind,
    /// How it ended.
    pub outcome: StepOutcome,
    /// When it began.
    pub started_ns: u64,
    /// When it ended; `None` if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ns: Option<u64>,
    /// The bytes that were written, of those it was to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// What it was to send, after expansion. `None` if secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Lines or frames it read, the matching one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// What matched: the line, the frame, the bytes. `None` if secret, if nothing did, or if the
    /// step matched without looking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// The groups that took part in the match, but for the whole match. Empty if secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<Capture>,
    /// Whether texts were left out since the step is secret or sent something secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// The value of a group.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The number of the group, counted from 1.
    pub index: usize,
    /// The name of the group, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it matched.
    pub value: String,
}

/// What a step does.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Waits for a line or frame.
    Expect,
    /// Waits for exact bytes.
    ExpectBytes,
    /// Waits for bytes that match.
    ExpectRaw,
    /// Sends.
    Send,
    /// Starts TLS.
    #[serde(rename = "starttls")]
    StartTls,
}

impl StepKind {
    pub(crate) const FIELDS: [&'static str; 7] =
        ["expect", "expect_bytes", "expect_hex", "expect_raw", "send", "send_hex", "starttls"];

    /// Whether the step waits for bytes from the peer.
    pub fn waits(self) -> bool {
        matches!(self, Self::Expect | Self::ExpectBytes | Self::ExpectRaw)
    }
}

/// How a step ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It failed; [`ScriptReport::failure`] says why.
    Failed,
    /// It passed.
    Passed,
    /// It was under way when the script was given up.
    Unfinished,
}
