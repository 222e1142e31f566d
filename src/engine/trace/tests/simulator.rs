//! A network on a clock of its own: what lies at which distance, and what becomes of each answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::engine::trace::{SentAs, TraceEngine, TraceSetup, TraceTransmit};
use crate::icmp::trace::{Quoted, TraceAnswer, TraceConfig, TraceMethod, TraceReport};
use crate::icmp::{EchoError, MplsLabel};
use crate::timing::{NetworkTime, StampSource};
use crate::verdict::FailureKind;

pub(super) const HERE: [u8; 4] = [192, 0, 2, 7];
pub(super) const PUBLIC: [u8; 4] = [198, 51, 100, 1];

/// One distance from here.
#[derive(Clone, Debug)]
pub(super) struct Router {
    /// Those among which flows, or packets, are shared out.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) by_packet: bool,
    pub(super) delay: Duration,
    /// How many errors it sends at all; the others it swallows.
    pub(super) budget: Option<u32>,
    /// It sends nothing on and says so with this code.
    pub(super) refuses: Option<u8>,
    /// Behind it packets carry another source.
    pub(super) translates: bool,
    pub(super) mpls: Vec<MplsLabel>,
}

impl Router {
    pub(super) fn new(last: u8) -> Self {
        Router {
            addresses: vec![IpAddr::from([10, 0, 0, last])],
            by_packet: false,
            delay: Duration::from_millis(u64::from(last)),
            budget: None,
            refuses: None,
            translates: false,
            mpls: Vec::new(),
        }
    }

    pub(super) fn silent(last: u8) -> Self {
        Router { budget: Some(0), ..Router::new(last) }
    }

    pub(super) fn address(&self, query: &TraceTransmit) -> IpAddr {
        let by = if self.by_packet { u32::from(query.ticket.number()) } else { query.flow };
        self.addresses[by as usize % self.addresses.len()]
    }
}

/// What becomes of the answer to one query.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mishap {
    pub(super) lost: bool,
    pub(super) duplicates: u8,
    pub(super) extra_delay: Duration,
    /// The system does not take the query.
    pub(super) errno: Option<i32>,
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) routers: Vec<Router>,
    pub(super) target: IpAddr,
    pub(super) target_answers: bool,
    pub(super) method: TraceMethod,
    /// For the queries in the order of sending; those beyond go well.
    pub(super) mishaps: Vec<Mishap>,
}

pub(super) struct Run {
    pub(super) report: TraceReport,
    pub(super) sent: Vec<(Duration, TraceTransmit)>,
    pub(super) most_in_flight: usize,
}

impl Network {
    pub(super) fn new(routers: Vec<Router>) -> Self {
        Network {
            routers,
            target: [203, 0, 113, 9].into(),
            target_answers: true,
            method: TraceMethod::Icmp,
            mishaps: Vec::new(),
        }
    }

    pub(super) fn straight(length: u8) -> Self {
        Network::new((1..=length).map(Router::new).collect())
    }

    /// The answer to a query, and how long it takes.
    fn answer(&mut self, query: &TraceTransmit) -> Option<(Duration, TraceAnswer)> {
        let reach = usize::from(query.ttl);
        // A router with a time to live to spare refuses; without, it says that it ran out.
        let refusing =
            self.routers.iter().take(reach - 1).position(|router| router.refuses.is_some());
        let place = refusing.unwrap_or(reach - 1);
        let translated = self.routers.iter().take(place).any(|router| router.translates);
        let quoted = Quoted {
            ttl: Some(1),
            source: Some(if translated { PUBLIC } else { HERE }.into()),
            checksum: Some(if translated { 0xbeef } else { 0xabcd }),
            length: Some(60),
            ..Quoted::default()
        };
        let target = self.target;
        let Some(router) = self.routers.get_mut(place) else {
            let delay = Duration::from_millis(50);
            let mut answer = match self.method {
                TraceMethod::Udp => TraceAnswer::error(EchoError::new(
                    FailureKind::PortUnreachable,
                    3,
                    3,
                    Some(target),
                )),
                _ => TraceAnswer::reply(target, None),
            };
            answer.rtt = rtt(delay);
            return self.target_answers.then_some((delay, answer));
        };
        if let Some(budget) = &mut router.budget {
            *budget = budget.checked_sub(1)?;
        }
        let from = Some(router.address(query));
        let mut error = match router.refuses.filter(|_| refusing.is_some()) {
            Some(code) => EchoError::new(FailureKind::HostUnreachable, 3, code, from),
            None => EchoError::new(FailureKind::TtlExceeded, 11, 0, from),
        };
        error.mpls = router.mpls.clone();
        error.rtt = rtt(router.delay);
        let mut answer = TraceAnswer::error(error);
        answer.quoted = Some(quoted);
        Some((router.delay, answer))
    }

    /// Traces it to the end.
    pub(super) fn trace(mut self, config: &TraceConfig) -> Run {
        let config = TraceConfig { method: self.method, ..config.clone() };
        let start = Instant::now();
        let mut now = start;
        let mut engine = TraceEngine::new(TraceSetup::new(&config, self.target).unwrap(), start);
        let mut sent: Vec<(Duration, TraceTransmit)> = Vec::new();
        let mut arrivals: Vec<(Instant, TraceTransmit, TraceAnswer)> = Vec::new();
        let (mut in_flight, mut most_in_flight) = (Vec::new(), 0);
        for _ in 0..1_000_000 {
            while let Some(query) = engine.poll_transmit(now) {
                let mishap = self.mishaps.get(sent.len()).copied().unwrap_or_default();
                sent.push((now - start, query));
                if let Some(errno) = mishap.errno {
                    engine.not_sent(query.ticket, errno, None, now);
                    continue;
                }
                engine.sent(query.ticket, SentAs::new(HERE.into(), 0xabcd, 60));
                in_flight.push((now + config.query_timeout, query.ticket));
                most_in_flight = most_in_flight.max(in_flight.len());
                let answer = self.answer(&query).filter(|_| !mishap.lost);
                let Some((delay, answer)) = answer else { continue };
                for copy in 0..=u32::from(mishap.duplicates) {
                    let at = now + delay + mishap.extra_delay + Duration::from_micros(7) * copy;
                    arrivals.push((at, query, answer.clone()));
                }
            }
            let next = arrivals.iter().enumerate().min_by_key(|(_, (at, ..))| *at);
            let next = next.map(|(place, (at, ..))| (place, *at));
            match (next, engine.poll_timeout()) {
                (_, None) => break,
                (Some((place, at)), Some(timeout)) if at <= timeout => {
                    let (at, query, answer) = arrivals.swap_remove(place);
                    now = at;
                    in_flight.retain(|(_, ticket)| *ticket != query.ticket);
                    engine.received(query.ticket, answer, at);
                }
                (_, Some(timeout)) => {
                    assert!(timeout >= now);
                    now = timeout;
                    in_flight.retain(|(deadline, _)| *deadline > now);
                    engine.handle_timeout(now);
                }
            }
        }
        assert!(engine.is_done(), "{engine:?}");
        // What is still under way belongs to its query and changes nothing but its record.
        for (at, query, answer) in arrivals {
            engine.received(query.ticket, answer, at);
            assert!(engine.is_done());
            assert_eq!(engine.poll_transmit(at), None);
        }
        Run { report: engine.finish(now), sent, most_in_flight }
    }
}

fn rtt(delay: Duration) -> Option<NetworkTime> {
    Some(NetworkTime::new(delay, Duration::ZERO, StampSource::Kernel))
}
