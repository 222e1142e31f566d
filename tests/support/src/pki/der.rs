//! A DER writer (X.690) that also writes what no encoder should.
//!
//! Every function returns the finished bytes, so that values nest as calls do.

use std::time::{SystemTime, UNIX_EPOCH};

/// A value with this tag byte; the length takes as few bytes as it can.
///
/// ```
/// assert_eq!(netsonde_support::pki::der::tlv(0x04, b"hi"), b"\x04\x02hi");
/// ```
pub fn tlv(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        let length = content.len().to_be_bytes();
        let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | length.len() as u8);
        out.extend_from_slice(length);
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE.
pub fn sequence<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    tlv(0x30, concat(parts))
}

/// SET, in the order given.
pub fn set<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    tlv(0x31, concat(parts))
}

/// The parts one behind the other.
pub fn concat<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    parts.into_iter().fold(Vec::new(), |mut all, part| {
        all.extend_from_slice(part.as_ref());
        all
    })
}

/// `[number]` with constructed content (EXPLICIT, or IMPLICIT of a SEQUENCE).
pub fn context(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0xa0 | number, content)
}

/// `[number]` with primitive content (IMPLICIT of a string).
pub fn context_primitive(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x80 | number, content)
}

/// OBJECT IDENTIFIER from its dotted form.
///
/// # Panics
///
/// It is no dotted list of at least two numbers.
pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut content = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (64 - u64::leading_zeros(arc | 1)).div_ceil(7);
        for group in (0..groups).rev() {
            let more = if group == 0 { 0 } else { 0x80 };
            content.push(more | (arc >> (7 * group) & 0x7f) as u8);
        }
    }
    tlv(0x06, content)
}

/// INTEGER from unsigned big-endian bytes.
pub fn integer(unsigned: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = unsigned.as_ref();
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let sign = if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0][..] } else { &[] };
    tlv(0x02, concat([sign, bytes]))
}

/// INTEGER from a number.
pub fn number(value: u64) -> Vec<u8> {
    integer(value.to_be_bytes())
}

/// BIT STRING of whole bytes.
pub fn bit_string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x03, concat([&[0], bytes.as_ref()]))
}

/// BIT STRING of named bits, the first one being the highest of the first byte.
pub fn named_bits(bits: &[u8]) -> Vec<u8> {
    let Some(highest) = bits.iter().max() else { return tlv(0x03, [0]) };
    let mut bytes = vec![0; usize::from(highest / 8) + 1];
    for bit in bits {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    tlv(0x03, concat([vec![7 - highest % 8], bytes]))
}

/// OCTET STRING.
pub fn octet_string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x04, bytes)
}

/// `BOOLEAN TRUE`.
pub fn yes() -> Vec<u8> {
    tlv(0x01, [0xff])
}

/// NULL.
pub fn null() -> Vec<u8> {
    tlv(0x05, [])
}

/// `UTF8String`.
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text)
}

/// A moment as a certificate writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Time {
    /// `UTCTime` with this text, `YYMMDDhhmmssZ`; 50 to 99 are 1950 to 1999 (RFC 5280, 4.1.2.5.1).
    Utc(String),
    /// `GeneralizedTime` with this text, `YYYYMMDDhhmmssZ`.
    Generalized(String),
}

impl Time {
    /// So many seconds from now (before, if negative), in the form that RFC 5280 wants for it.
    pub fn from_now(seconds: i64) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        Self::unix(since.as_secs() as i64 + seconds)
    }

    /// So many days from now (before, if negative).
    pub fn days(days: i64) -> Self {
        Self::from_now(days * 86_400)
    }

    /// Seconds since 1970.
    pub fn unix(seconds: i64) -> Self {
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        let rest = format!(
            "{month:02}{day:02}{:02}{:02}{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        if (1950..2050).contains(&year) {
            Self::Utc(format!("{:02}{rest}", year % 100))
        } else {
            Self::Generalized(format!("{year:04}{rest}"))
        }
    }

    /// `UTCTime` with any text.
    pub fn utc(text: &str) -> Self {
        Self::Utc(text.to_owned())
    }

    /// `GeneralizedTime` with any text.
    pub fn generalized(text: &str) -> Self {
        Self::Generalized(text.to_owned())
    }

    /// This moment as a `GeneralizedTime`, which OCSP has everywhere; the century of a two-digit year
    /// is filled in.
    #[must_use]
    pub fn to_generalized(&self) -> Self {
        match self {
            Self::Generalized(_) => self.clone(),
            Self::Utc(text) => {
                let century = if text.as_str() < "50" { "20" } else { "19" };
                Self::Generalized(format!("{century}{text}"))
            }
        }
    }

    /// Its DER.
    pub fn der(&self) -> Vec<u8> {
        match self {
            Self::Utc(text) => tlv(0x17, text),
            Self::Generalized(text) => tlv(0x18, text),
        }
    }
}

/// The date of a day number (days since 1970-01-01), counting in eras of 400 years that begin in
/// March so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The content of a value and what follows it, for DER that this crate itself wrote or keeps.
///
/// # Panics
///
/// The bytes are no whole value.
pub fn open(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (header, length) = match usize::from(der[1]) {
        short if short < 0x80 => (2, short),
        long => {
            let count = long & 0x7f;
            let length =
                der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (2 + count, length)
        }
    };
    (der[0], &der[header..header + length], &der[header + length..])
}

/// PEM (RFC 7468) of some DER.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[(word >> (18 - 6 * place) & 0x3f) as usize])
            } else {
                '='
            });
        }
    }
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|start| &text[start..usize::min(start + 64, text.len())])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The DER in the first PEM block of a text.
///
/// # Panics
///
/// There is none.
pub fn unpem(text: &str) -> Vec<u8> {
    let body = text.split_once("-----BEGIN ").expect("a PEM block").1;
    let body = body.split_once("-----\n").expect("the end of the header").1;
    let body = body.split_once("\n-----END").expect("the end of the block").0;
    let mut out = Vec::new();
    let mut word = 0_u32;
    let mut bits = 0;
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(tlv(4, [0; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, [0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, vec![0; 65_536])[..5], [4, 0x83, 1, 0, 0]);
        let long = tlv(4, vec![7; 300]);
        assert_eq!(open(&long), (4, &[7; 300][..], &[][..]));
    }

    #[test]
    fn numbers_and_identifiers() {
        assert_eq!(number(0), [2, 1, 0]);
        assert_eq!(number(127), [2, 1, 127]);
        assert_eq!(number(128), [2, 2, 0, 128]);
        assert_eq!(number(65_537), [2, 3, 1, 0, 1]);
        assert_eq!(oid("1.2.840.113549"), [6, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(named_bits(&[0]), [3, 2, 7, 0x80]);
        assert_eq!(named_bits(&[5, 6]), [3, 2, 1, 0x06]);
        assert_eq!(named_bits(&[]), [3, 1, 0]);
    }

    #[test]
    fn times_are_written_as_rfc_5280_wants() {
        assert_eq!(Time::unix(0), Time::utc("700101000000Z"));
        assert_eq!(Time::unix(951_782_399), Time::utc("000228235959Z"));
        assert_eq!(Time::unix(951_782_400), Time::utc("000229000000Z"));
        assert_eq!(Time::unix(2_524_608_000), Time::generalized("20500101000000Z"));
        assert_eq!(Time::unix(253_402_300_799), Time::generalized("99991231235959Z"));
        assert_eq!(Time::unix(-1).to_generalized(), Time::generalized("19691231235959Z"));
    }

    #[test]
    fn pem_and_back() {
        for length in 0..70 {
            let der: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(37)).collect();
            assert_eq!(unpem(&pem("X", &der)), der);
        }
        assert_eq!(pem("X", b"hi!!"), "-----BEGIN X-----\naGkhIQ==\n-----END X-----\n");
    }
}
