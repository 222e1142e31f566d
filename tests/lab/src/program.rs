//! What a delay line does to the packets of one direction.

use std::fmt;
use std::time::{Duration, SystemTime};

use netsonde_support::packet::{self, ICMP, ICMPV6, Ip, TCP, UDP};
use serde::Deserialize;

use crate::echo::Echo;
use crate::set::{Set, mix};

/// Which packets have a number. The others are delayed, and nothing else happens to them; ARP and
/// neighbour discovery pass at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Echo requests and replies.
    Echo,
    /// Every IP packet but those of neighbour discovery.
    #[default]
    Ip,
    /// TCP segments.
    Tcp,
    /// UDP datagrams.
    Udp,
}

/// What happens to the packets of one direction, as a file can say it. Times are in microseconds.
///
/// Packets are numbered from 0 in their order of arrival, each direction by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How long every packet is held.
    pub delay_us: u64,
    /// At most this is added, evenly spread, as the seed and the number of the packet have it.
    pub jitter_us: u64,
    /// The seed of the jitter.
    pub seed: u64,
    /// Which packets have a number.
    pub number: Subject,
    /// Lost.
    pub lose: Set,
    /// Come more than once.
    pub duplicate: Vec<Duplicate>,
    /// Held longer, so that others overtake them.
    pub late: Vec<Late>,
    /// Come with other bits.
    pub corrupt: Vec<Corrupt>,
}

/// Packets that come more than once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicate {
    /// Which.
    pub packets: Set,
    /// Copies beyond the first.
    #[serde(default = "one")]
    pub copies: u32,
    /// Between any two of them.
    #[serde(default)]
    pub gap_us: u64,
}

fn one() -> u32 {
    1
}

/// Packets that are held longer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Late {
    /// Which.
    pub packets: Set,
    /// By how much.
    pub by_us: u64,
}

/// Packets with other bits. No checksum is mended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrupt {
    /// Which.
    pub packets: Set,
    /// Which byte, counted from the first one behind the IP header; from the last one if negative.
    pub byte: i64,
    /// What is flipped in it.
    pub bits: u8,
}

/// A packet on its way through.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Its number.
    pub number: u64,
    /// When it came in, by the kernel's stamp.
    pub at: SystemTime,
    /// The whole frame.
    pub frame: &'a [u8],
}

/// What becomes of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// How long it is held.
    pub hold: Duration,
    /// When copies follow, counted like `hold`.
    pub copies: Vec<Duration>,
    /// What is sent instead of it: a whole frame.
    pub frame: Option<Vec<u8>>,
    /// Whether it is lost, copies and all.
    pub is_lost: bool,
}

type Script = Box<dyn FnMut(Passing<'_>, &mut Passage) + Send>;
type Numbering = Box<dyn FnMut(&[u8]) -> Option<u64> + Send>;

/// What a delay line does to the packets of one direction: [`Rules`], and code where they do not
/// suffice.
///
/// ```
/// use std::time::Duration;
/// use netsonde_lab::Program;
///
/// let ten_ms = Duration::from_millis(10);
/// let program = Program::delay(ten_ms).lose([3, 5]).script(|passing, passage| {
///     // The last packet takes twice as long.
///     if passing.number == 99 {
///         passage.hold *= 2;
///     }
/// });
/// # drop(program);
/// ```
#[derive(Default)]
pub struct Program {
    rules: Rules,
    script: Option<Script>,
    numbering: Option<Numbering>,
    next: u64,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl From<Rules> for Program {
    fn from(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Program {
    /// Holds every packet for so long, in whole microseconds.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Rules { delay_us: micros(delay), ..Rules::default() }.into()
    }

    /// Adds up to so much, as the seed has it.
    #[must_use]
    pub fn jitter(mut self, most: Duration, seed: u64) -> Self {
        (self.rules.jitter_us, self.rules.seed) = (micros(most), seed);
        self
    }

    /// Which packets have numbers.
    #[must_use]
    pub fn number(mut self, subject: Subject) -> Self {
        self.rules.number = subject;
        self
    }

    /// Takes the number of a packet from the packet itself; one that has none is delayed only. The
    /// closure sees the whole frame.
    #[must_use]
    pub fn number_by(
        mut self,
        numbering: impl FnMut(&[u8]) -> Option<u64> + Send + 'static,
    ) -> Self {
        self.numbering = Some(Box::new(numbering));
        self
    }

    /// Loses these packets.
    #[must_use]
    pub fn lose(mut self, packets: impl IntoIterator<Item = u64>) -> Self {
        self.rules.lose = packets.into_iter().collect();
        self
    }

    /// Sends so many copies of these packets, with a gap between any two.
    #[must_use]
    pub fn duplicate(mut self, packets: Set, copies: u32, gap: Duration) -> Self {
        self.rules.duplicate.push(Duplicate { packets, copies, gap_us: micros(gap) });
        self
    }

    /// Holds these packets longer.
    #[must_use]
    pub fn late(mut self, packets: Set, by: Duration) -> Self {
        self.rules.late.push(Late { packets, by_us: micros(by) });
        self
    }

    /// Flips bits of a byte of these packets: see [`Corrupt`].
    #[must_use]
    pub fn corrupt(mut self, packets: Set, byte: i64, bits: u8) -> Self {
        self.rules.corrupt.push(Corrupt { packets, byte, bits });
        self
    }

    /// Has the last word on each packet that has a number.
    #[must_use]
    pub fn script(
        mut self,
        script: impl FnMut(Passing<'_>, &mut Passage) + Send + 'static,
    ) -> Self {
        self.script = Some(Box::new(script));
        self
    }

    /// The number of a packet, if it has one.
    fn number_of(&mut self, frame: &[u8]) -> Option<u64> {
        if let Some(numbering) = &mut self.numbering {
            return numbering(frame);
        }
        let ip = Ip::parse(packet::packet_of(frame)?)?;
        let counts = match self.rules.number {
            Subject::Ip => true,
            Subject::Echo => Echo::parse(frame).is_some(),
            Subject::Tcp => ip.protocol == TCP,
            Subject::Udp => ip.protocol == UDP,
        };
        counts.then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// The number of a packet, and what becomes of it.
    pub(crate) fn judge(&mut self, at: SystemTime, frame: &[u8]) -> (Option<u64>, Passage) {
        if is_resolution(frame) {
            return (None, Passage::default());
        }
        let hold = Duration::from_micros(self.rules.delay_us);
        let mut passage = Passage { hold, ..Passage::default() };
        let Some(number) = self.number_of(frame) else { return (None, passage) };
        let rules = &self.rules;
        if rules.jitter_us > 0 {
            let more = mix(rules.seed, number) % (rules.jitter_us + 1);
            passage.hold += Duration::from_micros(more);
        }
        for late in rules.late.iter().filter(|late| late.packets.contains(number)) {
            passage.hold += Duration::from_micros(late.by_us);
        }
        for rule in rules.duplicate.iter().filter(|rule| rule.packets.contains(number)) {
            let gap = Duration::from_micros(rule.gap_us);
            passage.copies.extend((1..=rule.copies).map(|copy| passage.hold + gap * copy));
        }
        for rule in rules.corrupt.iter().filter(|rule| rule.packets.contains(number)) {
            let bytes = passage.frame.get_or_insert_with(|| frame.to_vec());
            flip(bytes, rule.byte, rule.bits);
        }
        passage.is_lost = rules.lose.contains(number);
        if let Some(script) = &mut self.script {
            script(Passing { number, at, frame }, &mut passage);
        }
        (Some(number), passage)
    }
}

/// Whether a frame only finds out who has an address: ARP, neighbour discovery, MLD.
fn is_resolution(frame: &[u8]) -> bool {
    let Some(packet) = packet::packet_of(frame) else { return true };
    let Some(ip) = Ip::parse(packet) else { return true };
    let is_about_groups = ip.destination.is_multicast() && ip.protocol == 0;
    let kind = packet.get(ip.header).copied().unwrap_or(0);
    is_about_groups || (ip.protocol == ICMPV6 && (130..=143).contains(&kind))
}

/// Flips bits of a byte behind the IP header, or counted from the end of the packet. A packet that has
/// no such byte stays as it is.
fn flip(frame: &mut [u8], byte: i64, bits: u8) {
    let Some(packet) = packet::packet_of(frame) else { return };
    let Some(ip) = Ip::parse(packet) else { return };
    let Some(payload) = packet::payload_of(packet) else { return };
    let start = frame.len() - packet.len() + ip.header;
    let end = start + payload.len();
    let base = if byte < 0 { end } else { start };
    let place = i64::try_from(base).ok().and_then(|base| base.checked_add(byte));
    let place = place.and_then(|place| usize::try_from(place).ok());
    if let Some(place) = place.filter(|place| (start..end).contains(place)) {
        frame[place] ^= bits;
    }
}

/// The identifier and sequence number of an echo, or of the one that an ICMP error is about.
pub(crate) fn echo_of(frame: &[u8]) -> Option<(u16, u16)> {
    if let Some(echo) = Echo::parse(frame) {
        return Some((echo.id, echo.seq));
    }
    let packet = packet::packet_of(frame)?;
    let ip = Ip::parse(packet)?;
    let body = packet::payload_of(packet)?;
    let is_error = match ip.protocol {
        ICMP => matches!(body.first()?, 3 | 4 | 5 | 11 | 12),
        ICMPV6 => *body.first()? < 128,
        _ => false,
    };
    let quote = body.get(8..).filter(|_| is_error)?;
    let inner = Ip::parse(quote)?;
    let echo = quote.get(inner.header..inner.header + 8)?;
    matches!((inner.protocol, echo[0]), (ICMP, 8) | (ICMPV6, 128))
        .then(|| (u16::from_be_bytes([echo[4], echo[5]]), u16::from_be_bytes([echo[6], echo[7]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo;

    fn request(seq: u16) -> Vec<u8> {
        let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let body = echo::message(one, two, true, 1, seq, b"0123456789");
        echo::frame([1; 6], [2; 6], &packet::ip(one, two, ICMP, 64, &body))
    }

    #[test]
    fn rules_do_what_they_say() {
        let ms = Duration::from_millis;
        let text = "delay_us = 10000\njitter_us = 500\nlose = '1'\n\
                    duplicate = [{packets = '2', copies = 2, gap_us = 1000}]\n\
                    late = [{packets = '3', by_us = 20000}]\n\
                    corrupt = [{packets = '4', byte = -1, bits = 1}]\n";
        let rules: Rules = toml::from_str(text).unwrap();
        let mut program = Program::from(rules.clone());
        let mut again = Program::from(rules);
        for number in 0..5_u16 {
            let frame = request(number);
            let (counted, passage) = program.judge(SystemTime::now(), &frame);
            assert_eq!(counted, Some(number.into()));
            assert_eq!(again.judge(SystemTime::now(), &frame).1, passage, "it repeats");
            let extra = if number == 3 { ms(20) } else { ms(0) };
            assert!((ms(10) + extra..=ms(11) + extra).contains(&passage.hold), "{passage:?}");
            assert_eq!(passage.is_lost, number == 1);
            assert_eq!(passage.copies.len(), if number == 2 { 2 } else { 0 });
            if number == 4 {
                let other = passage.frame.unwrap();
                let differ = (0..frame.len()).filter(|at| other[*at] != frame[*at]);
                assert_eq!(differ.collect::<Vec<_>>(), [frame.len() - 1]);
            } else {
                assert_eq!(passage.frame, None);
            }
        }
    }

    #[test]
    fn numbers_are_for_those_that_count() {
        let mut program = Program::default().number(Subject::Tcp);
        assert_eq!(program.judge(SystemTime::now(), &request(1)).0, None);
        let by_seq = |frame: &[u8]| Echo::parse(frame).map(|echo| echo.seq.into());
        let mut program = Program::default().number_by(by_seq).lose([7]);
        assert!(program.judge(SystemTime::now(), &request(7)).1.is_lost);
        assert!(!program.judge(SystemTime::now(), &request(8)).1.is_lost);
        let arp = [&[0xff; 6][..], &[1; 6], &[8, 6], &[0; 28]].concat();
        let mut program = Program::delay(Duration::from_secs(1)).lose([0]);
        assert_eq!(program.judge(SystemTime::now(), &arp), (None, Passage::default()));
    }

    #[test]
    fn bits_outside_of_the_packet_are_left_alone() {
        let frame = request(1);
        for byte in [-19, 18, i64::MIN, i64::MAX] {
            let mut other = frame.clone();
            flip(&mut other, byte, 0xff);
            assert_eq!(other, frame, "{byte}");
        }
        for byte in [-18, 0] {
            let mut other = frame.clone();
            flip(&mut other, byte, 0xff);
            assert_eq!(other[34], frame[34] ^ 0xff, "{byte}");
        }
    }
}
