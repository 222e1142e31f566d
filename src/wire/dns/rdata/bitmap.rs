//! Bit maps of types (RFC 4034, 4.1.2).

use std::fmt::{self, Write as _};

use super::super::{DataReader, DnsError, DnsErrorKind, RecordType};
use super::TextError;
use super::field::Field;
use super::text::{TextErrorKind, Tokens};

/// A set of types, to the end of the data.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeBitmap<'a>(&'a [u8]);

impl<'a> TypeBitmap<'a> {
    /// The types, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = RecordType> + use<'a> {
        let mut reader = DataReader::of(self.0);
        let windows = std::iter::from_fn(move || Some((reader.u8().ok()?, reader.string().ok()?)));
        windows.flat_map(|(window, octets)| {
            let bits = octets.iter().flat_map(|octet| (0..8).map(move |bit| octet << bit & 0x80));
            let low = (0..=u8::MAX).zip(bits).filter(|(_, bit)| *bit != 0);
            low.map(move |(low, _)| RecordType(u16::from_be_bytes([window, low])))
        })
    }

    /// Whether a type is in it.
    #[must_use]
    pub fn contains(&self, rtype: RecordType) -> bool {
        self.iter().any(|one| one == rtype)
    }
}

impl fmt::Debug for TypeBitmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<'a> Field<'a> for TypeBitmap<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let (mut ahead, mut last) = (*reader, None);
        while ahead.left() > 0 {
            let wrong = ahead.error(DnsErrorKind::Data);
            let window = ahead.u8()?;
            let octets = ahead.string()?;
            // Zeros at the end are to be left out, so that there is one form of each set.
            let form = octets.len() <= 32 && octets.last().is_some_and(|octet| *octet != 0);
            if last.is_some_and(|last| last >= window) || !form {
                return Err(wrong);
            }
            last = Some(window);
        }
        Ok(TypeBitmap(reader.rest()))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(self.0);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rtype) in self.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            write!(f, "{rtype}")?;
        }
        Ok(())
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let mut types = Vec::new();
        while let Some(token) = tokens.next()? {
            types.push(token.parse::<RecordType>(TextErrorKind::Type)?.0);
        }
        types.sort_unstable();
        types.dedup();
        for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut octets = Vec::new();
            for [high, low] in window.iter().map(|number| number.to_be_bytes()) {
                if octets.is_empty() {
                    into.push(high);
                }
                octets.resize(usize::from(low >> 3) + 1, 0);
                if let Some(last) = octets.last_mut() {
                    *last |= 0x80 >> (low & 7);
                }
            }
            into.push(u8::try_from(octets.len()).unwrap_or(32));
            into.extend_from_slice(&octets);
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}
