//! statistics equal those of a slow model, written from their definitions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netsonde::icmp::{EchoAnswer, EchoError, EchoFate, EchoRecord, EchoStats, RttStats};
use netsonde::{FailureKind, NetworkTime, StampSource};

/// xorshift64*: the same series on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn record(number: u64, scale: u64, random: &mut Random) -> EchoRecord {
    let mut record = EchoRecord::new(number, number * 1000);
    if random.below(20) > 0 {
        record.sent_ns = Some(number * 1000 + random.below(3000));
    }
    let rtt = Duration::from_nanos(random.below(scale));
    let time = NetworkTime::new(rtt, Duration::ZERO, StampSource::Kernel);
    let mut answer = EchoAnswer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), time, time.ns, 56);
    answer.arrival_ns = time.ns + random.below(3000);
    record.duplicates = random.below(40).saturating_sub(36);
    record.fate = match random.below(16) {
        0 => EchoFate::Pending,
        1 => EchoFate::Late(answer),
        2 => EchoFate::Corrupt(answer),
        3 => EchoFate::Refused(EchoError::new(FailureKind::Timeout, 3, 1, None).into()),
        4 => EchoFate::NotSent { errno: 105, mtu: None },
        5 => EchoFate::LostLocally,
        6..=9 => EchoFate::Lost,
        _ => EchoFate::Answered(answer),
    };
    record
}

fn rtt(record: &EchoRecord) -> Option<u64> {
    match &record.fate {
        EchoFate::Answered(answer) => Some(answer.rtt.ns),
        _ => None,
    }
}

fn check(records: &[EchoRecord]) {
    let stats = EchoStats::of(records);
    let count =
        |name: &str| records.iter().filter(|record| record.fate.as_str() == name).count() as u64;
    assert_eq!(stats.received, count("answered"));
    assert_eq!(stats.late, count("late"));
    assert_eq!(stats.corrupt, count("corrupt"));
    assert_eq!(stats.refused, count("refused"));
    assert_eq!(stats.lost, count("lost"));
    assert_eq!(stats.not_sent, count("not_sent"));
    assert_eq!(stats.lost_locally, count("lost_locally"));
    assert_eq!(stats.pending, count("pending"));
    let away = ["answered", "late", "corrupt", "refused", "lost"];
    let sent = away.iter().map(|name| count(name)).sum::<u64>();
    assert_eq!(stats.sent, sent);
    assert_eq!(stats.duplicates, records.iter().map(|record| record.duplicates).sum::<u64>());
    share(stats.loss, count("lost"), sent);
    share(stats.unanswered, sent - count("answered"), sent);

    // The letters of what has left, in order: runs of L.
    let letters: String = records
        .iter()
        .filter(|record| away.contains(&record.fate.as_str()))
        .map(|record| if record.fate == EchoFate::Lost { 'L' } else { '.' })
        .collect();
    let runs: Vec<_> = letters.split('.').filter(|run| !run.is_empty()).collect();
    assert_eq!(stats.loss_bursts, runs.len() as u64);
    let longest = runs.iter().map(|run| run.len()).max().unwrap_or(0);
    assert_eq!(stats.longest_loss_burst, longest as u64);

    let arrival = |record: &EchoRecord| match &record.fate {
        EchoFate::Answered(answer) => Some(record.sent_ns? + answer.arrival_ns),
        _ => None,
    };
    let arrivals: Vec<u64> = records.iter().filter_map(arrival).collect();
    let overtaken = |index: &usize| arrivals[index + 1..].iter().any(|at| *at < arrivals[*index]);
    assert_eq!(stats.reordered, (0..arrivals.len()).filter(overtaken).count() as u64);

    let rtts: Vec<u64> = records.iter().filter_map(rtt).collect();
    assert_eq!(stats.rtt, RttStats::of(&rtts));
    check_rtts(&rtts);
}

/// `part / whole`, to the last bit that a float has.
fn share(share: Option<f64>, part: u64, whole: u64) {
    assert_eq!(share.is_some(), whole > 0);
    if let Some(share) = share {
        assert!((share * whole as f64 - part as f64).abs() < 1e-9, "{share} {part} {whole}");
        assert!((0.0..=1.0).contains(&share));
    }
}

fn check_rtts(rtts: &[u64]) {
    let Some(stats) = RttStats::of(rtts) else {
        assert!(rtts.is_empty());
        return;
    };
    let count = rtts.len() as u128;
    assert_eq!(u128::from(stats.samples), count);
    assert_eq!(stats.min_ns, *rtts.iter().min().unwrap());
    assert_eq!(stats.max_ns, *rtts.iter().max().unwrap());
    let sum = rtts.iter().map(|rtt| u128::from(*rtt)).sum::<u128>();
    assert_eq!(u128::from(stats.avg_ns), sum / count);

    // The k-th smallest is the least value that k values are not above.
    let smallest = |k: u128| {
        let not_above = |limit: u64| rtts.iter().filter(|rtt| **rtt <= limit).count() as u128;
        let values = rtts.iter().copied().filter(|value| not_above(*value) >= k);
        values.min().unwrap()
    };
    let (below, above) = (smallest(count.div_ceil(2)), smallest(count / 2 + 1));
    let median = (u128::from(below) + u128::from(above)) / 2;
    assert_eq!(u128::from(stats.median_ns), median);
    // Nearest rank: the least value such that at least so many percent are not above it.
    for (percent, got) in [(90, stats.p90_ns), (95, stats.p95_ns), (99, stats.p99_ns)] {
        let least = (1..=count).find(|rank| rank * 100 >= percent * count).unwrap();
        assert_eq!(got, smallest(least), "p{percent} of {rtts:?}");
    }

    assert_eq!((stats.mdev_ns.is_some(), stats.jitter_ns.is_some()), (count > 1, count > 1));
    if let (Some(mdev), Some(jitter)) = (stats.mdev_ns, stats.jitter_ns) {
        // Whole numbers up to the root: n times the sum of squares less the square of the sum. The
        // figure is the root over n, rounded: it lies between (2m - 1) / 2 and (2m + 1) / 2.
        let squares = rtts.iter().map(|rtt| u128::from(*rtt).pow(2)).sum::<u128>();
        near(mdev, ((count * squares - sum * sum) as f64).sqrt() / count as f64);
        // J = J + (|D| - J) / 16, solved: each |D| counts a sixteenth, and less by that much for each
        // that follows.
        let steps = rtts.windows(2).map(|pair| pair[0].abs_diff(pair[1]) as f64);
        let weigh = |(age, step): (usize, f64)| step / 16.0 * (15.0_f64 / 16.0).powi(age as i32);
        near(jitter, steps.rev().enumerate().map(weigh).sum());
    }
}

/// Rounded to the nearest nanosecond, but for the last digits of a float.
fn near(got: u64, exact: f64) {
    assert!((got as f64 - exact).abs() <= 0.5 + exact * 1e-12, "{got} for {exact}");
}

fn random_records(length: u64, random: &mut Random) -> Vec<EchoRecord> {
    // From many equal values to an hour.
    let scale = [1, 3, 1_000, 50_000_000, 3_600_000_000_000][random.below(5) as usize];
    (0..length).map(|number| record(number, scale, random)).collect()
}

#[test]
fn a18_figures_equal_those_of_a_slow_model() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..100_000 {
        let length = random.below(41);
        check(&random_records(length, &mut random));
    }
}

#[test]
fn a18_also_those_of_long_trains() {
    let mut random = Random(7);
    for length in [100, 1_000, 3_000] {
        check(&random_records(length, &mut random));
    }
}

#[test]
fn a18_below_two_samples_nothing_is_made_up() {
    assert_eq!(RttStats::of(&[]), None);
    for value in [0, 1, u64::MAX] {
        let stats = RttStats::of(&[value]).unwrap();
        assert_eq!((stats.mdev_ns, stats.jitter_ns), (None, None));
        let all = [stats.min_ns, stats.avg_ns, stats.median_ns, stats.max_ns, stats.p99_ns];
        assert_eq!(all, [value; 5]);
    }
}
