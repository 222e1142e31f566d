//! Tokens of a master file (RFC 1035, 5.1).

use std::fmt;

use super::super::DnsErrorKind;
use super::super::name::{NameError, unescape};

/// Why a text is no record, or not the data of one, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TextError {
    /// The octet of the text at which the token begins that is wrong; its end if one is missing.
    pub offset: usize,
    /// What is wrong.
    pub kind: TextErrorKind,
}

/// What can be wrong with the text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextErrorKind {
    /// Something is missing at the end.
    Missing,
    /// Something is left over.
    Surplus,
    /// Not a number, or one that is too large.
    Number,
    /// Not a domain name.
    Name(NameError),
    /// Not an address.
    Address,
    /// A backslash with neither three digits up to 255 nor one other character behind it.
    Escape,
    /// A quotation mark without its fellow.
    Quote,
    /// A string of more than 255 octets, or a tag of none.
    StringLength,
    /// Not hexadecimal.
    Hex,
    /// Not Base 64 (RFC 4648, 4).
    Base64,
    /// Not Base 32 with the extended hex alphabet (RFC 4648, 7).
    Base32,
    /// Not a time as `YYYYMMDDHHmmSS`, or outside the years 1970 to 2106.
    Time,
    /// Not a type of records.
    Type,
    /// Not a class.
    Class,
    /// Not a parameter of a service, or one that is there twice (RFC 9460, 2.1).
    Param,
    /// Not a location (RFC 1876, 3).
    Location,
    /// A length that is not that of what follows.
    Length,
    /// The type has no text but that of RFC 3597 (`\# length hex`).
    Generic,
    /// The octets that the text stands for are no data of this type.
    Data(DnsErrorKind),
}

impl fmt::Display for TextErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextErrorKind::Missing => "something is missing",
            TextErrorKind::Surplus => "something is left over",
            TextErrorKind::Number => "a number that cannot be",
            TextErrorKind::Name(why) => return why.fmt(f),
            TextErrorKind::Address => "not an address",
            TextErrorKind::Escape => "a backslash that escapes nothing",
            TextErrorKind::Quote => "a quotation mark without its fellow",
            TextErrorKind::StringLength => "a string of a wrong length",
            TextErrorKind::Hex => "not hexadecimal",
            TextErrorKind::Base64 => "not Base 64",
            TextErrorKind::Base32 => "not Base 32",
            TextErrorKind::Time => "not a time",
            TextErrorKind::Type => "not a type of records",
            TextErrorKind::Class => "not a class",
            TextErrorKind::Param => "a service parameter that cannot be",
            TextErrorKind::Location => "not a location",
            TextErrorKind::Length => "a length that is wrong",
            TextErrorKind::Generic => "data of this type are written as \\# length hex",
            TextErrorKind::Data(why) => return write!(f, "data that cannot be ({why})"),
        })
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}", self.kind, self.offset)
    }
}

impl std::error::Error for TextError {}

/// One token, still with its escapes, without the quotation marks around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) at: usize,
    pub(super) text: &'t str,
    pub(super) quoted: bool,
}

impl Token<'_> {
    pub(super) fn error(&self, kind: TextErrorKind) -> TextError {
        TextError { offset: self.at, kind }
    }

    /// What it stands for once its escapes are gone.
    pub(super) fn unescape(&self) -> Result<Vec<u8>, TextError> {
        unescaped(self.text).ok_or(self.error(TextErrorKind::Escape))
    }

    pub(super) fn parse<T: std::str::FromStr>(&self, kind: TextErrorKind) -> Result<T, TextError> {
        self.text.parse().map_err(|_| self.error(kind))
    }

    /// A number of digits and nothing else.
    pub(super) fn number<T: std::str::FromStr>(&self) -> Result<T, TextError> {
        match self.text.starts_with('+') {
            true => Err(self.error(TextErrorKind::Number)),
            false => self.parse(TextErrorKind::Number),
        }
    }
}

/// Takes escapes away; none if one of them is wrong.
pub(super) fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        out.push(if octet == b'\\' { unescape(&mut octets)? } else { octet });
    }
    Some(out)
}

/// The tokens of a text. Parentheses and line ends are as good as blanks: it is one record.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Tokens { text, at: 0 }
    }

    /// The next token, which has to be there.
    pub(super) fn need(&mut self) -> Result<Token<'t>, TextError> {
        let missing = TextError { offset: self.text.len(), kind: TextErrorKind::Missing };
        self.next()?.ok_or(missing)
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Option<Token<'t>>, TextError> {
        self.token(false)
    }

    /// The next token, within which a value may be quoted: `key="value"`.
    pub(super) fn next_parameter(&mut self) -> Result<Option<Token<'t>>, TextError> {
        self.token(true)
    }

    /// The next token if it is this one.
    pub(super) fn accept(&mut self, wanted: &str) -> Result<bool, TextError> {
        let mut ahead = self.clone();
        let found = ahead.next()?.is_some_and(|token| !token.quoted && token.text == wanted);
        if found {
            *self = ahead;
        }
        Ok(found)
    }

    /// All tokens that are left, one behind the other; where they begin.
    pub(super) fn joined(&mut self) -> Result<(usize, String), TextError> {
        let (mut all, mut at) = (String::new(), None);
        while let Some(token) = self.next()? {
            at.get_or_insert(token.at);
            all.push_str(token.text);
        }
        Ok((at.unwrap_or(self.text.len()), all))
    }

    /// Makes sure that nothing is left.
    pub(super) fn finish(&mut self) -> Result<(), TextError> {
        match self.next()? {
            Some(token) => Err(token.error(TextErrorKind::Surplus)),
            None => Ok(()),
        }
    }

    fn token(&mut self, parameter: bool) -> Result<Option<Token<'t>>, TextError> {
        let octets = self.text.as_bytes();
        let mut comment = false;
        let first = loop {
            let Some(octet) = octets.get(self.at).copied() else { return Ok(None) };
            match octet {
                b'\n' => comment = false,
                b';' => comment = true,
                _ if comment => {}
                b' ' | b'\t' | b'\r' | b'(' | b')' => {}
                other => break other,
            }
            self.at += 1;
        };
        let quoted = first == b'"';
        let start = self.at + usize::from(quoted);
        let (mut end, mut inside) = (start, quoted);
        loop {
            let quote = TextError { offset: self.at, kind: TextErrorKind::Quote };
            match octets.get(end).copied() {
                None if inside => return Err(quote),
                None => break,
                Some(b'\\') => end += 1,
                Some(b'"') if quoted => break,
                Some(b'"') if inside => inside = false,
                Some(b'"') if parameter && end > start && octets.get(end - 1) == Some(&b'=') => {
                    inside = true;
                }
                Some(b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"') if !inside => break,
                Some(_) => {}
            }
            end += 1;
        }
        // A backslash at the very end counted one octet too many.
        let end = end.min(octets.len());
        let token = Token { at: self.at, text: self.text.get(start..end).unwrap_or(""), quoted };
        self.at = end + usize::from(quoted);
        Ok(Some(token))
    }
}
