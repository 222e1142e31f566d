//! The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of all 16-bit
//! words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ip::Protocol;
use super::{WireError, WireErrorKind};

/// The checksum of one slice.
///
/// ```
/// // The example of RFC 1071, section 3.
/// assert_eq!(netsonde::wire::checksum::checksum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
/// ```
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::new().with(data).checksum()
}

/// Whether a slice that carries its own checksum is intact.
///
/// Zero has two forms in ones' complement, so a field of 0x0000 and one of 0xffff verify alike, unless
/// every other octet is zero: then the sum cannot come out as 0xffff with 0x0000.
#[must_use]
pub fn verifies(data: &[u8]) -> bool {
    Sum::new().with(data).verifies()
}

/// A checksum in the making, over any number of parts as if they stood in one piece.
///
/// ```
/// use netsonde::wire::checksum::{Sum, checksum};
///
/// let parts = Sum::new().with(&[1, 2, 3]).with(&[4]).with(&[5, 6]);
/// assert_eq!(parts.checksum(), checksum(&[1, 2, 3, 4, 5, 6]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    folded: u16,
    /// Whether the next octet is the second of its word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Sum { folded: 0, odd: false }
    }

    /// With the pseudo-header of RFC 768 and 9293 (IPv4) or RFC 8200 section 8.1 (IPv6) in front of
    /// `length` octets of the upper layer.
    #[must_use]
    pub fn pseudo(addresses: &Addresses, protocol: Protocol, length: u32) -> Self {
        let sum = match addresses {
            Addresses::V4 { source, destination } => {
                Sum::new().with(&source.octets()).with(&destination.octets())
            }
            Addresses::V6 { source, destination } => {
                Sum::new().with(&source.octets()).with(&destination.octets())
            }
        };
        // Both families add the same words, if in another order.
        sum.with(&length.to_be_bytes()).with_u16(u16::from(protocol.0))
    }

    /// With these octets behind all that came before.
    #[must_use]
    pub fn with(self, data: &[u8]) -> Self {
        // The sum does not depend on the order of octets within words (RFC 1071, section 2 B), so
        // words are added as the machine reads them. 2^32 of them fit.
        let (words, tail) = data.as_chunks::<4>();
        let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(last));
        let part = u16::from_be(fold(sum));
        let part = if self.odd { part.swap_bytes() } else { part };
        Sum {
            folded: fold(u64::from(self.folded) + u64::from(part)),
            odd: self.odd ^ (data.len() % 2 == 1),
        }
    }

    /// With one 16-bit word behind all that came before.
    #[must_use]
    pub fn with_u16(self, word: u16) -> Self {
        self.with(&word.to_be_bytes())
    }

    /// The sum itself, not complemented.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.folded
    }

    /// What goes into the checksum field, if that field was zero in the sum.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.folded
    }

    /// Whether the checksum field that is in the sum fits everything else.
    #[must_use]
    pub const fn verifies(self) -> bool {
        self.folded == 0xffff
    }

    /// The 16-bit word that makes the checksum come out as `wanted`, when it stands in the place of
    /// a word that is zero in this sum. Probes that must all look like one flow carry their number
    /// in the checksum this way.
    ///
    /// 0x0000 and 0xffff are the same number in ones' complement: who wants 0xffff gets 0x0000,
    /// unless everything else is zero.
    ///
    /// ```
    /// use netsonde::wire::checksum::Sum;
    ///
    /// let rest = Sum::new().with(b"anything at all");
    /// let word = rest.word_for(0x0102);
    /// assert_eq!(Sum::new().with_u16(word).with(b"anything at all").checksum(), 0x0102);
    /// ```
    #[must_use]
    pub fn word_for(self, wanted: u16) -> u16 {
        fold(u64::from(!wanted) + u64::from(!self.folded))
    }
}

/// Adds the carries back in until 16 bits are left.
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    // What is left is 16 bits wide.
    (sum & 0xffff) as u16
}

/// Where a packet comes from and where it goes, both in one family.
#[expect(clippy::exhaustive_enums, reason = "there are two families")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// The sender.
        source: Ipv4Addr,
        /// The receiver.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// The sender.
        source: Ipv6Addr,
        /// The receiver.
        destination: Ipv6Addr,
    },
}

impl Addresses {
    /// A pair of addresses.
    ///
    /// # Errors
    ///
    /// [`WireErrorKind::MixedFamilies`]: one is IPv4 and the other IPv6.
    pub const fn new(source: IpAddr, destination: IpAddr) -> Result<Self, WireError> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Ok(Addresses::V4 { source, destination })
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Ok(Addresses::V6 { source, destination })
            }
            _ => Err(WireError::new(0, WireErrorKind::MixedFamilies)),
        }
    }
}
