//! The twelve octets that every message begins with (RFC 1035, 4.1.1).

use super::{DnsError, DnsErrorKind, Opcode};

/// Octets of a header.
pub const HEADER: usize = 12;

/// The flags of a message.
///
/// ```
/// use netsonde::wire::dns::{Flags, Opcode};
///
/// let flags = Flags(0x8580);
/// assert!(flags.is_response() && flags.authoritative());
/// assert!(flags.recursion_desired() && flags.recursion_available());
/// assert_eq!((flags.opcode(), flags.rcode_low()), (Opcode::QUERY, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Flags(pub u16);

macro_rules! bits {
    ($($(#[$doc:meta])* $get:ident $with:ident $bit:literal)*) => {
        impl Flags {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $get(self) -> bool {
                    self.0 & $bit != 0
                }

                /// With this flag set or clear.
                #[must_use]
                pub const fn $with(self, set: bool) -> Self {
                    Flags(if set { self.0 | $bit } else { self.0 & !$bit })
                }
            )*
        }
    };
}

bits! {
    /// QR: whether it is a response.
    is_response with_response 0x8000
    /// AA: the server has authority over the name.
    authoritative with_authoritative 0x0400
    /// TC: it was cut short.
    truncated with_truncated 0x0200
    /// RD: the server is to ask others.
    recursion_desired with_recursion_desired 0x0100
    /// RA: the server would ask others.
    recursion_available with_recursion_available 0x0080
    /// Z: reserved, to be zero.
    reserved with_reserved 0x0040
    /// AD: the data are authentic, says the server (RFC 4035, 3.2.3).
    authentic_data with_authentic_data 0x0020
    /// CD: the server is not to check signatures (RFC 4035, 3.2.2).
    checking_disabled with_checking_disabled 0x0010
}

impl Flags {
    /// What is asked for.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11 & 0xf) as u8)
    }

    /// With another opcode, of which the lower four bits count.
    #[must_use]
    pub const fn with_opcode(self, opcode: Opcode) -> Self {
        Flags(self.0 & !0x7800 | (opcode.0 as u16 & 0xf) << 11)
    }

    /// The lower four bits of the response code; EDNS has the upper ones.
    #[must_use]
    pub const fn rcode_low(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    /// With another response code, of which the lower four bits count.
    #[must_use]
    pub const fn with_rcode_low(self, rcode: u8) -> Self {
        Flags(self.0 & !0xf | rcode as u16 & 0xf)
    }
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Header {
    /// The number that a response repeats.
    pub id: u16,
    /// Its flags.
    pub flags: Flags,
    /// How many questions there are said to be.
    pub questions: u16,
    /// How many records there are said to be in the answer section.
    pub answers: u16,
    /// The same for the authority section.
    pub authorities: u16,
    /// The same for the additional section.
    pub additionals: u16,
}

impl Header {
    /// Reads the header of a message.
    ///
    /// # Errors
    /// It has fewer than twelve octets.
    pub fn parse(message: &[u8]) -> Result<Self, DnsError> {
        let Some((header, _)) = message.split_first_chunk::<HEADER>() else {
            return Err(DnsError::new(message.len(), DnsErrorKind::Short));
        };
        let [id, flags, questions, answers, authorities, additionals] = words(*header);
        Ok(Header { id, flags: Flags(flags), questions, answers, authorities, additionals })
    }

    /// The octets of it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let words = [
            self.id,
            self.flags.0,
            self.questions,
            self.answers,
            self.authorities,
            self.additionals,
        ];
        let mut bytes = [0; HEADER];
        for (place, word) in bytes.chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

fn words(bytes: [u8; HEADER]) -> [u16; 6] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    [[a, b], [c, d], [e, f], [g, h], [i, j], [k, l]].map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d42_every_combination_of_flags_is_read_as_it_was_sent() {
        for word in 0..=u16::MAX {
            let flags = Flags(word);
            let again = Flags::default()
                .with_response(flags.is_response())
                .with_opcode(flags.opcode())
                .with_authoritative(flags.authoritative())
                .with_truncated(flags.truncated())
                .with_recursion_desired(flags.recursion_desired())
                .with_recursion_available(flags.recursion_available())
                .with_reserved(flags.reserved())
                .with_authentic_data(flags.authentic_data())
                .with_checking_disabled(flags.checking_disabled())
                .with_rcode_low(flags.rcode_low());
            assert_eq!(again, flags);
        }
    }

    #[test]
    fn a_header_comes_back_from_its_octets() {
        let header = Header {
            id: 0x1234,
            flags: Flags(0x8583),
            questions: 1,
            answers: 2,
            authorities: 3,
            additionals: 65_535,
        };
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        for len in 0..HEADER {
            let error = Header::parse(&header.to_bytes()[..len]).unwrap_err();
            assert_eq!((error.offset, error.kind), (len, DnsErrorKind::Short));
        }
    }
}
