//! Small helpers over the `der` crate: elements one by one, so that a damaged one does not take
//! its neighbours along.

use std::fmt::Write as _;

use jiff::civil::DateTime;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Error, ErrorKind, Reader, SliceReader, Tag, Tagged};

/// One element: its tag, its content, and both with the header.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    pub(super) value: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads the element at the start of `input` and returns what lies behind it.
    pub(super) fn split(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let whole = SliceReader::new(input)?.tlv_bytes()?;
        let any = AnyRef::from_der(whole)?;
        let rest = input.get(whole.len()..).unwrap_or_default();
        Ok((Element { tag: any.tag(), value: any.value(), whole }, rest))
    }

    /// The one element that `input` consists of.
    pub(super) fn only(input: &'a [u8]) -> Result<Self, Error> {
        match Self::split(input)? {
            (element, []) => Ok(element),
            (element, rest) => Err(trailing(element.whole.len(), rest.len())),
        }
    }

    /// This element if it has the tag.
    pub(super) fn expect(self, tag: Tag) -> Result<Self, Error> {
        self.tag.assert_eq(tag)?;
        Ok(self)
    }

    /// The number of a context-specific tag.
    pub(super) fn context(&self) -> Option<u32> {
        self.tag.is_context_specific().then(|| self.tag.number().value())
    }

    pub(super) fn elements(&self) -> Elements<'a> {
        Elements(self.value)
    }

    pub(super) fn oid(&self) -> Result<ObjectIdentifier, Error> {
        ObjectIdentifier::from_der(self.whole)
    }

    /// The bytes of a BIT STRING without unused bits.
    pub(super) fn bits(&self) -> Result<&'a [u8], Error> {
        self.expect(Tag::BitString)?;
        match self.value {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(Tag::BitString.value_error().into()),
        }
    }

    /// The magnitude of an INTEGER, without leading zeros.
    pub(super) fn magnitude(&self) -> Result<&'a [u8], Error> {
        self.expect(Tag::Integer)?;
        let zeros = self.value.iter().take_while(|byte| **byte == 0).count();
        Ok(self.value.get(zeros..).unwrap_or_default())
    }

    /// An INTEGER or ENUMERATED that fits.
    pub(super) fn number(&self) -> Result<u64, Error> {
        match (self.tag, self.value) {
            (Tag::Integer | Tag::Enumerated, [first, ..]) if *first < 0x80 => {
                let number = self.value.iter().try_fold(0u64, |number, byte| {
                    number.checked_mul(256).map(|number| number | u64::from(*byte))
                });
                number.ok_or_else(|| self.tag.value_error().into())
            }
            _ => Err(self.tag.value_error().into()),
        }
    }

    /// A UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5) as Unix seconds. Any year from 0 to 9999
    /// will do; a date that does not exist will not.
    pub(super) fn time(&self) -> Result<i64, Error> {
        let bad = || Error::from(self.tag.value_error());
        let (year, rest) = match (self.tag, self.value.len()) {
            (Tag::UtcTime, 13) => {
                let year = digits(self.value, 0, 2).ok_or_else(bad)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, 2)
            }
            (Tag::GeneralizedTime, 15) => (digits(self.value, 0, 4).ok_or_else(bad)?, 4),
            _ => return Err(bad()),
        };
        let part = |index: usize| {
            digits(self.value, rest + 2 * index, 2).and_then(|part| i8::try_from(part).ok())
        };
        let parts = (part(0), part(1), part(2), part(3), part(4), self.value.last());
        let (Some(month), Some(day), Some(hour), Some(minute), Some(second), Some(b'Z')) = parts
        else {
            return Err(bad());
        };
        let time = DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| bad())?;
        Ok(crate::tls::utc_seconds(time))
    }
}

/// The elements of a constructed value. Ends after the first that cannot be read.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(super) fn of(input: &'a [u8]) -> Self {
        Elements(input)
    }

    /// The next element, which has to be there.
    pub(super) fn need(&mut self) -> Result<Element<'a>, Error> {
        self.next().unwrap_or_else(|| Err(Error::incomplete(0u8.into())))
    }

    /// The next element if it has this context-specific number.
    pub(super) fn tagged(&mut self, number: u32) -> Option<Element<'a>> {
        let (element, rest) = Element::split(self.0).ok()?;
        (element.context() == Some(number)).then(|| {
            self.0 = rest;
            element
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = Element::split(self.0);
        self.0 = read.as_ref().map_or(&[], |(_, rest)| rest);
        Some(read.map(|(element, _)| element))
    }
}

fn digits(value: &[u8], start: usize, count: usize) -> Option<i16> {
    value.get(start..start + count)?.iter().try_fold(0i16, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i16::from(byte - b'0'))
    })
}

fn trailing(decoded: usize, remaining: usize) -> Error {
    match (decoded.try_into(), remaining.try_into()) {
        (Ok(decoded), Ok(remaining)) => ErrorKind::TrailingData { decoded, remaining }.into(),
        _ => ErrorKind::Overlength.into(),
    }
}

/// Lower-case hex, two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A certificate in PEM (RFC 7468).
pub(super) fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
                let letter = ALPHABET.get(index).filter(|_| place <= chunk.len());
                text.push(letter.map_or('=', |letter| char::from(*letter)));
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Text for people: printable ASCII as it is, all else escaped.
pub(super) fn ascii(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
