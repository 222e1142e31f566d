//! What is wrong with a script before it runs.

use std::fmt;

use super::StepKind;

/// Why a script cannot be compiled.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// One step is wrong.
    Step {
        /// The step, counted from 0.
        index: usize,
        /// What is wrong with it.
        problem: StepProblem,
    },
    /// More steps than [`ScriptLimits::steps`](super::ScriptLimits::steps).
    TooManySteps {
        /// The cap.
        limit: usize,
        /// How many there are.
        steps: usize,
    },
    /// A variable's name can never be used in a template: it is empty, only digits, or holds
    /// something other than letters, digits and `_`.
    VariableName {
        /// The name.
        name: String,
    },
}

impl ScriptError {
    /// The path of the key at fault, such as `steps[3].expect`.
    pub fn key(&self) -> String {
        match self {
            Self::Step { index, problem } => match problem.field() {
                Some(field) => format!("steps[{index}].{field}"),
                None => format!("steps[{index}]"),
            },
            Self::TooManySteps { .. } => "steps".to_owned(),
            Self::VariableName { name } => format!("variables.{name}"),
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Step { problem, .. } => problem.to_string(),
            Self::TooManySteps { limit, steps } => {
                format!("{steps} steps are more than the limit of {limit}")
            }
            Self::VariableName { .. } => {
                "a name has letters, digits and _ only, and not just digits".to_owned()
            }
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key(), self.why())
    }
}

impl std::error::Error for ScriptError {}

impl From<ScriptError> for crate::Error {
    fn from(error: ScriptError) -> Self {
        Self::config(error.key(), error.why())
    }
}

/// What is wrong with a step.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepProblem {
    /// A field that takes hexadecimal holds something else.
    Hex {
        /// The field.
        field: &'static str,
        /// The offset in bytes of what is wrong: a character that is no digit, or a lone digit.
        offset: usize,
    },
    /// Two labels of the script have this name.
    LabelDuplicate {
        /// The name.
        name: String,
    },
    /// The name of a label has the wrong form.
    LabelName {
        /// The name.
        name: String,
    },
    /// An assertion about what follows, in a pattern for raw bytes.
    LookAhead {
        /// The field.
        field: &'static str,
        /// The assertion.
        assertion: String,
    },
    /// A field that does not apply to this step.
    Misplaced {
        /// The field.
        field: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The step is of no kind.
    NoKind,
    /// A pattern that is not well formed.
    Pattern {
        /// The field.
        field: &'static str,
        /// What the parser says.
        message: String,
    },
    /// A pattern that is larger than [`ScriptLimits::pattern`](super::ScriptLimits::pattern).
    PatternSize {
        /// The field.
        field: &'static str,
        /// The cap in bytes.
        limit: usize,
    },
    /// A number outside its range.
    Range {
        /// The field.
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// TLS starts in an earlier step already.
    SecondStartTls {
        /// That step, counted from 0.
        first: usize,
    },
    /// The step is of several kinds.
    SeveralKinds {
        /// The fields that say so.
        fields: Vec<&'static str>,
    },
}

impl StepProblem {
    /// The field at fault, if it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Hex { field, .. }
            | Self::LookAhead { field, .. }
            | Self::Misplaced { field, .. }
            | Self::Pattern { field, .. }
            | Self::PatternSize { field, .. }
            | Self::Range { field, .. } => Some(field),
            Self::LabelDuplicate { .. } | Self::LabelName { .. } => Some("labels"),
            Self::SecondStartTls { .. } => Some("starttls"),
            Self::NoKind | Self::SeveralKinds { .. } => None,
        }
    }
}

/// Says what is wrong, but not with which field.
impl fmt::Display for StepProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex { offset, .. } => {
                write!(f, "not pairs of hexadecimal digits at byte {offset}")
            }
            Self::LabelDuplicate { name } => write!(f, "{name:?} is set twice"),
            Self::LabelName { name } => {
                write!(f, "{name:?}: a name has the form [a-zA-Z_][a-zA-Z0-9_]*")
            }
            Self::LookAhead { assertion, .. } => {
                write!(f, "{assertion} needs to know what follows in the stream")
            }
            Self::Misplaced { needs, .. } => write!(f, "needs {needs}"),
            Self::NoKind => {
                write!(f, "nothing to do: set one of {}", StepKind::FIELDS.join(", "))
            }
            Self::Pattern { message, .. } => f.write_str(message),
            Self::PatternSize { limit, .. } => {
                write!(f, "the compiled pattern exceeds {limit} bytes")
            }
            Self::Range { allowed, .. } => write!(f, "must be {allowed}"),
            Self::SecondStartTls { first } => write!(f, "TLS starts in step {first} already"),
            Self::SeveralKinds { fields } => {
                write!(f, "a step does one thing, and this has {}", fields.join(" and "))
            }
        }
    }
}
