//! One step of a script.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;

/// One step. Exactly one of `expect`, `expect_bytes`, `expect_hex`, `expect_raw`, `send`,
/// `send_hex` and `starttls` is set; the other fields qualify it. A field that does not apply to
/// the kind of the step is refused when the script is compiled, never ignored.
///
/// ```
/// use netsonde::script::Step;
///
/// let ehlo = Step::expect("(?i)^250[ -]STARTTLS").with_until("^250 ").with_reject("^[45]");
/// assert_eq!(ehlo.until.as_deref(), Some("^250 "));
/// ```
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct Step {
    /// A name for records and messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Reads lines until one matches this pattern, passing over those that do not.
    ///
    /// LF ends a line; one CR before it is taken off; CR alone ends nothing. The pattern sees one
    /// line without its end, so it never spans lines and `$` is the line's end. When the peer has
    /// closed, what is left without LF counts as a line. The empty pattern matches at once without
    /// waiting for a line (write `(?:)` to wait for any line), unless `until` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// The next bytes must be the UTF-8 bytes of this text. The first that differs fails the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_bytes: Option<String>,
    /// Like `expect_bytes`, in hexadecimal; white space between the pairs of digits is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<String>,
    /// Waits until the bytes received and not yet used match this pattern; `^` is the first of
    /// them, and the pattern may span lines.
    ///
    /// The step takes the **fewest bytes** that hold a match, so that the outcome does not depend
    /// on how the bytes were cut into segments: `a+` takes one `a`; end a pattern with what ends
    /// the value. What follows stays for the next step. Assertions about what follows (`$`, `\z`,
    /// `\b`, `\B`, `\<`, `\>`) are refused, since a stream has no such place. Every read is
    /// searched from the step's first byte on; [`ScriptLimits::raw`](super::ScriptLimits::raw)
    /// bounds what that costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_raw: Option<String>,
    /// Sends the UTF-8 bytes of this text and nothing else: no line end is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Like `send`, in hexadecimal; white space between the pairs of digits is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Starts TLS. Bytes that were received and not used by a step before are a failure: they came
    /// in plain text and would otherwise count as said under TLS. At most once in a script.
    #[serde(skip_serializing_if = "is_false")]
    pub starttls: bool,
    /// With `expect` or `expect_raw`: input that matches this pattern, and does not match the
    /// expectation, fails the step at once with what was seen. Default: none, so the step waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<String>,
    /// With `expect`: reads on up to and including a line that matches this pattern. If no line up
    /// to there matched `expect`, the step fails. For replies of several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// With `expect`: the input is cut into these messages instead of lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// With `expect`: the most lines (or frames) the step reads before it fails. At least 1.
    /// Default: none, so that only the limit on received bytes ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
    /// With `expect` or `expect_raw`: labels to export when the step matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// With `send` or `send_hex`: the bytes are a template (see [`Script`](super::Script)).
    /// Default: false; dollar signs are sent as they are.
    #[serde(skip_serializing_if = "is_false")]
    pub expand: bool,
    /// With `expand`: a value that holds CR or LF is sent as it is. Default: false; such a value
    /// fails the step, since it would let the peer write commands of its own into the dialogue.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_line_breaks: bool,
    /// What this step sends, matches and captures, and what the peer said while it waited, appears
    /// in no record. A send or label that expands such a capture is secret as well. What the peer
    /// repeats in other steps is not searched for it. Texts and patterns of the step itself are `***`
    /// in debug and in serialised form. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub secret: bool,
}

impl Step {
    /// The step with everything masked that a secret one hides.
    fn hidden(&self) -> Self {
        let mut step = self.clone();
        let texts = [
            &mut step.expect,
            &mut step.expect_bytes,
            &mut step.expect_hex,
            &mut step.expect_raw,
            &mut step.send,
            &mut step.send_hex,
            &mut step.reject,
            &mut step.until,
        ];
        for text in texts.into_iter().flatten() {
            Secret::MASK.clone_into(text);
        }
        step
    }
}

// `remote = "Self"` gives `Step` two functions of serde's making, and leaves the traits to us.
impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.secret {
            Self::serialize(&self.hidden(), serializer)
        } else {
            Self::serialize(self, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden;
        let step = if self.secret {
            hidden = self.hidden();
            &hidden
        } else {
            self
        };
        let mut out = f.debug_struct("Step");
        let texts = [
            ("name", &step.name),
            ("expect", &step.expect),
            ("expect_bytes", &step.expect_bytes),
            ("expect_hex", &step.expect_hex),
            ("expect_raw", &step.expect_raw),
            ("send", &step.send),
            ("send_hex", &step.send_hex),
            ("reject", &step.reject),
            ("until", &step.until),
        ];
        for (name, text) in texts.iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            out.field(name, text);
        }
        let flags = [
            ("starttls", step.starttls),
            ("expand", step.expand),
            ("allow_line_breaks", step.allow_line_breaks),
            ("secret", step.secret),
        ];
        for (name, flag) in flags.iter().filter(|(_, flag)| *flag) {
            out.field(name, flag);
        }
        if let Some(frame) = &step.frame {
            out.field("frame", frame);
        }
        if let Some(lines) = &step.max_lines {
            out.field("max_lines", lines);
        }
        if !step.labels.is_empty() {
            out.field("labels", &step.labels);
        }
        out.finish()
    }
}

impl Step {
    /// Waits for a line that matches; see [`Step::expect`](field@Self::expect).
    pub fn expect(pattern: impl Into<String>) -> Self {
        Self { expect: Some(pattern.into()), ..Self::default() }
    }

    /// Waits for exactly this text; see [`Step::expect_bytes`](field@Self::expect_bytes).
    pub fn expect_bytes(text: impl Into<String>) -> Self {
        Self { expect_bytes: Some(text.into()), ..Self::default() }
    }

    /// Waits for exactly these bytes; see [`Step::expect_hex`](field@Self::expect_hex).
    pub fn expect_hex(bytes: impl AsRef<[u8]>) -> Self {
        Self { expect_hex: Some(hex(bytes.as_ref())), ..Self::default() }
    }

    /// Waits for bytes that match; see [`Step::expect_raw`](field@Self::expect_raw).
    pub fn expect_raw(pattern: impl Into<String>) -> Self {
        Self { expect_raw: Some(pattern.into()), ..Self::default() }
    }

    /// Sends text; see [`Step::send`](field@Self::send).
    pub fn send(text: impl Into<String>) -> Self {
        Self { send: Some(text.into()), ..Self::default() }
    }

    /// Sends bytes; see [`Step::send_hex`](field@Self::send_hex).
    pub fn send_hex(bytes: impl AsRef<[u8]>) -> Self {
        Self { send_hex: Some(hex(bytes.as_ref())), ..Self::default() }
    }

    /// Sends text after expanding it; see [`Step::expand`](field@Self::expand).
    pub fn send_expanded(template: impl Into<String>) -> Self {
        Self { send: Some(template.into()), expand: true, ..Self::default() }
    }

    /// Starts TLS; see [`Step::starttls`](field@Self::starttls).
    pub fn starttls() -> Self {
        Self { starttls: true, ..Self::default() }
    }

    /// Sets [`Step::name`].
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets [`Step::reject`].
    #[must_use]
    pub fn with_reject(mut self, pattern: impl Into<String>) -> Self {
        self.reject = Some(pattern.into());
        self
    }

    /// Sets [`Step::until`].
    #[must_use]
    pub fn with_until(mut self, pattern: impl Into<String>) -> Self {
        self.until = Some(pattern.into());
        self
    }

    /// Sets [`Step::frame`].
    #[must_use]
    pub fn with_frame(mut self, frame: Frame) -> Self {
        self.frame = Some(frame);
        self
    }

    /// Sets [`Step::max_lines`].
    #[must_use]
    pub fn with_max_lines(mut self, lines: u32) -> Self {
        self.max_lines = Some(lines);
        self
    }

    /// Adds one of [`Step::labels`].
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(Label { name: name.into(), value: value.into() });
        self
    }

    /// Sets [`Step::allow_line_breaks`].
    #[must_use]
    pub fn with_line_breaks(mut self) -> Self {
        self.allow_line_breaks = true;
        self
    }

    /// Sets [`Step::secret`].
    #[must_use]
    pub fn with_secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// A label to export when a step matched.
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its name: a letter or `_`, then letters, digits and `_`, all ASCII, as Prometheus wants it.
    /// No two labels of a script share a name.
    pub name: String,
    /// Its value, a template (see [`Script`](super::Script)).
    pub value: String,
}

/// How a stream of bytes is cut into messages that say their own length. The pattern of the step
/// sees the whole message, header included, and `(?s)` is wanted for `.` to match every byte.
///
/// A message longer than [`ScriptLimits::line`](super::ScriptLimits::line) fails the step, and one
/// that the peer's close cuts short is no message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// One value in BER with a definite length (X.690 8.1), as in LDAP (RFC 4511 5.1).
    Ber,
    /// A header that holds a length at a fixed place.
    Length(LengthField),
}

/// Where a message says how long it is.
///
/// ```
/// use netsonde::script::{ByteOrder, Frame, LengthField};
///
/// // A PostgreSQL message: a type byte, then a big-endian length that counts itself but not it.
/// let postgres = LengthField { offset: 1, size: 4, order: ByteOrder::Big, add: 1 };
/// let yaml = "length: {offset: 1, size: 4, add: 1}";
/// assert_eq!(serde_saphyr::from_str::<Frame>(yaml)?, Frame::Length(postgres));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthField {
    /// Bytes before the field. Default: 0.
    pub offset: u8,
    /// Bytes of the field, 1 to 8. Must be set.
    pub size: u8,
    /// The order of its bytes. Default: [`ByteOrder::Big`].
    pub order: ByteOrder,
    /// What to add to the field's value to get the length of the whole message in bytes. Default: 0.
    pub add: i32,
}

/// The order of the bytes of a number.
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// Most significant byte first.
    #[default]
    Big,
    /// Least significant byte first.
    Little,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
