//! What record data are made of.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{DataReader, DnsError, DnsErrorKind, DnsName, NameRef, RecordType};
use super::TextError;
use super::text::{TextErrorKind, Token, Tokens};

/// A field of record data: read from a message, shown, written to one, and read from a text.
pub(super) trait Field<'a>: Sized {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError>;

    /// Without compression; names in lower case if `lower` says so.
    fn write(&self, into: &mut Vec<u8>, lower: bool);

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError>;

    /// Whether it shows nothing, not even the blank before it.
    fn is_blank(&self) -> bool {
        false
    }

    fn is_compressed(&self) -> bool {
        false
    }
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        impl<'a> Field<'a> for $number {
            fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
                reader.$number()
            }

            fn write(&self, into: &mut Vec<u8>, _: bool) {
                into.extend_from_slice(&self.to_be_bytes());
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }

            fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
                let number: $number = tokens.need()?.number()?;
                number.write(into, false);
                Ok(())
            }
        }
    )*};
}

numbers! { u8 u16 u32 }

macro_rules! addresses {
    ($($address:ident $octets:literal)*) => {$(
        impl<'a> Field<'a> for $address {
            fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
                // The whole data are the address: any other length is a wrong one, not a short one.
                let wrong = reader.error(DnsErrorKind::DataLength);
                reader.array::<$octets>().map($address::from).map_err(|_| wrong)
            }

            fn write(&self, into: &mut Vec<u8>, _: bool) {
                into.extend_from_slice(&self.octets());
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }

            fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
                let address: $address = tokens.need()?.parse(TextErrorKind::Address)?;
                address.write(into, false);
                Ok(())
            }
        }
    )*};
}

addresses! { Ipv4Addr 4 Ipv6Addr 16 }

/// Reads a name from a token.
pub(super) fn name(token: &Token<'_>) -> Result<DnsName, TextError> {
    token.text.parse().map_err(|why| token.error(TextErrorKind::Name(why)))
}

impl<'a> Field<'a> for NameRef<'a> {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.name()
    }

    fn write(&self, into: &mut Vec<u8>, lower: bool) {
        let start = into.len();
        NameRef::write(*self, into);
        if lower {
            // No length of a label is a letter.
            into.iter_mut().skip(start).for_each(|octet| octet.make_ascii_lowercase());
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        into.extend_from_slice(name(&tokens.need()?)?.as_bytes());
        Ok(())
    }

    fn is_compressed(&self) -> bool {
        NameRef::is_compressed(*self)
    }
}

impl<'a> Field<'a> for RecordType {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.u16().map(RecordType)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(&self.0.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let rtype: RecordType = tokens.need()?.parse(TextErrorKind::Type)?;
        rtype.write(into, false);
        Ok(())
    }
}

/// A time of a signature: seconds since 1970 (RFC 4034, 3.1.5). Two of them are to be compared with serial
/// number arithmetic; it is shown as `YYYYMMDDHHmmSS` of the years 1970 to 2106.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Time(pub u32);

const DAY: u32 = 86_400;

const fn days_of_year(year: u32) -> u32 {
    // No year that is looked at is divisible by 100 but 2000, which is a leap year, and 2100, which is none.
    if year.is_multiple_of(4) && year != 2100 { 366 } else { 365 }
}

const fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 => days_of_year(year) - 337,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Time {
    fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        if text.len() != 14 {
            return text.parse().ok().map(Time);
        }
        let part = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
        let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
        let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
        let date = (1970..=2106).contains(&year) && (1..=12).contains(&month);
        if !date || day < 1 || day > days_of_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let years: u32 = (1970..year).map(days_of_year).sum();
        let months: u32 = (1..month).map(|month| days_of_month(year, month)).sum();
        let seconds = u64::from(years + months + day - 1) * u64::from(DAY);
        let seconds = seconds + u64::from(hour * 3600 + minute * 60 + second);
        u32::try_from(seconds).ok().map(Time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut day, second) = (self.0 / DAY, self.0 % DAY);
        let (mut year, mut month) = (1970, 1);
        while day >= days_of_year(year) {
            day -= days_of_year(year);
            year += 1;
        }
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}{month:02}{:02}{hour:02}{minute:02}{second:02}", day + 1)
    }
}

impl<'a> Field<'a> for Time {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.u32().map(Time)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(&self.0.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let time = Time::parse(token.text).ok_or(token.error(TextErrorKind::Time))?;
        time.write(into, false);
        Ok(())
    }
}
