//! What a capture has seen of each flow.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use netsonde_support::packet::{self, ICMP, ICMPV6, Ip, Seen, TCP, UDP};

use crate::echo::Echo;

/// An echo: who was asked, identifier, sequence number.
pub type EchoKey = (IpAddr, u16, u16);

/// A connection or an exchange of datagrams: this end, the other end.
pub type Flow = (SocketAddr, SocketAddr);

/// So many stray replies are kept.
const STRAYS: usize = 100_000;

/// The stamps of an echo, in the order of the wire. One that was used more than once has several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EchoMarks {
    /// When requests left.
    pub requests: Vec<SystemTime>,
    /// When replies came in, whatever else was wrong with them.
    pub replies: Vec<SystemTime>,
}

impl EchoMarks {
    /// From the first request to the first reply behind it.
    pub fn rtt(&self) -> Option<Duration> {
        let sent = *self.requests.first()?;
        self.replies.iter().find_map(|reply| reply.duration_since(sent).ok())
    }
}

/// The stamps of a TCP connection that this end opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpMarks {
    /// Each SYN that left.
    pub syns: Vec<SystemTime>,
    /// The first SYN-ACK.
    pub syn_ack: Option<SystemTime>,
    /// The first segment with data that left.
    pub first_out: Option<SystemTime>,
    /// The last segment with data that left.
    pub last_out: Option<SystemTime>,
    /// The first segment with data that came in.
    pub first_in: Option<SystemTime>,
    /// The last segment with data that came in.
    pub last_in: Option<SystemTime>,
    /// The first FIN that came in.
    pub fin_in: Option<SystemTime>,
    /// The first FIN that left.
    pub fin_out: Option<SystemTime>,
    /// The first RST, either way.
    pub reset: Option<SystemTime>,
}

impl TcpMarks {
    /// From the only SYN to its answer; `None` if there were several.
    pub fn rtt(&self) -> Option<Duration> {
        match self.syns[..] {
            [syn] => self.syn_ack?.duration_since(syn).ok(),
            _ => None,
        }
    }
}

/// The stamps of an exchange of datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpMarks {
    /// When datagrams left.
    pub sent: Vec<SystemTime>,
    /// When datagrams came in.
    pub received: Vec<SystemTime>,
}

/// An ICMP error that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorMark {
    /// When.
    pub at: SystemTime,
    /// Who says so.
    pub from: IpAddr,
    /// Type of the message.
    pub kind: u8,
    /// Code of the message.
    pub code: u8,
    /// Where the packet was going that it is about, identifier and sequence number, if that was an
    /// echo request.
    pub about: Option<EchoKey>,
}

/// What a capture has seen of each flow. Fragments are in none but are counted.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Echoes that this end has asked for.
    pub echoes: HashMap<EchoKey, EchoMarks>,
    /// TCP connections, by this end and the other.
    pub tcp: HashMap<Flow, TcpMarks>,
    /// Datagrams, by this end and the other.
    pub udp: HashMap<Flow, UdpMarks>,
    /// ICMP errors.
    pub errors: Vec<ErrorMark>,
    /// Replies to nothing that was asked before, such as forged ones: the first 100,000.
    pub strays: Vec<(EchoKey, SystemTime)>,
    /// How many of them there were.
    pub stray_count: u64,
    /// Frames that were looked at.
    pub frames: u64,
    /// Frames without a stamp of the kernel's, which then is that of reading.
    pub unstamped: u64,
}

impl Marks {
    /// From the first request with this identifier and sequence number to its first reply.
    pub fn echo_rtt(&self, id: u16, seq: u16, target: IpAddr) -> Option<Duration> {
        self.echoes.get(&(target, id, seq))?.rtt()
    }

    /// Notes a frame.
    pub fn note(&mut self, seen: &Seen<'_>) {
        self.frames += 1;
        self.unstamped += u64::from(seen.unstamped);
        // The order of the tests is that of how often they hold.
        if let Some(echo) = Echo::parse(seen.bytes) {
            self.note_echo(seen, &echo);
        } else {
            _ = self.note_other(seen);
        }
    }

    fn note_echo(&mut self, seen: &Seen<'_>, echo: &Echo<'_>) {
        if seen.outgoing && echo.is_request {
            let key = (echo.ip.destination, echo.id, echo.seq);
            self.echoes.entry(key).or_default().requests.push(seen.at);
        } else if !seen.outgoing && !echo.is_request {
            let key = (echo.ip.source, echo.id, echo.seq);
            if let Some(echo) = self.echoes.get_mut(&key) {
                echo.replies.push(seen.at);
                return;
            }
            // A flood of them must not take all memory.
            self.stray_count += 1;
            if self.strays.len() < STRAYS {
                self.strays.push((key, seen.at));
            }
        }
    }

    fn note_other(&mut self, seen: &Seen<'_>) -> Option<()> {
        let packet = packet::packet_of(seen.bytes)?;
        let ip = Ip::parse(packet)?;
        let body = packet::payload_of(packet)?;
        match ip.protocol {
            TCP => self.note_tcp(seen, &ip, body),
            UDP => {
                let marks = self.udp.entry(flow(seen, &ip, body)?).or_default();
                let times = if seen.outgoing { &mut marks.sent } else { &mut marks.received };
                times.push(seen.at);
                Some(())
            }
            ICMP | ICMPV6 if !seen.outgoing => self.note_error(seen, &ip, body),
            _ => None,
        }
    }

    fn note_tcp(&mut self, seen: &Seen<'_>, ip: &Ip, body: &[u8]) -> Option<()> {
        let flags = *body.get(13)?;
        let has_data = body.len() > usize::from(body.get(12)? >> 4) * 4;
        let marks = self.tcp.entry(flow(seen, ip, body)?).or_default();
        let (is_fin, is_syn, is_reset) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        if is_syn && seen.outgoing {
            marks.syns.push(seen.at);
        } else if is_syn {
            marks.syn_ack.get_or_insert(seen.at);
        }
        let (first, last, fin) = if seen.outgoing {
            (&mut marks.first_out, &mut marks.last_out, &mut marks.fin_out)
        } else {
            (&mut marks.first_in, &mut marks.last_in, &mut marks.fin_in)
        };
        if has_data {
            first.get_or_insert(seen.at);
            *last = Some(seen.at);
        }
        if is_fin {
            fin.get_or_insert(seen.at);
        }
        if is_reset {
            marks.reset.get_or_insert(seen.at);
        }
        Some(())
    }

    fn note_error(&mut self, seen: &Seen<'_>, ip: &Ip, body: &[u8]) -> Option<()> {
        let (kind, code) = (*body.first()?, *body.get(1)?);
        let is_error = match ip.protocol {
            ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
            _ => kind < 128,
        };
        let about = crate::program::echo_of(seen.bytes)
            .and_then(|(id, seq)| Some((Ip::parse(body.get(8..)?)?.destination, id, seq)));
        is_error.then(|| {
            self.errors.push(ErrorMark { at: seen.at, from: ip.source, kind, code, about });
        })
    }
}

/// The flow of a TCP segment or a datagram.
fn flow(seen: &Seen<'_>, ip: &Ip, body: &[u8]) -> Option<Flow> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let source = SocketAddr::new(ip.source, port(0)?);
    let destination = SocketAddr::new(ip.destination, port(2)?);
    Some(if seen.outgoing { (source, destination) } else { (destination, source) })
}

#[cfg(test)]
mod tests {
    use netsonde_support::packet::Tcp;

    use super::*;
    use crate::echo;

    const ONE: &str = "10.0.0.1";
    const TWO: &str = "10.0.0.2";

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn note(marks: &mut Marks, ms: u64, outgoing: bool, protocol: u8, body: &[u8]) {
        let (one, two) = (ONE.parse().unwrap(), TWO.parse().unwrap());
        let (source, destination) = if outgoing { (one, two) } else { (two, one) };
        let bytes =
            echo::frame([1; 6], [2; 6], &packet::ip(source, destination, protocol, 9, body));
        marks.note(&Seen { at: at(ms), unstamped: false, outgoing, bytes: &bytes });
    }

    #[test]
    fn echoes_are_paired_and_errors_find_them() {
        let (one, two) = (ONE.parse().unwrap(), TWO.parse().unwrap());
        let mut marks = Marks::default();
        let request = echo::message(one, two, true, 1, 2, b"");
        note(&mut marks, 10, true, ICMP, &request);
        assert_eq!(marks.echo_rtt(1, 2, two), None);
        note(&mut marks, 13, false, ICMP, &echo::message(two, one, false, 1, 2, b""));
        note(&mut marks, 14, false, ICMP, &echo::message(two, one, false, 1, 2, b""));
        assert_eq!(marks.echo_rtt(1, 2, two), Some(Duration::from_millis(3)));
        assert_eq!(marks.echoes[&(two, 1, 2)].replies.len(), 2);
        assert_eq!(marks.echo_rtt(1, 3, two), None);
        // A reply to nothing.
        note(&mut marks, 14, false, ICMP, &echo::message(two, one, false, 1, 9, b""));
        assert_eq!(
            (marks.strays[..].to_vec(), marks.stray_count),
            (vec![((two, 1, 9), at(14))], 1)
        );
        // Requests of the other side are none of ours.
        note(&mut marks, 15, false, ICMP, &echo::message(two, one, true, 1, 3, b""));
        assert_eq!(marks.echoes.len(), 1);
        let quote = packet::ip(one, two, ICMP, 1, &request);
        note(&mut marks, 16, false, ICMP, &packet::icmp(3, 13, [0; 4], &quote[..28]));
        let error = marks.errors[0];
        assert_eq!((error.kind, error.code, error.about), (3, 13, Some((two, 1, 2))));
        assert_eq!(marks.frames, 6);
    }

    #[test]
    fn connections_have_their_marks() {
        let (one, two) = (ONE.parse().unwrap(), TWO.parse().unwrap());
        let mut marks = Marks::default();
        let mut send = |ms, outgoing: bool, flags, payload: &[u8]| {
            let (source, destination) = if outgoing { (7000, 80) } else { (80, 7000) };
            let payload = payload.to_vec();
            let tcp = Tcp { source, destination, flags, payload, ..Tcp::default() };
            note(&mut marks, ms, outgoing, TCP, &tcp.bytes(one, two));
        };
        send(1, true, Tcp::SYN, b"");
        send(5, false, Tcp::SYN | Tcp::ACK, b"");
        send(6, true, Tcp::ACK, b"request");
        send(9, false, Tcp::ACK, b"re");
        send(11, false, Tcp::ACK | Tcp::FIN, b"ply");
        let flow = (SocketAddr::new(one, 7000), SocketAddr::new(two, 80));
        let seen = &marks.tcp[&flow];
        assert_eq!(seen.rtt(), Some(Duration::from_millis(4)));
        assert_eq!((seen.first_out, seen.last_out), (Some(at(6)), Some(at(6))));
        assert_eq!((seen.first_in, seen.last_in), (Some(at(9)), Some(at(11))));
        assert_eq!((seen.fin_in, seen.fin_out, seen.reset), (Some(at(11)), None, None));
        note(&mut marks, 20, true, UDP, &[0, 53, 0, 54, 0, 8, 0, 0]);
        note(&mut marks, 22, false, UDP, &[0, 54, 0, 53, 0, 8, 0, 0]);
        let flow = (SocketAddr::new(one, 53), SocketAddr::new(two, 54));
        assert_eq!(marks.udp[&flow], UdpMarks { sent: vec![at(20)], received: vec![at(22)] });
    }
}
