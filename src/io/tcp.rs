//! The TCP prober: resolve, dial, talk, look back.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout_at;

use super::connect::{Connected, Connecting};
use super::dial::{Dialled, dial};
use super::join::all;
use super::record::{Facts, Record};
use super::resolve::lookup::{Wanted, addresses, permitted};
use super::talk::{Plan, Talk};
use super::wire::Wire;
use crate::limits::Limits;
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::resolve::{AddressPolicy, Dialing};
use crate::target::{Host, Target};
use crate::tcp::{AddressReport, SocketOptions, TcpConnection, TcpReport};
use crate::timing::{NetworkTime, Phase, Quality, StampSource, duration_ns};
use crate::verdict::{LocalFault, LocalFaultKind, Verdict};

/// Everything that a TCP probe needs to know of its prober.
#[derive(Debug)]
pub(crate) struct TcpPlan {
    pub(crate) talk: Plan,
    pub(crate) dialing: Dialing,
    pub(crate) socket: SocketOptions,
    pub(crate) limits: Limits,
    pub(crate) timeout: Duration,
}

/// How far the kernel's round-trip sample may lie from the truth on the wire. Both of its stamps are
/// taken in the protocol stack: beside a packet capture they were off by 13 us (99 %) and 49 us at
/// most, with 8,000 connections at once.
const TCP_INFO_UNCERTAINTY: Duration = Duration::from_micros(50);

/// Probes once.
pub(crate) async fn probe(
    plan: &TcpPlan,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<TcpReport> {
    cx.notify(&Event::Started { target });
    let started = (cx.clock().wall(), cx.clock().now());
    let deadline = super::time::deadline(cx.timeout().unwrap_or(plan.timeout));
    let mut result = probe_until(deadline, plan, cx, target, started).await;
    result.quality.timer_lag_ns = super::time::late_ns(deadline);
    result
}

async fn probe_until(
    deadline: tokio::time::Instant,
    plan: &TcpPlan,
    cx: &ProbeContext,
    target: &Target,
    (started_at, start): (SystemTime, Instant),
) -> ProbeResult<TcpReport> {
    // What is made before the first wait is held while it lasts: no report is, before its time.
    let ended = |record: Record<'_>, outcome: Verdict| {
        record.conclude(target, started_at, outcome, TcpReport::default())
    };
    let Target::Endpoint(endpoint) = target else {
        let record = Record::start(cx, start, Phase::Setup);
        let fault = LocalFault::new(LocalFaultKind::Target)
            .with_detail("the TCP prober takes HOST:PORT")
            .in_phase(Phase::Setup);
        return ended(record, fault.into());
    };
    let to = plan.dialing.connect_to.as_ref();
    let dialled_host = to.and_then(|to| to.host.as_ref()).unwrap_or(&endpoint.host);
    let port = to.and_then(|to| to.port).unwrap_or(endpoint.port);
    if port == 0 {
        // No text of a target says so, but an address in a program may.
        let record = Record::start(cx, start, Phase::Setup);
        let fault = LocalFault::new(LocalFaultKind::Target)
            .with_detail("port 0 cannot be dialled")
            .in_phase(Phase::Setup);
        return ended(record, fault.into());
    }

    let usable = |ip| plan.dialing.family.admits(ip);
    let first = if dialled_host.ip().is_some_and(usable) { Phase::Connect } else { Phase::Resolve };
    let mut record = Record::start(cx, start, first);
    let wanted = Wanted { family: plan.dialing.family, most: plan.limits.addresses };
    let looked_up = timeout_at(deadline, addresses(&mut record, dialled_host, port, wanted)).await;
    let (addresses, resolution) = match looked_up {
        Ok(Ok(found)) => found,
        Ok(Err(verdict)) => return ended(record, verdict),
        Err(_) => {
            let failure = record.timed_out(record.now());
            return ended(record, failure.into());
        }
    };
    let mut refused = Vec::new();
    let addresses = match permitted(&mut record, addresses, &mut refused) {
        Ok(addresses) => addresses,
        Err(verdict) => {
            let report = TcpReport { resolution, refused, ..TcpReport::default() };
            return record.conclude(target, started_at, verdict, report);
        }
    };
    record.enter(Phase::Connect, record.now());

    let mut sessions: Vec<Session<'_>> = match plan.dialing.addresses {
        AddressPolicy::All => addresses
            .iter()
            .map(|address| Session::new(plan, record.fork(), vec![*address]))
            .collect(),
        _ => vec![Session::new(plan, record, addresses)],
    };
    match sessions.as_mut_slice() {
        [session] => session.run(&endpoint.host, deadline).await,
        several => {
            let runs = several.iter_mut().map(|session| session.run(&endpoint.host, deadline));
            all(runs).await;
        }
    }
    let report = TcpReport { resolution, refused, ..TcpReport::default() };
    conclude(sessions, target, started_at, report)
}

/// One address that is probed to the end, or several of which one is.
struct Session<'p> {
    plan: &'p TcpPlan,
    record: Record<'p>,
    addresses: Vec<SocketAddr>,
    talk: Talk<'p>,
    connection: Option<TcpConnection>,
    lag: Option<Duration>,
    peer_end: Option<crate::tcp::PeerEnd>,
    /// What was found, and when.
    outcome: Option<(Verdict, Instant)>,
}

impl<'p> Session<'p> {
    fn new(plan: &'p TcpPlan, record: Record<'p>, addresses: Vec<SocketAddr>) -> Self {
        Session {
            plan,
            record,
            addresses,
            talk: Talk::new(&plan.talk),
            connection: None,
            lag: None,
            peer_end: None,
            outcome: None,
        }
    }

    async fn run(&mut self, host: &Host, deadline: tokio::time::Instant) {
        let outcome = match self.connect(deadline).await {
            Err(verdict) => verdict,
            Ok(connected) if self.talk.is_silent() => {
                self.close(connected.final_info());
                Verdict::Pass
            }
            Ok(connected) => self.converse(connected, host, deadline).await,
        };
        self.outcome = Some((outcome, self.record.now()));
    }

    async fn connect(&mut self, deadline: tokio::time::Instant) -> Result<Connected, Verdict> {
        let clock = self.record.cx().clock();
        let options = &self.plan.socket;
        let one = |address| async move {
            let now = || clock.now();
            let failed = |error: super::connect::ConnectError| Dialled {
                facts: Facts { local: error.local, syn_retransmits: error.syn_retransmits() },
                at: error.marks.end,
                result: Err(error.verdict()),
            };
            let mut connecting = match Connecting::start(address, options, &now) {
                Ok(connecting) => connecting,
                Err(error) => return failed(error),
            };
            if !connecting.is_settled() {
                // Whether it has ended by then or not, `finish` knows.
                let _ = timeout_at(deadline, connecting.settle(&now)).await;
            }
            match connecting.finish(&now) {
                Ok(connected) => Dialled {
                    facts: Facts {
                        local: Some(connected.local()),
                        syn_retransmits: connected.syn_retransmits(),
                    },
                    at: connected.marks().end,
                    result: Ok(connected),
                },
                Err(error) => failed(error),
            }
        };
        let dialing = &self.plan.dialing;
        let connected = dial(&mut self.record, dialing, &self.addresses, deadline, one).await?;
        let marks = connected.marks();
        let elapsed = marks.dialled.map(|dialled| marks.end.saturating_duration_since(dialled));
        let rtt = connected.handshake_rtt_ns().map(Duration::from_nanos);
        self.lag = elapsed.zip(rtt).map(|(elapsed, rtt)| elapsed.saturating_sub(rtt));
        self.connection = Some(TcpConnection {
            peer: connected.remote(),
            local: connected.local(),
            rtt: rtt.map(|rtt| NetworkTime::new(rtt, TCP_INFO_UNCERTAINTY, StampSource::TcpInfo)),
            syn_retransmits: connected.syn_retransmits(),
            at_connect: connected.info().cloned(),
            at_end: None,
        });
        Ok(connected)
    }

    async fn converse(
        &mut self,
        connected: Connected,
        host: &Host,
        deadline: tokio::time::Instant,
    ) -> Verdict {
        let stream = match connected.into_stream() {
            Ok(stream) => stream,
            Err(error) => return super::errno::verdict(&error, Phase::Connect),
        };
        let talk = self.talk.run(&mut self.record, Some(host), Wire::Tcp(stream));
        let verdict = match timeout_at(deadline, talk).await {
            Ok(Ok(())) => Verdict::Pass,
            Ok(Err(verdict)) => verdict,
            Err(_) => {
                let failure = self.record.timed_out(self.record.now());
                self.talk.timed_out(failure).into()
            }
        };
        let info = self.talk.wire().and_then(Wire::tcp_info);
        self.close(info);
        self.peer_end = self.talk.end();
        verdict
    }

    fn close(&mut self, info: Option<crate::tcp::TcpInfo>) {
        self.record.enter(Phase::Close, self.record.now());
        if let Some(connection) = &mut self.connection {
            connection.at_end = info;
        }
    }
}

/// The deciding session gives the result; the others stand beside it.
fn conclude(
    mut sessions: Vec<Session<'_>>,
    target: &Target,
    started_at: SystemTime,
    mut report: TcpReport,
) -> ProbeResult<TcpReport> {
    let not_passed = |s: &Session<'_>| !matches!(s.outcome, Some((Verdict::Pass, _)));
    let place = sessions.iter().position(not_passed).unwrap_or(0);
    let mut decisive = sessions.remove(place);
    let Some((outcome, ended)) = decisive.outcome.take() else {
        // `run` always leaves an outcome; a probe that is dropped never gets here.
        let fault = LocalFault::new(LocalFaultKind::Cancelled);
        return decisive.record.conclude(target, started_at, fault.into(), report);
    };
    let mut attempts = Vec::new();
    for (index, session) in sessions.into_iter().enumerate() {
        let Some((outcome, ended)) = session.outcome else { continue };
        let address = session.addresses.first().copied();
        let (timing, tried) = session.record.finish(ended);
        attempts.push((if index < place { index } else { index + 1 }, tried));
        let (tls, script) = session.talk.into_reports();
        let (connection, peer_end) = (session.connection, session.peer_end);
        report.others.extend(address.map(|address| AddressReport {
            address,
            outcome,
            timing,
            connection,
            tls,
            script,
            peer_end,
        }));
    }
    let gathered = !report.others.is_empty();
    report.connection = decisive.connection;
    report.peer_end = decisive.peer_end;
    (report.tls, report.script) = decisive.talk.into_reports();
    let mut quality = Quality::default();
    if let Some(rtt) = report.connection.as_ref().and_then(|connection| connection.rtt) {
        quality.stamp = Some(rtt.source);
        quality.uncertainty_ns = Some(rtt.uncertainty_ns);
    }
    quality.lag_ns = decisive.lag.map(duration_ns);
    let mut record = decisive.record;
    attempts.push((place, std::mem::take(&mut record.attempts)));
    attempts.sort_by_key(|(place, _)| *place);
    record.attempts = attempts.into_iter().flat_map(|(_, tried)| tried).collect();
    if gathered {
        record.enter(Phase::Gather, ended);
    }
    let mut result = record.conclude(target, started_at, outcome, report);
    result.quality = quality;
    result
}
