//! Why a script stopped.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a script stopped before its end. Running out of time is not among them: the engine knows no
/// deadline.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptFailureKind {
    /// The peer's bytes are no message of the step's [`Frame`](super::Frame).
    BadFrame,
    /// The peer closed while the step waited for it.
    Eof,
    /// A frame longer than [`ScriptLimits::line`](super::ScriptLimits::line).
    FrameTooLong,
    /// Bytes in plain text were left over when TLS was to start.
    InjectedPlaintext,
    /// A line longer than [`ScriptLimits::line`](super::ScriptLimits::line).
    LineTooLong,
    /// A byte differs from those the step expects.
    Mismatch,
    /// No match within [`ScriptLimits::raw`](super::ScriptLimits::raw).
    RawTooLong,
    /// The peer's answer matches the step's `reject`.
    Rejected,
    /// A send longer than [`ScriptLimits::send`](super::ScriptLimits::send) once expanded.
    SendTooLong,
    /// More bytes than [`ScriptLimits::received`](super::ScriptLimits::received).
    TooManyBytes,
    /// More lines than the step's `max_lines`.
    TooManyLines,
    /// The line that `until` names came, and none before it matched.
    Unmatched,
    /// A value expanded into a send holds CR or LF.
    UnsafeExpansion,
}

impl ScriptFailureKind {
    /// A stable name, the same as in serialised form.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::Eof => "eof",
            Self::FrameTooLong => "frame_too_long",
            Self::InjectedPlaintext => "injected_plaintext",
            Self::LineTooLong => "line_too_long",
            Self::Mismatch => "mismatch",
            Self::RawTooLong => "raw_too_long",
            Self::Rejected => "rejected",
            Self::SendTooLong => "send_too_long",
            Self::TooManyBytes => "too_many_bytes",
            Self::TooManyLines => "too_many_lines",
            Self::Unmatched => "unmatched",
            Self::UnsafeExpansion => "unsafe_expansion",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::BadFrame => "the peer's bytes are no message of the expected form",
            Self::Eof => "the peer closed",
            Self::FrameTooLong => "the peer's message is too long",
            Self::InjectedPlaintext => "plain text was left over when TLS was to start",
            Self::LineTooLong => "the peer's line is too long",
            Self::Mismatch => "the peer's bytes differ from those expected",
            Self::RawTooLong => "nothing matched within the bytes one step may look at",
            Self::Rejected => "the peer refused",
            Self::SendTooLong => "the expanded text is too long to send",
            Self::TooManyBytes => "the peer sent too much",
            Self::TooManyLines => "the peer's reply has too many lines",
            Self::Unmatched => "the peer's reply ended without what was expected",
            Self::UnsafeExpansion => "a value to send holds a line break",
        }
    }
}

impl fmt::Display for ScriptFailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Why a script stopped, and in which step.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptFailure {
    /// What went wrong.
    pub kind: ScriptFailureKind,
    /// The step, counted from 0.
    pub step: usize,
    /// The name of the step, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The cap that was hit, when the kind is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The count at which it was hit, in the cap's unit: the least that is known, since nothing is
    /// read beyond a cap. A frame says its length beforehand, and then that is it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// The bytes it is about: control characters and bytes that are not UTF-8 are escaped.
    /// `None` for a secret step and for kinds that are about no bytes in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(f, ": {}", self.kind)?;
        if let (Some(limit), Some(seen)) = (self.limit, self.seen) {
            write!(f, " (limit {limit}, seen {seen})")?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, ": \"{evidence}\"")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScriptFailure {}
