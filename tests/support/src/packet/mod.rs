//! Packets by hand: capture with the kernel's stamps, injection of crafted frames, and a wire that
//! loses, delays or alters what passes. Needs root, and a [`Lab`](crate::Lab) to work in.
//!
//! ```no_run
//! # fn test() {
//! use netsonde_support::Lab;
//! use netsonde_support::packet::{self, Responder, Tap, Tcp};
//!
//! let Some(lab) = Lab::new("forged") else { return };
//! let (client, stranger) = (lab.namespace("c"), lab.namespace("x"));
//! let (near, far) = lab.link((&client, "10.1.0.1/24"), (&stranger, ""));
//! near.neighbour("10.1.0.2", &far);
//! // Answers each SYN with a SYN-ACK that acknowledges something else.
//! let _forger = Responder::start(Tap::open(&far), |frame| {
//!     let syn = frame.tcp().filter(Tcp::is_syn)?;
//!     let mut answer = syn.syn_ack(1);
//!     answer.acknowledgment = answer.acknowledgment.wrapping_add(7);
//!     Some(frame.reply(packet::TCP, &answer.bytes(frame.ip()?.destination, frame.ip()?.source)))
//! });
//! # }
//! ```

mod tap;
mod trunk;
mod wire;

use std::net::IpAddr;
use std::time::SystemTime;

pub use tap::Tap;
pub use trunk::{Seen, Statistics, Trunk, run_first};
pub use wire::{Passage, Responder, Wire};

/// IP protocol number.
pub const ICMP: u8 = 1;
/// IP protocol number.
pub const TCP: u8 = 6;
/// IP protocol number.
pub const UDP: u8 = 17;
/// IP protocol number.
pub const ICMPV6: u8 = 58;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERNET_HEADER: usize = 14;

/// The Internet checksum (RFC 1071) of the parts one behind the other; each but the last must have an
/// even length.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 = words
        .map(|word| u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The checksum that TCP, UDP and ICMPv6 have, with the addresses in it (RFC 9293, 3.1; RFC 8200,
/// 8.1).
pub fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let length = (body.len() as u32).to_be_bytes();
    // Both forms of the pseudo-header have the same words in them.
    checksum(&[&octets(source), &octets(destination), &length, &[0, protocol], body])
}

/// An IP packet, without options or extension headers.
///
/// # Panics
///
/// The addresses are of different families.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, ttl: u8, body: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = (20 + body.len() as u16).to_be_bytes();
            // No identification, and "don't fragment".
            let mut header =
                [&[0x45, 0], &length[..], &[0, 0, 0x40, 0, ttl, protocol, 0, 0]].concat();
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&[&header]).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            [&header, body].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = (body.len() as u16).to_be_bytes();
            let start = [0x60, 0, 0, 0, length[0], length[1], protocol, ttl];
            [&start[..], &source.octets(), &destination.octets(), body].concat()
        }
        _ => panic!("{source} and {destination} are of different families"),
    }
}

/// An ICMP message (v4), with its checksum; `rest` is the second word of the header.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], &rest[..], body].concat();
    let sum = checksum(&[&message]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// The ICMP message "fragmentation needed" (RFC 1191) about an IPv4 packet, of which it quotes the
/// header and eight bytes.
pub fn fragmentation_needed(packet: &[u8], mtu: u16) -> Vec<u8> {
    let mtu = mtu.to_be_bytes();
    icmp(3, 4, [0, 0, mtu[0], mtu[1]], &packet[..packet.len().min(28)])
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Data.
    pub payload: Vec<u8>,
}

impl Tcp {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;

    /// Reads a segment.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let header = usize::from(bytes.get(12)? >> 4) * 4;
        Some(Self {
            source: word(0)?,
            destination: word(2)?,
            sequence: long(4)?,
            acknowledgment: long(8)?,
            flags: *bytes.get(13)?,
            window: word(14)?,
            options: bytes.get(20..header)?.to_vec(),
            payload: bytes.get(header..)?.to_vec(),
        })
    }

    /// Whether it is the first segment of a connection.
    pub fn is_syn(&self) -> bool {
        self.flags & (Self::SYN | Self::ACK) == Self::SYN
    }

    /// The right answer to this SYN, with this first sequence number.
    #[must_use]
    pub fn syn_ack(&self, sequence: u32) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            sequence,
            acknowledgment: self.sequence.wrapping_add(1),
            flags: Self::SYN | Self::ACK,
            window: 65_535,
            ..Self::default()
        }
    }

    /// The same with the maximum segment size option.
    #[must_use]
    pub fn mss(mut self, bytes: u16) -> Self {
        let size = bytes.to_be_bytes();
        self.options.extend([2, 4, size[0], size[1]]);
        self
    }

    /// Its bytes, checksum included, for a packet with these addresses.
    ///
    /// # Panics
    ///
    /// The options are no multiple of four bytes, or more than 40.
    pub fn bytes(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        assert!(
            self.options.len().is_multiple_of(4) && self.options.len() <= 40,
            "no such options"
        );
        let mut out = self.source.to_be_bytes().to_vec();
        out.extend(self.destination.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.acknowledgment.to_be_bytes());
        out.extend([((20 + self.options.len()) as u8 / 4) << 4, self.flags]);
        out.extend(self.window.to_be_bytes());
        out.extend([0; 4]);
        out.extend(&self.options);
        out.extend(&self.payload);
        let sum = transport_checksum(source, destination, TCP, &out).to_be_bytes();
        out[16..18].copy_from_slice(&sum);
        out
    }
}

/// The header of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number (of the first header behind it, in IPv6).
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Length of the header.
    pub header: usize,
}

/// A captured Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When the kernel saw it, on the wall clock.
    pub at: SystemTime,
    /// Whether it left through the device, rather than came in.
    pub outgoing: bool,
    /// The frame, from its destination address on.
    pub bytes: Vec<u8>,
}

impl Ip {
    /// Reads the header of an IP packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
        let v6 =
            |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
        match packet.first()? >> 4 {
            4 => Some(Self {
                source: v4(12)?,
                destination: v4(16)?,
                protocol: packet[9],
                ttl: packet[8],
                header: usize::from(packet[0] & 15) * 4,
            }),
            6 => Some(Self {
                source: v6(8)?,
                destination: v6(24)?,
                protocol: packet[6],
                ttl: packet[7],
                header: 40,
            }),
            _ => None,
        }
    }
}

/// The IP packet in an Ethernet frame.
pub fn packet_of(frame: &[u8]) -> Option<&[u8]> {
    let kind = frame.get(12..ETHERNET_HEADER)?;
    let kind = u16::from_be_bytes(kind.try_into().ok()?);
    (kind == ETHERTYPE_IPV4 || kind == ETHERTYPE_IPV6).then(|| &frame[ETHERNET_HEADER..])
}

/// What an IP packet carries.
pub fn payload_of(packet: &[u8]) -> Option<&[u8]> {
    // Short frames are padded: the packet says where it ends.
    let end = match packet.first()? >> 4 {
        4 => usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?])),
        _ => 40 + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?])),
    };
    packet.get(Ip::parse(packet)?.header..end.min(packet.len()))
}

impl Frame {
    /// The IP packet in it.
    pub fn packet(&self) -> Option<&[u8]> {
        packet_of(&self.bytes)
    }

    /// The header of the IP packet in it.
    pub fn ip(&self) -> Option<Ip> {
        Ip::parse(self.packet()?)
    }

    /// What the IP packet carries.
    pub fn payload(&self) -> Option<&[u8]> {
        payload_of(self.packet()?)
    }

    /// The TCP segment in it.
    pub fn tcp(&self) -> Option<Tcp> {
        (self.ip()?.protocol == TCP).then(|| Tcp::parse(self.payload()?))?
    }

    /// A frame back to where this one came from, as if from the address it went to.
    ///
    /// # Panics
    ///
    /// This one has no IP packet in it.
    pub fn reply(&self, protocol: u8, body: &[u8]) -> Vec<u8> {
        let ip = self.ip().expect("an IP packet to reply to");
        self.reply_from(ip.destination, protocol, body)
    }

    /// A frame back to where this one came from, as if from any address: a router's, for instance.
    ///
    /// # Panics
    ///
    /// This one has no IP packet in it.
    pub fn reply_from(&self, source: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
        let to = self.ip().expect("an IP packet to reply to").source;
        let packet = ip(source, to, protocol, 64, body);
        [&self.bytes[6..12], &self.bytes[..6], &self.bytes[12..ETHERNET_HEADER], &packet].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfcs() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]]), 0x220d);
        assert_eq!(checksum(&[&[0, 1, 0xf2, 3], &[0xf4, 0xf5, 0xf6, 0xf7]]), 0x220d);
        assert_eq!(checksum(&[&[1]]), 0xfeff);
        // An echo request with its checksum in it sums up to nothing.
        assert_eq!(checksum(&[&icmp(8, 0, [0, 1, 0, 2], b"odd")]), 0);
    }

    #[test]
    fn packets_are_read_as_they_were_written() {
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (c, d) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        for (source, destination, kind) in [(a, b, ETHERTYPE_IPV4), (c, d, ETHERTYPE_IPV6)] {
            let syn =
                Tcp { source: 1, destination: 2, sequence: 3, flags: Tcp::SYN, ..Tcp::default() }
                    .mss(88);
            let packet = ip(source, destination, TCP, 9, &syn.bytes(source, destination));
            let mut bytes = [&[1; 6][..], &[2; 6], &kind.to_be_bytes(), &packet].concat();
            // Ethernet pads.
            bytes.extend([0; 7]);
            let frame = Frame { at: SystemTime::now(), outgoing: false, bytes };
            let ip = frame.ip().unwrap();
            assert_eq!(
                (ip.source, ip.destination, ip.protocol, ip.ttl),
                (source, destination, TCP, 9)
            );
            assert_eq!(frame.tcp().unwrap(), syn);
            let reply = Frame { bytes: frame.reply(UDP, b"back"), ..frame.clone() };
            assert_eq!(reply.bytes[..12], [[2; 6], [1; 6]].concat());
            assert_eq!(reply.payload().unwrap(), b"back");
            assert_eq!(reply.ip().unwrap().destination, source);
            for length in 0..packet.len() {
                let cut = Frame { bytes: frame.bytes[..length].to_vec(), ..frame.clone() };
                _ = (cut.ip(), cut.payload(), cut.tcp());
            }
        }
    }
}
