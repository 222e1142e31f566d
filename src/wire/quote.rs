//! Which echo request an ICMP error is about.

use std::fmt;
use std::net::IpAddr;

use super::WireError;
use super::icmp::{IcmpError, IcmpFamily, IcmpType};
use super::icmpv6::Icmpv6Type;
use super::ip::Protocol;

/// The echo request that an ICMP error quotes. Routers must give back 8 octets behind the IP header,
/// which is just the header of the request, so the payload may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EchoQuote<'a> {
    /// Where the request was sent, which is rarely where the error comes from.
    pub destination: IpAddr,
    /// The identifier.
    pub id: u16,
    /// The sequence number.
    pub seq: u16,
    /// The start of the payload, as far as it was quoted; perhaps with padding at the end.
    pub payload: &'a [u8],
}

/// Why an error's quote is not an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotOurEcho {
    /// The IP header is not all there, or is impossible.
    Malformed(WireError),
    /// The quoted packet is of the other IP version than the error.
    Version(u8),
    /// The quoted packet is no ICMP.
    Protocol(Protocol),
    /// The quoted packet is a fragment, not the first of its datagram.
    Fragment,
    /// Fewer than 8 octets of the ICMP message are quoted.
    Short,
    /// The quoted message is no echo request.
    Type {
        /// The type that was quoted.
        icmp_type: u8,
        /// The code that was quoted.
        code: u8,
    },
}

impl fmt::Display for NotOurEcho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotOurEcho::Malformed(error) => write!(f, "the quoted packet is malformed: {error}"),
            NotOurEcho::Version(version) => write!(f, "the quoted packet is IPv{version}"),
            NotOurEcho::Protocol(protocol) => write!(f, "the quoted packet is {protocol}"),
            NotOurEcho::Fragment => f.write_str("the quoted packet is a later fragment"),
            NotOurEcho::Short => f.write_str("too little of the packet is quoted"),
            NotOurEcho::Type { icmp_type, code } => {
                write!(f, "the quoted message has type {icmp_type}, code {code}")
            }
        }
    }
}

impl<'a> EchoQuote<'a> {
    pub(super) fn of(error: &IcmpError<'a>) -> Result<Self, NotOurEcho> {
        let (version, protocol, request) = match error.family() {
            IcmpFamily::V4 => (4, Protocol::ICMP, IcmpType::ECHO_REQUEST.0),
            IcmpFamily::V6 => (6, Protocol::ICMPV6, Icmpv6Type::ECHO_REQUEST.0),
        };
        let packet = error.quote().map_err(NotOurEcho::Malformed)?;
        if packet.version() != version {
            return Err(NotOurEcho::Version(packet.version()));
        }
        if packet.protocol() != protocol {
            return Err(NotOurEcho::Protocol(packet.protocol()));
        }
        if packet.fragment().is_some_and(|fragment| fragment.offset != 0) {
            return Err(NotOurEcho::Fragment);
        }
        let Some((&[icmp_type, code, _, _, a, b, c, d], payload)) =
            packet.payload().split_first_chunk()
        else {
            return Err(NotOurEcho::Short);
        };
        if (icmp_type, code) != (request, 0) {
            return Err(NotOurEcho::Type { icmp_type, code });
        }
        Ok(EchoQuote {
            destination: packet.destination(),
            id: u16::from_be_bytes([a, b]),
            seq: u16::from_be_bytes([c, d]),
            payload,
        })
    }
}
