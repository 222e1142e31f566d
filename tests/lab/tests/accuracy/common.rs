//! What the goals share: trains beside a capture, and how their figures are judged.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use netsonde::icmp::{
    EchoFate, EngineConfig, IcmpConfig, IcmpEngine, IcmpLimits, IcmpProber, IcmpReport,
    SocketChoice, Stamps,
};
use netsonde::{NetworkTime, Observer, ProbeContext, ProbeResult, Prober, StampSource};
use netsonde_lab::netlab::address;
use netsonde_lab::{Capture, Marks, Net, Program, Topology};

/// Each of these tests wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// Client and server, on one wire; any group may have datagram sockets.
pub(crate) fn wire(word: &str) -> Option<Net> {
    Net::build(word, &topology())
}

/// Client and server, with so much delay each way.
pub(crate) fn path(word: &str, each_way: Duration) -> Option<Net> {
    Net::with_line(word, &topology(), Program::delay(each_way), Program::delay(each_way))
}

fn topology() -> Topology {
    Topology { ping_groups: Some((0, 0x7fff_ffff)), ..Topology::default() }
}

/// One more address of the server in each family: where several probers ask at once, the capture tells
/// their packets apart by it.
pub(crate) fn another(net: &Net, number: u8) -> [IpAddr; 2] {
    let more = address(0, 10 + number);
    for address in more {
        net.far.address(&format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 }));
        net.near.neighbour(&address.to_string(), &net.far);
    }
    more
}

pub(crate) fn engine(socket: SocketChoice, stamps: Stamps) -> IcmpEngine {
    IcmpEngine::new(EngineConfig { socket, stamps, ..EngineConfig::default() }).unwrap()
}

/// Raw sockets, all stamps.
pub(crate) fn raw() -> IcmpEngine {
    engine(SocketChoice::Raw, Stamps::Full)
}

/// So many packets, each of which is in the report.
pub(crate) fn config(count: u32, interval: Duration, reply_timeout: Duration) -> IcmpConfig {
    let limits = IcmpLimits { records: count as usize, ..IcmpLimits::default() };
    // A plan that a busy machine does not keep to is put off, and the train takes longer.
    let timeout = Some(ms(60_000));
    IcmpConfig { timeout, count, interval, reply_timeout, limits, ..IcmpConfig::default() }
}

/// All of them as fast as they can be made: no time lies between any two.
pub(crate) fn burst(count: u32, reply_timeout: Duration) -> IcmpConfig {
    config(count, Duration::from_nanos(1), reply_timeout)
}

/// A train to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Train {
    pub(crate) engine: IcmpEngine,
    pub(crate) config: IcmpConfig,
    pub(crate) target: IpAddr,
    /// How long after the others it begins, so that packets of several do not leave together.
    pub(crate) after: Duration,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Train {
    pub(crate) fn new(engine: &IcmpEngine, config: &IcmpConfig, target: IpAddr) -> Self {
        let (engine, config) = (engine.clone(), config.clone());
        Train { engine, config, target, after: Duration::ZERO, observer: None }
    }

    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    pub(crate) async fn run(self) -> ProbeResult<IcmpReport> {
        if !self.after.is_zero() {
            tokio::time::sleep(self.after).await;
        }
        let prober = IcmpProber::new(&self.engine, self.config).unwrap();
        let cx = match self.observer {
            Some(observer) => ProbeContext::new().with_observer(observer),
            None => ProbeContext::new(),
        };
        prober.probe_with(&cx, &self.target.to_string().parse().unwrap()).await
    }
}

/// Sends trains side by side, with a capture at the client's end of the wire.
pub(crate) fn send(net: &Net, trains: Vec<Train>) -> (Vec<ProbeResult<IcmpReport>>, Marks) {
    let capture = Capture::start(&net.near);
    let results = net.client.block_on(async move || {
        let running: Vec<_> = trains.into_iter().map(|train| tokio::spawn(train.run())).collect();
        let mut results = Vec::new();
        for train in running {
            results.push(train.await.unwrap());
        }
        results
    });
    capture.settle();
    (results, capture.end())
}

/// A request that the capture has seen, and when its first reply came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) sent: SystemTime,
    pub(crate) rtt: Option<Duration>,
    pub(crate) replies: usize,
}

/// The requests to an address, in the order in which they left. Identifiers and sequence numbers are used
/// again when a packet is decided: a reply belongs to the last request before it.
pub(crate) fn echoes(marks: &Marks, target: IpAddr) -> Vec<Echo> {
    let mut echoes = Vec::new();
    for (_, echo) in marks.echoes.iter().filter(|((to, _, _), _)| *to == target) {
        let ends = echo.requests.iter().skip(1).map(Some).chain([None]);
        for (sent, end) in echo.requests.iter().zip(ends) {
            let is_ours = |at: &&SystemTime| *at >= sent && end.is_none_or(|end| *at < end);
            let mut replies = echo.replies.iter().filter(is_ours);
            let rtt = replies.next().map(|at| at.duration_since(*sent).unwrap());
            let replies = replies.count() + usize::from(rtt.is_some());
            echoes.push(Echo { sent: *sent, rtt, replies });
        }
    }
    echoes.sort_by_key(|echo| echo.sent);
    echoes
}

/// How many were under way at one moment at most, by the capture.
pub(crate) fn in_flight(marks: &Marks, target: IpAddr) -> usize {
    let mut events = Vec::new();
    for echo in echoes(marks, target) {
        events.push((echo.sent, 1_i32));
        events.extend(echo.rtt.map(|rtt| (echo.sent + rtt, -1)));
    }
    events.sort_unstable();
    let running = events.iter().scan(0, |sum, (_, step)| {
        *sum += step;
        Some(*sum)
    });
    usize::try_from(running.max().unwrap_or(0)).unwrap()
}

/// What was reported of a packet, and what the capture says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rtt: NetworkTime,
    pub(crate) truth: Duration,
}

impl Sample {
    /// How far the value is off, in nanoseconds.
    pub(crate) fn error(&self) -> u64 {
        self.rtt.duration().abs_diff(self.truth).as_nanos() as u64
    }

    pub(crate) fn is_within(&self) -> bool {
        self.error() <= self.rtt.uncertainty_ns
    }
}

/// The answers of a train, each with the echo that the capture has seen of it: a train's packets leave in
/// their order.
///
/// # Panics
///
/// The capture has not seen as many packets as were sent, or an answer that it has not.
pub(crate) fn samples(result: &ProbeResult<IcmpReport>, marks: &Marks) -> Vec<Sample> {
    let target = result.report.address.unwrap();
    let echoes = echoes(marks, target);
    let left: Vec<_> =
        result.report.packets.iter().filter(|packet| packet.sent_ns.is_some()).collect();
    assert_eq!(left.len(), echoes.len(), "{result}");
    let answered = left.iter().zip(&echoes).filter_map(|(packet, echo)| match &packet.fate {
        EchoFate::Answered(answer) => {
            let truth = echo.rtt.expect("an answer that has passed the wire");
            Some(Sample { rtt: answer.rtt, truth })
        }
        _ => None,
    });
    answered.collect()
}

/// Whether all of them come from this source: else the machine was so late with a stamp that the engine
/// did not wait for it.
pub(crate) fn count_of(samples: &[Sample], source: StampSource) -> usize {
    samples.iter().filter(|sample| sample.rtt.source == source).count()
}

/// Values in order, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(Vec<u64>);

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        Spread(values)
    }

    pub(crate) fn errors(samples: &[Sample]) -> Self {
        Self::of(samples.iter().map(Sample::error))
    }

    /// So many in a thousand are not above it (nearest rank), in microseconds.
    pub(crate) fn at(&self, permille: usize) -> f64 {
        let rank = (self.0.len() * permille).div_ceil(1000).clamp(1, self.0.len().max(1));
        self.0.get(rank - 1).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(|permille| self.at(permille));
        write!(f, "p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} max {max:.1} us of {}", self.len())
    }
}

/// How large the values of a [`Spread`] may be, in microseconds, by share in thousandths.
pub(crate) type Limits<'a> = &'a [(usize, f64)];

pub(crate) fn is_below(spread: &Spread, limits: Limits<'_>) -> bool {
    spread.len() > 0 && limits.iter().all(|(permille, most)| spread.at(*permille) <= *most)
}

/// Up to three times, since other work on the machine spoils a measurement of microseconds. An attempt
/// says what was wrong with it.
pub(crate) fn gate(goal: &str, mut attempt: impl FnMut() -> Result<(), String>) {
    let mut wrong = Vec::new();
    for _ in 0..3 {
        match attempt() {
            Ok(()) => return,
            Err(why) => {
                println!("{goal}: not met: {why}");
                wrong.push(why);
            }
        }
    }
    panic!("{goal}: three times not met: {wrong:#?}");
}

/// Prints figures and holds them against their limits.
pub(crate) fn judge(what: &str, spread: &Spread, limits: Limits<'_>) -> Result<(), String> {
    println!("{what}: {spread}");
    if is_below(spread, limits) { Ok(()) } else { Err(format!("{what}: {spread}")) }
}
