//! The trace prober: resolve, open, send and listen hop by hop, name the hops, conclude.
//!
//! Each trace has sockets of its own, for as long as it runs: its ports and identifiers are held by it
//! alone, and a filter in the kernel keeps everything else away.

mod line;
mod names;
mod open;
mod run;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use tokio::time::timeout_at;

use super::found::{Found, find};
use super::judge::{as_target, blame_source, not_sent};
use crate::engine::trace::{Codec, TraceEngine, TraceSetup};
use crate::icmp::trace::{TraceConfig, TraceFate, TraceReport};
use crate::io::record::{Facts, Record};
use crate::io::socket::{interface, wait_for_stamps};
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::target::Target;
use crate::timing::{Phase, Quality};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict};
use line::names_stamps;
use open::{Way, same_family, source};
use run::Run;

/// Traces once.
pub(crate) async fn probe(
    config: &TraceConfig,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<TraceReport> {
    cx.notify(&Event::Started { target });
    let started = (cx.clock().wall(), cx.clock().now());
    let deadline = crate::io::time::deadline(cx.timeout().unwrap_or(config.timeout));
    let mut result = probe_until(deadline, config, cx, target, started).await;
    result.quality.timer_lag_ns = crate::io::time::late_ns(deadline);
    result
}

async fn probe_until(
    deadline: tokio::time::Instant,
    config: &TraceConfig,
    cx: &ProbeContext,
    target: &Target,
    (started_at, start): (SystemTime, Instant),
) -> ProbeResult<TraceReport> {
    let ended = |record: Record<'_>, outcome: Verdict, report: TraceReport| {
        record.conclude(target, started_at, outcome, report)
    };
    let dialing = &config.dialing;
    let (host, of_target) = match target {
        Target::Host(host) => (host, None),
        Target::Endpoint(endpoint) => (&endpoint.host, Some(endpoint.port)),
        _ => {
            let record = Record::start(cx, start, Phase::Setup);
            let fault = LocalFault::new(LocalFaultKind::Target)
                .with_detail("the trace prober takes a host")
                .in_phase(Phase::Setup);
            return ended(record, fault.into(), TraceReport::default());
        }
    };
    let of_target = dialing.connect_to.as_ref().and_then(|to| to.port).or(of_target);
    // ICMP has no ports; for the others the default is there.
    let port = config.method.default_port().map(|port| config.port.or(of_target).unwrap_or(port));
    let limits = (dialing, config.limits.addresses);
    let Found { mut record, resolution, refused, addresses } =
        find(cx, start, host, port.unwrap_or(0), limits, deadline).await;
    let mut report = TraceReport { resolution, refused, ..TraceReport::default() };
    let found = match addresses {
        Ok(found) => found,
        Err(verdict) => return ended(record, verdict, report),
    };
    let Some(address) = found.first().copied() else {
        let failure = Failure::new(FailureKind::ResolveNoAddress).in_phase(Phase::Resolve);
        return ended(record, failure.into(), report);
    };
    report.address = Some(address.ip());
    let place = record.dialling(match port {
        Some(_) => Target::Endpoint(address.into()),
        None => as_target(address),
    });
    let mut run = match prepare(config, address) {
        Ok(run) => run,
        Err(verdict) => {
            record.dialled(place, verdict.clone(), Facts::default(), record.now());
            return ended(record, verdict, report);
        }
    };
    record.enter(Phase::Rtt, record.now());
    let _ = timeout_at(deadline, run.run()).await;
    let done = run.is_done();
    let (traced, quality) = run.finish();
    report = TraceReport { resolution: report.resolution, refused: report.refused, ..traced };
    let verdict = blame_source(verdict(&report, address, done), config.source);
    record.dialled(place, verdict.clone(), Facts::default(), record.now());
    record.selected(place, record.now());
    if config.names && done {
        record.enter(Phase::Resolve, record.now());
        report.names = names::look_up(cx, &report, deadline).await;
    }
    let mut result = ended(record, verdict, report);
    result.quality = Quality { timer_lag_ns: result.quality.timer_lag_ns, ..quality };
    result
}

/// Opens all that a trace needs.
///
/// # Errors
/// Why it cannot be made.
fn prepare(config: &TraceConfig, to: SocketAddr) -> Result<Run, Verdict> {
    let fault = |kind| LocalFault::new(kind).in_phase(Phase::Setup);
    let io_fault = |error: &std::io::Error| -> Verdict {
        match error.raw_os_error() {
            Some(number) => not_sent(to, number, None),
            None => fault(LocalFaultKind::Io).with_detail(error.to_string()).into(),
        }
    };
    if let Some(source) = config.source.filter(|source| !same_family(*source, to.ip())) {
        let detail = format!("{source} is of the other family than {}", to.ip());
        return Err(fault(LocalFaultKind::Address).with_detail(detail).into());
    }
    let interface = config.interface.as_deref().map(interface::index).transpose();
    let interface = interface.map_err(|error| {
        let fault = fault(LocalFaultKind::Interface)
            .with_detail(config.interface.clone().unwrap_or_default());
        error.raw_os_error().map_or(fault.clone(), |number| fault.with_errno(number))
    })?;
    let from =
        source(config, to).map_err(|error| setup(blame_source(io_fault(&error), config.source)))?;
    // The engine checks what the configuration was checked for.
    let refused = |error: String| Verdict::from(fault(LocalFaultKind::Io).with_detail(error));
    let config = &TraceConfig { port: Some(to.port()).filter(|port| *port != 0), ..config.clone() };
    let plan = TraceSetup::new(config, to.ip()).map_err(|error| refused(error.to_string()))?;
    let keys = RandomState::new();
    let random = keys.hash_one("id") as u16;
    let way = Way { config, source: from, random, named: names_stamps() };
    wait_for_stamps();
    let sockets = way.open(to.port())?;
    let mut key = [0; 16];
    for (half, place) in key.chunks_exact_mut(8).enumerate() {
        place.copy_from_slice(&keys.hash_one(half).to_ne_bytes());
    }
    let codec = Codec::new(&plan, from.ip(), sockets.ids.clone(), key)
        .map_err(|error| refused(error.to_string()))?;
    let engine = TraceEngine::new(plan, crate::io::time::now());
    let mut to = to;
    // A raw socket has no ports and takes none in IPv6 (raw(7)).
    if !sockets.has_ports() {
        to.set_port(0);
    }
    let by = interface.map(|index| (index.get(), from.ip()));
    Run::new(sockets, engine, codec, to, by, config.payload_bytes())
        .map_err(|error| io_fault(&error))
}

fn setup(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Fail(failure) => failure.in_phase(Phase::Setup).into(),
        Verdict::Unknown(fault) => fault.in_phase(Phase::Setup).into(),
        verdict => verdict,
    }
}

/// What a trace says of its target.
fn verdict(report: &TraceReport, to: SocketAddr, done: bool) -> Verdict {
    if let Some(failure) = report.failure() {
        return failure.in_phase(Phase::Rtt).into();
    }
    if !done {
        return Failure::new(FailureKind::Timeout)
            .in_phase(Phase::Rtt)
            .with_detail("the trace did not end in time")
            .into();
    }
    let fates = || report.paths.iter().flat_map(|path| &path.hops).flat_map(|hop| &hop.queries);
    let left = fates().any(|query| !matches!(query.fate, TraceFate::NotSent { .. }));
    let unsent = fates().find_map(|query| match query.fate {
        TraceFate::NotSent { errno, mtu } => Some((errno, mtu)),
        _ => None,
    });
    match unsent {
        Some((number, mtu)) if !left => not_sent(to, number, mtu),
        _ => Verdict::Pass,
    }
}
