//! From the host of a target to the addresses that may be dialled.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use super::SystemResolver;
use crate::io::record::Record;
use crate::io::socket::interface;
use crate::observe::Event;
use crate::resolve::{Family, Resolved};
use crate::target::Host;
use crate::tcp::{RefusedAddress, Resolution};
use crate::timing::Phase;
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict};

/// Which addresses of a name are taken.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct Wanted {
    pub(in crate::io) family: Family,
    /// How many at most.
    pub(in crate::io) most: usize,
}

/// The addresses to dial, and what a name resolved to.
///
/// # Errors
/// What ends the probe.
pub(in crate::io) async fn addresses(
    record: &mut Record<'_>,
    host: &Host,
    port: u16,
    Wanted { family, most }: Wanted,
) -> Result<(Vec<SocketAddr>, Option<Resolution>), Verdict> {
    let no_address = || {
        let failure = Failure::new(FailureKind::ResolveNoAddress).in_phase(Phase::Resolve);
        Verdict::from(failure.with_detail(host.to_string()))
    };
    let name = match (host, host.ip()) {
        (Host::Name(name), _) => name,
        (_, Some(ip)) if !family.admits(ip) => return Err(no_address()),
        (_, Some(ip)) => {
            let zone = host.zone().map(interface::index).transpose().map_err(|error| {
                let fault = LocalFault::new(LocalFaultKind::Interface).in_phase(Phase::Setup);
                let fault = fault.with_detail(host.to_string());
                Verdict::from(error.raw_os_error().map_or(fault.clone(), |no| fault.with_errno(no)))
            })?;
            let address = match (ip, zone) {
                (IpAddr::V6(ip), Some(zone)) => SocketAddrV6::new(ip, port, 0, zone.get()).into(),
                _ => SocketAddr::new(ip, port),
            };
            return Ok((vec![address], None));
        }
        (_, None) => return Err(no_address()),
    };
    let resolver = record.cx().resolver().unwrap_or(&SystemResolver);
    let Resolved { mut addresses, ttl, detail } =
        resolver.resolve(name, family).await.map_err(|error| in_resolve(error.into()))?;
    let found = addresses.len();
    family.arrange(&mut addresses);
    addresses.truncate(most);
    addresses.iter_mut().for_each(|address| address.set_port(port));
    let at_ns = record.offset_ns(record.now());
    record.cx().notify(&Event::Resolved { addresses: &addresses, at_ns });
    if addresses.is_empty() {
        return Err(no_address());
    }
    let mut resolution = Resolution::default();
    resolution.addresses.clone_from(&addresses);
    resolution.omitted = u32::try_from(found - addresses.len()).unwrap_or(u32::MAX);
    resolution.ttl_s = ttl.map(|ttl| ttl.as_secs());
    resolution.detail = detail;
    Ok((addresses, Some(resolution)))
}

fn in_resolve(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Fail(failure) => failure.in_phase(Phase::Resolve).into(),
        Verdict::Unknown(fault) => fault.in_phase(Phase::Resolve).into(),
        Verdict::Pass => Verdict::Pass,
    }
}

/// What the outbound policy leaves. Just these addresses are dialled: nothing is resolved again.
/// The refused ones go into the report.
///
/// # Errors
/// The first refusal, if no address is left.
pub(in crate::io) fn permitted(
    record: &mut Record<'_>,
    addresses: Vec<SocketAddr>,
    refusals: &mut Vec<RefusedAddress>,
) -> Result<Vec<SocketAddr>, Verdict> {
    let policy = record.cx().policy();
    let mut first = None;
    let mut left = addresses;
    left.retain(|address| {
        let Err(refused) = policy.check(*address) else { return true };
        refusals.push(RefusedAddress::new(*address, refused.to_string()));
        first.get_or_insert_with(|| Verdict::from(policy_fault(&refused)));
        false
    });
    match first {
        Some(verdict) if left.is_empty() => {
            record.enter(Phase::Setup, record.now());
            Err(verdict)
        }
        _ => Ok(left),
    }
}

/// What a refusal means for the probe.
pub(crate) fn policy_fault(refused: &crate::PolicyRefusal) -> LocalFault {
    LocalFault::new(LocalFaultKind::Policy).in_phase(Phase::Setup).with_detail(refused.to_string())
}
