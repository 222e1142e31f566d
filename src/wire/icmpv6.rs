//! ICMP messages of IPv6 (RFC 4443).

use std::net::Ipv6Addr;

use super::WireError;
use super::checksum::{Addresses, Sum};
use super::icmp::{Echo, EchoRepr, Icmp, IcmpError, IcmpErrorRepr, IcmpFamily, emit, split};
use super::ip::Protocol;

/// The type of an ICMP message for IPv6 (IANA "ICMPv6 Parameters").
#[expect(clippy::exhaustive_structs, reason = "an open registry value is its number")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmpv6Type(pub u8);

impl Icmpv6Type {
    /// Destination unreachable (RFC 4443, section 3.1).
    pub const UNREACHABLE: Icmpv6Type = Icmpv6Type(1);
    /// Packet too big (RFC 4443, section 3.2).
    pub const PACKET_TOO_BIG: Icmpv6Type = Icmpv6Type(2);
    /// Time exceeded (RFC 4443, section 3.3).
    pub const TIME_EXCEEDED: Icmpv6Type = Icmpv6Type(3);
    /// Parameter problem (RFC 4443, section 3.4).
    pub const PARAMETER_PROBLEM: Icmpv6Type = Icmpv6Type(4);
    /// Echo request (RFC 4443, section 4.1).
    pub const ECHO_REQUEST: Icmpv6Type = Icmpv6Type(128);
    /// Echo reply (RFC 4443, section 4.2).
    pub const ECHO_REPLY: Icmpv6Type = Icmpv6Type(129);
}

/// Codes of [`Icmpv6Type::UNREACHABLE`].
pub mod unreachable {
    /// No route to destination (RFC 4443).
    pub const NO_ROUTE: u8 = 0;
    /// Administratively prohibited (RFC 4443).
    pub const PROHIBITED: u8 = 1;
    /// Beyond scope of source address (RFC 4443).
    pub const BEYOND_SCOPE: u8 = 2;
    /// Address unreachable (RFC 4443).
    pub const ADDRESS: u8 = 3;
    /// Port unreachable (RFC 4443).
    pub const PORT: u8 = 4;
    /// Source address failed the policy (RFC 4443).
    pub const SOURCE_POLICY: u8 = 5;
    /// Reject route (RFC 4443).
    pub const REJECT_ROUTE: u8 = 6;
    /// Error in source routing header (RFC 6554, RFC 8883).
    pub const SOURCE_ROUTE: u8 = 7;
}

/// The most octets an echo over IPv6 can carry: a payload of 65,535 less the ICMP header.
pub const MAX_ECHO_PAYLOAD: usize = 65_535 - 8;

impl<'a> Icmp<'a> {
    /// Reads a message of IPv6, without IP header and extension headers. The checksum is a question
    /// of its own, which the kernel has answered already: [`checksum_ok`].
    ///
    /// ```
    /// use netsonde::wire::icmp::Icmp;
    ///
    /// let message = [2, 0, 0, 0, 0, 0, 0x05, 0];
    /// let Icmp::Error(error) = Icmp::parse_v6(&message)? else { panic!("not an error") };
    /// assert_eq!(error.next_hop_mtu(), Some(1280));
    /// # Ok::<(), netsonde::wire::WireError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fewer than 8 octets.
    pub fn parse_v6(data: &'a [u8]) -> Result<Self, WireError> {
        let (header, rest) = split(data)?;
        let [icmp_type, code, ..] = *header;
        Ok(match (Icmpv6Type(icmp_type), code) {
            (Icmpv6Type::ECHO_REQUEST, 0) => Icmp::EchoRequest(Echo::new(header, rest)),
            (Icmpv6Type::ECHO_REPLY, 0) => Icmp::EchoReply(Echo::new(header, rest)),
            (
                Icmpv6Type::UNREACHABLE
                | Icmpv6Type::PACKET_TOO_BIG
                | Icmpv6Type::TIME_EXCEEDED
                | Icmpv6Type::PARAMETER_PROBLEM,
                _,
            ) => Icmp::Error(IcmpError::new(IcmpFamily::V6, header, rest)),
            _ => Icmp::Other { icmp_type, code },
        })
    }
}

/// Whether the checksum of a message of IPv6, given whole and without IP header, is right.
#[must_use]
pub fn checksum_ok(data: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    pseudo(source, destination, data.len()).with(data).verifies()
}

fn pseudo(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> Sum {
    // Longer than 32 bits can count is longer than any packet.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    Sum::pseudo(&Addresses::V6 { source, destination }, Protocol::ICMPV6, length)
}

impl EchoRepr<'_> {
    /// Appends the message of IPv6: with its checksum if source and destination are given, else with
    /// zeros, which the kernel replaces on every socket that sends ICMPv6 (RFC 3542, section 3.1).
    pub fn emit_v6(&self, addresses: Option<(Ipv6Addr, Ipv6Addr)>, out: &mut Vec<u8>) {
        let kind = if self.reply { Icmpv6Type::ECHO_REPLY } else { Icmpv6Type::ECHO_REQUEST };
        match addresses {
            Some((source, destination)) => {
                let sum = pseudo(source, destination, self.emitted_len());
                emit(sum, [kind.0, 0], self.word(), &[self.payload], out);
            }
            None => {
                out.extend_from_slice(&[kind.0, 0, 0, 0]);
                out.extend_from_slice(&self.word());
                out.extend_from_slice(self.payload);
            }
        }
    }
}

impl IcmpErrorRepr<'_> {
    /// Appends the message of IPv6 with its checksum.
    pub fn emit_v6(&self, source: Ipv6Addr, destination: Ipv6Addr, out: &mut Vec<u8>) {
        let length = 8 + self.padded(IcmpFamily::V6) + self.extension.len();
        self.emit_as(IcmpFamily::V6, pseudo(source, destination, length), out);
    }
}
