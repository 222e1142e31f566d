//! Programs that keep packets of others from waking us (classic BPF, `SO_ATTACH_FILTER` of socket(7)).
//!
//! A filter is not what is relied upon: everything that passes is checked again.

use socket2::SockFilter;

// The instructions that are used here (linux/filter.h).
const LDB_ABS: u16 = 0x30;
const LDH_ABS: u16 = 0x28;
const LDB_IND: u16 = 0x50;
const LDH_IND: u16 = 0x48;
/// X becomes four times the lower half of a byte: the length of an IPv4 header.
const LDX_MSH: u16 = 0xb1;
const AND: u16 = 0x54;
const LSH: u16 = 0x64;
const ADD_X: u16 = 0x0c;
const TAX: u16 = 0x07;
const JEQ: u16 = 0x15;
const RET: u16 = 0x06;

/// Where a jump goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Yes,
    No,
    Error,
}

#[derive(Default)]
struct Program {
    lines: Vec<(u16, u32, To, To)>,
    /// Where errors are looked at.
    error: usize,
}

impl Program {
    fn then(&mut self, code: u16, value: u32) {
        self.lines.push((code, value, To::Next, To::Next));
    }

    /// Goes on in one way or the other, depending on what was loaded last.
    fn check(&mut self, value: u32, yes: To, no: To) {
        self.lines.push((JEQ, value, yes, no));
    }

    fn errors_from_here(&mut self) {
        self.error = self.lines.len();
    }

    /// Lets through what was loaded last if it is one of these, of which there must not be more than a
    /// jump can pass over: 255 lines.
    fn one_of(&mut self, values: &[u16]) {
        for (place, value) in values.iter().enumerate() {
            let no = if place + 1 == values.len() { To::No } else { To::Next };
            self.check((*value).into(), To::Yes, no);
        }
    }

    /// The last two lines are the two ends.
    fn finish(self) -> Vec<SockFilter> {
        let Program { lines, error } = self;
        let yes = lines.len();
        let line = |(at, &(code, value, yes_to, no_to)): (usize, &(u16, u32, To, To))| {
            let step = |to| {
                let to = match to {
                    To::Next => at + 1,
                    To::Yes => yes,
                    To::No => yes + 1,
                    To::Error => error,
                };
                // Counted from the next line.
                u8::try_from(to.saturating_sub(at + 1)).unwrap_or(u8::MAX)
            };
            SockFilter::new(code, step(yes_to), step(no_to), value)
        };
        let mut program: Vec<_> = lines.iter().enumerate().map(line).collect();
        program.push(SockFilter::new(RET, 0, 0, u32::MAX));
        program.push(SockFilter::new(RET, 0, 0, 0));
        program
    }
}

/// Lets nothing through.
pub(in crate::io) fn nothing() -> [SockFilter; 1] {
    [SockFilter::new(RET, 0, 0, 0)]
}

/// For a packet socket: whatever is ICMP or ICMPv6. Packets begin with their IP header.
pub(in crate::io) fn icmp() -> Vec<SockFilter> {
    let mut program = Program::default();
    program.then(LDB_ABS, 0);
    program.then(AND, 0xf0);
    program.check(0x60, To::Error, To::Next);
    program.check(0x40, To::Next, To::No);
    program.then(LDB_ABS, 9);
    program.check(1, To::Yes, To::No);
    // Not errors here, but IPv6.
    program.errors_from_here();
    program.then(LDB_ABS, 6);
    program.check(58, To::Yes, To::No);
    program.finish()
}

/// For a raw ICMP or ICMPv6 socket: echo replies whose identifier is ours, and errors about echo requests
/// whose identifier is. Ours are those that are `base` under `mask`. A packet too short to tell is not
/// let through.
pub(in crate::io) fn echo(v6: bool, base: u16, mask: u16) -> Vec<SockFilter> {
    if v6 { echo_v6(base, mask) } else { echo_v4(base, mask) }
}

/// Packets begin with their IP header, whose length varies, as does that of the quoted one.
fn echo_v4(base: u16, mask: u16) -> Vec<SockFilter> {
    let (base, mask) = (u32::from(base & mask), u32::from(mask));
    let mut program = Program::default();
    program.then(LDX_MSH, 0);
    program.then(LDB_IND, 0);
    for error in [3, 4, 5, 11, 12] {
        program.check(error, To::Error, To::Next);
    }
    program.check(0, To::Next, To::No);
    program.then(LDH_IND, 4);
    program.then(AND, mask);
    program.check(base, To::Yes, To::No);

    program.errors_from_here();
    // The quoted packet begins eight bytes behind the ICMP header; the protocol is its tenth byte.
    program.then(LDB_IND, 8 + 9);
    program.check(1, To::Next, To::No);
    program.then(LDB_IND, 8);
    program.then(AND, 0xf);
    program.then(LSH, 2);
    program.then(ADD_X, 0);
    program.then(TAX, 0);
    program.then(LDH_IND, 8 + 4);
    program.then(AND, mask);
    program.check(base, To::Yes, To::No);
    program.finish()
}

/// Packets begin with the ICMPv6 header. A quoted packet with extension headers is let through unseen.
fn echo_v6(base: u16, mask: u16) -> Vec<SockFilter> {
    const ICMPV6: u32 = 58;
    let (base, mask) = (u32::from(base & mask), u32::from(mask));
    let mut program = Program::default();
    program.then(LDB_ABS, 0);
    for error in [1, 2, 3, 4] {
        program.check(error, To::Error, To::Next);
    }
    program.check(129, To::Next, To::No);
    program.then(LDH_ABS, 4);
    program.then(AND, mask);
    program.check(base, To::Yes, To::No);

    program.errors_from_here();
    program.then(LDB_ABS, 8 + 6);
    // Hop-by-hop, routing, fragment, destination options, authentication.
    for extension in [0, 43, 44, 60, 51] {
        program.check(extension, To::Yes, To::Next);
    }
    program.check(ICMPV6, To::Next, To::No);
    program.then(LDH_ABS, 8 + 40 + 4);
    program.then(AND, mask);
    program.check(base, To::Yes, To::No);
    program.finish()
}

/// For a raw ICMP or ICMPv6 socket: errors about packets of this protocol, UDP or TCP, that came from one of
/// these ports. A packet too short to tell is not let through; a quoted IPv6 packet with extension headers
/// is, unseen.
pub(in crate::io) fn errors_about(v6: bool, protocol: u8, ports: &[u16]) -> Vec<SockFilter> {
    let mut program = Program::default();
    let kinds: &[u32] = if v6 { &[1, 2, 3, 4] } else { &[3, 11, 12] };
    if !v6 {
        program.then(LDX_MSH, 0);
    }
    program.then(if v6 { LDB_ABS } else { LDB_IND }, 0);
    for kind in kinds {
        let no = if kinds.last() == Some(kind) { To::No } else { To::Next };
        program.check(*kind, To::Error, no);
    }
    program.errors_from_here();
    if v6 {
        program.then(LDB_ABS, 8 + 6);
        for extension in [0, 43, 44, 60, 51] {
            program.check(extension, To::Yes, To::Next);
        }
        program.check(protocol.into(), To::Next, To::No);
        program.then(LDH_ABS, 8 + 40);
    } else {
        program.then(LDB_IND, 8 + 9);
        program.check(protocol.into(), To::Next, To::No);
        program.then(LDB_IND, 8);
        program.then(AND, 0xf);
        program.then(LSH, 2);
        program.then(ADD_X, 0);
        program.then(TAX, 0);
        program.then(LDH_IND, 8);
    }
    program.one_of(ports);
    program.finish()
}

/// For a raw TCP socket: segments from this port to one of ours that open or reset a connection.
pub(in crate::io) fn handshakes(v6: bool, from: u16, to: &[u16]) -> Vec<SockFilter> {
    let mut program = Program::default();
    // Only in IPv4 packets begin with their IP header. Elsewhere X is zero, as every program starts.
    if !v6 {
        program.then(LDX_MSH, 0);
    }
    program.then(LDB_IND, 13);
    // SYN and RST.
    program.then(AND, 0x06);
    program.check(0, To::No, To::Next);
    program.then(LDH_IND, 0);
    program.check(from.into(), To::Next, To::No);
    program.then(LDH_IND, 2);
    program.one_of(to);
    program.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn passes(v6: bool, packet: &[u8]) -> bool {
        lets(&echo(v6, 0x4040, 0xffc0), packet)
    }

    /// Any socket runs the program alike; one of a pair needs no rights.
    fn lets(filter: &[SockFilter], packet: &[u8]) -> bool {
        let (mut near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        near.attach_filter(filter).unwrap();
        near.set_nonblocking(true).unwrap();
        // A datagram that does not pass is refused to its sender.
        let _ = far.send(packet);
        let mut buffer = [0; 2048];
        near.read(&mut buffer).is_ok_and(|len| len == packet.len())
    }

    #[test]
    fn a_capture_sees_icmp_of_both_families_and_nothing_else() {
        let packet = |first: u8, v4: u8, v6: u8| {
            let mut packet = [0; 40];
            (packet[0], packet[9], packet[6]) = (first, v4, v6);
            lets(&icmp(), &packet)
        };
        assert!(packet(0x45, 1, 0) && packet(0x4f, 1, 0) && packet(0x60, 0, 58));
        assert!(!packet(0x45, 6, 58) && !packet(0x60, 1, 6) && !packet(0x00, 1, 58));
        assert!(!lets(&icmp(), &[0x45]));
    }

    fn reply(v6: bool, kind: u8, id: u16) -> Vec<u8> {
        let ip: &[u8] = if v6 { &[] } else { &[0x45; 20] };
        [ip, &[kind, 0, 0, 0], &id.to_be_bytes(), &[0, 9, 1, 2, 3]].concat()
    }

    fn error(v6: bool, kind: u8, protocol: u8, id: u16, inner_words: u8) -> Vec<u8> {
        let mut inner = vec![0; if v6 { 40 } else { usize::from(inner_words) * 4 }];
        inner[if v6 { 6 } else { 9 }] = protocol;
        inner[0] = if v6 { 0x60 } else { 0x40 | inner_words };
        let ip: &[u8] = if v6 { &[] } else { &[0x4f; 60] };
        [ip, &[kind, 0, 0, 0, 0, 0, 0, 0], &inner, &[8, 0, 0, 0], &id.to_be_bytes(), &[0, 1]]
            .concat()
    }

    #[test]
    fn only_our_replies_pass() {
        for (v6, kind) in [(false, 0), (true, 129)] {
            for id in [0x4040, 0x4041, 0x407f] {
                assert!(passes(v6, &reply(v6, kind, id)), "{v6} {id:x}");
            }
            for id in [0x403f, 0x4080, 0] {
                assert!(!passes(v6, &reply(v6, kind, id)), "{v6} {id:x}");
            }
            // Requests, timestamps, neighbour discovery.
            for other in [8, 13, 14, 128, 134, 135, 136] {
                assert!(!passes(v6, &reply(v6, other, 0x4040)), "{v6} {other}");
            }
            let whole = reply(v6, kind, 0x4040);
            let cut = if v6 { 5 } else { 25 };
            assert!((1..=cut).all(|len| !passes(v6, &whole[..len])));
        }
    }

    #[test]
    fn only_errors_about_our_requests_pass() {
        for words in [5, 6, 15] {
            for kind in [3, 4, 5, 11, 12] {
                assert!(passes(false, &error(false, kind, 1, 0x4050, words)), "{kind} {words}");
                assert!(!passes(false, &error(false, kind, 1, 0x4080, words)), "{kind} {words}");
                assert!(!passes(false, &error(false, kind, 17, 0x4050, words)), "{kind} {words}");
            }
        }
        for kind in [1, 2, 3, 4] {
            assert!(passes(true, &error(true, kind, 58, 0x4050, 0)));
            assert!(!passes(true, &error(true, kind, 58, 0x4080, 0)));
            assert!(!passes(true, &error(true, kind, 17, 0x4050, 0)));
            assert!(
                passes(true, &error(true, kind, 44, 0, 0)),
                "extension headers are for the parser"
            );
        }
    }

    #[test]
    fn only_errors_about_our_ports_pass() {
        let ports: Vec<u16> = (0..64).map(|n| 40_000 + 3 * n).collect();
        for v6 in [false, true] {
            let kinds: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 11, 12] };
            let filter = errors_about(v6, 17, &ports);
            // In these packets the source port is where the type stands.
            let about = |kind, protocol, words, port: u16| {
                let mut packet = error(v6, kind, protocol, 0, words);
                let at = packet.len() - 8;
                packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
                packet
            };
            for kind in kinds {
                for words in [5, 15] {
                    assert!(lets(&filter, &about(*kind, 17, words, 40_000)));
                    assert!(lets(&filter, &about(*kind, 17, words, 40_189)));
                    assert!(!lets(&filter, &about(*kind, 17, words, 40_001)));
                    assert!(!lets(&filter, &about(*kind, 6, words, 40_000)));
                }
            }
            assert!(!lets(&filter, &about(0, 17, 5, 40_000)));
            let whole = about(3, 17, 5, 40_000);
            assert!((1..whole.len() - 7).all(|len| !lets(&filter, &whole[..len])));
        }
    }

    #[test]
    fn only_what_opens_or_resets_our_connections_passes() {
        for v6 in [false, true] {
            let filter = handshakes(v6, 443, &[50_000, 50_001]);
            let segment = |from: u16, to: u16, flags: u8| {
                let ip: &[u8] = if v6 { &[] } else { &[0x46; 24] };
                let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
                [ip, &ports, &[0; 9], &[flags], &[0; 6]].concat()
            };
            for flags in [0x12, 0x14, 0x04] {
                assert!(lets(&filter, &segment(443, 50_001, flags)), "{flags:x}");
                assert!(!lets(&filter, &segment(80, 50_001, flags)));
                assert!(!lets(&filter, &segment(443, 50_002, flags)));
            }
            for flags in [0x10, 0x11, 0x18] {
                assert!(!lets(&filter, &segment(443, 50_001, flags)), "{flags:x}");
            }
        }
    }
}
