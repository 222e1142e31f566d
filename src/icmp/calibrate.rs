//! How far this library's own round-trip times are off on this machine.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    EchoOptions, EngineConfig, IcmpConfig, IcmpEngine, IcmpLimits, IcmpProber, IcmpReport, Payload,
    SocketChoice, SocketMode, Stamps,
};
use crate::Error;
use crate::io::icmp::calibrate::{Capture, Seen, send_path};
use crate::probe::{ProbeResult, Prober};
use crate::target::{Host, Target};
use crate::timing::{NetworkTime, StampSource};
use crate::verdict::Verdict;

/// How a calibration is done.
///
/// ```
/// use netsonde::icmp::CalibrateConfig;
///
/// let config: CalibrateConfig = serde_saphyr::from_str("{target: '::1', count: 50, load: 0}")?;
/// config.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct CalibrateConfig {
    /// Who is asked. Default 127.0.0.1: nothing leaves this host. Another host shows what the network
    /// card and its driver add.
    pub target: Target,
    /// What kind of socket to use.
    pub socket: SocketChoice,
    /// What measured times are held against.
    pub reference: ReferenceChoice,
    /// Packets of each row, 1 to 100,000. Default 200.
    pub count: u32,
    /// From one packet to the next when idle. Default 5 ms.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// Packets that are sent at once for the rows under load, at most 10,000; 0 for no such rows. Default
    /// 500.
    pub load: u32,
}

impl Default for CalibrateConfig {
    fn default() -> Self {
        let loopback = std::net::Ipv4Addr::LOCALHOST;
        CalibrateConfig {
            target: Target::Host(Host::from(std::net::IpAddr::V4(loopback))),
            socket: SocketChoice::default(),
            reference: ReferenceChoice::default(),
            count: 200,
            interval: Duration::from_millis(5),
            load: 500,
        }
    }
}

impl CalibrateConfig {
    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=100_000).contains(&self.count) {
            return Err(Error::config("count", "must lie in 1..=100000"));
        }
        if self.load > 10_000 {
            return Err(Error::config("load", "must lie in 0..=10000"));
        }
        if self.interval.is_zero() || self.interval > Duration::from_secs(60) {
            return Err(Error::config("interval", "must lie above zero, up to 60s"));
        }
        Ok(())
    }
}

/// What measured times are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReferenceChoice {
    /// A packet capture if that is allowed, else the kernel's stamps.
    #[default]
    Auto,
    /// A packet capture (packet(7)): needs `CAP_NET_RAW`.
    Capture,
    /// The kernel's stamps.
    Stamps,
}

/// What measured times were held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reference {
    /// A capture of the very packets, of which the library knows nothing. An error is the distance of
    /// two values for the same packet.
    Capture,
    /// The kernel's own stamps, where nothing better is allowed. Times of this process are held against
    /// those of the kernel for the same packet. Kernel stamps are held against one another: a packet
    /// leaves after it is scheduled (`SCM_TSTAMP_SCHED`) and before it is stamped as sent, so the time
    /// between the two, measured on datagrams over loopback, is how far a round trip can be off.
    Stamps,
}

/// What a calibration has found: a row for each set of stamps, idle and under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Who was asked.
    pub target: Target,
    /// What kind of socket was used.
    pub socket: SocketMode,
    /// What the times were held against.
    pub reference: Reference,
    /// The figures.
    pub rows: Vec<CalibrationRow>,
}

impl Calibration {
    /// The figures for these stamps, idle or under load.
    #[must_use]
    pub fn row(&self, stamps: Stamps, under_load: bool) -> Option<&CalibrationRow> {
        self.rows.iter().find(|row| row.stamps == stamps && (row.at_once > 1) == under_load)
    }
}

/// The figures for one set of stamps. What the reference does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationRow {
    /// What the kernel was asked to stamp.
    pub stamps: Stamps,
    /// Packets that were sent at once; 1 for one after the other.
    pub at_once: u32,
    /// Packets that were answered.
    pub answered: u64,
    /// Packets of which the reference knew, too.
    pub compared: u64,
    /// The worst source of their times.
    pub source: Option<StampSource>,
    /// How far the times were off.
    pub error: Option<CalibrationSpread>,
    /// The uncertainty that the results carry.
    pub uncertainty: Option<CalibrationSpread>,
    /// The share of the compared packets whose error lay within their uncertainty.
    pub within: Option<f64>,
}

/// Values in nanoseconds, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CalibrationSpread {
    /// Half of them are not above it (nearest rank).
    pub p50_ns: u64,
    /// 99 in 100 are not above it (nearest rank).
    pub p99_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

impl CalibrationSpread {
    /// The figures over some values; `None` of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Some(CalibrationSpread { p50_ns: rank(50)?, p99_ns: rank(99)?, max_ns: *values.last()? })
    }
}

/// Why there is no calibration.
#[derive(Debug)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A value in the configuration that cannot be used.
    Config(Error),
    /// The packet capture that was asked for is not allowed, or cannot be had.
    Capture(std::io::Error),
    /// Nothing was answered: what the first packets ended with.
    Probe(Verdict),
}

impl fmt::Display for CalibrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalibrateError::Config(error) => error.fmt(f),
            CalibrateError::Capture(_) => f.write_str(
                "no packet capture (give the program CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM)",
            ),
            CalibrateError::Probe(verdict) => write!(f, "no answer: {verdict}"),
        }
    }
}

impl std::error::Error for CalibrateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CalibrateError::Config(error) => error.source(),
            CalibrateError::Capture(error) => Some(error),
            CalibrateError::Probe(_) => None,
        }
    }
}

/// Measures how far round-trip times are off on this machine, with each set of stamps, idle and under
/// load. Takes a few seconds; needs no privileges, but says more with `CAP_NET_RAW`.
///
/// # Errors
/// [`CalibrateError`]; among others if nothing is answered.
///
/// ```
/// use netsonde::icmp::{CalibrateConfig, calibrate};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let config = CalibrateConfig { count: 20, load: 0, ..CalibrateConfig::default() };
/// match calibrate(&config).await {
///     Ok(found) => println!("{found}"),
///     // Neither kind of socket is allowed here: it says what to do.
///     Err(error) => println!("{error}"),
/// }
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn calibrate(config: &CalibrateConfig) -> Result<Calibration, CalibrateError> {
    config.check().map_err(CalibrateError::Config)?;
    let marker = RandomState::new().hash_one("calibrate").to_ne_bytes();
    let mut run = Run { config, marker, capture: None, socket: None };
    run.capture = match config.reference {
        ReferenceChoice::Stamps => None,
        ReferenceChoice::Auto => Capture::open(marker).ok(),
        ReferenceChoice::Capture => Some(Capture::open(marker).map_err(CalibrateError::Capture)?),
    };
    let reference = match run.capture {
        Some(_) => Reference::Capture,
        None => Reference::Stamps,
    };
    let mut rows = Vec::new();
    for at_once in [1].into_iter().chain((config.load > 1).then_some(config.load)) {
        match reference {
            Reference::Capture => {
                for stamps in [Stamps::Full, Stamps::Receive, Stamps::Off] {
                    rows.push(run.beside_capture(stamps, at_once).await?);
                }
            }
            Reference::Stamps => rows.extend(run.beside_stamps(at_once).await?),
        }
    }
    let socket = run.socket.unwrap_or(SocketMode::Raw);
    Ok(Calibration { target: config.target.clone(), socket, reference, rows })
}

/// Packets of a train when idle: a capture has room for so many without privileges of its own.
const TRAIN: u32 = 40;

/// How long an answer is waited for.
const REPLY: Duration = Duration::from_secs(1);

struct Run<'a> {
    config: &'a CalibrateConfig,
    /// What the capture knows our packets by.
    marker: [u8; 8],
    capture: Option<Capture>,
    socket: Option<SocketMode>,
}

impl Run<'_> {
    /// A row of a calibration beside a capture.
    async fn beside_capture(
        &mut self,
        stamps: Stamps,
        at_once: u32,
    ) -> Result<CalibrationRow, CalibrateError> {
        let engine = self.engine(stamps).await?;
        let mut figures = Figures::default();
        for train in self.trains(at_once) {
            if let Some(capture) = &mut self.capture {
                // Whatever is left over from before.
                capture.take();
            }
            let report = self.train(&engine, train, at_once).await?.report;
            let seen = self.capture.as_mut().map(Capture::take).unwrap_or_default();
            let left: Vec<_> =
                report.packets.iter().filter(|packet| packet.sent_ns.is_some()).collect();
            // They leave in their order. A capture that has missed some cannot tell which.
            let is_whole = left.len() == seen.len();
            for (place, answer) in left
                .iter()
                .enumerate()
                .filter_map(|(place, packet)| Some((place, packet.fate.answer()?)))
            {
                let truth = seen.get(place).filter(|_| is_whole).and_then(Seen::rtt_ns);
                figures.note(&answer.rtt, truth.map(|truth| truth.abs_diff(answer.rtt.ns)));
            }
        }
        Ok(figures.row(stamps, at_once))
    }

    /// The rows of a calibration without one.
    async fn beside_stamps(&mut self, at_once: u32) -> Result<[CalibrationRow; 2], CalibrateError> {
        let engine = self.engine(Stamps::Full).await?;
        let (mut kernel, mut user) = (Figures::default(), Figures::default());
        for train in self.trains(at_once) {
            let report = self.train(&engine, train, at_once).await?.report;
            for answer in report.packets.iter().filter_map(|packet| packet.fate.answer()) {
                kernel.note(&answer.rtt, None);
                if matches!(answer.rtt.source, StampSource::Kernel | StampSource::Hardware) {
                    // What would have been reported of the same packet.
                    let elapsed = Duration::from_nanos(answer.elapsed_ns);
                    let time = NetworkTime::new(elapsed, elapsed, StampSource::User);
                    user.note(&time, Some(time.ns.abs_diff(answer.rtt.ns)));
                }
            }
        }
        let mut kernel = kernel.row(Stamps::Full, at_once);
        let path = send_path(self.config.count.max(at_once), at_once, self.config.interval).await;
        if let Ok(path) = path {
            kernel.compared = path.len() as u64;
            kernel.error = CalibrationSpread::of(path);
        }
        Ok([kernel, user.row(Stamps::Off, at_once)])
    }

    /// How many packets each train has.
    fn trains(&self, at_once: u32) -> Vec<u32> {
        let each = if at_once == 1 { TRAIN } else { at_once };
        let whole = self.config.count / each;
        let rest = self.config.count % each;
        match at_once {
            1 => (0..whole).map(|_| each).chain((rest > 0).then_some(rest)).collect(),
            _ => (0..self.config.count.div_ceil(each)).map(|_| each).collect(),
        }
    }

    /// An engine that has been answered once: neighbours are known, and stamps are made.
    async fn engine(&mut self, stamps: Stamps) -> Result<IcmpEngine, CalibrateError> {
        let config = EngineConfig { socket: self.config.socket, stamps, ..EngineConfig::default() };
        let engine = IcmpEngine::new(config).map_err(CalibrateError::Config)?;
        let first = self.train(&engine, 3, 1).await?;
        self.socket = first.report.socket;
        match first.verdict {
            Verdict::Pass => Ok(engine),
            verdict => Err(CalibrateError::Probe(verdict)),
        }
    }

    async fn train(
        &self,
        engine: &IcmpEngine,
        count: u32,
        at_once: u32,
    ) -> Result<ProbeResult<IcmpReport>, CalibrateError> {
        let interval = if at_once == 1 { self.config.interval } else { Duration::from_nanos(1) };
        let config = IcmpConfig {
            count,
            interval,
            reply_timeout: REPLY,
            timeout: Some(10 * REPLY + 2 * interval * count),
            echo: EchoOptions {
                payload: Payload::Pattern(self.marker.to_vec()),
                ..EchoOptions::default()
            },
            limits: IcmpLimits { records: count as usize, ..IcmpLimits::default() },
            ..IcmpConfig::default()
        };
        let prober = IcmpProber::new(engine, config).map_err(CalibrateError::Config)?;
        Ok(prober.probe(&self.config.target).await)
    }
}

/// What is known of the packets of a row.
#[derive(Default)]
struct Figures {
    answered: u64,
    within: u64,
    source: Option<StampSource>,
    errors: Vec<u64>,
    uncertainties: Vec<u64>,
}

impl Figures {
    fn note(&mut self, time: &NetworkTime, error: Option<u64>) {
        self.answered += 1;
        self.source = self.source.max(Some(time.source));
        self.uncertainties.push(time.uncertainty_ns);
        if let Some(error) = error {
            self.within += u64::from(error <= time.uncertainty_ns);
            self.errors.push(error);
        }
    }

    fn row(self, stamps: Stamps, at_once: u32) -> CalibrationRow {
        let compared = self.errors.len() as u64;
        CalibrationRow {
            stamps,
            at_once,
            answered: self.answered,
            compared,
            source: self.source,
            within: (compared > 0).then(|| self.within as f64 / compared as f64),
            error: CalibrationSpread::of(self.errors),
            uncertainty: CalibrationSpread::of(self.uncertainties),
        }
    }
}

/// Microseconds with a digit that means something.
fn micros(ns: u64) -> String {
    let us = ns as f64 / 1000.0;
    if us < 1000.0 { format!("{us:.1}") } else { format!("{us:.0}") }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = match self.socket {
            SocketMode::Raw => "raw",
            SocketMode::Datagram => "datagram",
        };
        let reference = match self.reference {
            Reference::Capture => "a packet capture",
            Reference::Stamps => "the kernel's stamps",
        };
        writeln!(f, "{} over a {socket} socket, beside {reference}; in microseconds", self.target)?;
        writeln!(
            f,
            "{:<9} {:>7} {:>7} | {:>8} {:>8} {:>8} | {:>11} {:>8} | within",
            "stamps", "at once", "packets", "error p50", "p99", "max", "uncertainty", "p99"
        )?;
        for (place, row) in self.rows.iter().enumerate() {
            let stamps = match row.stamps {
                Stamps::Full => "kernel",
                Stamps::Receive => "receive",
                Stamps::Off => "none",
            };
            let of = |spread: &Option<CalibrationSpread>, pick: fn(&CalibrationSpread) -> u64| {
                spread.as_ref().map_or("-".to_owned(), |spread| micros(pick(spread)))
            };
            let within =
                row.within.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0));
            write!(
                f,
                "{stamps:<9} {:>7} {:>7} | {:>9} {:>8} {:>8} | {:>11} {:>8} | {within}",
                row.at_once,
                row.compared,
                of(&row.error, |s| s.p50_ns),
                of(&row.error, |s| s.p99_ns),
                of(&row.error, |s| s.max_ns),
                of(&row.uncertainty, |s| s.p50_ns),
                of(&row.uncertainty, |s| s.p99_ns),
            )?;
            if place + 1 < self.rows.len() {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_figures_are_by_nearest_rank_and_nothing_of_nothing() {
        assert_eq!(CalibrationSpread::of([]), None);
        let spread = CalibrationSpread::of((1..=200).rev()).unwrap();
        assert_eq!((spread.p50_ns, spread.p99_ns, spread.max_ns), (100, 198, 200));
    }

    #[test]
    fn a25_what_can_never_work_is_refused() {
        let refused = |config: CalibrateConfig| config.check().unwrap_err().to_string();
        let base = CalibrateConfig::default;
        base().check().unwrap();
        assert!(refused(CalibrateConfig { count: 0, ..base() }).starts_with("count"));
        assert!(refused(CalibrateConfig { load: 10_001, ..base() }).starts_with("load"));
        let interval = Duration::ZERO;
        assert!(refused(CalibrateConfig { interval, ..base() }).starts_with("interval"));
    }

    #[test]
    fn a25_it_reads_back_from_json_and_shows_what_is_absent() {
        let target = CalibrateConfig::default().target;
        let mut row = Figures::default().row(Stamps::Off, 1);
        row.error = CalibrationSpread::of([55_000]);
        let (socket, reference) = (SocketMode::Datagram, Reference::Stamps);
        let found = Calibration { target, socket, reference, rows: vec![row] };
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&json).unwrap(), found);
        let text = found.to_string();
        assert!(text.contains("55.0") && text.contains("| -"), "{text}");
        assert!(found.row(Stamps::Off, false).is_some() && found.row(Stamps::Off, true).is_none());
    }
}
