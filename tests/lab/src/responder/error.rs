//! ICMP errors, their quotes and their extensions (RFC 792, RFC 4443, RFC 4884), right and wrong.

use std::net::IpAddr;
use std::time::Duration;

use netsonde_support::packet::{self, Ip, checksum};

use crate::echo::{icmp_message, protocol};
use crate::responder::Answer;

/// The least that is quoted before extensions (RFC 4884, 5.1).
const QUOTE_BEFORE_EXTENSIONS: usize = 128;

/// What is wrong with the extensions of an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Nothing.
    #[default]
    No,
    /// The header says that there are none; they follow the quote nevertheless.
    LengthZero,
    /// The header says that there are none; they are at byte 128, where routers put them before
    /// RFC 4884 (5.5).
    OldStyle,
    /// The quote is said to reach beyond the end of the packet.
    LengthBeyond,
    /// The version is not 2.
    Version,
    /// The checksum is wrong.
    Checksum,
    /// The first object is said to have no length at all.
    ObjectZero,
    /// The first object is said to be shorter than its own header.
    ObjectShort,
    /// The first object is said to have a length that is no multiple of 4.
    ObjectOdd,
    /// The first object is said to reach beyond the end of the packet.
    ObjectBeyond,
    /// The packet ends in the midst of the header of the extensions.
    Cut,
}

/// An ICMP error about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who says so.
    pub source: IpAddr,
    /// Who is told.
    pub destination: IpAddr,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second word of the header: MTU, pointer, or nothing.
    pub rest: [u8; 4],
    /// What is quoted.
    pub quote: Vec<u8>,
    /// Extension objects: class, type, payload.
    pub objects: Vec<(u8, u8, Vec<u8>)>,
    /// What is wrong with them.
    pub broken: Broken,
    /// What the checksum is off by.
    pub checksum_off: u16,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// How long after the packet.
    pub hold: Duration,
    /// How often it is sent.
    pub times: u32,
    /// Between any two times.
    pub gap: Duration,
}

/// An object with one entry of an MPLS label stack (RFC 4950): label, traffic class, time to live.
pub fn mpls(label: u32, class: u8, ttl: u8) -> (u8, u8, Vec<u8>) {
    let word = label << 12 | u32::from(class & 7) << 9 | 1 << 8 | u32::from(ttl);
    (1, 1, word.to_be_bytes().to_vec())
}

impl IcmpError {
    /// An error about an IP packet, from the address that it was sent to.
    ///
    /// # Panics
    ///
    /// It is no IP packet.
    pub fn about(packet: &[u8], kind: u8, code: u8) -> Self {
        let ip = Ip::parse(packet).expect("an IP packet");
        // RFC 1812, 4.3.2.3; RFC 4443, 2.4 (c).
        let room = if ip.source.is_ipv4() { 576 - 28 } else { 1280 - 48 };
        Self {
            source: ip.destination,
            destination: ip.source,
            kind,
            code,
            rest: [0; 4],
            quote: packet[..packet.len().min(room)].to_vec(),
            objects: Vec::new(),
            broken: Broken::No,
            checksum_off: 0,
            ttl: 64,
            hold: Duration::ZERO,
            times: 1,
            gap: Duration::ZERO,
        }
    }

    /// From somewhere else: a router, or a liar.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    /// With the next hop's MTU, where "fragmentation needed" (RFC 1191) and "packet too big" have it.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.rest = mtu.to_be_bytes();
        self
    }

    /// With the pointer of a parameter problem, where each family has it.
    #[must_use]
    pub fn pointer(mut self, pointer: u32) -> Self {
        self.rest = match self.source {
            IpAddr::V4(_) => [pointer as u8, 0, 0, 0],
            IpAddr::V6(_) => pointer.to_be_bytes(),
        };
        self
    }

    /// With so much quoted, at most.
    #[must_use]
    pub fn quote_length(mut self, bytes: usize) -> Self {
        self.quote.truncate(bytes);
        self
    }

    /// With this much of the ICMP or transport header quoted, behind the whole IP header.
    #[must_use]
    pub fn quote_behind_header(self, bytes: usize) -> Self {
        let header = Ip::parse(&self.quote).map_or(0, |ip| ip.header);
        self.quote_length(header + bytes)
    }

    /// With IPv4 options in the quoted header (a multiple of 4 bytes, up to 40), as if the packet had
    /// been sent so.
    ///
    /// # Panics
    ///
    /// The quote is not one of IPv4 with room for them.
    #[must_use]
    pub fn inner_options(mut self, options: &[u8]) -> Self {
        assert!(self.source.is_ipv4() && self.quote.len() >= 20, "a quoted IPv4 header");
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "options");
        self.quote.splice(20..20, options.iter().copied());
        self.quote[0] = 0x45 + (options.len() / 4) as u8;
        let length = u16::from_be_bytes([self.quote[2], self.quote[3]]) + options.len() as u16;
        self.quote[2..4].copy_from_slice(&length.to_be_bytes());
        self.quote[10..12].fill(0);
        let header = 20 + options.len();
        let sum = checksum(&[&self.quote[..header]]).to_be_bytes();
        self.quote[10..12].copy_from_slice(&sum);
        self
    }

    /// With the quote changed: another identifier, another protocol, what a NAT leaves behind.
    #[must_use]
    pub fn edit_quote(mut self, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        edit(&mut self.quote);
        self
    }

    /// With an extension object.
    #[must_use]
    pub fn object(mut self, object: (u8, u8, Vec<u8>)) -> Self {
        self.objects.push(object);
        self
    }

    /// With something wrong about the extensions.
    #[must_use]
    pub fn broken(mut self, broken: Broken) -> Self {
        self.broken = broken;
        self
    }

    /// After so long.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// The extensions, header and objects.
    fn extensions(&self) -> Vec<u8> {
        let version = if self.broken == Broken::Version { 0x10 } else { 0x20 };
        let mut bytes = vec![version, 0, 0, 0];
        for (place, (class, kind, payload)) in self.objects.iter().enumerate() {
            let right = 4 + payload.len() as u16;
            let length = match self.broken {
                Broken::ObjectZero if place == 0 => 0,
                Broken::ObjectShort if place == 0 => 3,
                Broken::ObjectOdd if place == 0 => right + 1,
                Broken::ObjectBeyond if place == 0 => 0xfff0,
                _ => right,
            };
            bytes.extend(length.to_be_bytes());
            bytes.extend([*class, *kind]);
            bytes.extend(payload);
        }
        let off = u16::from(self.broken == Broken::Checksum);
        let sum = checksum(&[&bytes]).wrapping_add(off).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
        if self.broken == Broken::Cut {
            bytes.truncate(2);
        }
        bytes
    }

    /// The ICMP message.
    pub fn message(&self) -> Vec<u8> {
        let (mut rest, mut body) = (self.rest, self.quote.clone());
        if !self.objects.is_empty() {
            let extensions = self.extensions();
            // The length is counted in words of 4 bytes in ICMP, of 8 bytes in ICMPv6.
            let (word, place) = if self.source.is_ipv4() { (4, 1) } else { (8, 0) };
            if self.broken != Broken::LengthZero {
                let length = body.len().max(QUOTE_BEFORE_EXTENSIONS).next_multiple_of(word);
                // Old routers knew of no other place.
                let length =
                    if self.broken == Broken::OldStyle { QUOTE_BEFORE_EXTENSIONS } else { length };
                body.resize(length, 0);
                rest[place] = match self.broken {
                    Broken::OldStyle => 0,
                    Broken::LengthBeyond => 255,
                    _ => (length / word) as u8,
                };
            }
            body.extend(extensions);
        }
        let (source, destination) = (self.source, self.destination);
        let mut message = icmp_message(source, destination, self.kind, self.code, rest, &body);
        let sum = u16::from_be_bytes([message[2], message[3]]).wrapping_add(self.checksum_off);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    /// The IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let (source, destination) = (self.source, self.destination);
        packet::ip(source, destination, protocol(source), self.ttl, &self.message())
    }

    /// What a [`Responder`](crate::Responder) is to send.
    pub fn answers(&self) -> Vec<Answer> {
        let packet = self.packet();
        let times = (0..self.times).map(|time| Answer {
            hold: self.hold + self.gap * time,
            packet: packet.clone(),
            padding: 0,
        });
        times.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;

    fn errors() -> [IcmpError; 2] {
        [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")].map(|(one, two)| {
            let (one, two) = (one.parse().unwrap(), two.parse().unwrap());
            let body = echo::message(one, two, true, 7, 9, &[0x55; 32]);
            IcmpError::about(&packet::ip(one, two, protocol(one), 9, &body), 3, 1)
        })
    }

    #[test]
    fn extensions_are_where_they_are_said_to_be() {
        for (error, (word, place)) in errors().into_iter().zip([(4, 1), (8, 0)]) {
            let error = error.object(mpls(1000, 5, 3));
            let message = error.message();
            let length = usize::from(message[4 + place]) * word;
            assert_eq!(length, 128);
            let extensions = &message[8 + length..];
            assert_eq!((extensions.len(), extensions[0] >> 4), (12, 2));
            assert_eq!(checksum(&[extensions]), 0);
            assert_eq!(extensions[4..8], [0, 8, 1, 1]);
            assert_eq!(extensions[8..], (1000_u32 << 12 | 5 << 9 | 1 << 8 | 3).to_be_bytes());

            let of = |broken| error.clone().broken(broken).message();
            assert_eq!(of(Broken::OldStyle)[4 + place], 0);
            assert_eq!(of(Broken::OldStyle).len(), message.len());
            assert_eq!(of(Broken::LengthZero)[4 + place], 0);
            assert_eq!(of(Broken::LengthZero).len(), 8 + error.quote.len() + 12);
            assert!(usize::from(of(Broken::LengthBeyond)[4 + place]) * word > message.len());
            assert_ne!(of(Broken::Version)[8 + length] >> 4, 2);
            assert_eq!(checksum(&[&of(Broken::Version)[8 + length..]]), 0, "only the version");
            assert_ne!(checksum(&[&of(Broken::Checksum)[8 + length..]]), 0);
            for (broken, said) in [
                (Broken::ObjectZero, 0),
                (Broken::ObjectShort, 3),
                (Broken::ObjectOdd, 9),
                (Broken::ObjectBeyond, 0xfff0),
            ] {
                let message = of(broken);
                let object = &message[8 + length + 4..];
                assert_eq!(u16::from_be_bytes([object[0], object[1]]), said, "{broken:?}");
                assert_eq!(checksum(&[&message[8 + length..]]), 0, "{broken:?}");
            }
            assert_eq!(of(Broken::Cut).len(), 8 + length + 2);
        }
    }

    #[test]
    fn quotes_are_cut_and_grow_options() {
        let [four, six] = errors();
        assert_eq!(four.clone().quote_behind_header(8).quote.len(), 28);
        assert_eq!(six.quote_behind_header(8).quote.len(), 48);
        let long = four.inner_options(&[1; 40]);
        assert_eq!(Ip::parse(&long.quote).unwrap().header, 60);
        assert_eq!(checksum(&[&long.quote[..60]]), 0);
        assert_eq!(packet::payload_of(&long.quote).unwrap()[0], 8);
        assert_eq!(checksum(&[&long.message()]), 0);
    }
}
