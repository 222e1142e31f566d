//! UDP headers (RFC 768), as far as probes and quotes of probes need them.

use super::checksum::{Addresses, Sum};
use super::ip::Protocol;
use super::reader::Reader;
use super::{WireError, WireErrorKind};

const HEADER: usize = 8;

/// A UDP header, perhaps quoted: the length may announce more than is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    header: &'a [u8; HEADER],
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Reads the header. The payload is what follows, to the announced length at most, unless that
    /// is impossible.
    ///
    /// # Errors
    ///
    /// Fewer than 8 octets.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let header = reader.array()?;
        let [_, _, _, _, high, low, _, _] = *header;
        let announced = usize::from(u16::from_be_bytes([high, low])).checked_sub(HEADER);
        let rest = reader.rest();
        let payload = announced.and_then(|length| rest.get(..length)).unwrap_or(rest);
        Ok(Udp { header, payload })
    }

    fn word(&self, at: usize) -> u16 {
        let mut words = self.header.as_chunks::<2>().0.iter().skip(at);
        words.next().map_or(0, |word| u16::from_be_bytes(*word))
    }

    /// The sender's port.
    pub fn source(&self) -> u16 {
        self.word(0)
    }

    /// The receiver's port.
    pub fn destination(&self) -> u16 {
        self.word(1)
    }

    /// The announced length, with the header.
    pub fn announced_len(&self) -> u16 {
        self.word(2)
    }

    /// The checksum as it stands there; zero means none in IPv4.
    pub fn checksum(&self) -> u16 {
        self.word(3)
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the checksum is right, or absent where that is allowed: in IPv4.
    pub fn checksum_ok(&self, addresses: &Addresses) -> bool {
        if self.checksum() == 0 {
            return matches!(addresses, Addresses::V4 { .. });
        }
        let length = u32::from(self.announced_len());
        let sum = Sum::pseudo(addresses, Protocol::UDP, length);
        sum.with(self.header).with(self.payload).verifies()
    }
}

/// A UDP header, to be sent.
///
/// ```
/// use netsonde::wire::checksum::Addresses;
/// use netsonde::wire::udp::{Udp, UdpRepr};
///
/// let addresses = Addresses::new("192.0.2.1".parse()?, "192.0.2.2".parse()?)?;
/// let probe = UdpRepr { source: 50_000, destination: 33_434 };
/// // The number of the probe is in the checksum: to routers all probes are one flow.
/// let word = probe.sum(&addresses, &[0, 0]).word_for(0x0007);
/// let mut packet = Vec::new();
/// probe.emit(&addresses, &word.to_be_bytes(), &mut packet)?;
/// assert_eq!(Udp::parse(&packet)?.checksum(), 0x0007);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a header")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpRepr {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
}

impl UdpRepr {
    /// Everything that the checksum covers with this payload, its own field as zero.
    pub fn sum(&self, addresses: &Addresses, payload: &[u8]) -> Sum {
        let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
        let sum = Sum::pseudo(addresses, Protocol::UDP, length);
        // The length once more, as it stands in the header.
        let sum = sum.with(&length.to_be_bytes()).with_u16(self.source).with_u16(self.destination);
        sum.with(payload)
    }

    /// Appends header and payload.
    ///
    /// # Errors
    ///
    /// [`WireErrorKind::TooLong`] with more than 65,527 octets of payload; nothing is written.
    pub fn emit(
        &self,
        addresses: &Addresses,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let Ok(length) = u16::try_from(HEADER + payload.len()) else {
            return Err(WireError::new(4, WireErrorKind::TooLong));
        };
        // Zero means "none", so its other form is sent.
        let checksum = match self.sum(addresses, payload).checksum() {
            0 => 0xffff,
            checksum => checksum,
        };
        for word in [self.source, self.destination, length, checksum] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(payload);
        Ok(())
    }
}
