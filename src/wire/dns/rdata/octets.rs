//! Fields of octets: strings, hexadecimal, Base 64 and Base 32.

use std::fmt::{self, Write as _};

use super::super::{DataReader, DnsError, DnsErrorKind};
use super::TextError;
use super::field::Field;
use super::text::{TextErrorKind, Token, Tokens};

macro_rules! octets {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name<'a>(pub(super) &'a [u8]);

        impl<'a> $name<'a> {
            /// Its octets.
            #[must_use]
            pub const fn as_bytes(&self) -> &'a [u8] {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Field::show(self, f)
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Field::show(self, f)
            }
        }
    )*};
}

octets! {
    /// A string of up to 255 octets, shown in quotation marks.
    Text
    /// A string to the end of the data, shown in quotation marks.
    LongText
    /// The tag of a property (RFC 8659, 4.1): letters and digits.
    Tag
    /// Octets to the end of the data, shown in hexadecimal.
    Hex
    /// Octets to the end of the data, shown in Base 64.
    Base64
    /// The salt of NSEC3, shown in hexadecimal, or as a hyphen if there is none.
    Salt
    /// The hash of a name, shown in Base 32 with the extended hex alphabet in lower case, as in the names of
    /// owners.
    Hash32
    /// Octets with two octets of length in front, shown as a length and Base 64.
    Sized64
}

/// Strings to the end of the data, one at least, shown in quotation marks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    /// The strings.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let mut reader = DataReader::of(self.0);
        std::iter::from_fn(move || reader.string().ok().map(Text))
    }
}

impl fmt::Debug for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Field::show(self, f)
    }
}

/// Shows octets as the inside of a quoted string.
pub(super) fn escape(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets.iter().try_for_each(|octet| match octet {
        b'"' | b'\\' => write!(f, "\\{}", char::from(*octet)),
        0x20..=0x7e => f.write_char(char::from(*octet)),
        _ => write!(f, "\\{octet:03}"),
    })
}

fn quote(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    escape(octets, f)?;
    f.write_char('"')
}

/// Appends octets with one octet of length in front.
fn counted(octets: &[u8], into: &mut Vec<u8>) {
    // Whatever has such a length was read with one, or was checked.
    into.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(octets);
}

fn scan_counted(token: &Token<'_>, octets: &[u8], into: &mut Vec<u8>) -> Result<(), TextError> {
    if octets.len() > 255 {
        return Err(token.error(TextErrorKind::StringLength));
    }
    counted(octets, into);
    Ok(())
}

impl<'a> Field<'a> for Text<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.string().map(Text)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        counted(self.0, into);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        scan_counted(&token, &token.unescape()?, into)
    }
}

impl<'a> Field<'a> for Texts<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let mut ahead = *reader;
        ahead.string()?;
        while ahead.left() > 0 {
            ahead.string()?;
        }
        Ok(Texts(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            text.show(f)?;
        }
        Ok(())
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        Text::scan(tokens, into)?;
        while let Some(token) = tokens.next()? {
            scan_counted(&token, &token.unescape()?, into)?;
        }
        Ok(())
    }
}

impl<'a> Field<'a> for LongText<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        Ok(LongText(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        into.extend_from_slice(&tokens.need()?.unescape()?);
        Ok(())
    }
}

impl<'a> Field<'a> for Tag<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let wrong = reader.error(DnsErrorKind::Data);
        let tag = reader.string()?;
        match !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric) {
            true => Ok(Tag(tag)),
            false => Err(wrong),
        }
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        counted(self.0, into);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        scan_counted(&token, token.text.as_bytes(), into)
    }
}

fn show_hex(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
}

/// Reads hexadecimal; none if it is not.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

impl<'a> Field<'a> for Hex<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        Ok(Hex(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_hex(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let (offset, text) = tokens.joined()?;
        let wrong = TextError { offset, kind: TextErrorKind::Hex };
        into.extend_from_slice(&from_hex(&text).ok_or(wrong)?);
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Field<'a> for Salt<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.string().map(Salt)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        counted(self.0, into);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_char('-') } else { show_hex(self.0, f) }
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let text = if token.text == "-" { "" } else { token.text };
        let salt = from_hex(text).ok_or(token.error(TextErrorKind::Hex))?;
        scan_counted(&token, &salt, into)
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Shows groups of `octets` octets as `digits` digits of `bits` bits each; gives how many digits the last
/// group falls short.
fn show_digits(
    octets: &[u8],
    alphabet: &[u8],
    bits: u32,
    f: &mut fmt::Formatter<'_>,
) -> Result<u32, fmt::Error> {
    let (mut held, mut kept, mut digits) = (0_u32, 0, 0_u32);
    let mask = (1_u32 << bits) - 1;
    let mut digit = |value: u32| {
        digits += 1;
        let octet = usize::try_from(value & mask).ok().and_then(|at| alphabet.get(at));
        f.write_char(char::from(octet.copied().unwrap_or(b'?')))
    };
    for octet in octets {
        held = held << 8 | u32::from(*octet);
        kept += 8;
        while kept >= bits {
            kept -= bits;
            digit(held >> kept)?;
        }
        held &= (1 << kept) - 1;
    }
    if kept > 0 {
        digit(held << (bits - kept))?;
    }
    Ok(digits)
}

/// Reads digits of `bits` bits each; none if one is unknown, or bits that are left over are set.
fn from_digits(digits: &[u8], alphabet: &[u8], bits: u32, fold: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(digits.len());
    let (mut held, mut kept) = (0_u32, 0);
    for digit in digits {
        let digit = if fold { digit.to_ascii_lowercase() } else { *digit };
        let value = alphabet.iter().position(|octet| *octet == digit)?;
        held = held << bits | u32::try_from(value).ok()?;
        kept += bits;
        if kept >= 8 {
            kept -= 8;
            out.push(u8::try_from(held >> kept & 0xff).ok()?);
        }
        held &= (1 << kept) - 1;
    }
    (kept < bits && held == 0).then_some(out)
}

pub(super) fn show_base64(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digits = show_digits(octets, BASE64, 6, f)?;
    (0..digits.wrapping_neg() % 4).try_for_each(|_| f.write_char('='))
}

/// Reads Base 64 with its padding; none if it is not.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    from_digits(digits.as_bytes(), BASE64, 6, false)
}

impl<'a> Field<'a> for Base64<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        Ok(Base64(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_base64(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let (offset, text) = tokens.joined()?;
        let wrong = TextError { offset, kind: TextErrorKind::Base64 };
        into.extend_from_slice(&from_base64(&text).ok_or(wrong)?);
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Field<'a> for Hash32<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let wrong = reader.error(DnsErrorKind::Data);
        match reader.string()? {
            [] => Err(wrong),
            hash => Ok(Hash32(hash)),
        }
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        counted(self.0, into);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_digits(self.0, BASE32, 5, f).map(drop)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let hash = from_digits(token.text.as_bytes(), BASE32, 5, true);
        scan_counted(&token, &hash.ok_or(token.error(TextErrorKind::Base32))?, into)
    }
}

impl<'a> Field<'a> for Sized64<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let len = reader.u16()?;
        reader.take(len.into()).map(Sized64)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        let len = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        into.extend_from_slice(&len.to_be_bytes());
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.len())?;
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_char(' ')?;
        show_base64(self.0, f)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let len: u16 = token.number()?;
        into.extend_from_slice(&len.to_be_bytes());
        if len == 0 {
            return Ok(());
        }
        let token = tokens.need()?;
        let octets = from_base64(token.text).ok_or(token.error(TextErrorKind::Base64))?;
        if octets.len() != usize::from(len) {
            return Err(token.error(TextErrorKind::Length));
        }
        into.extend_from_slice(&octets);
        Ok(())
    }
}
