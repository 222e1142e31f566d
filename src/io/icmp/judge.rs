//! From what became of packets to the verdict and the report of a probe.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use socket2::{Domain, SockAddr, Socket, Type};

use super::port::PortError;
use super::sweep::Row;
use crate::icmp::{EchoFate, EchoStats, IcmpAddressReport, IcmpConfig, IcmpReport, SocketMode};
use crate::io::errno;
use crate::io::record::Record;
use crate::probe::ProbeResult;
use crate::resolve::AddressPolicy;
use crate::target::{Endpoint, Target};
use crate::timing::{Phase, Quality};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, RawCode, Verdict};

/// What came of one address.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) row: Row,
    pub(super) mode: SocketMode,
    pub(super) suspects: u64,
}

/// What the fates of the packets say of an address.
pub(super) fn verdict(row: &Row, broken: Option<PortError>) -> Verdict {
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

pub(super) fn conclude(
    record: Record<'_>,
    target: &Target,
    started_at: SystemTime,
    config: &IcmpConfig,
    mut outcomes: Vec<Outcome>,
    mut report: IcmpReport,
) -> ProbeResult<IcmpReport> {
    let policy = config.dialing.addresses;
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
    let quality = fill(&mut report, row, mode, config);
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
