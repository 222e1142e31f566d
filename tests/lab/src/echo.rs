//! Echo requests and replies, as the lab itself reads and writes them: nothing here is shared with the
//! library, whose own codec is under test.

use std::net::IpAddr;

use netsonde_support::packet::{self, ICMP, ICMPV6, Ip};

/// An echo request or reply (RFC 792; RFC 4443, 4) in a frame. Fragments have none in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// The header of the packet.
    pub ip: Ip,
    /// Whether it is a request.
    pub is_request: bool,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
    /// What follows the header of eight bytes.
    pub payload: &'a [u8],
}

/// Whether an IPv4 packet is a piece of a larger one.
fn is_fragment(packet: &[u8]) -> bool {
    packet[0] >> 4 == 4 && packet.get(6..8).is_some_and(|word| word[0] & 0x3f != 0 || word[1] != 0)
}

impl<'a> Echo<'a> {
    /// Reads one from an Ethernet frame.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let packet = packet::packet_of(frame)?;
        let ip = Ip::parse(packet)?;
        let body = packet::payload_of(packet)?;
        let is_request = match (ip.protocol, body.first()?) {
            (ICMP, 8) | (ICMPV6, 128) => true,
            (ICMP, 0) | (ICMPV6, 129) => false,
            _ => return None,
        };
        if is_fragment(packet) || *body.get(1)? != 0 {
            return None;
        }
        let word = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
        Some(Self { ip, is_request, id: word(4)?, seq: word(6)?, payload: &body[8..] })
    }
}

/// The ICMP message that an echo is, its checksum right.
pub fn message(
    source: IpAddr,
    destination: IpAddr,
    is_request: bool,
    id: u16,
    seq: u16,
    payload: &[u8],
) -> Vec<u8> {
    let kind = match (source.is_ipv4(), is_request) {
        (true, true) => 8,
        (true, false) => 0,
        (false, true) => 128,
        (false, false) => 129,
    };
    let (id, seq) = (id.to_be_bytes(), seq.to_be_bytes());
    icmp_message(source, destination, kind, 0, [id[0], id[1], seq[0], seq[1]], payload)
}

/// Any ICMP message of the family of the addresses, its checksum right; `rest` is the second word.
pub fn icmp_message(
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    body: &[u8],
) -> Vec<u8> {
    if source.is_ipv4() {
        return packet::icmp(kind, code, rest, body);
    }
    let mut message = [&[kind, code, 0, 0], &rest[..], body].concat();
    let sum = packet::transport_checksum(source, destination, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The number of ICMP of the family of an address.
pub fn protocol(address: IpAddr) -> u8 {
    if address.is_ipv4() { ICMP } else { ICMPV6 }
}

/// An Ethernet frame around an IP packet.
pub fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] =
        if packet.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&to[..], &from, &kind, packet].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_are_read_as_they_were_written() {
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            for is_request in [true, false] {
                let body = message(source, destination, is_request, 7, 0x1234, b"payload");
                let packet = packet::ip(source, destination, protocol(source), 9, &body);
                let mut bytes = frame([1; 6], [2; 6], &packet);
                bytes.extend([0; 5]);
                let echo = Echo::parse(&bytes).unwrap();
                assert_eq!((echo.is_request, echo.id, echo.seq), (is_request, 7, 0x1234));
                assert_eq!((echo.payload, echo.ip.ttl), (&b"payload"[..], 9));
                for length in 0..bytes.len() - 5 {
                    if let Some(cut) = Echo::parse(&bytes[..length]) {
                        assert!(cut.payload.len() < 7, "{length}");
                    }
                }
            }
        }
    }
}
