//! The ICMP prober: resolve, send, listen, conclude.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::timeout_at;

use super::Ports;
use super::port::{PortError, Wish};
use super::socket::SendOptions;
use super::sweep::{Row, Sweep, SweepEvent, SweepPlan};
use crate::engine::echo::Filler;
use crate::icmp::{
    EchoFate, EchoOptions, EchoStats, IcmpAddressReport, IcmpConfig, IcmpReport, Payload,
    SocketMode,
};
use crate::io::errno;
use crate::io::record::{Facts, Record};
use crate::io::resolve::lookup::{Wanted, addresses, permitted};
use crate::io::socket::interface;
use crate::observe::Event;
use crate::probe::{ProbeContext, ProbeResult};
use crate::resolve::AddressPolicy;
use crate::target::{Endpoint, Target};
use crate::timing::{Phase, Quality};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, RawCode, Verdict};

/// How long resolving may take where no time limit is set.
const RESOLVE: Duration = Duration::from_secs(5);

/// Everything that an ICMP probe needs to know of its prober.
#[derive(Debug)]
pub(crate) struct IcmpPlan {
    config: IcmpConfig,
    timeout: Duration,
    filler: Filler,
}

impl IcmpPlan {
    /// From a configuration that was checked.
    pub(crate) fn new(config: IcmpConfig) -> Self {
        let train = config.interval.saturating_mul(config.count.saturating_sub(1));
        let waits = config.reply_timeout.saturating_add(config.linger).saturating_add(RESOLVE);
        let timeout = config.timeout.unwrap_or(train.saturating_add(waits));
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
    let host = dialing.connect_to.as_ref().and_then(|to| to.host.as_ref()).unwrap_or(host);
    let literal = host.ip().is_some_and(|ip| dialing.family.admits(ip));
    let mut record = Record::start(cx, start, if literal { Phase::Setup } else { Phase::Resolve });
    let wanted = Wanted { family: dialing.family, most: plan.config.limits.addresses };
    let looked_up = timeout_at(deadline, addresses(&mut record, host, 0, wanted)).await;
    let (mut found, resolution) = match looked_up {
        Ok(Ok(found)) => found,
        Ok(Err(verdict)) => return ended(record, verdict, IcmpReport::default()),
        Err(_) => {
            let failure = record.timed_out(record.now());
            return ended(record, failure.into(), IcmpReport::default());
        }
    };
    found.iter_mut().for_each(|address| *address = canonical(*address));
    record.enter(Phase::Setup, record.now());
    let mut report = IcmpReport { resolution, ..IcmpReport::default() };
    let found = match permitted(&mut record, found, &mut report.refused).and_then(allowed) {
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
    conclude(record, target, started_at, plan, outcomes, report)
}

/// An IPv4-mapped address is the IPv4 address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), 0),
        IpAddr::V6(_) => address,
    }
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

/// What came of one address.
struct Outcome {
    verdict: Verdict,
    row: Row,
    mode: SocketMode,
    suspects: u64,
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
    let mut sweep =
        Sweep::new(sweep_plan, &reachable, [open[0].as_ref(), open[1].as_ref()], record.started());
    record.enter(Phase::Rtt, start);
    let listening = listen(&mut sweep, record, &places, wish.options.source);
    let broken = timeout_at(deadline, listening).await;
    let suspects = sweep.suspects();
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
            SweepEvent::Done { row } => {
                if let (Some(row), Some(place)) = (sweep.rows.get(row), places.get(row)) {
                    let verdict = blame_source(verdict(row, None), source);
                    record.dialled(*place, verdict, Facts::default(), record.now());
                }
            }
        }
    }
    Ok(())
}

/// What the fates of the packets say of an address.
fn verdict(row: &Row, broken: Option<PortError>) -> Verdict {
    let fates = || row.packets.iter().map(|packet| &packet.fate);
    if fates().any(|fate| matches!(fate, EchoFate::Answered(_))) {
        return Verdict::Pass;
    }
    if let Some(why) = broken {
        let kind = match why {
            PortError::Full => LocalFaultKind::Memory,
            PortError::Engine | PortError::Runtime => LocalFaultKind::Cancelled,
        };
        return LocalFault::new(kind).in_phase(Phase::Rtt).with_detail(why.to_string()).into();
    }
    let refused = fates().find_map(|fate| match fate {
        EchoFate::Refused(error) => Some(error),
        _ => None,
    });
    if let Some(error) = refused {
        let raw = RawCode::Icmp { icmp_type: error.icmp_type, code: error.code, from: error.from };
        return Failure::new(error.failure).in_phase(Phase::Rtt).with_raw(raw).into();
    }
    if fates().any(|fate| matches!(fate, EchoFate::Corrupt(_))) {
        return Failure::new(FailureKind::Protocol)
            .in_phase(Phase::Rtt)
            .with_detail("the payload was changed on the way")
            .into();
    }
    let unsent = fates().find_map(|fate| match fate {
        EchoFate::NotSent { errno, mtu } => Some((*errno, *mtu)),
        _ => None,
    });
    let left = fates().any(|fate| matches!(fate, EchoFate::Lost | EchoFate::Late(_)));
    match unsent {
        _ if left => Failure::new(FailureKind::Timeout).in_phase(Phase::Rtt).into(),
        Some((number, mtu)) => not_sent(row.address, number, mtu),
        None if fates().any(|fate| *fate == EchoFate::LostLocally) => {
            LocalFault::new(LocalFaultKind::Memory)
                .in_phase(Phase::Rtt)
                .with_detail("the receive queue of this host was full")
                .into()
        }
        None => Failure::new(FailureKind::Timeout).in_phase(Phase::Rtt).into(),
    }
}

/// What it means that the system did not take a packet.
pub(super) fn not_sent(to: SocketAddr, number: i32, mtu: Option<u32>) -> Verdict {
    let local = |kind| LocalFault::new(kind).in_phase(Phase::Rtt).with_errno(number);
    match number {
        libc::EMSGSIZE => {
            let fault = local(LocalFaultKind::PacketSize);
            match mtu {
                Some(mtu) => fault.with_detail(format!("the way there takes {mtu} bytes")),
                None => fault,
            }
            .into()
        }
        // A route of type "blackhole" (ip-route(8)).
        libc::EINVAL => local(LocalFaultKind::Route).into(),
        libc::EACCES if is_broadcast(to) => local(LocalFaultKind::Policy)
            .with_detail(format!("{} is a broadcast address", to.ip()))
            .into(),
        _ => match (errno::local(number), errno::remote(number)) {
            (Some(kind), _) => local(kind).into(),
            (None, Some(kind)) => {
                let raw = RawCode::Errno { value: number };
                Failure::new(kind).in_phase(Phase::Rtt).with_raw(raw).into()
            }
            (None, None) => local(LocalFaultKind::Io).into(),
        },
    }
}

/// The system says of a source address that is not its own whatever comes to its mind: if packets did
/// not leave and the address is none of ours, that is why.
pub(super) fn blame_source(verdict: Verdict, source: Option<IpAddr>) -> Verdict {
    let from_a_call = match &verdict {
        Verdict::Fail(failure) => matches!(failure.raw, Some(RawCode::Errno { .. })),
        Verdict::Unknown(fault) => fault.errno.is_some(),
        Verdict::Pass => false,
    };
    let Some(source) = source.filter(|_| from_a_call) else { return verdict };
    let address = SocketAddr::new(source, 0);
    let bound = Socket::new(Domain::for_address(address), Type::DGRAM, None)
        .and_then(|socket| socket.bind(&SockAddr::from(address)));
    match bound {
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            LocalFault::new(LocalFaultKind::Address)
                .in_phase(Phase::Rtt)
                .with_errno(libc::EADDRNOTAVAIL)
                .with_detail(format!("{source} is no address of this host"))
                .into()
        }
        _ => verdict,
    }
}

/// Whether an address that was refused stands for all hosts of a network. Nothing is sent: the route
/// tells.
fn is_broadcast(to: SocketAddr) -> bool {
    let reachable = |broadcast| {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
        socket.set_broadcast(broadcast)?;
        socket.connect(&SockAddr::from(SocketAddr::new(to.ip(), 1)))
    };
    reachable(false).is_err() && reachable(true).is_ok()
}

fn conclude(
    record: Record<'_>,
    target: &Target,
    started_at: SystemTime,
    plan: &IcmpPlan,
    mut outcomes: Vec<Outcome>,
    mut report: IcmpReport,
) -> ProbeResult<IcmpReport> {
    let policy = plan.config.dialing.addresses;
    let place = match policy {
        // All have to answer: the first that does not decides.
        AddressPolicy::All => outcomes.iter().position(|outcome| !outcome.verdict.is_pass()),
        // One has to: the one that does decides, else the first that blames somebody else.
        _ => {
            let passed = outcomes.iter().position(|outcome| outcome.verdict.is_pass());
            let failed =
                || outcomes.iter().position(|outcome| matches!(outcome.verdict, Verdict::Fail(_)));
            passed.or_else(failed)
        }
    };
    if outcomes.is_empty() {
        let failure = Failure::new(FailureKind::Timeout).in_phase(Phase::Setup);
        return record.conclude(target, started_at, failure.into(), report);
    }
    let decisive = outcomes.remove(place.unwrap_or(0));
    report.others = outcomes
        .into_iter()
        .map(|Outcome { verdict, row, .. }| IcmpAddressReport {
            address: row.address.ip(),
            outcome: verdict,
            stats: (!row.packets.is_empty()).then(|| EchoStats::of(&row.packets)),
        })
        .collect();
    let Outcome { verdict, row, mode, suspects } = decisive;
    let address = row.address;
    let quality = fill(&mut report, row, mode, &plan.config);
    report.forgery_suspects = suspects;
    let mut result = record.conclude(target, started_at, verdict, report);
    result.quality = quality;
    let selected = as_target(address);
    for attempt in &mut result.attempts {
        attempt.selected = attempt.address == selected;
    }
    result
}

pub(super) fn as_target(address: SocketAddr) -> Target {
    Target::Host(Endpoint::from(address).host)
}

/// Puts what is known of one address into a report.
fn fill(report: &mut IcmpReport, row: Row, mode: SocketMode, config: &IcmpConfig) -> Quality {
    let Row { address, mut packets, responders, responders_left_out, .. } = row;
    report.address = Some(address.ip());
    (report.responders, report.responders_left_out) = (responders, responders_left_out);
    let mut quality = Quality::default();
    if packets.is_empty() {
        return quality;
    }
    report.socket = Some(mode);
    report.payload_bytes = Some(config.echo.size);
    report.stats = Some(EchoStats::of(&packets));
    // The worst of the packets: a host that was busy once cannot be trusted for the rest.
    let answers = || packets.iter().filter_map(|packet| packet.fate.answer());
    quality.stamp = answers().map(|answer| answer.rtt.source).max();
    quality.uncertainty_ns = answers().map(|answer| answer.rtt.uncertainty_ns).max();
    quality.lag_ns = answers().map(|a| a.elapsed_ns.saturating_sub(a.rtt.ns)).max();
    let most = config.limits.records;
    report.packets_left_out = packets.len().saturating_sub(most) as u64;
    packets.truncate(most);
    report.packets = packets;
    quality
}
