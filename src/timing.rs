//! Phases, spans and the clock that tiles a probe with them.
//!
//! Two kinds of time are kept apart. *Elapsed phases* come from monotonic marks: they tile the whole
//! probe in integer nanoseconds, so that the spans of a [`Timing`] add up to its total exactly, on
//! failure too. *Network time* ([`NetworkTime`]) comes from kernel stamps or from `TCP_INFO`, names
//! its source and carries its uncertainty.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

macro_rules! phases {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A stage of a probe, in the words that blackbox_exporter's users know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Phase { $($(#[$doc])* $variant,)* }

        impl Phase {
            /// Every phase, in the order in which a probe can meet them.
            pub const ALL: &[Phase] = &[$(Phase::$variant,)*];

            /// The stable name, as it stands in JSON and in metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Phase::$variant => $name,)* }
            }
        }
    };
}

phases! {
    /// Local preparation before anything is asked of the network.
    Setup = "setup",
    /// From the question for an address to the list of addresses.
    Resolve = "resolve",
    /// From the first dial to the connection that is used.
    Connect = "connect",
    /// The TLS handshake.
    Tls = "tls",
    /// Expect/send steps, without the TLS handshake that a step may start.
    Script = "script",
    /// From the first byte of a request to its last one.
    Request = "request",
    /// From the last byte of a request to the first byte of the answer.
    Processing = "processing",
    /// From the first byte of the answer to the last one.
    Transfer = "transfer",
    /// From a packet out to its answer in.
    Rtt = "rtt",
    /// Waiting for the probes of other addresses after the deciding one has ended.
    Gather = "gather",
    /// Orderly end: final kernel figures, close.
    Close = "close",
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a [`Phase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownPhase;

impl fmt::Display for UnknownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a phase")
    }
}

impl std::error::Error for UnknownPhase {}

impl FromStr for Phase {
    type Err = UnknownPhase;

    /// # Errors
    /// [`UnknownPhase`] if the text is not one of the names in [`Phase::ALL`].
    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Phase::ALL.iter().copied().find(|phase| phase.as_str() == text).ok_or(UnknownPhase)
    }
}

/// One phase of one hop, as offsets from the start of the probe in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Span {
    /// What was going on.
    pub phase: Phase,
    /// Which redirect hop it belongs to; 0 for the first, and for probers without redirects.
    pub hop: u32,
    /// Offset of its start, in nanoseconds.
    pub start_ns: u64,
    /// Offset of its end, in nanoseconds; never before the start.
    pub end_ns: u64,
}

impl Span {
    /// How long the phase took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_ns.saturating_sub(self.start_ns))
    }
}

/// Where the time of a probe went. The spans are in order and tile `0..total_ns` without gap or
/// overlap; a phase that was not reached is absent.
///
/// ```
/// use netsonde::{Phase, PhaseClock};
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let mut clock = PhaseClock::start(start, Phase::Resolve);
/// clock.enter(Phase::Connect, start + Duration::from_millis(2));
/// let timing = clock.finish(start + Duration::from_millis(7));
/// assert_eq!(timing.total_ns, 7_000_000);
/// assert_eq!(timing.phase(Phase::Connect), Some(Duration::from_millis(5)));
/// assert_eq!(timing.phase(Phase::Tls), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timing {
    /// From the start of the probe to its verdict, in nanoseconds.
    pub total_ns: u64,
    /// The phases that were entered, in order.
    pub spans: Vec<Span>,
}

impl Timing {
    /// The whole probe.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns)
    }

    /// The time spent in a phase, summed over its spans; `None` if it was never entered.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.spans
            .iter()
            .filter(|span| span.phase == phase)
            .map(Span::duration)
            .reduce(|a, b| a + b)
    }

    /// The phase in which the probe ended.
    #[must_use]
    pub fn last_phase(&self) -> Option<Phase> {
        self.spans.last().map(|span| span.phase)
    }

    /// Whether the spans tile the total exactly. True for every timing that a prober returns; a
    /// check for results that come from elsewhere.
    #[must_use]
    pub fn is_tiled(&self) -> bool {
        let mut at = 0;
        for span in &self.spans {
            if span.start_ns != at || span.end_ns < span.start_ns {
                return false;
            }
            at = span.end_ns;
        }
        at == self.total_ns
    }
}

/// Builds a [`Timing`]: takes `now`, never reads a clock.
///
/// Exactly one phase is open at any time, from the start to the end, so there is nothing that could
/// fall between two phases. See [`Timing`] for an example. A `now` that lies before the last mark is taken as that mark.
#[derive(Clone, Debug)]
pub struct PhaseClock {
    start: Instant,
    phase: Phase,
    hop: u32,
    since_ns: u64,
    spans: Vec<Span>,
}

impl PhaseClock {
    /// Starts at `now`, in `phase`.
    #[must_use]
    pub fn start(now: Instant, phase: Phase) -> Self {
        PhaseClock { start: now, phase, hop: 0, since_ns: 0, spans: Vec::with_capacity(6) }
    }

    /// When the probe started: zero of every offset.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.start
    }

    /// The phase that is open.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// `at` as an offset from the start, in nanoseconds; 0 if it lies before the start.
    #[must_use]
    pub fn offset_ns(&self, at: Instant) -> u64 {
        duration_ns(at.saturating_duration_since(self.start))
    }

    /// Closes the open phase and opens `phase`. Entering the open phase again changes nothing.
    pub fn enter(&mut self, phase: Phase, now: Instant) {
        if phase != self.phase {
            self.cut(now);
            self.phase = phase;
        }
    }

    /// Closes the open phase and opens `phase` of the next hop.
    pub fn enter_hop(&mut self, phase: Phase, now: Instant) {
        self.cut(now);
        self.phase = phase;
        self.hop += 1;
    }

    /// Closes the last phase.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> Timing {
        let total_ns = self.cut(now);
        Timing { total_ns, spans: self.spans }
    }

    fn cut(&mut self, now: Instant) -> u64 {
        let end_ns = self.offset_ns(now).max(self.since_ns);
        self.spans.push(Span { phase: self.phase, hop: self.hop, start_ns: self.since_ns, end_ns });
        self.since_ns = end_ns;
        end_ns
    }
}

/// Where a network time comes from, best first. Named in every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StampSource {
    /// Send and receive stamps of the network card.
    Hardware,
    /// Send and receive stamps of the kernel.
    Kernel,
    /// The kernel's own round-trip sample of a TCP handshake (`TCP_INFO`, tcp(7)).
    TcpInfo,
    /// User-space mark before the send call, kernel stamp at reception.
    UserSend,
    /// User-space marks only: they hold the delays of a busy host.
    User,
}

/// A time that belongs to the network, not to this host.
///
/// ```
/// use netsonde::{NetworkTime, StampSource};
/// use std::time::Duration;
///
/// let (value, bound) = (Duration::from_micros(1840), Duration::from_micros(50));
/// let rtt = NetworkTime::new(value, bound, StampSource::TcpInfo);
/// assert_eq!((rtt.ns, rtt.uncertainty_ns), (1_840_000, 50_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkTime {
    /// The value, in nanoseconds.
    pub ns: u64,
    /// The true value lies within `ns ± uncertainty_ns`.
    pub uncertainty_ns: u64,
    /// How it was taken.
    pub source: StampSource,
}

impl NetworkTime {
    /// A network time from its parts.
    #[must_use]
    pub fn new(value: Duration, uncertainty: Duration, source: StampSource) -> Self {
        NetworkTime { ns: duration_ns(value), uncertainty_ns: duration_ns(uncertainty), source }
    }

    /// The value.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.ns)
    }
}

/// How far the figures of a result can be trusted: the prober measures itself, so that a busy prober
/// cannot pass for a slow target.
///
/// ```
/// # fn alert(result: netsonde::ProbeResult) {
/// if result.quality.lag_ns.is_some_and(|lag| lag > 5_000_000) {
///     eprintln!("this host is too busy for its figures to mean much");
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Quality {
    /// The best source among the network times of the result; `None` if it holds none.
    pub stamp: Option<StampSource>,
    /// The uncertainty of that network time, in nanoseconds.
    pub uncertainty_ns: Option<u64>,
    /// How late this process noticed something that the kernel had ready: elapsed time less network
    /// time of the same exchange, in nanoseconds. `None` where there was nothing to compare.
    pub lag_ns: Option<u64>,
    /// How long after its deadline the probe ended, in nanoseconds; `None` if before. More than a few
    /// milliseconds say that this process was kept from running, and that an answer which came in
    /// time may have been looked at too late, or one that came late still have been taken.
    pub timer_lag_ns: Option<u64>,
}

/// Nanoseconds of a duration; `u64::MAX` (584 years) for what does not fit.
#[must_use]
pub fn duration_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_round_trip() {
        for phase in Phase::ALL {
            assert_eq!(phase.as_str().parse(), Ok(*phase));
            let json = serde_json::to_string(phase).unwrap();
            assert_eq!(json, format!("\"{phase}\""));
        }
        assert_eq!("nonsense".parse::<Phase>(), Err(UnknownPhase));
    }

    #[test]
    fn entering_the_open_phase_makes_no_span() {
        let start = Instant::now();
        let mut clock = PhaseClock::start(start, Phase::Script);
        clock.enter(Phase::Script, start + Duration::from_nanos(5));
        let timing = clock.finish(start + Duration::from_nanos(9));
        assert_eq!(timing.spans.len(), 1);
        assert!(timing.is_tiled());
    }

    #[test]
    fn a_gap_is_seen() {
        let span = |start_ns, end_ns| Span { phase: Phase::Connect, hop: 0, start_ns, end_ns };
        assert!(!Timing { total_ns: 3, spans: vec![span(0, 1), span(2, 3)] }.is_tiled());
        assert!(!Timing { total_ns: 4, spans: vec![span(0, 3)] }.is_tiled());
        assert!(!Timing { total_ns: 1, spans: vec![span(0, 3), span(3, 1)] }.is_tiled());
    }

    proptest! {
        #[test]
        fn phases_tile_the_total_whatever_the_order_of_marks(
            events in proptest::collection::vec((0usize..Phase::ALL.len(), -5_000i64..50_000, any::<bool>()), 0..40),
        ) {
            let base = Instant::now() + Duration::from_secs(1);
            let mut clock = PhaseClock::start(base, Phase::Setup);
            let mut now = base;
            for (phase, step, hop) in events {
                // Marks may run backwards here: a clock seam can be anything.
                now = if step < 0 { now - Duration::from_nanos(step.unsigned_abs()) } else { now + Duration::from_nanos(step.unsigned_abs()) };
                if hop { clock.enter_hop(Phase::ALL[phase], now) } else { clock.enter(Phase::ALL[phase], now) }
            }
            let timing = clock.finish(now);
            prop_assert!(timing.is_tiled());
            let sum: u64 = timing.spans.iter().map(|s| s.end_ns - s.start_ns).sum();
            prop_assert_eq!(sum, timing.total_ns);
        }
    }
}
