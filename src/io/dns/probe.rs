//! The DNS prober: resolve the server, ask, take the answers apart.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use tokio::time::timeout_at;

use super::{Ask, RandomBits, StampKeeper, Way, drive};
use crate::dns::{
    DnsAttempt, DnsConfig, DnsExchange, DnsFate, DnsReport, DnsTransport, EdnsConfig, Question,
};
use crate::engine::query::{
    Attempt as Tried, AttemptFate, Mismatch, Outcome, Protocol, QueryEdns, QuerySetup,
};
use crate::io::join::all;
use crate::io::record::{Facts, Record};
use crate::io::resolve::lookup::{Wanted, addresses, permitted};
use crate::io::tls::TlsConnector;
use crate::probe::{ProbeContext, ProbeResult};
use crate::resolve::AddressPolicy;
use crate::target::{Host, Target};
use crate::timing::{Phase, Quality};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict};
use crate::wire::dns::{CLIENT_COOKIE, EdnsOption, Flags, HEADER, OptionCode};

/// Everything that a DNS probe needs to know of its prober.
#[derive(Debug)]
pub(crate) struct DnsPlan {
    pub(crate) config: DnsConfig,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) keeper: Option<StampKeeper>,
    pub(crate) random: RandomBits,
}

/// Probes once.
pub(crate) async fn probe(
    plan: &DnsPlan,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<DnsReport> {
    cx.notify(&crate::observe::Event::Started { target });
    let started = (cx.clock().wall(), cx.clock().now());
    let deadline = crate::io::time::deadline(cx.timeout().unwrap_or(plan.config.timeout));
    let mut result = probe_until(deadline, plan, cx, target, started).await;
    result.quality.timer_lag_ns = crate::io::time::late_ns(deadline);
    result
}

async fn probe_until(
    deadline: tokio::time::Instant,
    plan: &DnsPlan,
    cx: &ProbeContext,
    target: &Target,
    (started_at, start): (SystemTime, Instant),
) -> ProbeResult<DnsReport> {
    let ended = |record: Record<'_>, outcome: Verdict, report: DnsReport| {
        record.conclude(target, started_at, outcome, report)
    };
    let refused_target = |why: &str| {
        let fault = LocalFault::new(LocalFaultKind::Target).with_detail(why).in_phase(Phase::Setup);
        ended(Record::start(cx, start, Phase::Setup), fault.into(), DnsReport::default())
    };
    let config = &plan.config;
    let default_port = config.transport.port();
    let (host, port) = match target {
        Target::Endpoint(endpoint) => (&endpoint.host, endpoint.port),
        Target::Host(host) => (host, default_port),
        Target::Unix(_) => return refused_target("the DNS prober takes HOST or HOST:PORT"),
    };
    let to = config.dialing.connect_to.as_ref();
    let dialled_host = to.and_then(|to| to.host.as_ref()).unwrap_or(host);
    let port = to.and_then(|to| to.port).unwrap_or(port);
    if port == 0 {
        return refused_target("nothing can be sent to port 0");
    }
    let usable = |ip| config.dialing.family.admits(ip);
    let first = if dialled_host.ip().is_some_and(usable) { Phase::Setup } else { Phase::Resolve };
    let mut record = Record::start(cx, start, first);
    let wanted = Wanted { family: config.dialing.family, most: config.limits.addresses };
    let looked_up = timeout_at(deadline, addresses(&mut record, dialled_host, port, wanted)).await;
    let (addresses, resolution) = match looked_up {
        Ok(Ok(found)) => found,
        Ok(Err(verdict)) => return ended(record, verdict, DnsReport::default()),
        Err(_) => {
            let failure = record.timed_out(record.now());
            return ended(record, failure.into(), DnsReport::default());
        }
    };
    let mut refused = Vec::new();
    let addresses = match permitted(&mut record, addresses, &mut refused) {
        Ok(addresses) => addresses,
        Err(verdict) => {
            let report = DnsReport { resolution, refused, ..DnsReport::default() };
            return ended(record, verdict, report);
        }
    };
    let session = |addresses: Vec<SocketAddr>| Session {
        plan,
        host,
        record: record.fork(),
        addresses,
        servers: Vec::new(),
    };
    let mut sessions: Vec<Session<'_>> = match config.dialing.addresses {
        AddressPolicy::All => addresses.iter().map(|address| session(vec![*address])).collect(),
        _ => vec![session(addresses)],
    };
    match sessions.as_mut_slice() {
        [session] => session.run(deadline).await,
        several => all(several.iter_mut().map(|session| session.run(deadline))).await,
    }
    // Not made before the waiting is over: it is large.
    let report = DnsReport { resolution, refused, ..DnsReport::default() };
    conclude(sessions, record, target, started_at, report)
}

/// One address that is asked, or several of which one is to answer.
struct Session<'p> {
    plan: &'p DnsPlan,
    host: &'p Host,
    record: Record<'p>,
    addresses: Vec<SocketAddr>,
    /// The servers that were asked, with when that was decided.
    servers: Vec<Server<'p>>,
}

struct Server<'p> {
    address: SocketAddr,
    start: Instant,
    asks: Vec<Ask<'p>>,
    end: Instant,
}

impl<'p> Session<'p> {
    async fn run(&mut self, deadline: tokio::time::Instant) {
        let config = &self.plan.config;
        for address in self.addresses.clone() {
            if let Some(before) = self.servers.last() {
                // What it took was no preparation of this one: it is shown as what it was.
                let phases = before.asks.iter().filter_map(|ask| Some(ask.notes.last()?.phase));
                self.record.enter(phases.max().unwrap_or(Phase::Setup), before.start);
            }
            let origin = self.record.started();
            let asks = config.questions.iter().map(|question| {
                let setup = setup(self.plan, address, question);
                Ask::new(setup, origin, Some(self.record.fork()))
            });
            let start = self.record.now();
            let asks = asks.collect();
            self.servers.reserve_exact(1);
            self.servers.push(Server { address, start, asks, end: start });
            let Some(server) = self.servers.last_mut() else { return };
            let way = Way {
                transport: config.transport,
                server: address,
                socket: &config.socket,
                host: Some(self.host),
                tls: self.plan.tls.as_ref(),
                random: &self.plan.random,
                stamps: self.plan.keeper.is_some(),
                deadline: deadline.into_std(),
                datagram_bytes: datagram_bytes(config),
                message_bytes: config.limits.message_bytes,
            };
            drive(&mut server.asks, &way).await;
            server.end = self.record.now();
            let answered = server.asks.iter().all(|ask| outcome(ask).is_pass());
            let over = crate::io::time::now() >= deadline.into_std();
            if answered || over || config.dialing.addresses == AddressPolicy::First {
                return;
            }
        }
    }
}

fn datagram_bytes(config: &DnsConfig) -> usize {
    let told = config.edns.as_ref().map_or(512, |edns| edns.udp_payload.into());
    config.limits.datagram_bytes.max(told)
}

/// What one question is asked with.
fn setup(plan: &DnsPlan, server: SocketAddr, question: &Question) -> QuerySetup {
    let config = &plan.config;
    let Question { name, rtype, class } = question.clone();
    let mut setup = QuerySetup::new(server, name, rtype, class);
    let flags = &config.flags;
    setup.flags = Flags::default()
        .with_recursion_desired(flags.recursion_desired)
        .with_checking_disabled(flags.checking_disabled)
        .with_authentic_data(flags.authentic_data);
    setup.edns = config.edns.as_ref().map(|edns| query_edns(edns, &setup, &plan.random));
    setup.protocol = match config.transport {
        DnsTransport::Udp => Protocol::Udp,
        _ => Protocol::Stream,
    };
    setup.tcp_fallback = config.tcp_fallback;
    setup.mixed_case = config.mixed_case;
    setup.timeout = config.attempt_timeout;
    setup.retries = config.retries;
    setup.listen = config.listen;
    setup.strict = config.strict;
    setup.errors_end = !config.soft_errors;
    setup.without_edns = config.without_edns;
    setup
}

fn query_edns(config: &EdnsConfig, setup: &QuerySetup, random: &RandomBits) -> QueryEdns {
    let &EdnsConfig { udp_payload, version, dnssec_ok, .. } = config;
    let mut edns = QueryEdns { udp_payload, version, dnssec_ok, options: Vec::new() };
    let mut add = |option: EdnsOption<'_>| {
        // Their lengths were checked when the prober was built.
        let _ = option.write(&mut edns.options);
    };
    if config.nsid {
        add(EdnsOption::Nsid(&[]));
    }
    if let Some(subnet) = config.client_subnet {
        let (address, source_prefix) = (subnet.address, subnet.prefix);
        add(EdnsOption::ClientSubnet { address, source_prefix, scope_prefix: 0 });
    }
    if config.cookie {
        let client: [u8; CLIENT_COOKIE] = random.next().to_le_bytes();
        add(EdnsOption::Cookie { client, server: &[] });
    }
    if config.keepalive {
        add(EdnsOption::Keepalive(None));
    }
    for option in &config.options {
        add(EdnsOption::Other { code: OptionCode(option.code), data: &option.data });
    }
    if let Some(block) = config.padding {
        // Header, question, and the OPT record with the head of this option (RFC 6891, 6.1.2).
        let question = setup.name.as_bytes().len() + 4;
        let octets = HEADER + question + 11 + edns.options.len() + 4;
        let block = usize::from(block);
        let fill = octets.next_multiple_of(block) - octets;
        let _ = EdnsOption::Padding(fill).write(&mut edns.options);
    }
    edns
}

/// What came of a question.
fn outcome(ask: &Ask<'_>) -> Verdict {
    let note = |number: usize| ask.notes.get(number);
    let last = ask.notes.last();
    let phase = last.map_or(Phase::Setup, |note| note.phase);
    let failure = |kind| Failure::new(kind).in_phase(phase);
    match ask.engine.outcome() {
        Some(Outcome::Answered { .. }) => Verdict::Pass,
        Some(Outcome::Truncated { attempt }) => {
            let over_stream =
                note(*attempt).is_some_and(|note| note.transport != DnsTransport::Udp);
            let detail =
                if over_stream { "over a stream as well" } else { "and TCP is not allowed" };
            failure(FailureKind::DnsTruncated).with_detail(detail).into()
        }
        Some(Outcome::Unreadable { why, error }) => {
            let kind = match why {
                Mismatch::Question => FailureKind::DnsQuestion,
                Mismatch::LeftOver => FailureKind::DnsTrailing,
                _ => FailureKind::DnsMalformed,
            };
            match error {
                Some(error) => {
                    let detail = format!("{}: {error}", error.kind);
                    failure(kind).with_detail(detail).into()
                }
                None => failure(kind).into(),
            }
        }
        Some(Outcome::Refused { attempt }) => note(*attempt)
            .and_then(|note| note.verdict.clone())
            .unwrap_or_else(|| LocalFault::new(LocalFaultKind::Io).in_phase(phase).into()),
        Some(Outcome::TimedOut) => {
            let told = last.and_then(|note| note.verdict.clone());
            let mut timeout = match told {
                Some(Verdict::Fail(failure)) => failure,
                Some(other) => return other,
                None => failure(FailureKind::Timeout),
            };
            let other = ask.engine.attempts().iter().find_map(|attempt| attempt.other_source);
            if let (Some(other), FailureKind::Timeout) = (other, timeout.kind) {
                timeout = timeout.with_detail(format!("an answer came from {other}"));
            }
            timeout.into()
        }
        // A probe that is dropped never gets here.
        None => LocalFault::new(LocalFaultKind::Cancelled).in_phase(phase).into(),
    }
}

/// The deciding exchange gives the result; the others stand beside it.
fn conclude(
    sessions: Vec<Session<'_>>,
    mut record: Record<'_>,
    target: &Target,
    started_at: SystemTime,
    mut report: DnsReport,
) -> ProbeResult<DnsReport> {
    let Some(plan) = sessions.first().map(|session| session.plan) else {
        let fault = LocalFault::new(LocalFaultKind::Cancelled);
        return record.conclude(target, started_at, fault.into(), report);
    };
    let config = &plan.config;
    // A server behind which another one was asked does not decide.
    let decisive = || sessions.iter().filter_map(|session| session.servers.last());
    let mut verdicts = decisive().flat_map(|server| server.asks.iter().map(outcome));
    let place = verdicts.position(|verdict| !verdict.is_pass()).unwrap_or(0);
    let mut at = 0;
    // What stands if no server was asked: a probe that is dropped never gets here.
    let mut outcome_of_all = Verdict::from(LocalFault::new(LocalFaultKind::Cancelled));
    let (mut quality, mut ended) = (Quality::default(), None);
    for session in sessions {
        let last = session.servers.len().saturating_sub(1);
        for (number, server) in session.servers.into_iter().enumerate() {
            let dialled = record.dialling_at(server.address.into(), server.start);
            let mut verdict = Verdict::Pass;
            for (ask, question) in server.asks.into_iter().zip(&config.questions) {
                let outcome = outcome(&ask);
                if verdict.is_pass() {
                    verdict.clone_from(&outcome);
                }
                let decides = number == last && at == place;
                at += usize::from(number == last);
                if decides {
                    outcome_of_all.clone_from(&outcome);
                    let exchange = &mut report.exchange;
                    (ended, quality) =
                        finish(ask, question, server.address, outcome, &record, config, exchange);
                } else {
                    let mut exchange = DnsExchange::default();
                    finish(ask, question, server.address, outcome, &record, config, &mut exchange);
                    report.others.push(exchange);
                }
            }
            let passed = verdict.is_pass();
            record.dialled(dialled, verdict, Facts::default(), server.end);
            if let Some(attempt) = record.attempts.get_mut(dialled) {
                // Under `All` there are several.
                attempt.selected = passed;
            }
        }
    }
    let attempts = std::mem::take(&mut record.attempts);
    let mut record = ended.unwrap_or(record);
    if !report.others.is_empty() {
        record.enter(Phase::Gather, record.now());
    }
    record.attempts = attempts;
    let mut result = record.conclude(target, started_at, outcome_of_all, report);
    result.quality = quality;
    result
}

/// Writes down what came of a question; gives the record of its time, and how good its figures are.
fn finish<'p>(
    ask: Ask<'p>,
    question: &Question,
    server: SocketAddr,
    verdict: Verdict,
    record: &Record<'_>,
    config: &DnsConfig,
    exchange: &mut DnsExchange,
) -> (Option<Record<'p>>, Quality) {
    exchange.question = Some(question.clone());
    exchange.server = Some(server);
    exchange.outcome = Some(verdict);
    exchange.connection = ask.connection;
    exchange.tls = ask.tls;
    exchange.http_status = ask.http_status;
    let answered = match ask.engine.outcome() {
        Some(Outcome::Answered { attempt } | Outcome::Truncated { attempt }) => Some(*attempt),
        _ => None,
    };
    exchange.attempts.reserve_exact(ask.notes.len());
    for (tried, note) in ask.engine.attempts().iter().zip(&ask.notes) {
        exchange.attempts.push(attempt(tried, note, record));
    }
    let mut quality = Quality::default();
    if let Some(number) = answered {
        if let Some(tried) = ask.engine.attempts().get(number) {
            exchange.take_answer(&tried.message, &config.limits);
            exchange.conflict.clone_from(&tried.conflict);
            if let AttemptFate::Answered { left_over } = tried.fate {
                exchange.trailing_bytes = left_over as u64;
            }
        }
        if let Some(time) = ask.notes.get(number).and_then(|note| note.network) {
            quality.stamp = Some(time.source);
            quality.uncertainty_ns = Some(time.uncertainty_ns);
        }
        quality.lag_ns = ask.lag_ns;
    }
    (ask.record, quality)
}

fn attempt(tried: &Tried, note: &super::Note, record: &Record<'_>) -> DnsAttempt {
    let fate = match tried.fate {
        AttemptFate::Answered { .. } => DnsFate::Answered,
        AttemptFate::Truncated {} => DnsFate::Truncated,
        AttemptFate::Refused => DnsFate::Refused,
        AttemptFate::TimedOut => DnsFate::TimedOut,
        AttemptFate::Waiting => DnsFate::Unfinished,
    };
    DnsAttempt {
        transport: note.transport,
        server: note.server,
        port: note.port,
        id: tried.id,
        name: tried.name.clone(),
        edns: tried.edns,
        start_ns: record.offset_ns(note.start),
        sent_ns: note.sent.then_some(tried.sent_ns),
        end_ns: tried.end_ns,
        network: note.network,
        sent_bytes: note.bytes,
        fate,
        verdict: note.verdict.clone(),
        mismatches: Mismatch::ALL
            .iter()
            .map(|why| (*why, tried.mismatches.of(*why)))
            .filter(|(_, count)| *count > 0)
            .map(|(why, count)| (why.as_str().to_owned(), count))
            .collect(),
        other_source: tried.other_source,
        duplicates: tried.duplicates,
        conflicts: tried.conflicts,
        errors: tried.errors,
    }
}
