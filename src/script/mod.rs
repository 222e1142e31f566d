//! Expect/send scripts as data: what to send, what to wait for, and what came of it.
//!
//! Everything here is plain data that builds without the `script` feature. The engine that runs a
//! script, and needs regular expressions for it, is `engine::script` behind that feature.
//!
//! A script is a list of [`Step`]s that run in order, each of exactly one kind:
//!
//! | key | the step is over when |
//! |---|---|
//! | `expect` | a line (or a [`Frame`]) matches the pattern; others are passed over |
//! | `expect_bytes`, `expect_hex` | exactly these bytes were the next ones |
//! | `expect_raw` | the bytes received and not yet used match the pattern |
//! | `send`, `send_hex` | exactly these bytes were written, nothing added |
//! | `starttls` | the TLS handshake is done |
//!
//! The same structs are code and YAML:
//!
//! ```
//! use netsonde::script::{Script, Step};
//!
//! let yaml = r#"
//! steps:
//!   - expect: '^220 (?P<name>\S+)'
//!     reject: '^[45]'
//!     labels: [{name: mta, value: '${name}'}]
//!   - send: "QUIT\r\n"
//! "#;
//! let code = Script::new([
//!     Step::expect(r"^220 (?P<name>\S+)").with_reject("^[45]").with_label("mta", "${name}"),
//!     Step::send("QUIT\r\n"),
//! ]);
//! assert_eq!(serde_saphyr::from_str::<Script>(yaml)?, code);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Ready dialogues for common protocols are in [`Dialogue`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod dialogue;
mod error;
mod failure;
mod limits;
mod report;
mod step;

pub use dialogue::{Dialogue, UnknownDialogue};
pub use error::{ScriptError, StepProblem};
pub use failure::{ScriptFailure, ScriptFailureKind};
pub use limits::ScriptLimits;
pub use report::{Capture, ScriptReport, StepKind, StepOutcome, StepRecord};
pub use step::{ByteOrder, Frame, Label, LengthField, Step};

/// A conversation with a peer: the steps, in order, and the names they may use.
///
/// Nothing is checked here; compiling the script does that and names the step at fault.
///
/// # Patterns
///
/// Patterns are those of the [`regex`](https://docs.rs/regex/latest/regex/#syntax) crate, search
/// anywhere unless anchored, take time linear in the input, and match **bytes**: `.` is any byte
/// but LF, `\d \w \s \b` and case folding know ASCII only, `\xff` is that byte. Text in a pattern
/// stands for its UTF-8 bytes. `(?u)` at the start switches to Unicode classes, and then `.` and
/// negated classes match whole UTF-8 characters only.
///
/// # Templates
///
/// Label values, and sends that ask for it with [`Step::expand`], are templates: `$name` or
/// `${name}` stands for a named group, `$1` or `${1}` for a numbered one of the latest `expect` or
/// `expect_raw` step, `$0` for all that it matched, `$$` for a dollar sign. Without braces the name
/// is the longest run of letters, digits and `_`, so `$1z` is the group called `1z`. A group that
/// does not exist or took no part in the match is empty; a dollar sign that starts neither form is
/// itself. These are the rules of Go's `Regexp.Expand`.
///
/// A name that is no group is looked up among the variables the prober sets (`host`, the name or
/// address of the target), then in [`Script::variables`].
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// The steps, run in order. Default: none, which passes at once.
    pub steps: Vec<Step>,
    /// Parameters of the script. A value is a template over the variables the prober sets, so
    /// `domain: '${host}'` makes the target's name the default. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// How long a named group stays usable. Default: [`CaptureScope::Script`].
    #[serde(skip_serializing_if = "CaptureScope::is_default")]
    pub captures: CaptureScope,
}

impl Script {
    /// A script of these steps, without variables.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// Sets one of [`Script::variables`].
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Whether a step starts TLS.
    pub fn uses_starttls(&self) -> bool {
        self.steps.iter().any(|step| step.starttls)
    }
}

/// How long a named group stays usable in templates. Numbered groups are always those of the latest
/// `expect` or `expect_raw` step that matched.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureScope {
    /// Until the next `expect` or `expect_raw` step matches.
    Latest,
    /// Until the end of the script, unless a later pattern has a group of the same name.
    #[default]
    Script,
}

impl CaptureScope {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests;
