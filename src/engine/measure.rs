//! From marks and stamps to network time.
//!
//! Kernel stamps are readings of the wall clock; the marks of this process are pairs of wall clock and
//! monotonic clock. As long as the two clocks run alike between sending and receiving, stamps are
//! subtracted from each other. If they do not, the wall clock was set in between: then each stamp is
//! placed on the monotonic clock by the pair that was read next to it.

use std::time::{Duration, Instant};

use crate::timing::{NetworkTime, StampSource, duration_ns};

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The monotonic clock.
    pub mono: Instant,
    /// The wall clock, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// How far apart the two were read at most, in nanoseconds.
    pub width_ns: u32,
}

impl Reading {
    /// Read at exactly the same moment.
    #[must_use]
    pub const fn new(mono: Instant, wall_ns: i64) -> Self {
        Reading { mono, wall_ns, width_ns: 0 }
    }

    /// With the time that passed between the two.
    #[must_use]
    pub const fn with_width(mut self, width_ns: u32) -> Self {
        self.width_ns = width_ns;
        self
    }

    /// What clocks that run alike show after this time.
    #[must_use]
    pub fn later(self, time: Duration) -> Self {
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Reading { mono: self.mono + time, wall_ns: self.wall_ns.saturating_add(ns), ..self }
    }
}

/// A stamp of the kernel, and of the network card if it makes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamp {
    /// The wall clock as the kernel saw it, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// The card's own clock, in nanoseconds since whenever.
    pub card_ns: Option<i64>,
}

impl Stamp {
    /// A stamp of the kernel alone.
    #[must_use]
    pub const fn new(wall_ns: i64) -> Self {
        Stamp { wall_ns, card_ns: None }
    }

    /// With the stamp of the card.
    #[must_use]
    pub const fn with_card(mut self, card_ns: i64) -> Self {
        self.card_ns = Some(card_ns);
        self
    }
}

/// When something came in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The receive stamp, if there is one.
    pub stamp: Option<Stamp>,
    /// The clocks when it was read.
    pub now: Reading,
}

impl Received {
    /// Read now, without a stamp.
    #[must_use]
    pub fn at(now: Reading) -> Self {
        Received { stamp: None, now }
    }
}

/// When a packet left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    /// The clocks just before it was handed to the system.
    pub(crate) before: Reading,
    /// The monotonic clock when the system had taken it.
    pub(crate) after: Instant,
    pub(crate) stamp: Option<Stamp>,
    /// The send stamp of the packet before it.
    pub(crate) not_before_ns: Option<i64>,
}

impl Departure {
    /// Whether a send stamp can be of this packet: not from before it was handed over. The slack is for
    /// clocks that are read one after the other, and the second for clocks that were set.
    pub(crate) fn admits(&self, stamp: Stamp) -> bool {
        let since = stamp.wall_ns.saturating_sub(self.before.wall_ns);
        !(-SECOND_NS / 2..-SLACK_NS).contains(&since)
    }
}

pub(crate) struct Measured {
    pub(crate) rtt: NetworkTime,
    pub(crate) elapsed_ns: u64,
    pub(crate) arrival_ns: u64,
    pub(crate) clock_step: bool,
}

/// How far readings that belong together may contradict each other.
const SLACK_NS: i64 = 20_000;

const SECOND_NS: i64 = 1_000_000_000;

/// The wall clock may be slewed by 500 ppm (adjtimex(2)), the monotonic clock follows it; this is what
/// may remain between them.
const SLEW_PPM: i64 = 600;

/// The resolution of a stamp and of the comparison with one.
const RESOLUTION_NS: i64 = 1_000;

/// The two ends of a round trip as offsets from the reading before the send call, in nanoseconds.
struct Ends {
    sent: Option<i64>,
    received: Option<i64>,
    elapsed: i64,
    stepped: bool,
    /// How far apart the two readings of each pair were at most.
    widths: i64,
    /// How far the clocks drifted apart, and how far the ends may be wrong for it.
    doubt: i64,
}

fn ends(departure: &Departure, received: &Received) -> Ends {
    let (before, now) = (departure.before, received.now);
    let elapsed = ns(now.mono.saturating_duration_since(before.mono));
    let wall = now.wall_ns.saturating_sub(before.wall_ns);
    let widths = i64::from(before.width_ns) + i64::from(now.width_ns);
    let bound = SLACK_NS + widths + elapsed / 1_000_000 * SLEW_PPM;
    let skew = wall.saturating_sub(elapsed);
    let stepped = skew.saturating_abs() > bound;
    let mut doubt = if stepped { 0 } else { skew.saturating_abs() };

    // If the clock was set between a stamp and the reading next to it, the distance of these two is
    // wrong by as much. Stamps and readings lie close to each other, so the smaller distance is taken.
    let mut place = |offset: i64| {
        let range = -bound..=elapsed.saturating_add(bound);
        let set = Some(offset.saturating_sub(skew)).filter(|set| stepped && range.contains(set));
        let offset = Some(offset).filter(|offset| range.contains(offset));
        if set.is_some() && offset.is_some() {
            doubt = doubt.saturating_add(skew.saturating_abs());
        }
        set.into_iter().chain(offset).min_by_key(|offset| offset.unsigned_abs())
    };
    let sent =
        departure.stamp.and_then(|stamp| place(stamp.wall_ns.saturating_sub(before.wall_ns)));
    let back = received.stamp.and_then(|stamp| place(now.wall_ns.saturating_sub(stamp.wall_ns)));
    let received = back.map(|back| elapsed.saturating_sub(back));
    let in_order = sent.zip(received).is_none_or(|(sent, received)| sent <= received + bound);
    let (sent, received) = if in_order { (sent, received) } else { (None, None) };
    Ends { sent, received, elapsed, stepped, widths, doubt }
}

/// When the answer arrived, in nanoseconds after the request was handed over.
pub(crate) fn arrival_ns(departure: &Departure, received: &Received) -> u64 {
    let ends = ends(departure, received);
    unsigned(ends.received.unwrap_or(ends.elapsed))
}

/// From departure to arrival.
pub(crate) fn measure(departure: &Departure, received: &Received) -> Measured {
    let Ends { sent, received: arrived, elapsed, stepped, widths, doubt } =
        ends(departure, received);
    let direct = || {
        let (out, back) = (departure.stamp?, received.stamp?);
        let card = back.card_ns.zip(out.card_ns).map(|(back, out)| back.saturating_sub(out));
        Some((back.wall_ns.saturating_sub(out.wall_ns), card))
    };
    let call = ns(departure.after.saturating_duration_since(departure.before.mono));
    let (value, uncertainty, source) = match (sent, arrived) {
        (Some(sent), Some(arrived)) => {
            // It left after the reading before the call and after the packet before it.
            let earliest = departure.not_before_ns.zip(departure.stamp);
            let since = earliest.map(|(before, stamp)| stamp.wall_ns.saturating_sub(before));
            let before_stamp = since.filter(|since| (0..sent).contains(since)).unwrap_or(sent);
            let bound = before_stamp.saturating_abs() + RESOLUTION_NS;
            match direct().filter(|_| !stepped) {
                Some((kernel, Some(card))) if (0..=kernel + bound).contains(&card) => {
                    (card, RESOLUTION_NS, StampSource::Hardware)
                }
                Some((kernel, _)) => (kernel, bound.saturating_add(doubt), StampSource::Kernel),
                None => {
                    let value = arrived - sent;
                    let bound =
                        (elapsed - value).max(bound).saturating_add(doubt).saturating_add(widths);
                    (value, bound, StampSource::Kernel)
                }
            }
        }
        // Without a send stamp it left at some time during the call.
        (None, Some(arrived)) => {
            let bound = if stepped { call.max(elapsed - arrived) } else { call };
            let bound = (bound + widths + RESOLUTION_NS).saturating_add(doubt);
            (arrived, bound, StampSource::UserSend)
        }
        // It came in between the two, and left at the earliest when it was handed over.
        (Some(sent), None) => {
            let bound = (elapsed - sent).max(sent + RESOLUTION_NS).saturating_add(doubt);
            (elapsed - sent, bound, StampSource::User)
        }
        (None, None) => (elapsed, elapsed, StampSource::User),
    };
    let time = |ns: i64| Duration::from_nanos(unsigned(ns));
    Measured {
        rtt: NetworkTime::new(time(value), time(uncertainty), source),
        elapsed_ns: unsigned(elapsed),
        arrival_ns: unsigned(arrived.unwrap_or(elapsed)),
        clock_step: stepped,
    }
}

fn ns(duration: Duration) -> i64 {
    i64::try_from(duration_ns(duration)).unwrap_or(i64::MAX)
}

/// Nothing arrives before it is sent; what is below zero is the noise of two clock readings.
fn unsigned(ns: i64) -> u64 {
    u64::try_from(ns).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000 * SECOND_NS;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// Handed over at 0, sent at 8 us, received at `at`, read at `read`, both in microseconds.
    fn exchange(at: u64, read: u64) -> (Departure, Received) {
        let before = Reading::new(Instant::now(), START);
        let stamp = |at: u64| Some(Stamp::new(START + ns(us(at))));
        let departure =
            Departure { before, after: before.mono + us(12), stamp: stamp(8), not_before_ns: None };
        (departure, Received { stamp: stamp(at), now: before.later(us(read)) })
    }

    fn shown(departure: &Departure, received: &Received) -> (u64, u64, StampSource, bool) {
        let Measured { rtt, clock_step, .. } = measure(departure, received);
        (rtt.ns / 1000, rtt.uncertainty_ns / 1000, rtt.source, clock_step)
    }

    #[test]
    fn a_packet_that_left_later_than_others_of_its_batch_arrives_by_as_much_later() {
        let (departure, mut received) = exchange(1_000, 9_000);
        assert_eq!(measure(&departure, &received).arrival_ns, 1_000_000);
        received.stamp = None;
        assert_eq!(measure(&departure, &received).arrival_ns, 9_000_000);
    }

    #[test]
    fn stamps_go_before_marks_and_the_source_is_named() {
        let (mut departure, mut received) = exchange(1_000, 9_000);
        let kernel = (992, 9, StampSource::Kernel, false);
        assert_eq!(shown(&departure, &received), kernel);
        let stamp = departure.stamp.take();
        assert_eq!(shown(&departure, &received), (1_000, 13, StampSource::UserSend, false));
        received.stamp = None;
        assert_eq!(shown(&departure, &received), (9_000, 9_000, StampSource::User, false));
        departure.stamp = stamp;
        assert_eq!(shown(&departure, &received), (8_992, 8_992, StampSource::User, false));
    }

    #[test]
    fn the_packet_before_narrows_the_bound() {
        let (mut departure, received) = exchange(1_000, 1_100);
        departure.not_before_ns = Some(START + 5_000);
        assert_eq!(shown(&departure, &received), (992, 4, StampSource::Kernel, false));
        // A stamp of a packet that left later says nothing.
        departure.not_before_ns = Some(START + 15_000);
        assert_eq!(shown(&departure, &received), (992, 9, StampSource::Kernel, false));
    }

    #[test]
    fn stamps_of_the_card_go_before_those_of_the_kernel() {
        let (mut departure, mut received) = exchange(1_000, 1_100);
        departure.stamp = departure.stamp.map(|stamp| stamp.with_card(77));
        received.stamp = received.stamp.map(|stamp| stamp.with_card(77 + 980_500));
        assert_eq!(shown(&departure, &received), (980, 1, StampSource::Hardware, false));
        // A card that contradicts the kernel is not believed.
        received.stamp = received.stamp.map(|stamp| stamp.with_card(77 + 2_000_000));
        assert_eq!(shown(&departure, &received).2, StampSource::Kernel);
    }

    #[test]
    fn i106_a_wall_clock_that_is_set_under_way_does_not_show_in_the_time() {
        for step in [SECOND_NS, -SECOND_NS, 3600 * SECOND_NS, -3600 * SECOND_NS, 100_000_000] {
            let (departure, mut received) = exchange(20_000, 20_050);
            received.stamp = received.stamp.map(|stamp| Stamp::new(stamp.wall_ns + step));
            received.now.wall_ns += step;
            let (rtt, _, _, stepped) = shown(&departure, &received);
            assert_eq!((rtt, stepped), (19_992, true), "{step}");
        }
    }

    #[test]
    fn i106_set_between_the_stamp_and_the_reading_the_marks_of_the_process_remain() {
        for step in [SECOND_NS, -SECOND_NS] {
            let (departure, mut received) = exchange(20_000, 20_050);
            received.now.wall_ns += step;
            let (rtt, bound, _, stepped) = shown(&departure, &received);
            assert!(stepped && rtt.abs_diff(19_992) <= 100, "{step}: {rtt}");
            assert!(rtt.abs_diff(19_992) <= bound, "{step}: {rtt} +- {bound}");
        }
    }

    #[test]
    fn i108_a_slewed_clock_is_no_step() {
        let (departure, mut received) = exchange(2_000_000, 2_000_050);
        // 500 ppm of 2 s.
        received.now.wall_ns += 1_000_000;
        received.stamp = received.stamp.map(|stamp| Stamp::new(stamp.wall_ns + 1_000_000));
        let (rtt, _, source, stepped) = shown(&departure, &received);
        assert!(!stepped && source == StampSource::Kernel);
        assert!(rtt.abs_diff(1_999_992) <= 1_000);
    }

    #[test]
    fn a_stamp_from_before_the_call_is_not_of_this_packet() {
        let (departure, _) = exchange(1, 2);
        assert!(
            departure.admits(Stamp::new(START)) && departure.admits(Stamp::new(START - 15_000))
        );
        assert!(!departure.admits(Stamp::new(START - 30_000)));
        // Unless the wall clock was set back in between.
        assert!(departure.admits(Stamp::new(START - SECOND_NS)));
    }

    #[test]
    fn nothing_is_negative() {
        // A receive stamp a little before the send stamp: two processors whose clocks differ.
        let (mut departure, received) = exchange(5, 100);
        departure.stamp = Some(Stamp::new(START + 9_000));
        assert_eq!(shown(&departure, &received).0, 0);
    }
}
