//! ICMP messages: the types that both families share, and those of IPv4 (RFC 792).

use std::net::Ipv4Addr;

use super::extension::{self, Extensions};
use super::ip::QuotedIp;
use super::reader::Reader;
use super::{WireError, checksum};

pub use super::quote::{EchoQuote, NotOurEcho};

/// The type of an ICMP message for IPv4 (IANA "ICMP Parameters").
#[expect(clippy::exhaustive_structs, reason = "an open registry value is its number")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpType(pub u8);

impl IcmpType {
    /// Echo reply (RFC 792).
    pub const ECHO_REPLY: IcmpType = IcmpType(0);
    /// Destination unreachable (RFC 792).
    pub const UNREACHABLE: IcmpType = IcmpType(3);
    /// Source quench (RFC 792, deprecated by RFC 6633).
    pub const SOURCE_QUENCH: IcmpType = IcmpType(4);
    /// Redirect (RFC 792).
    pub const REDIRECT: IcmpType = IcmpType(5);
    /// Echo request (RFC 792).
    pub const ECHO_REQUEST: IcmpType = IcmpType(8);
    /// Time exceeded (RFC 792).
    pub const TIME_EXCEEDED: IcmpType = IcmpType(11);
    /// Parameter problem (RFC 792).
    pub const PARAMETER_PROBLEM: IcmpType = IcmpType(12);
    /// Timestamp reply (RFC 792).
    pub const TIMESTAMP_REPLY: IcmpType = IcmpType(14);
}

/// Codes of [`IcmpType::UNREACHABLE`].
pub mod unreachable {
    /// Net unreachable (RFC 792).
    pub const NET: u8 = 0;
    /// Host unreachable (RFC 792).
    pub const HOST: u8 = 1;
    /// Protocol unreachable (RFC 792).
    pub const PROTOCOL: u8 = 2;
    /// Port unreachable (RFC 792).
    pub const PORT: u8 = 3;
    /// Fragmentation needed but not allowed (RFC 792, with the next hop's MTU since RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Source route failed (RFC 792).
    pub const SOURCE_ROUTE: u8 = 5;
    /// Destination network unknown (RFC 1122).
    pub const NET_UNKNOWN: u8 = 6;
    /// Destination host unknown (RFC 1122).
    pub const HOST_UNKNOWN: u8 = 7;
    /// Destination network prohibited (RFC 1122).
    pub const NET_PROHIBITED: u8 = 9;
    /// Destination host prohibited (RFC 1122).
    pub const HOST_PROHIBITED: u8 = 10;
    /// Communication administratively prohibited, by a filter (RFC 1812).
    pub const FILTERED: u8 = 13;
    /// Host precedence violation (RFC 1812).
    pub const PRECEDENCE_VIOLATION: u8 = 14;
    /// Precedence cut-off in effect (RFC 1812).
    pub const PRECEDENCE_CUTOFF: u8 = 15;
}

/// Codes of time exceeded, the same in both families (RFC 792, RFC 4443).
pub mod time_exceeded {
    /// Time to live or hop limit ran out in transit.
    pub const IN_TRANSIT: u8 = 0;
    /// Not all fragments came in time.
    pub const REASSEMBLY: u8 = 1;
}

/// The most octets an echo over IPv4 can carry: a packet of 65,535 less both headers.
pub const MAX_ECHO_PAYLOAD: usize = 65_535 - 20 - 8;

const HEADER: usize = 8;

/// Either family. Where a number means different things in both, this is what tells.
#[expect(clippy::exhaustive_enums, reason = "there are two families")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpFamily {
    /// ICMP over IPv4.
    V4,
    /// ICMP over IPv6.
    V6,
}

/// An ICMP message of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmp<'a> {
    /// An echo request: type 8, or 128 in IPv6; code 0.
    EchoRequest(Echo<'a>),
    /// An echo reply: type 0, or 129 in IPv6; code 0. Nothing else is one.
    EchoReply(Echo<'a>),
    /// An error, which quotes the packet it is about.
    Error(IcmpError<'a>),
    /// Anything else.
    Other {
        /// The type as it stands there.
        icmp_type: u8,
        /// The code as it stands there.
        code: u8,
    },
}

impl<'a> Icmp<'a> {
    /// Reads a message of IPv4, without the IP header. The checksum is a question of its own:
    /// [`checksum_ok`]. For IPv6 see [`parse_v6`](Self::parse_v6).
    ///
    /// ```
    /// use netsonde::wire::icmp::{Icmp, IcmpType, unreachable};
    ///
    /// let message = [3, 4, 0, 0, 0, 0, 0x05, 0x78];
    /// let Icmp::Error(error) = Icmp::parse(&message)? else { panic!("not an error") };
    /// assert_eq!(error.icmp_type(), IcmpType::UNREACHABLE.0);
    /// assert_eq!(error.code(), unreachable::FRAGMENTATION_NEEDED);
    /// assert_eq!(error.next_hop_mtu(), Some(1400));
    /// assert!(error.quote().is_err(), "nothing is quoted");
    /// # Ok::<(), netsonde::wire::WireError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fewer than 8 octets.
    pub fn parse(data: &'a [u8]) -> Result<Self, WireError> {
        let (header, rest) = split(data)?;
        let [icmp_type, code, ..] = *header;
        Ok(match (IcmpType(icmp_type), code) {
            (IcmpType::ECHO_REQUEST, 0) => Icmp::EchoRequest(Echo::new(header, rest)),
            (IcmpType::ECHO_REPLY, 0) => Icmp::EchoReply(Echo::new(header, rest)),
            (
                IcmpType::UNREACHABLE
                | IcmpType::SOURCE_QUENCH
                | IcmpType::REDIRECT
                | IcmpType::TIME_EXCEEDED
                | IcmpType::PARAMETER_PROBLEM,
                _,
            ) => Icmp::Error(IcmpError::new(IcmpFamily::V4, header, rest)),
            _ => Icmp::Other { icmp_type, code },
        })
    }
}

/// The header that all messages have, and what follows.
pub(super) fn split(data: &[u8]) -> Result<(&[u8; HEADER], &[u8]), WireError> {
    let mut reader = Reader::new(data);
    let header = reader.array()?;
    Ok((header, reader.rest()))
}

/// Whether the checksum of a message of IPv4, given whole and without IP header, is right.
///
/// Both forms of zero are: see [`checksum::verifies`].
#[must_use]
pub fn checksum_ok(data: &[u8]) -> bool {
    checksum::verifies(data)
}

/// An echo request or reply of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    id: u16,
    seq: u16,
    payload: &'a [u8],
}

impl<'a> Echo<'a> {
    pub(super) fn new(header: &[u8; HEADER], payload: &'a [u8]) -> Self {
        let [_, _, _, _, id @ .., _, _] = *header;
        let [.., a, b] = *header;
        Echo { id: u16::from_be_bytes(id), seq: u16::from_be_bytes([a, b]), payload }
    }

    /// The identifier.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The sequence number.
    pub fn seq(&self) -> u16 {
        self.seq
    }

    /// What the sender put in.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// An ICMP error of either family: what happened, the start of the packet it happened to, and
/// perhaps more about where (RFC 4884).
///
/// An extension that is wrong in any way is dropped with a reason, and takes nothing else with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    family: IcmpFamily,
    icmp_type: u8,
    code: u8,
    /// The second word of the header, which each type uses in its own way.
    word: [u8; 4],
    quoted: &'a [u8],
    extensions: Extensions<'a>,
}

impl<'a> IcmpError<'a> {
    pub(super) fn new(family: IcmpFamily, header: &[u8; HEADER], rest: &'a [u8]) -> Self {
        let [icmp_type, code, _, _, word @ ..] = *header;
        let (quoted, extensions) = extension::split(length_field(family, icmp_type, word), rest);
        IcmpError { family, icmp_type, code, word, quoted, extensions }
    }

    /// Which of the two families' numbers type and code are.
    pub fn family(&self) -> IcmpFamily {
        self.family
    }

    /// The type: see [`IcmpType`] and [`Icmpv6Type`](super::icmpv6::Icmpv6Type).
    pub fn icmp_type(&self) -> u8 {
        self.icmp_type
    }

    /// The code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// How large the next hop takes packets: of IPv4 "fragmentation needed", unless it is zero as
    /// routers older than RFC 1191 send it; of IPv6 "packet too big", whatever it is. Nothing says
    /// that it is plausible.
    pub fn next_hop_mtu(&self) -> Option<u32> {
        let [.., high, low] = self.word;
        match (self.family, self.icmp_type, self.code) {
            (IcmpFamily::V4, 3, unreachable::FRAGMENTATION_NEEDED) => {
                Some(u32::from(u16::from_be_bytes([high, low]))).filter(|mtu| *mtu != 0)
            }
            (IcmpFamily::V6, 2, _) => Some(u32::from_be_bytes(self.word)),
            _ => None,
        }
    }

    /// Which octet of the quoted packet a "parameter problem" is about.
    pub fn pointer(&self) -> Option<u32> {
        match (self.family, self.icmp_type) {
            (IcmpFamily::V4, 12) => Some(u32::from(self.word[0])),
            (IcmpFamily::V6, 4) => Some(u32::from_be_bytes(self.word)),
            _ => None,
        }
    }

    /// Where a "redirect" of IPv4 wants packets to be sent.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        (self.family == IcmpFamily::V4 && self.icmp_type == IcmpType::REDIRECT.0)
            .then(|| Ipv4Addr::from(self.word))
    }

    /// The octets of the quoted packet, without extensions; perhaps with padding at the end.
    pub fn quoted(&self) -> &'a [u8] {
        self.quoted
    }

    /// The quoted packet.
    ///
    /// # Errors
    ///
    /// Its IP header is not all there, or impossible; the offset counts from the start of the quote.
    pub fn quote(&self) -> Result<QuotedIp<'a>, WireError> {
        QuotedIp::parse(self.quoted)
    }

    /// What the error says besides (RFC 4884), and what of that had to be dropped.
    pub fn extensions(&self) -> &Extensions<'a> {
        &self.extensions
    }

    /// The echo request that this error is about.
    ///
    /// # Errors
    ///
    /// Why the quote is none: it is about someone else's packet, or not readable.
    pub fn echo_quote(&self) -> Result<EchoQuote<'a>, NotOurEcho> {
        EchoQuote::of(self)
    }
}

/// Octets of the original datagram as the length field of RFC 4884 announces them: zero when it
/// does not; none for types that have no such field.
fn length_field(family: IcmpFamily, icmp_type: u8, word: [u8; 4]) -> Option<extension::Length> {
    let (octets, legacy) = match (family, icmp_type) {
        (IcmpFamily::V4, 3 | 11 | 12) => (usize::from(word[1]) * 4, true),
        (IcmpFamily::V6, 1 | 3) => (usize::from(word[0]) * 8, false),
        _ => return None,
    };
    Some(extension::Length { octets, legacy })
}

/// An echo request or reply, to be sent.
///
/// ```
/// use std::net::Ipv6Addr;
/// use netsonde::wire::icmp::EchoRepr;
///
/// let mut packet = Vec::new();
/// EchoRepr::reply(1, 2, b"x").emit_v6(None, &mut packet);
/// // The kernel fills the checksum of ICMPv6 in.
/// assert_eq!(packet, [129, 0, 0, 0, 0, 1, 0, 2, b'x']);
/// ```
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a message")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EchoRepr<'a> {
    /// A reply, not a request.
    pub reply: bool,
    /// The identifier.
    pub id: u16,
    /// The sequence number.
    pub seq: u16,
    /// What the other side has to send back. The message takes any length, but an IP packet no more
    /// than [`MAX_ECHO_PAYLOAD`] or, in IPv6, [`icmpv6::MAX_ECHO_PAYLOAD`](super::icmpv6::MAX_ECHO_PAYLOAD).
    pub payload: &'a [u8],
}

impl<'a> EchoRepr<'a> {
    /// A request.
    pub const fn request(id: u16, seq: u16, payload: &'a [u8]) -> Self {
        EchoRepr { reply: false, id, seq, payload }
    }

    /// A reply.
    pub const fn reply(id: u16, seq: u16, payload: &'a [u8]) -> Self {
        EchoRepr { reply: true, id, seq, payload }
    }

    /// How many octets are emitted.
    pub const fn emitted_len(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// Appends the message of IPv4 with its checksum.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let icmp_type = if self.reply { IcmpType::ECHO_REPLY } else { IcmpType::ECHO_REQUEST };
        emit(checksum::Sum::new(), [icmp_type.0, 0], self.word(), &[self.payload], out);
    }

    pub(super) fn word(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.id.to_be_bytes(), self.seq.to_be_bytes());
        [a, b, c, d]
    }
}

/// Appends any message, whose checksum begins with `sum`.
pub(super) fn emit(
    sum: checksum::Sum,
    [icmp_type, code]: [u8; 2],
    [a, b, c, d]: [u8; 4],
    parts: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let sum = sum.with(&[icmp_type, code, 0, 0, a, b, c, d]);
    let sum = parts.iter().fold(sum, |sum, part| sum.with(part));
    let [high, low] = sum.checksum().to_be_bytes();
    out.reserve(HEADER + parts.iter().map(|part| part.len()).sum::<usize>());
    out.extend_from_slice(&[icmp_type, code, high, low, a, b, c, d]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// An error, to be sent: for responders in tests and for tools that play a router.
#[expect(clippy::exhaustive_structs, reason = "every value of every field is a message")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpErrorRepr<'a> {
    /// The type, of the family in which it is emitted.
    pub icmp_type: u8,
    /// The code.
    pub code: u8,
    /// The second word of the header: MTU, pointer or gateway, in network order.
    pub word: [u8; 4],
    /// The start of the packet that the error is about.
    pub quoted: &'a [u8],
    /// An extension structure, as [`extension::emit`] makes it. If it is not empty, the quote is
    /// padded and its length announced as RFC 4884 says, in types that have a field for it.
    pub extension: &'a [u8],
}

impl IcmpErrorRepr<'_> {
    /// Appends the message of IPv4 with its checksum.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.emit_as(IcmpFamily::V4, checksum::Sum::new(), out);
    }

    /// Octets in front of the extension, if there is one: at least 128, in words of the length field.
    pub(super) fn padded(&self, family: IcmpFamily) -> usize {
        if self.extension.is_empty() {
            return self.quoted.len();
        }
        let word = if family == IcmpFamily::V4 { 4 } else { 8 };
        self.quoted.len().max(extension::LEAST_ORIGINAL).next_multiple_of(word)
    }

    pub(super) fn emit_as(&self, family: IcmpFamily, sum: checksum::Sum, out: &mut Vec<u8>) {
        let padded = self.padded(family);
        let mut word = self.word;
        if !self.extension.is_empty() && length_field(family, self.icmp_type, word).is_some() {
            match family {
                IcmpFamily::V4 => word[1] = u8::try_from(padded / 4).unwrap_or(0),
                IcmpFamily::V6 => word[0] = u8::try_from(padded / 8).unwrap_or(0),
            }
        }
        let padding = vec![0; padded - self.quoted.len()];
        let parts = [self.quoted, &padding, self.extension];
        emit(sum, [self.icmp_type, self.code], word, &parts, out);
    }
}
