//! Fields that only signatures of transactions have (RFC 8945, 4.2).

use std::fmt;

use super::super::{DataReader, DnsError, Rcode};
use super::TextError;
use super::field::Field;
use super::text::{TextErrorKind, Tokens};

/// Seconds since 1970, of 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seconds48(u64);

impl Seconds48 {
    /// The seconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'a> Field<'a> for Seconds48 {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        let [a, b, c, d, e, f] = reader.array()?;
        Ok(Seconds48(u64::from_be_bytes([0, 0, a, b, c, d, e, f])))
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend(self.0.to_be_bytes().iter().skip(2));
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let seconds: u64 = token.number()?;
        if seconds >> 48 != 0 {
            return Err(token.error(TextErrorKind::Number));
        }
        Seconds48(seconds).write(into, false);
        Ok(())
    }
}

/// An error of a signature: a response code, but 16 is another one than that of EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct TsigError(pub u16);

const BADSIG: (u16, &str) = (16, "BADSIG");

impl<'a> Field<'a> for TsigError {
    fn read(reader: &mut DataReader<'a>) -> Result<Self, DnsError> {
        reader.u16().map(TsigError)
    }

    fn write(&self, into: &mut Vec<u8>, _: bool) {
        into.extend_from_slice(&self.0.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 == BADSIG.0, Rcode(self.0).mnemonic()) {
            (true, _) => f.write_str(BADSIG.1),
            (false, Some(text)) => f.write_str(text),
            (false, None) => write!(f, "{}", self.0),
        }
    }

    fn scan(tokens: &mut Tokens<'_>, into: &mut Vec<u8>) -> Result<(), TextError> {
        let token = tokens.need()?;
        let code = if token.text == BADSIG.1 {
            BADSIG.0
        } else if let Ok(Rcode(code)) = token.text.parse() {
            code
        } else {
            token.number()?
        };
        TsigError(code).write(into, false);
        Ok(())
    }
}
