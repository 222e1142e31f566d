//! Traces, without clock and socket: which query to send next, and what the answers come to.
//!
//! The owner asks [`TraceEngine::poll_transmit`] what to send, sends it, and says what came back:
//! [`answered`](TraceEngine::answered), [`refused`](TraceEngine::refused),
//! [`not_sent`](TraceEngine::not_sent). When nothing is to be sent it waits for an answer or until
//! [`poll_timeout`](TraceEngine::poll_timeout), and then calls
//! [`handle_timeout`](TraceEngine::handle_timeout).
//!
//! What holds:
//!
//! - Every query leaves once, in the order of the distance; none is repeated. An answer counts for
//!   the query that it belongs to and for no other, however late it is.
//! - Once the target is known to answer at some distance, nothing is sent beyond it; nor beyond a
//!   refusal, but what is already under way may still find the target.
//! - A path ends after [`gap_limit`](crate::icmp::trace::TraceConfig::gap_limit) silent hops in a row
//!   with no answer from beyond them.
//!
//! ```
//! use netsonde::engine::trace::{TraceEngine, TraceSetup};
//! use netsonde::icmp::EchoError;
//! use netsonde::icmp::trace::{PathEnd, TraceConfig};
//! use netsonde::FailureKind;
//! use std::net::IpAddr;
//! use std::time::{Duration, Instant};
//!
//! let (router, target): (IpAddr, IpAddr) = ("192.0.2.1".parse()?, "203.0.113.9".parse()?);
//! let config = TraceConfig { queries: 1, parallel: 1, ..TraceConfig::default() };
//! let start = Instant::now();
//! let mut engine = TraceEngine::new(TraceSetup::new(&config, target)?, start);
//!
//! let query = engine.poll_transmit(start).unwrap();
//! assert_eq!(query.ttl, 1);
//! assert_eq!(engine.poll_transmit(start), None); // one at a time
//! let later = start + Duration::from_millis(3);
//! let exceeded = EchoError::new(FailureKind::TtlExceeded, 11, 0, Some(router));
//! engine.refused(query.ticket, exceeded, later);
//!
//! let query = engine.poll_transmit(later).unwrap();
//! assert_eq!(query.ttl, 2);
//! engine.answered(query.ticket, target, None, later + Duration::from_millis(3));
//! assert!(engine.is_done());
//! let report = engine.finish(later + Duration::from_millis(3));
//! assert_eq!(report.paths[0].end, PathEnd::Reached { ttl: 2 });
//! assert_eq!(report.paths[0].hops[0].queries[0].fate.answer().unwrap().from, Some(router));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "the prober is Linux only"))]
mod codec;
mod flow;
mod hints;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::Error;
use crate::icmp::EchoError;
use crate::icmp::trace::{AnswerKind, TraceAnswer, TraceConfig, TraceMethod, TraceReport};
use crate::timing::{NetworkTime, duration_ns};
use crate::verdict::FailureKind;
#[cfg(target_os = "linux")]
pub(crate) use codec::{Codec, Match, NoMatch};
use flow::Flow;

/// What one trace is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TraceSetup {
    destination: IpAddr,
    method: TraceMethod,
    port: Option<u16>,
    payload_bytes: u32,
    first_ttl: u8,
    max_ttl: u8,
    queries: u32,
    flows: u32,
    parallel: u32,
    timeout: Duration,
    interval: Duration,
    gap_limit: Option<u16>,
    labels: usize,
    extension_bytes: usize,
}

impl TraceSetup {
    /// A trace of `destination` as the configuration has it.
    ///
    /// # Errors
    /// Those of [`TraceConfig::check`].
    pub fn new(config: &TraceConfig, destination: IpAddr) -> Result<Self, Error> {
        config.check()?;
        let ttl = |key, ttl: u16| {
            u8::try_from(ttl).map_err(|_| Error::config(key, "must lie in 1..=255"))
        };
        Ok(TraceSetup {
            destination,
            method: config.method,
            port: config.port.or(config.method.default_port()),
            payload_bytes: config.payload_bytes(),
            first_ttl: ttl("first_ttl", config.first_ttl)?,
            max_ttl: ttl("max_hops", config.max_hops)?,
            queries: config.queries,
            flows: config.flows,
            parallel: config.parallel,
            timeout: config.query_timeout,
            interval: config.interval,
            gap_limit: config.gap_limit,
            labels: config.limits.labels,
            extension_bytes: config.limits.extension_bytes,
        })
    }

    fn hops(&self) -> u32 {
        u32::from(self.max_ttl - self.first_ttl) + 1
    }
}

/// Names one query of a trace. All numbers of a trace differ, so one can be the sequence number or
/// identification that the answers quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceTicket(u16);

impl TraceTicket {
    /// The ticket of this number, as read from an answer. It may be of no query at all.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        TraceTicket(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A query that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceTransmit {
    /// Says which query an answer is to.
    pub ticket: TraceTicket,
    /// The flow: all that routers hash on is the same for its queries.
    pub flow: u32,
    /// The time to live or hop limit.
    pub ttl: u8,
    /// Bytes of payload behind the transport header.
    pub payload_bytes: u32,
}

/// What a query looked like when it left, to be compared with what errors quote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentAs {
    /// Source address.
    pub source: Option<IpAddr>,
    /// Checksum of the transport header.
    pub checksum: Option<u16>,
    /// Length of the whole packet in bytes.
    pub length: Option<u32>,
}

impl SentAs {
    /// All that can be compared.
    #[must_use]
    pub const fn new(source: IpAddr, checksum: u16, length: u32) -> Self {
        SentAs { source: Some(source), checksum: Some(checksum), length: Some(length) }
    }
}

/// One trace of one address. See the [module](self) for how to run it.
///
/// Every method that takes an instant may be given the same one as before; one that is earlier than
/// the latest so far counts as the latest, but for the arrivals of answers.
#[derive(Debug)]
pub struct TraceEngine {
    setup: TraceSetup,
    origin: Instant,
    now: Instant,
    flows: Vec<Flow>,
    /// Deadlines of queries in the order of sending, and so in that of time.
    deadlines: VecDeque<(Instant, TraceTicket)>,
    pending: u32,
    next_send: Instant,
    strays: u64,
    done: bool,
}

impl TraceEngine {
    /// A trace that begins at `origin`, from which the times in its report count.
    #[must_use]
    pub fn new(setup: TraceSetup, origin: Instant) -> Self {
        TraceEngine {
            flows: (0..setup.flows).map(|_| Flow::new(&setup)).collect(),
            setup,
            origin,
            now: origin,
            deadlines: VecDeque::new(),
            pending: 0,
            next_send: origin,
            strays: 0,
            done: false,
        }
    }

    /// The next query, which counts as sent at `now`. `None` if there is nothing to send at this time.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<TraceTransmit> {
        self.now = self.now.max(now);
        if self.done || self.pending >= self.setup.parallel || self.now < self.next_send {
            return None;
        }
        let sendable = self.flows.iter_mut().zip(0..).filter(|(flow, _)| flow.has_more());
        let (flow, number) = sendable.min_by_key(|(flow, number)| (flow.asked(), *number))?;
        let ticket = number * self.setup.queries * self.setup.hops() + flow.asked();
        let ticket = TraceTicket(u16::try_from(ticket).ok()?);
        let sent_ns = duration_ns(self.now.saturating_duration_since(self.origin));
        let ttl = flow.ask(self.now, sent_ns)?;
        self.deadlines.push_back((self.now + self.setup.timeout, ticket));
        self.pending += 1;
        self.next_send = self.now + self.setup.interval;
        let payload_bytes = self.setup.payload_bytes;
        Some(TraceTransmit { ticket, flow: number, ttl, payload_bytes })
    }

    /// Says how a query left, so that what was rewritten on the way can be told.
    pub fn sent(&mut self, ticket: TraceTicket, sent: SentAs) {
        if let Some((flow, index)) = self.find(ticket) {
            flow.sent(index, sent);
        }
    }

    /// The target answered in its own protocol; the answer arrived at `at`.
    pub fn answered(
        &mut self,
        ticket: TraceTicket,
        from: IpAddr,
        rtt: Option<NetworkTime>,
        at: Instant,
    ) {
        self.received(ticket, TraceAnswer::reply(from, rtt), at);
    }

    /// An ICMP error came back, of a hop or another; it arrived at `at`.
    pub fn refused(&mut self, ticket: TraceTicket, error: EchoError, at: Instant) {
        self.received(ticket, TraceAnswer::error(error), at);
    }

    /// An answer with all that is known of it; it arrived at `at`.
    ///
    /// It is in time if it arrived before its deadline, even if this is only said afterwards. What
    /// was quoted is compared with what was [sent](Self::sent), and what does not fit in the limits
    /// is left out and counted.
    pub fn received(&mut self, ticket: TraceTicket, mut answer: TraceAnswer, at: Instant) {
        self.now = self.now.max(at);
        let setup = &self.setup;
        // Nobody listens there: that is what a UDP query to the target comes to.
        if setup.method == TraceMethod::Udp
            && answer.failure == Some(FailureKind::PortUnreachable)
            && answer.from == Some(setup.destination)
        {
            answer.answer = AnswerKind::Reached;
        }
        hints::shorten(&mut answer, setup.labels, setup.extension_bytes);
        let timeout = setup.timeout;
        let Some((flow, index)) = self.find(ticket) else {
            self.strays += 1;
            return;
        };
        match flow.receive(index, answer, at, timeout) {
            Some(was_pending) => self.pending -= u32::from(was_pending),
            None => self.strays += 1,
        }
        self.settle();
    }

    /// Whether a query is on its way: sent, not answered, not given up.
    #[must_use]
    pub fn is_waiting(&self, ticket: TraceTicket) -> bool {
        let of_flow = self.setup.queries * self.setup.hops();
        let (flow, index) = (u32::from(ticket.0) / of_flow, u32::from(ticket.0) % of_flow);
        self.flows.get(flow as usize).is_some_and(|flow| flow.is_pending(index as usize))
    }

    /// A packet came that is made as if it were an answer, and is to no query: it is counted, and that is
    /// all.
    pub fn suspect(&mut self) {
        self.strays += 1;
    }

    /// The system did not take the query. `mtu` is the largest packet that would do, for `EMSGSIZE`.
    pub fn not_sent(&mut self, ticket: TraceTicket, errno: i32, mtu: Option<u32>, now: Instant) {
        self.now = self.now.max(now);
        if let Some((flow, index)) = self.find(ticket)
            && flow.not_sent(index, errno, mtu)
        {
            self.pending -= 1;
        }
        self.settle();
    }

    /// Decides the queries whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some((deadline, ticket)) = self.deadlines.front().copied() {
            if deadline > self.now {
                break;
            }
            self.deadlines.pop_front();
            if let Some((flow, index)) = self.find(ticket)
                && flow.expire(index)
            {
                self.pending -= 1;
            }
        }
        self.settle();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), or
    /// [`poll_transmit`](Self::poll_transmit) again; `None` once the trace is done.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let deadline = self.deadlines.front().map(|(deadline, _)| *deadline);
        let may_send = self.pending < self.setup.parallel && self.flows.iter().any(Flow::has_more);
        let send = may_send.then_some(self.next_send);
        deadline.into_iter().chain(send).min()
    }

    /// Whether all paths have come to their ends. It stays so; answers may still be passed in, for
    /// duplicates and late ones.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What is known at `now`: the whole story if the trace is done. What the engine cannot know is
    /// left empty.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> TraceReport {
        self.handle_timeout(now);
        let mut report = TraceReport {
            address: Some(self.setup.destination),
            method: Some(self.setup.method),
            port: self.setup.port,
            payload_bytes: Some(self.setup.payload_bytes),
            forgery_suspects: self.strays,
            ..TraceReport::default()
        };
        let paths = self.flows.into_iter().zip(0..);
        report.paths = paths.map(|(flow, number)| flow.into_path(number)).collect();
        report.balancing = hints::balancing(&report.paths);
        report
    }

    fn find(&mut self, ticket: TraceTicket) -> Option<(&mut Flow, usize)> {
        let of_flow = self.setup.queries * self.setup.hops();
        let (flow, index) = (u32::from(ticket.0) / of_flow, u32::from(ticket.0) % of_flow);
        let flow = self.flows.get_mut(flow as usize)?;
        (index < flow.asked()).then_some((flow, index as usize))
    }

    fn settle(&mut self) {
        let per_flow = self.setup.queries * self.setup.hops();
        while let Some((_, TraceTicket(number))) = self.deadlines.front() {
            let (flow, index) = (u32::from(*number) / per_flow, u32::from(*number) % per_flow);
            let flow = self.flows.get(flow as usize);
            if flow.is_some_and(|flow| flow.is_pending(index as usize)) {
                break;
            }
            self.deadlines.pop_front();
        }
        if !self.done && self.flows.iter().all(Flow::is_done) {
            self.done = true;
            self.flows.iter_mut().for_each(Flow::close);
        }
    }
}
