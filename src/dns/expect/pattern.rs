//! Regular expressions in a configuration.

use std::fmt;
#[cfg(feature = "script")]
use std::sync::OnceLock;

#[cfg(feature = "script")]
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// A regular expression over the text of a record: in configurations and in JSON just its text.
///
/// The syntax is that of the crate `regex`, on octets, where `\d`, `\w`, `\s` and `\b` are about ASCII. It
/// is compiled when it is first used and kept; to match needs the feature `script`, which `dns` brings.
///
/// ```
/// use netsonde::dns::Pattern;
///
/// let pattern: Pattern = serde_json::from_str(r#""^example\\.org\\. ""#)?;
/// assert_eq!(pattern.as_str(), r"^example\.org\. ");
/// assert!(pattern.check("answer").is_ok());
/// assert!(Pattern::new("(").check("answer").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Pattern {
    text: String,
    /// `None` inside if it does not compile.
    #[cfg(feature = "script")]
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// The longest text, in octets.
    pub const TEXT_BYTES: usize = 10_240;
    /// The most memory that it may take when it is compiled, in octets.
    pub const PROGRAM_BYTES: usize = 1 << 20;

    /// A pattern that is not checked yet.
    pub fn new(text: impl Into<String>) -> Self {
        #[cfg_attr(
            not(feature = "script"),
            allow(clippy::needless_update, reason = "without that there is nothing else")
        )]
        Pattern { text: text.into(), ..Pattern::default() }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Makes sure that it can be used.
    ///
    /// # Errors
    /// [`Error::Config`] with this key: it is no regular expression, its text is longer than
    /// [`TEXT_BYTES`](Self::TEXT_BYTES), or it would take more than
    /// [`PROGRAM_BYTES`](Self::PROGRAM_BYTES). [`Error::Feature`] without the feature `script`.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        let (len, most) = (self.text.len(), Self::TEXT_BYTES);
        if len > most {
            let why = format_args!("a regular expression of {len} octets, more than {most}");
            return Err(Error::config(key, why.to_string()));
        }
        #[cfg(feature = "script")]
        return match self.compile() {
            Ok(regex) => {
                let _ = self.compiled.set(Some(regex));
                Ok(())
            }
            Err(error) => Err(Error::config(key, error)),
        };
        #[cfg(not(feature = "script"))]
        Err(Error::feature(key, "script"))
    }

    #[cfg(feature = "script")]
    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text)
            .unicode(false)
            .size_limit(Self::PROGRAM_BYTES)
            .dfa_size_limit(Self::PROGRAM_BYTES)
            .build()
    }

    /// Whether it matches somewhere, or why nobody can tell.
    pub(super) fn matches(&self, text: &str) -> Result<bool, &'static str> {
        #[cfg(feature = "script")]
        {
            let usable = || self.text.len() <= Self::TEXT_BYTES;
            let regex = self.compiled.get_or_init(|| usable().then(|| self.compile().ok())?);
            let regex = regex.as_ref().ok_or("the regular expression cannot be used")?;
            Ok(regex.is_match(text.as_bytes()))
        }
        #[cfg(not(feature = "script"))]
        {
            let _ = text;
            Err("this build lacks the feature `script`")
        }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Pattern::new(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Pattern::new)
    }
}
