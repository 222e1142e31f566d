//! Echo replies, right and wrong.

use std::net::IpAddr;
use std::time::Duration;

use netsonde_support::packet::{self, ICMPV6, checksum};

use crate::echo::{Echo, icmp_message, protocol};
use crate::responder::Answer;

/// A reply to an echo request, right in all respects until a field is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// Type of the message: 0 or 129 is right.
    pub kind: u8,
    /// Code of the message.
    pub code: u8,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// IPv4 options, a multiple of four bytes up to 40.
    pub options: Vec<u8>,
    /// IPv6 extension headers before the message: 0 for hop-by-hop options, 60 for destination
    /// options, each with padding alone in it (RFC 8200, 4.2).
    pub extension_headers: Vec<u8>,
    /// What the checksum is off by.
    pub checksum_off: u16,
    /// Where the ICMP message ends early, as in "after 7 bytes".
    pub message_length: Option<usize>,
    /// How it is cut into fragments.
    pub fragments: Option<Fragments>,
    /// How long after the request.
    pub hold: Duration,
    /// How often it is sent.
    pub times: u32,
    /// Between any two times.
    pub gap: Duration,
    /// Zeros behind the packet.
    pub padding: usize,
}

/// How a message is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragments {
    /// Bytes of the message in each but the last: a multiple of 8.
    pub size: usize,
    /// Whether the last one comes first.
    #[serde(default)]
    pub reversed: bool,
    /// Whether the last one never comes.
    #[serde(default)]
    pub last_lost: bool,
    /// Whether each but the first begins eight bytes early, so that it overlaps with the one before.
    #[serde(default)]
    pub overlapping: bool,
    /// Whether what overlaps says something else than what is there already.
    #[serde(default)]
    pub conflicting: bool,
}

impl Reply {
    /// The right reply.
    pub fn to(echo: &Echo<'_>) -> Self {
        Self {
            source: echo.ip.destination,
            destination: echo.ip.source,
            kind: if echo.ip.source.is_ipv4() { 0 } else { 129 },
            code: 0,
            id: echo.id,
            seq: echo.seq,
            payload: echo.payload.to_vec(),
            ttl: 64,
            tos: 0,
            options: Vec::new(),
            extension_headers: Vec::new(),
            checksum_off: 0,
            message_length: None,
            fragments: None,
            hold: Duration::ZERO,
            times: 1,
            gap: Duration::ZERO,
            padding: 0,
        }
    }

    /// After so long.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// From somewhere else.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = source;
        self
    }

    /// So often, with a gap between any two.
    #[must_use]
    pub fn times(mut self, times: u32, gap: Duration) -> Self {
        (self.times, self.gap) = (times, gap);
        self
    }

    /// The payload cut to so many bytes, or made as long with zeros.
    #[must_use]
    pub fn payload_length(mut self, length: usize) -> Self {
        self.payload.resize(length, 0);
        self
    }

    /// One bit of the payload flipped, the checksum right nevertheless. A payload that has no such bit
    /// stays as it is.
    #[must_use]
    pub fn flip(mut self, bit: usize) -> Self {
        if let Some(byte) = self.payload.get_mut(bit / 8) {
            *byte ^= 0x80 >> (bit % 8);
        }
        self
    }

    /// The ICMP message.
    pub fn message(&self) -> Vec<u8> {
        let (id, seq) = (self.id.to_be_bytes(), self.seq.to_be_bytes());
        let rest = [id[0], id[1], seq[0], seq[1]];
        let (source, destination) = (self.source, self.destination);
        let mut message =
            icmp_message(source, destination, self.kind, self.code, rest, &self.payload);
        if self.checksum_off != 0 {
            let sum = u16::from_be_bytes([message[2], message[3]]).wrapping_add(self.checksum_off);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        message.truncate(self.message_length.unwrap_or(usize::MAX));
        message
    }

    /// The IP packet, or its fragments.
    ///
    /// # Panics
    ///
    /// It is longer than a packet can be, its options are, or its fragments are no multiple of 8.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let message = self.message();
        let Some(cut) = self.fragments else { return vec![self.packet(&message, None)] };
        assert!(cut.size > 0 && cut.size.is_multiple_of(8), "fragments of a multiple of 8 bytes");
        let mut pieces = Vec::new();
        for (place, piece) in message.chunks(cut.size).enumerate() {
            let start = place * cut.size;
            let begin = if cut.overlapping && place > 0 { start - 8 } else { start };
            let more = start + piece.len() < message.len();
            let mut piece = message[begin..start + piece.len()].to_vec();
            if cut.conflicting && begin < start {
                piece[..8].iter_mut().for_each(|byte| *byte = !*byte);
            }
            pieces.push(self.packet(&piece, Some((begin, more))));
        }
        if cut.last_lost {
            pieces.pop();
        }
        if cut.reversed {
            pieces.reverse();
        }
        pieces
    }

    /// One packet; with an offset and whether more follow, a fragment.
    fn packet(&self, body: &[u8], fragment: Option<(usize, bool)>) -> Vec<u8> {
        // Any will do, as long as it is the same for all of a message's.
        let identification = self.seq ^ 0x5a5a;
        if self.source.is_ipv4() {
            let mut packet =
                packet::ip(self.source, self.destination, protocol(self.source), self.ttl, &[]);
            assert!(self.options.len() <= 40 && self.options.len().is_multiple_of(4), "options");
            packet.extend(&self.options);
            let length = u16::try_from(packet.len() + body.len()).expect("at most 65,535 bytes");
            packet[0] = 0x40 | (packet.len() / 4) as u8;
            packet[1] = self.tos;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            if let Some((offset, more)) = fragment {
                packet[4..6].copy_from_slice(&identification.to_be_bytes());
                let word = (offset / 8) as u16 | u16::from(more) << 13;
                packet[6..8].copy_from_slice(&word.to_be_bytes());
            }
            packet[10..12].fill(0);
            let sum = checksum(&[&packet]).to_be_bytes();
            packet[10..12].copy_from_slice(&sum);
            packet.extend(body);
            return packet;
        }
        let mut kinds = self.extension_headers.clone();
        if fragment.is_some() {
            kinds.push(44);
        }
        let mut headers = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            let next = kinds.get(place + 1).copied().unwrap_or(ICMPV6);
            match (kind, fragment) {
                (44, Some((offset, more))) => {
                    let word = (offset as u16 & !7) | u16::from(more);
                    headers.extend([next, 0]);
                    headers.extend(word.to_be_bytes());
                    headers.extend([0, 0]);
                    headers.extend(identification.to_be_bytes());
                }
                // PadN over the rest of the eight bytes.
                _ => headers.extend([next, 0, 1, 4, 0, 0, 0, 0]),
            }
        }
        headers.extend(body);
        let first = kinds.first().copied().unwrap_or(ICMPV6);
        let mut packet = packet::ip(self.source, self.destination, first, self.ttl, &headers);
        packet[0] |= self.tos >> 4;
        packet[1] |= self.tos << 4;
        packet
    }

    /// What a [`Responder`](crate::Responder) is to send.
    ///
    /// # Panics
    ///
    /// As [`Reply::packets`].
    pub fn answers(&self) -> Vec<Answer> {
        let packets = self.packets();
        let times = (0..self.times).flat_map(|time| {
            let (hold, padding) = (self.hold + self.gap * time, self.padding);
            packets.iter().cloned().map(move |packet| Answer { hold, packet, padding })
        });
        times.collect()
    }
}

#[cfg(test)]
mod tests {
    use netsonde_support::packet::{Ip, payload_of, transport_checksum};

    use super::*;
    use crate::echo;

    fn replies() -> Vec<Reply> {
        let pairs = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")];
        let reply = |(one, two): (&str, &str)| {
            let (one, two) = (one.parse().unwrap(), two.parse().unwrap());
            let body = echo::message(one, two, true, 7, 9, &[0x55; 40]);
            let frame = echo::frame([1; 6], [2; 6], &packet::ip(one, two, protocol(one), 9, &body));
            Reply::to(&Echo::parse(&frame).unwrap())
        };
        pairs.map(reply).to_vec()
    }

    fn parse(packet: &[u8]) -> Option<(u16, u16, usize)> {
        let frame = echo::frame([1; 6], [2; 6], packet);
        Echo::parse(&frame).map(|echo| (echo.id, echo.seq, echo.payload.len()))
    }

    #[test]
    fn right_ones_and_wrong_ones() {
        for reply in replies() {
            let packets = reply.packets();
            assert_eq!(packets.len(), 1);
            assert_eq!(parse(&packets[0]), Some((7, 9, 40)));
            let message = payload_of(&packets[0]).unwrap();
            let sum = |message: &[u8]| {
                if reply.source.is_ipv4() {
                    checksum(&[message])
                } else {
                    transport_checksum(reply.source, reply.destination, ICMPV6, message)
                }
            };
            assert_eq!(sum(message), 0);
            let wrong = Reply { checksum_off: 1, ..reply.clone() };
            assert_ne!(sum(&wrong.message()), 0);
            let flipped = reply.clone().flip(0);
            assert_eq!((sum(&flipped.message()), flipped.payload[0]), (0, 0xd5));
            assert_eq!(parse(&reply.clone().payload_length(3).packets()[0]), Some((7, 9, 3)));
            let short = Reply { message_length: Some(5), ..reply.clone() };
            assert_eq!(payload_of(&short.packets()[0]).unwrap().len(), 5);
            assert_eq!(reply.clone().times(3, Duration::from_millis(1)).answers().len(), 3);
        }
    }

    #[test]
    fn options_and_extension_headers() {
        let [four, six] = <[Reply; 2]>::try_from(replies()).unwrap();
        let long = Reply { options: vec![1; 40], tos: 0xb8, ..four };
        let packet = &long.packets()[0];
        assert_eq!((Ip::parse(packet).unwrap().header, packet[1]), (60, 0xb8));
        assert_eq!((checksum(&[&packet[..60]]), parse(packet)), (0, Some((7, 9, 40))));
        let long = Reply { extension_headers: vec![0, 60], tos: 0xb8, ..six };
        let packet = &long.packets()[0];
        assert_eq!((packet[0], packet[1], packet[6]), (0x6b, 0x80, 0));
        assert_eq!((packet[40], packet[48]), (60, ICMPV6));
    }

    #[test]
    fn fragments_are_pieces_of_the_message() {
        for reply in replies() {
            let header = if reply.source.is_ipv4() { 20 } else { 48 };
            let cut = Fragments { size: 16, ..Fragments::default() };
            let pieces = |cut| Reply { fragments: Some(cut), ..reply.clone() }.packets();
            let whole: Vec<u8> =
                pieces(cut).iter().flat_map(|piece| piece[header..].to_vec()).collect();
            assert_eq!((pieces(cut).len(), whole), (3, reply.message()));
            assert_eq!(pieces(Fragments { last_lost: true, ..cut }).len(), 2);
            let mut backwards = pieces(Fragments { reversed: true, ..cut });
            backwards.reverse();
            assert_eq!(backwards, pieces(cut));
            let overlapping = pieces(Fragments { overlapping: true, ..cut });
            assert_eq!(overlapping[1].len(), header + 24);
            assert_eq!(overlapping[1][header..header + 8], overlapping[0][header + 8..]);
            let conflicting = pieces(Fragments { overlapping: true, conflicting: true, ..cut });
            let other: Vec<u8> = overlapping[0][header + 8..].iter().map(|byte| !byte).collect();
            assert_eq!(conflicting[1][header..header + 8], other);
            assert_eq!(conflicting[1][header + 8..], overlapping[1][header + 8..]);
        }
    }
}
