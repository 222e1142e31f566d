//! Figures over a train of echo requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EchoFate, EchoRecord};

/// What became of a train, in numbers. Every packet is in exactly one of the first eight counters.
///
/// ```
/// use netsonde::icmp::{EchoFate, EchoRecord, EchoStats};
///
/// let mut lost = EchoRecord::new(0, 0);
/// lost.fate = EchoFate::Lost;
/// let mut kept_here = EchoRecord::new(1, 1_000_000);
/// kept_here.fate = EchoFate::NotSent { errno: 105, mtu: None };
/// let stats = EchoStats::of(&[lost, kept_here]);
/// // Only what has left can be lost on the way.
/// assert_eq!((stats.sent, stats.lost, stats.not_sent, stats.loss), (1, 1, 1, Some(1.0)));
/// assert_eq!(stats.rtt, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EchoStats {
    /// Answered in time.
    pub received: u64,
    /// Answered after the timeout.
    pub late: u64,
    /// Answered with another payload than ours.
    pub corrupt: u64,
    /// Answered by an ICMP error.
    pub refused: u64,
    /// Left, and nothing came back.
    pub lost: u64,
    /// Not taken by the system.
    pub not_sent: u64,
    /// Dropped on this host.
    pub lost_locally: u64,
    /// Not decided when the probe ended.
    pub pending: u64,
    /// Left this host: the first five together.
    pub sent: u64,
    /// Answers beyond the first to each packet.
    pub duplicates: u64,
    /// `lost / sent`; `None` if nothing was sent.
    pub loss: Option<f64>,
    /// `(sent - received) / sent`, which ping calls loss; `None` if nothing was sent.
    pub unanswered: Option<f64>,
    /// Runs of packets lost one after the other.
    pub loss_bursts: u64,
    /// Packets in the longest such run.
    pub longest_loss_burst: u64,
    /// Answers in time that arrived after one to a later packet (RFC 4737, 3).
    pub reordered: u64,
    /// Round trips of the packets answered in time; `None` if there is none.
    pub rtt: Option<RttStats>,
}

/// Round-trip times, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RttStats {
    /// How many there are.
    pub samples: u64,
    /// The smallest.
    pub min_ns: u64,
    /// The arithmetic mean, rounded down.
    pub avg_ns: u64,
    /// The middle one; of an even number the mean of the two in the middle, rounded down.
    pub median_ns: u64,
    /// The largest.
    pub max_ns: u64,
    /// Standard deviation of the whole set, as ping's mdev; `None` below two samples.
    pub mdev_ns: Option<u64>,
    /// 90 in 100 are not above it (nearest rank).
    pub p90_ns: u64,
    /// 95 in 100 are not above it (nearest rank).
    pub p95_ns: u64,
    /// 99 in 100 are not above it (nearest rank).
    pub p99_ns: u64,
    /// Interarrival jitter (RFC 3550, 6.4.1), in the order of sending over the packets answered in
    /// time; `None` below two samples.
    pub jitter_ns: Option<u64>,
}

impl EchoStats {
    /// The figures over records in the order of their numbers.
    #[must_use]
    pub fn of<'a>(records: impl IntoIterator<Item = &'a EchoRecord>) -> Self {
        let mut stats = EchoStats::default();
        let mut rtts = Vec::new();
        let mut arrivals = Vec::new();
        let mut burst = 0;
        for record in records {
            *stats.counter(&record.fate) += 1;
            stats.duplicates += record.duplicates;
            match &record.fate {
                EchoFate::Answered(answer) => {
                    rtts.push(answer.rtt.ns);
                    if let Some(sent) = record.sent_ns {
                        arrivals.push(sent.saturating_add(answer.arrival_ns));
                    }
                    burst = 0;
                }
                EchoFate::Lost => {
                    burst += 1;
                    stats.loss_bursts += u64::from(burst == 1);
                    stats.longest_loss_burst = stats.longest_loss_burst.max(burst);
                }
                fate if fate.has_left() => burst = 0,
                _ => {}
            }
        }
        stats.sent = stats.received + stats.late + stats.corrupt + stats.refused + stats.lost;
        let share = |part: u64| (stats.sent != 0).then(|| part as f64 / stats.sent as f64);
        (stats.loss, stats.unanswered) = (share(stats.lost), share(stats.sent - stats.received));
        stats.reordered = reordered(&arrivals);
        stats.rtt = RttStats::of(&rtts);
        stats
    }

    fn counter(&mut self, fate: &EchoFate) -> &mut u64 {
        match fate {
            EchoFate::Answered(_) => &mut self.received,
            EchoFate::Late(_) => &mut self.late,
            EchoFate::Corrupt(_) => &mut self.corrupt,
            EchoFate::Refused(_) => &mut self.refused,
            EchoFate::Lost => &mut self.lost,
            EchoFate::NotSent { .. } => &mut self.not_sent,
            EchoFate::LostLocally => &mut self.lost_locally,
            EchoFate::Pending => &mut self.pending,
        }
    }
}

/// How many arrivals, given in the order of sending, come after a later packet's.
fn reordered(arrivals: &[u64]) -> u64 {
    let mut earliest_of_later = u64::MAX;
    let mut count = 0;
    for arrival in arrivals.iter().rev() {
        count += u64::from(*arrival > earliest_of_later);
        earliest_of_later = earliest_of_later.min(*arrival);
    }
    count
}

impl RttStats {
    /// The figures over round trips in the order of sending, in nanoseconds; `None` of none.
    #[must_use]
    pub fn of(rtts: &[u64]) -> Option<Self> {
        let mut sorted = rtts.to_vec();
        sorted.sort_unstable();
        let (min_ns, max_ns) = (*sorted.first()?, *sorted.last()?);
        let samples = sorted.len() as u64;
        let rank = |percent: u64| {
            let rank = (samples * percent).div_ceil(100).max(1);
            sorted.get(usize::try_from(rank - 1).ok()?).copied()
        };
        let (below, above) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        let sum: u128 = sorted.iter().map(|ns| u128::from(*ns)).sum();
        let average = sum / u128::from(samples);
        Some(RttStats {
            samples,
            min_ns,
            avg_ns: u64::try_from(average).ok()?,
            median_ns: below + (above - below) / 2,
            max_ns,
            mdev_ns: (samples > 1).then(|| deviation(&sorted, sum)),
            p90_ns: rank(90)?,
            p95_ns: rank(95)?,
            p99_ns: rank(99)?,
            jitter_ns: (samples > 1).then(|| jitter(rtts)),
        })
    }

    /// The mean as a duration.
    #[must_use]
    pub fn avg(&self) -> Duration {
        Duration::from_nanos(self.avg_ns)
    }
}

/// Two passes, since the difference of two large sums of squares has no digits left.
fn deviation(rtts: &[u64], sum: u128) -> u64 {
    let count = rtts.len() as f64;
    let mean = sum as f64 / count;
    let squares: f64 = rtts.iter().map(|ns| (*ns as f64 - mean).powi(2)).sum();
    (squares / count).sqrt().round() as u64
}

fn jitter(rtts: &[u64]) -> u64 {
    let step = |jitter: f64, pair: &[u64]| match pair {
        [before, after] => jitter + (before.abs_diff(*after) as f64 - jitter) / 16.0,
        _ => jitter,
    };
    rtts.windows(2).fold(0.0, step).round() as u64
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::icmp::EchoAnswer;
    use crate::timing::{NetworkTime, StampSource};

    fn answered(number: u64, sent_ns: u64, rtt_ns: u64) -> EchoRecord {
        let rtt =
            NetworkTime::new(Duration::from_nanos(rtt_ns), Duration::ZERO, StampSource::Kernel);
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let fate = EchoFate::Answered(EchoAnswer::new(from, rtt, rtt_ns, 56));
        EchoRecord { sent_ns: Some(sent_ns), fate, ..EchoRecord::new(number, sent_ns) }
    }

    fn fated(number: u64, fate: EchoFate) -> EchoRecord {
        EchoRecord { fate, ..EchoRecord::new(number, number) }
    }

    #[test]
    fn one_answer_has_no_spread() {
        let stats = EchoStats::of(&[answered(0, 0, 7)]);
        let rtt = stats.rtt.unwrap();
        assert_eq!(
            (rtt.min_ns, rtt.avg_ns, rtt.median_ns, rtt.max_ns, rtt.p99_ns),
            (7, 7, 7, 7, 7)
        );
        assert_eq!((rtt.mdev_ns, rtt.jitter_ns), (None, None));
        assert_eq!((stats.loss, stats.unanswered), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn nothing_sent_is_no_loss() {
        let stats = EchoStats::of(&[fated(0, EchoFate::NotSent { errno: 1, mtu: None })]);
        assert_eq!((stats.sent, stats.loss, stats.unanswered, stats.rtt), (0, None, None, None));
        assert_eq!(EchoStats::of(&[]), EchoStats::default());
    }

    #[test]
    fn bursts_are_runs_of_loss_and_nothing_else_ends_them_than_what_has_left() {
        let lost = || EchoFate::Lost;
        let kept = || EchoFate::NotSent { errno: 105, mtu: None };
        let fates = [lost(), kept(), lost(), EchoFate::LostLocally, lost()];
        let mut records: Vec<_> = fates.into_iter().zip(0..).map(|(f, n)| fated(n, f)).collect();
        records.push(answered(5, 5, 1));
        records.push(fated(6, EchoFate::Lost));
        let stats = EchoStats::of(&records);
        assert_eq!((stats.loss_bursts, stats.longest_loss_burst), (2, 3));
        assert_eq!((stats.sent, stats.lost, stats.loss), (5, 4, Some(0.8)));
    }

    #[test]
    fn reordering_counts_the_packets_that_were_overtaken() {
        // Sent at 0, 10, 20; arriving at 100, 40, 30: the first two were overtaken.
        let stats = EchoStats::of(&[answered(0, 0, 100), answered(1, 10, 30), answered(2, 20, 10)]);
        assert_eq!(stats.reordered, 2);
        let stats = EchoStats::of(&[answered(0, 0, 10), answered(1, 10, 10), answered(2, 20, 10)]);
        assert_eq!(stats.reordered, 0);
    }

    #[test]
    fn i110_an_hour_of_round_trip_overflows_nothing() {
        let hour = 3_600_000_000_000;
        let records: Vec<_> = (0..1000).map(|n| answered(n, n, hour + n)).collect();
        let rtt = EchoStats::of(&records).rtt.unwrap();
        assert_eq!((rtt.min_ns, rtt.max_ns, rtt.median_ns), (hour, hour + 999, hour + 499));
        assert_eq!(RttStats::of(&[u64::MAX; 3]).unwrap().avg_ns, u64::MAX);
    }

    #[test]
    fn ranks_are_those_of_the_definition() {
        let rtts: Vec<u64> = (1..=200).rev().collect();
        let rtt = RttStats::of(&rtts).unwrap();
        assert_eq!((rtt.p90_ns, rtt.p95_ns, rtt.p99_ns), (180, 190, 198));
        assert_eq!(rtt.median_ns, 100);
        assert_eq!(rtt.mdev_ns, Some(58));
        // |D| is 1 throughout: J approaches 1.
        assert_eq!(rtt.jitter_ns, Some(1));
    }
}
