//! IP headers of both versions (RFC 791, RFC 8200), received whole or quoted in an ICMP error.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use super::{WireError, WireErrorKind, checksum};

/// The number of an upper layer protocol or IPv6 extension header (IANA "Protocol Numbers").
#[expect(clippy::exhaustive_structs, reason = "an open registry value is its number")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options (RFC 8200, section 4.3).
    pub const HOP_BY_HOP: Protocol = Protocol(0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Protocol = Protocol(1);
    /// TCP (RFC 9293).
    pub const TCP: Protocol = Protocol(6);
    /// UDP (RFC 768).
    pub const UDP: Protocol = Protocol(17);
    /// IPv6 routing header (RFC 8200, section 4.4).
    pub const ROUTING: Protocol = Protocol(43);
    /// IPv6 fragment header (RFC 8200, section 4.5).
    pub const FRAGMENT: Protocol = Protocol(44);
    /// Encapsulating security payload (RFC 4303). What follows is not readable.
    pub const ESP: Protocol = Protocol(50);
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: Protocol = Protocol(51);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Protocol = Protocol(58);
    /// Nothing follows (RFC 8200, section 4.7).
    pub const NO_NEXT_HEADER: Protocol = Protocol(59);
    /// IPv6 destination options (RFC 8200, section 4.6).
    pub const DESTINATION_OPTIONS: Protocol = Protocol(60);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Protocol::ICMP => f.write_str("icmp"),
            Protocol::TCP => f.write_str("tcp"),
            Protocol::UDP => f.write_str("udp"),
            Protocol::ICMPV6 => f.write_str("icmpv6"),
            Protocol(number) => write!(f, "protocol {number}"),
        }
    }
}

/// Where a fragment belongs in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fragment {
    /// Octets of the datagram before this fragment.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
    /// What the fragments of one datagram share: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// The fixed part of an IPv4 header, and its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct V4Header<'a> {
    fixed: &'a [u8; V4_HEADER],
    options: &'a [u8],
}

impl<'a> V4Header<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let start = reader.offset();
        if let Some(first) = reader.rest().first().filter(|first| *first >> 4 != 4) {
            return Err(WireError::new(start, WireErrorKind::Version(first >> 4)));
        }
        let fixed = reader.array::<V4_HEADER>()?;
        let options = usize::from(fixed[0] & 15) * 4;
        let Some(options) = options.checked_sub(V4_HEADER) else {
            return Err(WireError::new(start, WireErrorKind::HeaderLength));
        };
        Ok(V4Header { fixed, options: reader.take(options)? })
    }

    fn len(&self) -> usize {
        V4_HEADER + self.options.len()
    }

    fn u16(&self, first: u8, second: u8) -> u16 {
        u16::from_be_bytes([first, second])
    }

    fn total_length(&self) -> u16 {
        self.u16(self.fixed[2], self.fixed[3])
    }

    fn id(&self) -> u16 {
        self.u16(self.fixed[4], self.fixed[5])
    }

    fn flags(&self) -> u16 {
        self.u16(self.fixed[6], self.fixed[7])
    }

    fn fragment(&self) -> Option<Fragment> {
        let (offset, more) = ((self.flags() & 0x1fff) * 8, self.flags() & 0x2000 != 0);
        (offset != 0 || more).then(|| Fragment { offset, more, id: u32::from(self.id()) })
    }

    fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }
}

/// An IPv4 packet as it came from the network.
///
/// ```
/// use std::net::Ipv4Addr;
/// use netsonde::wire::ip::{Ipv4, Ipv4Repr, Protocol};
///
/// let [from, to] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// let mut packet = Vec::new();
/// Ipv4Repr { ttl: 9, ..Ipv4Repr::new(from, to, Protocol::ICMP) }.emit(b"data", &mut packet)?;
/// packet.extend([0; 22]); // the padding of a short Ethernet frame
/// let view = Ipv4::parse(&packet)?;
/// assert_eq!((view.source(), view.ttl(), view.payload()), (from, 9, &b"data"[..]));
/// # Ok::<(), netsonde::wire::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    header: V4Header<'a>,
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Checks version, header length and total length. What the total length leaves over is padding
    /// of the link and not part of the payload. A total length of zero, which local segmentation
    /// offload leaves behind, stands for all that is there. The checksum is a question of its own:
    /// [`checksum_ok`](Self::checksum_ok).
    ///
    /// # Errors
    ///
    /// Another version, a header length below 20 or beyond the data, a total length below the
    /// header's or beyond the data.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let header = V4Header::read(&mut reader)?;
        let payload = match usize::from(header.total_length()) {
            0 => reader.rest(),
            total => match total.checked_sub(header.len()) {
                Some(length) => reader.take(length)?,
                None => return Err(WireError::new(2, WireErrorKind::TotalLength)),
            },
        };
        Ok(Ipv4 { header, payload })
    }

    /// Octets before the payload: 20 to 60.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    /// The options behind the fixed header, with their padding. Empty, usually.
    pub fn options(&self) -> &'a [u8] {
        self.header.options
    }

    /// DSCP and ECN, the former type of service.
    pub fn tos(&self) -> u8 {
        self.header.fixed[1]
    }

    /// The identification field.
    pub fn id(&self) -> u16 {
        self.header.id()
    }

    /// Whether routers must not fragment it.
    pub fn dont_fragment(&self) -> bool {
        self.header.flags() & 0x4000 != 0
    }

    /// Which fragment it is, if it is not a whole datagram.
    pub fn fragment(&self) -> Option<Fragment> {
        self.header.fragment()
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.header.fixed[8]
    }

    /// What the payload is.
    pub fn protocol(&self) -> Protocol {
        Protocol(self.header.fixed[9])
    }

    /// The sender.
    pub fn source(&self) -> Ipv4Addr {
        self.header.source()
    }

    /// The receiver.
    pub fn destination(&self) -> Ipv4Addr {
        self.header.destination()
    }

    /// What the packet carries, without options and without padding of the link.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the checksum of the header is right.
    pub fn checksum_ok(&self) -> bool {
        checksum::Sum::new().with(self.header.fixed).with(self.header.options).verifies()
    }
}

/// The fixed part of an IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct V6Header<'a>(&'a [u8; V6_HEADER]);

impl<'a> V6Header<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        if let Some(first) = reader.rest().first().filter(|first| *first >> 4 != 6) {
            return Err(WireError::new(reader.offset(), WireErrorKind::Version(first >> 4)));
        }
        reader.array().map(V6Header)
    }

    fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    fn traffic_class(&self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    fn source(&self) -> Ipv6Addr {
        let [_, _, _, _, _, _, _, _, address @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *self.0;
        Ipv6Addr::from(address)
    }

    fn destination(&self) -> Ipv6Addr {
        let mut address = [0; 16];
        for (to, from) in address.iter_mut().zip(self.0.iter().skip(24)) {
            *to = *from;
        }
        Ipv6Addr::from(address)
    }
}

/// An IPv6 packet as it came from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    header: V6Header<'a>,
    payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Checks version and payload length. What the length leaves over is padding of the link. A
    /// length of zero before hop-by-hop options is a jumbogram (RFC 2675) or the work of
    /// segmentation offload, and stands for all that is there.
    ///
    /// # Errors
    ///
    /// Another version, fewer than 40 octets, a payload length beyond the data.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let header = V6Header::read(&mut reader)?;
        let payload = match header.payload_length() {
            0 if Protocol(header.0[6]) == Protocol::HOP_BY_HOP => reader.rest(),
            length => reader.take(usize::from(length))?,
        };
        Ok(Ipv6 { header, payload })
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        self.header.traffic_class()
    }

    /// The flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header.0[1] & 15, self.header.0[2], self.header.0[3]])
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.header.0[7]
    }

    /// What stands right behind the fixed header: an extension header or the upper layer.
    pub fn next_header(&self) -> Protocol {
        Protocol(self.header.0[6])
    }

    /// The sender.
    pub fn source(&self) -> Ipv6Addr {
        self.header.source()
    }

    /// The receiver.
    pub fn destination(&self) -> Ipv6Addr {
        self.header.destination()
    }

    /// All behind the fixed header, extension headers first.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Walks over the extension headers to the upper layer.
    ///
    /// # Errors
    ///
    /// The packet ends within an extension header, or has more than [`EXTENSION_HEADERS`].
    pub fn upper_layer(&self) -> Result<UpperLayer<'a>, WireError> {
        let mut reader = Reader::new(self.payload);
        UpperLayer::find(self.next_header(), &mut reader).map_err(|e| e.shifted(V6_HEADER))
    }
}

/// The most IPv6 extension headers that are walked over. RFC 8200 has each at most once, destination
/// options twice.
pub const EXTENSION_HEADERS: usize = 8;

/// What an IPv6 packet carries behind its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpperLayer<'a> {
    /// What the payload is.
    pub protocol: Protocol,
    /// Which fragment it is, if there was a fragment header. Behind one with an offset, the payload
    /// does not begin with a header of the protocol.
    pub fragment: Option<Fragment>,
    /// What the packet carries.
    pub payload: &'a [u8],
}

impl<'a> UpperLayer<'a> {
    fn find(first: Protocol, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut protocol = first;
        let mut fragment: Option<Fragment> = None;
        // One round more than headers are allowed: the last finds the upper layer.
        for _ in 0..=EXTENSION_HEADERS {
            let inside = fragment.is_some_and(|fragment| fragment.offset != 0);
            match protocol {
                _ if inside => return Ok(Self { protocol, fragment, payload: reader.rest() }),
                Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS => {
                    let [next, length] = *reader.array()?;
                    reader.skip(6 + 8 * usize::from(length))?;
                    protocol = Protocol(next);
                }
                // Counted in words of four octets, less two (RFC 4302, section 2.2).
                Protocol::AUTHENTICATION => {
                    let [next, length] = *reader.array()?;
                    reader.skip((4 * usize::from(length)) + 6)?;
                    protocol = Protocol(next);
                }
                Protocol::FRAGMENT => {
                    let [next, _] = *reader.array()?;
                    let bits = reader.u16()?;
                    let id = reader.u32()?;
                    fragment = Some(Fragment { offset: bits & !7, more: bits & 1 != 0, id });
                    protocol = Protocol(next);
                }
                _ => return Ok(Self { protocol, fragment, payload: reader.rest() }),
            }
        }
        Err(WireError::new(reader.offset(), WireErrorKind::TooManyHeaders))
    }
}

/// The start of a packet, as an ICMP error gives it back.
///
/// It may end anywhere behind its header, and what a NAT rewrote on the way may not have been
/// restored: length, checksum and time to live say nothing reliable, nor does the source address.
/// So nothing is checked but that the header is there, in its real length, options included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedIp<'a> {
    header: QuotedHeader<'a>,
    upper: UpperLayer<'a>,
    header_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuotedHeader<'a> {
    V4(V4Header<'a>),
    V6(V6Header<'a>),
}

impl<'a> QuotedIp<'a> {
    /// Reads the header of either version, over IPv6 extension headers too.
    ///
    /// # Errors
    ///
    /// Neither version 4 nor 6, a header length below 20, or an end before the upper layer.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let Some(first) = data.first() else { return Err(WireError::truncated(0)) };
        let (header, upper) = match first >> 4 {
            4 => {
                let header = V4Header::read(&mut reader)?;
                let upper = UpperLayer {
                    protocol: Protocol(header.fixed[9]),
                    fragment: header.fragment(),
                    payload: reader.rest(),
                };
                (QuotedHeader::V4(header), upper)
            }
            6 => {
                let header = V6Header::read(&mut reader)?;
                let upper = UpperLayer::find(Protocol(header.0[6]), &mut reader)?;
                (QuotedHeader::V6(header), upper)
            }
            other => return Err(WireError::new(0, WireErrorKind::Version(other))),
        };
        Ok(QuotedIp { header, upper, header_len: reader.offset() })
    }

    /// 4 or 6.
    pub fn version(&self) -> u8 {
        match self.header {
            QuotedHeader::V4(_) => 4,
            QuotedHeader::V6(_) => 6,
        }
    }

    /// The sender, unless a NAT rewrote it.
    pub fn source(&self) -> IpAddr {
        match &self.header {
            QuotedHeader::V4(header) => header.source().into(),
            QuotedHeader::V6(header) => header.source().into(),
        }
    }

    /// The receiver.
    pub fn destination(&self) -> IpAddr {
        match &self.header {
            QuotedHeader::V4(header) => header.destination().into(),
            QuotedHeader::V6(header) => header.destination().into(),
        }
    }

    /// What the payload is; for IPv6, behind the extension headers.
    pub fn protocol(&self) -> Protocol {
        self.upper.protocol
    }

    /// Time to live or hop limit as it arrived at the sender of the error: 0 or 1 when it ran out.
    pub fn ttl(&self) -> u8 {
        match &self.header {
            QuotedHeader::V4(header) => header.fixed[8],
            QuotedHeader::V6(header) => header.0[7],
        }
    }

    /// DSCP and ECN as they arrived at the sender of the error.
    pub fn tos(&self) -> u8 {
        match &self.header {
            QuotedHeader::V4(header) => header.fixed[1],
            QuotedHeader::V6(header) => header.traffic_class(),
        }
    }

    /// The identification field, which IPv6 has only in fragments.
    pub fn id(&self) -> Option<u32> {
        match &self.header {
            QuotedHeader::V4(header) => Some(u32::from(header.id())),
            QuotedHeader::V6(_) => self.upper.fragment.map(|fragment| fragment.id),
        }
    }

    /// Which fragment it is, if not a whole datagram.
    pub fn fragment(&self) -> Option<Fragment> {
        self.upper.fragment
    }

    /// The length field as it stands there: of the whole packet in IPv4, of what follows the fixed
    /// header in IPv6.
    pub fn announced_len(&self) -> u16 {
        match &self.header {
            QuotedHeader::V4(header) => header.total_length(),
            QuotedHeader::V6(header) => header.payload_length(),
        }
    }

    /// Octets before the payload, with options or extension headers.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What is left of the payload, and perhaps padding behind it.
    pub fn payload(&self) -> &'a [u8] {
        self.upper.payload
    }
}

/// An IPv4 header without options, to be sent.
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a header")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Repr {
    /// The sender.
    pub source: Ipv4Addr,
    /// The receiver.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: Protocol,
    /// Time to live. [`new`](Self::new) sets 64.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// The identification field. On a raw socket Linux fills a zero in.
    pub id: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
}

impl Ipv4Repr {
    /// A header with a time to live of 64, and all else zero.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol) -> Self {
        Ipv4Repr { source, destination, protocol, ttl: 64, tos: 0, id: 0, dont_fragment: false }
    }

    /// Appends the header and the payload.
    ///
    /// # Errors
    ///
    /// [`WireErrorKind::TooLong`] with more than 65,515 octets of payload; nothing is written.
    pub fn emit(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        let Ok(total) = u16::try_from(V4_HEADER + payload.len()) else {
            return Err(WireError::new(2, WireErrorKind::TooLong));
        };
        let [id, flags] = [self.id, u16::from(self.dont_fragment) << 14].map(u16::to_be_bytes);
        let total = total.to_be_bytes();
        let mut header = [0; V4_HEADER];
        header[0] = 0x45;
        header[1] = self.tos;
        [header[2], header[3]] = total;
        [header[4], header[5]] = id;
        [header[6], header[7]] = flags;
        header[8] = self.ttl;
        header[9] = self.protocol.0;
        [header[12], header[13], header[14], header[15]] = self.source.octets();
        [header[16], header[17], header[18], header[19]] = self.destination.octets();
        [header[10], header[11]] = checksum::checksum(&header).to_be_bytes();
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        Ok(())
    }
}
