//! The ICMP prober: resolve, send, listen, conclude.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout_at;

use super::Ports;
use super::found::{Found, find};
use super::judge::{Outcome, as_target, blame_source, conclude, verdict};
use super::port::{PortError, Wish};
use super::socket::SendOptions;
use super::sweep::{Row, Sweep, SweepEvent, SweepPlan};
use crate::engine::echo::Filler;
use crate::icmp::{EchoOptions, IcmpConfig, IcmpReport, Payload, SocketMode};
use crate::io::record::{Facts, Record};
use crate::io::socket::interface;
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::resolve::AddressPolicy;
use crate::target::Target;
use crate::timing::Phase;
use crate::verdict::{LocalFault, LocalFaultKind, Verdict};

/// How long resolving may take where no time limit is set.
pub(super) const RESOLVE: Duration = Duration::from_secs(5);

/// Everything that an ICMP probe needs to know of its prober.
#[derive(Debug)]
pub(crate) struct IcmpPlan {
    pub(super) config: IcmpConfig,
    timeout: Duration,
    pub(super) filler: Filler,
}

impl IcmpPlan {
    /// From a configuration that was checked.
    pub(crate) fn new(config: IcmpConfig) -> Self {
        let train = config.interval.saturating_mul(config.count.saturating_sub(1));
        let waits = config.reply_timeout.saturating_add(config.linger).saturating_add(RESOLVE);
        // On a busy host a plan slips, and its train must not be cut short for that.
        let slip = train / 4;
        let timeout = config.timeout.unwrap_or(train.saturating_add(slip).saturating_add(waits));
        let filler = filler(&config.echo.payload);
        IcmpPlan { config, timeout, filler }
    }
}

/// What fills a payload, as the engine wants it.
fn filler(payload: &Payload) -> Filler {
    match payload {
        Payload::Rising => Filler::Rising,
        Payload::Byte(byte) => Filler::Byte(*byte),
        Payload::Pattern(bytes) => Filler::Pattern(bytes.as_slice().into()),
        Payload::Random => Filler::Random,
    }
}

/// Probes once.
pub(crate) async fn probe(
    ports: &Ports,
    plan: &IcmpPlan,
    cx: &ProbeContext,
    target: &Target,
) -> ProbeResult<IcmpReport> {
    cx.notify(&Event::Started { target });
    let started = (cx.clock().wall(), cx.clock().now());
    let deadline = crate::io::time::deadline(cx.timeout().unwrap_or(plan.timeout));
    let mut result = probe_until(deadline, ports, plan, cx, target, started).await;
    result.quality.timer_lag_ns = crate::io::time::late_ns(deadline);
    result
}

async fn probe_until(
    deadline: tokio::time::Instant,
    ports: &Ports,
    plan: &IcmpPlan,
    cx: &ProbeContext,
    target: &Target,
    (started_at, start): (SystemTime, Instant),
) -> ProbeResult<IcmpReport> {
    let ended = |record: Record<'_>, outcome: Verdict, report: IcmpReport| {
        record.conclude(target, started_at, outcome, report)
    };
    let dialing = &plan.config.dialing;
    let host = match target {
        Target::Host(host) => host,
        Target::Endpoint(endpoint) => &endpoint.host,
        _ => {
            let record = Record::start(cx, start, Phase::Setup);
            let fault = LocalFault::new(LocalFaultKind::Target)
                .with_detail("the ICMP prober takes a host")
                .in_phase(Phase::Setup);
            return ended(record, fault.into(), IcmpReport::default());
        }
    };
    let limits = (dialing, plan.config.limits.addresses);
    let Found { mut record, resolution, refused, addresses } =
        find(cx, start, host, 0, limits, deadline).await;
    let report = IcmpReport { resolution, refused, ..IcmpReport::default() };
    let found = match addresses {
        Ok(found) => found,
        Err(verdict) => return ended(record, verdict, report),
    };
    let wish = match wish(&plan.config.echo) {
        Ok(wish) => wish,
        Err(fault) => return ended(record, fault.into(), report),
    };
    let tried = match dialing.addresses {
        AddressPolicy::First | AddressPolicy::HappyEyeballs => 1,
        AddressPolicy::Any | AddressPolicy::All => found.len(),
    };
    let found = found.into_iter().take(tried).collect::<Vec<_>>();
    // All of them side by side, or each for itself until one has answered.
    let rounds: Vec<&[SocketAddr]> = match dialing.addresses {
        AddressPolicy::All => vec![&found],
        _ => found.chunks(1).collect(),
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for round in rounds {
        let ran = run(&mut record, ports, plan, &wish, round, deadline).await;
        outcomes.extend(ran);
        let answered = outcomes.last().is_some_and(|outcome| outcome.verdict.is_pass());
        if answered || tokio::time::Instant::now() >= deadline {
            break;
        }
    }
    conclude(record, target, started_at, &plan.config, outcomes, report)
}

/// Leaves out what cannot be a target.
pub(super) fn allowed(addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Verdict> {
    for address in &addresses {
        let fault = if address.ip().is_unspecified() {
            LocalFault::new(LocalFaultKind::Policy)
                .with_detail(format!("{} is no host: it stands for any", address.ip()))
        } else if matches!(address, SocketAddr::V6(v6)
            if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
        {
            LocalFault::new(LocalFaultKind::Interface)
                .with_detail(format!("{0} needs a zone, as in {0}%eth0", address.ip()))
        } else {
            continue;
        };
        return Err(fault.in_phase(Phase::Setup).into());
    }
    Ok(addresses)
}

/// The options of a packet as the socket takes them.
pub(super) fn wish(echo: &EchoOptions) -> Result<Wish, LocalFault> {
    let interface =
        echo.interface.as_deref().map(interface::index).transpose().map_err(|error| {
            let fault = LocalFault::new(LocalFaultKind::Interface)
                .in_phase(Phase::Setup)
                .with_detail(echo.interface.clone().unwrap_or_default());
            error.raw_os_error().map_or(fault.clone(), |number| fault.with_errno(number))
        })?;
    Ok(Wish {
        options: SendOptions {
            ttl: echo.ttl.and_then(|ttl| u8::try_from(ttl).ok()),
            dscp: echo.dscp,
            source: echo.source.map(|source| source.to_canonical()),
            interface: interface.map(|index| index.get()),
            fwmark: echo.fwmark,
        },
        dont_fragment: echo.dont_fragment,
        broadcast: echo.broadcast,
    })
}

/// Sends the train to some addresses at once and waits for what comes of it.
async fn run(
    record: &mut Record<'_>,
    ports: &Ports,
    plan: &IcmpPlan,
    wish: &Wish,
    to: &[SocketAddr],
    deadline: tokio::time::Instant,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut open = [None, None];
    let mut reachable = Vec::new();
    for address in to {
        let source = wish.options.source;
        let port = match source.filter(|source| source.is_ipv4() != address.is_ipv4()) {
            Some(source) => Err(LocalFault::new(LocalFaultKind::Address)
                .in_phase(Phase::Setup)
                .with_detail(format!("{source} is of the other family than {}", address.ip()))),
            None => ports.port(address.is_ipv6()),
        };
        match (port, open.get_mut(usize::from(address.is_ipv6()))) {
            (Ok(port), Some(place)) => {
                *place = Some(port);
                reachable.push(*address);
            }
            (Err(fault), _) => outcomes.push(Outcome {
                verdict: fault.into(),
                row: Row::nothing(*address),
                mode: SocketMode::Raw,
                suspects: 0,
            }),
            (Ok(_), None) => {}
        }
    }
    let config = &plan.config;
    let start = record.now();
    if reachable.is_empty() {
        return outcomes;
    }
    let sweep_plan = SweepPlan {
        count: config.count,
        interval: config.interval,
        gap: Duration::ZERO,
        reply_timeout: config.reply_timeout,
        linger: config.linger,
        size: config.echo.size,
        filler: plan.filler.clone(),
        wish: wish.clone(),
        limits: config.limits.clone(),
    };
    let places: Vec<usize> =
        reachable.iter().map(|address| record.dialling(as_target(*address))).collect();
    let mut sweep = Sweep::new(sweep_plan, [open[0].as_ref(), open[1].as_ref()], record.started());
    for address in &reachable {
        sweep.add(*address, record.started());
    }
    record.enter(Phase::Rtt, start);
    let listening = listen(&mut sweep, record, &places, wish.options.source);
    let broken = timeout_at(deadline, listening).await;
    sweep.close();
    let timed_out = broken.is_err();
    let broken = broken.ok().and_then(Result::err);
    for (row, place) in std::mem::take(&mut sweep.rows).into_iter().zip(places) {
        let mode = open.get(usize::from(row.address.is_ipv6())).and_then(Option::as_ref);
        let mode = mode.map_or(SocketMode::Raw, |port| port.mode());
        let verdict = blame_source(verdict(&row, broken), wish.options.source);
        if timed_out || broken.is_some() {
            record.dialled(place, verdict.clone(), Facts::default(), record.now());
        }
        let suspects = row.suspects;
        outcomes.push(Outcome { verdict, row, mode, suspects });
    }
    outcomes
}

async fn listen(
    sweep: &mut Sweep,
    record: &mut Record<'_>,
    places: &[usize],
    source: Option<IpAddr>,
) -> Result<(), PortError> {
    while let Some(event) = sweep.next().await? {
        match event {
            SweepEvent::Packet { row, number } => {
                let row = sweep.rows.get(row);
                if let Some((row, packet)) =
                    row.and_then(|row| Some((row, row.packets.get(number)?)))
                    && record.cx().is_observed()
                {
                    let at_ns = record.offset_ns(record.now());
                    let address = row.address.ip();
                    record.cx().notify(&Event::Packet { address, packet, at_ns });
                }
            }
            SweepEvent::Decided { row } => {
                if let (Some(row), Some(place)) = (sweep.rows.get(row), places.get(row)) {
                    let verdict = blame_source(verdict(row, None), source);
                    record.dialled(*place, verdict, Facts::default(), record.now());
                }
            }
            SweepEvent::Done { .. } => {}
        }
    }
    Ok(())
}
