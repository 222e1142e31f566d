//! The prober of path MTUs: resolve, ask the route, try sizes, conclude.

mod interface;
mod run;

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use tokio::time::timeout_at;

use super::Ports;
use super::found::{Found, find};
use super::judge::{as_target, blame_source, not_sent};
use super::port::PortError;
use super::probe::wish;
use crate::engine::mtu::MtuSetup;
use crate::icmp::mtu::{MtuConfig, MtuEnd, MtuFate, MtuReport};
use crate::icmp::{DontFragment, EchoOptions};
use crate::io::record::{Facts, Record};
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::target::Target;
use crate::timing::{Phase, Quality};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict};
use run::Run;

/// Probes once.
pub(crate) async fn probe(
    ports: &Ports,
    config: &MtuConfig,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<MtuReport> {
    cx.notify(&Event::Started { target });
    let started = (cx.clock().wall(), cx.clock().now());
    let deadline = crate::io::time::deadline(cx.timeout().unwrap_or(config.timeout));
    let mut result = probe_until(deadline, ports, config, cx, target, started).await;
    result.quality.timer_lag_ns = crate::io::time::late_ns(deadline);
    result
}

async fn probe_until(
    deadline: tokio::time::Instant,
    ports: &Ports,
    config: &MtuConfig,
    cx: &ProbeContext,
    target: &Target,
    (started_at, start): (SystemTime, Instant),
) -> ProbeResult<MtuReport> {
    let ended = |record: Record<'_>, outcome: Verdict, report: MtuReport| {
        record.conclude(target, started_at, outcome, report)
    };
    let dialing = &config.dialing;
    let host = match target {
        Target::Host(host) => host,
        Target::Endpoint(endpoint) => &endpoint.host,
        _ => {
            let record = Record::start(cx, start, Phase::Setup);
            let fault = LocalFault::new(LocalFaultKind::Target)
                .with_detail("the prober of path MTUs takes a host")
                .in_phase(Phase::Setup);
            return ended(record, fault.into(), MtuReport::default());
        }
    };
    let limits = (dialing, config.limits.addresses);
    let Found { mut record, resolution, refused, addresses } =
        find(cx, start, host, 0, limits, deadline).await;
    let mut report = MtuReport { resolution, refused, ..MtuReport::default() };
    let found = match addresses {
        Ok(found) => found,
        Err(verdict) => return ended(record, verdict, report),
    };
    let Some(address) = found.first().copied() else {
        let failure = Failure::new(FailureKind::ResolveNoAddress).in_phase(Phase::Resolve);
        return ended(record, failure.into(), report);
    };
    report.address = Some(address.ip());
    let place = record.dialling(as_target(address));
    let mut run = match prepare(ports, config, address) {
        Ok(run) => run,
        Err(fault) => {
            record.dialled(place, fault.clone().into(), Facts::default(), record.now());
            return ended(record, fault.into(), report);
        }
    };
    record.enter(Phase::Rtt, record.now());
    let broken = timeout_at(deadline, run.run()).await.ok().and_then(Result::err);
    let found = run.finish();
    let verdict = blame_source(verdict(&found, address, broken), config.source);
    record.dialled(place, verdict.clone(), Facts::default(), record.now());
    record.selected(place, record.now());
    let quality = quality(&found);
    let report = MtuReport { resolution: report.resolution, refused: report.refused, ..found };
    let mut result = ended(record, verdict, report);
    result.quality = quality;
    result
}

/// Opens the socket and looks at the route.
///
/// # Errors
/// Why nothing can be sent.
fn prepare(ports: &Ports, config: &MtuConfig, to: SocketAddr) -> Result<Run, LocalFault> {
    let fault = |kind| LocalFault::new(kind).in_phase(Phase::Setup);
    if let Some(source) = config.source.filter(|source| source.is_ipv4() != to.is_ipv4()) {
        let detail = format!("{source} is of the other family than {}", to.ip());
        return Err(fault(LocalFaultKind::Address).with_detail(detail));
    }
    // What only the family of the address shows to be out of range.
    let setup = MtuSetup::new(config, to.ip())
        .map_err(|error| fault(LocalFaultKind::Target).with_detail(error.to_string()))?;
    let wish = wish(&EchoOptions {
        dont_fragment: DontFragment::Set,
        dscp: config.dscp,
        source: config.source,
        interface: config.interface.clone(),
        fwmark: config.fwmark,
        ..EchoOptions::default()
    })?;
    let port = ports.port(to.is_ipv6())?;
    Ok(Run::new(&port, setup, config, to, wish))
}

/// What a discovery says of its target.
fn verdict(report: &MtuReport, to: SocketAddr, broken: Option<PortError>) -> Verdict {
    if let Some(why) = broken {
        let kind = match why {
            PortError::Full => LocalFaultKind::Memory,
            PortError::Engine | PortError::Runtime => LocalFaultKind::Cancelled,
        };
        return LocalFault::new(kind).in_phase(Phase::Rtt).with_detail(why.to_string()).into();
    }
    if let Some(failure) = report.failure() {
        return failure.in_phase(Phase::Rtt).into();
    }
    match report.end {
        MtuEnd::NotSent { errno } if report.mtu.is_none() => not_sent(to, errno, None),
        _ => Verdict::Pass,
    }
}

/// The worst of the answers.
fn quality(report: &MtuReport) -> Quality {
    let times = || {
        report.steps.iter().filter_map(|step| match &step.fate {
            MtuFate::Answered(answer) => answer.rtt,
            _ => None,
        })
    };
    Quality {
        stamp: times().map(|time| time.source).max(),
        uncertainty_ns: times().map(|time| time.uncertainty_ns).max(),
        ..Quality::default()
    }
}
