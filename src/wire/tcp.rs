//! TCP headers (RFC 9293), as far as probes and quotes of probes need them.

use super::checksum::{Addresses, Sum};
use super::ip::Protocol;
use super::reader::Reader;
use super::{WireError, WireErrorKind};

const HEADER: usize = 20;

/// The control bits of a TCP header.
#[expect(clippy::exhaustive_structs, reason = "an open registry value is its number")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Sequence numbers are being synchronised.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// The connection is reset.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgment number counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer counts.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// Whether all of these bits are set.
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: TcpFlags) -> Self {
        TcpFlags(self.0 | other.0)
    }
}

/// The 8 octets of a TCP header that every ICMP error quotes.
///
/// ```
/// use netsonde::wire::tcp::TcpStart;
///
/// let start = TcpStart::parse(&[0xc3, 0x50, 0, 80, 0, 0, 0, 7])?;
/// assert_eq!((start.source, start.destination, start.sequence), (50_000, 80, 7));
/// # Ok::<(), netsonde::wire::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TcpStart {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// The sequence number.
    pub sequence: u32,
}

impl TcpStart {
    /// Reads the start of a header.
    ///
    /// # Errors
    ///
    /// Fewer than 8 octets.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let (source, destination) = (reader.u16()?, reader.u16()?);
        Ok(TcpStart { source, destination, sequence: reader.u32()? })
    }
}

/// A whole TCP header, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    data: &'a [u8],
    start: TcpStart,
    acknowledgment: u32,
    flags: TcpFlags,
    window: u16,
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Reads a segment.
    ///
    /// # Errors
    ///
    /// Fewer than 20 octets, a header length below that or beyond the data.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let start = TcpStart::parse(data)?;
        let mut reader = Reader::new(data);
        reader.skip(8)?;
        let acknowledgment = reader.u32()?;
        let [length, flags] = *reader.array()?;
        let window = reader.u16()?;
        reader.skip(4)?;
        let Some(options) = (usize::from(length >> 4) * 4).checked_sub(HEADER) else {
            return Err(WireError::new(12, WireErrorKind::HeaderLength));
        };
        let options = reader.take(options)?;
        let (flags, payload) = (TcpFlags(flags), reader.rest());
        Ok(Tcp { data, start, acknowledgment, flags, window, options, payload })
    }

    /// The sender's port.
    pub fn source(&self) -> u16 {
        self.start.source
    }

    /// The receiver's port.
    pub fn destination(&self) -> u16 {
        self.start.destination
    }

    /// The sequence number.
    pub fn sequence(&self) -> u32 {
        self.start.sequence
    }

    /// The acknowledgment number.
    pub fn acknowledgment(&self) -> u32 {
        self.acknowledgment
    }

    /// The control bits.
    pub fn flags(&self) -> TcpFlags {
        self.flags
    }

    /// The window, not scaled.
    pub fn window(&self) -> u16 {
        self.window
    }

    /// The options, with their padding.
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// The maximum segment size, if the options before it are sound.
    pub fn mss(&self) -> Option<u16> {
        let mut reader = Reader::new(self.options);
        loop {
            match reader.u8().ok()? {
                0 => return None,
                1 => {}
                kind => {
                    let length = usize::from(reader.u8().ok()?).checked_sub(2)?;
                    let value = reader.take(length).ok()?;
                    if let (2, &[high, low]) = (kind, value) {
                        return Some(u16::from_be_bytes([high, low]));
                    }
                }
            }
        }
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the checksum of the segment is right.
    pub fn checksum_ok(&self, addresses: &Addresses) -> bool {
        let length = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        Sum::pseudo(addresses, Protocol::TCP, length).with(self.data).verifies()
    }
}

/// A TCP header, to be sent.
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a header")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpRepr {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// The window.
    pub window: u16,
    /// The maximum segment size, an option for a SYN.
    pub mss: Option<u16>,
}

impl TcpRepr {
    /// Octets of the header.
    pub const fn header_len(&self) -> usize {
        if self.mss.is_some() { HEADER + 4 } else { HEADER }
    }

    /// Appends header and payload with the checksum.
    pub fn emit(&self, addresses: &Addresses, payload: &[u8], out: &mut Vec<u8>) {
        let mut header = [0; HEADER];
        [header[0], header[1]] = self.source.to_be_bytes();
        [header[2], header[3]] = self.destination.to_be_bytes();
        [header[4], header[5], header[6], header[7]] = self.sequence.to_be_bytes();
        [header[8], header[9], header[10], header[11]] = self.acknowledgment.to_be_bytes();
        header[12] = if self.mss.is_some() { 6 << 4 } else { 5 << 4 };
        header[13] = self.flags.0;
        [header[14], header[15]] = self.window.to_be_bytes();
        let [high, low] = self.mss.unwrap_or(0).to_be_bytes();
        let option = [2, 4, high, low];
        let option = if self.mss.is_some() { &option[..] } else { &[] };
        let length = header.len() + option.len() + payload.len();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let sum = Sum::pseudo(addresses, Protocol::TCP, length);
        let sum = sum.with(&header).with(option).with(payload);
        [header[16], header[17]] = sum.checksum().to_be_bytes();
        out.extend_from_slice(&header);
        out.extend_from_slice(option);
        out.extend_from_slice(payload);
    }
}
