//! What the probers of hosts begin with: from the target to the addresses that may be sent to.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tokio::time::timeout_at;

use super::probe::allowed;
use crate::io::record::Record;
use crate::io::resolve::lookup::{Wanted, addresses, permitted};
use crate::probe::ProbeContext;
use crate::resolve::Dialing;
use crate::target::Host;
use crate::tcp::{RefusedAddress, Resolution};
use crate::timing::Phase;
use crate::verdict::Verdict;

/// What was found, with the record of the probe, which stands in its setup.
pub(super) struct Found<'a> {
    pub(super) record: Record<'a>,
    pub(super) resolution: Option<Resolution>,
    pub(super) refused: Vec<RefusedAddress>,
    /// The addresses, or what ends the probe.
    pub(super) addresses: Result<Vec<SocketAddr>, Verdict>,
}

/// Resolves a host, or what is to be asked in its place, and asks the policy.
pub(super) async fn find<'a>(
    cx: &'a ProbeContext,
    start: Instant,
    host: &Host,
    port: u16,
    (dialing, most): (&Dialing, usize),
    deadline: tokio::time::Instant,
) -> Found<'a> {
    let host = dialing.connect_to.as_ref().and_then(|to| to.host.as_ref()).unwrap_or(host);
    let literal = host.ip().is_some_and(|ip| dialing.family.admits(ip));
    let mut record = Record::start(cx, start, if literal { Phase::Setup } else { Phase::Resolve });
    let wanted = Wanted { family: dialing.family, most };
    let looked_up = timeout_at(deadline, addresses(&mut record, host, port, wanted)).await;
    let (mut resolution, mut refused) = (None, Vec::new());
    let addresses = match looked_up {
        Ok(Ok((mut found, resolved))) => {
            resolution = resolved;
            for address in &mut found {
                *address = canonical(*address);
                address.set_port(port);
            }
            record.enter(Phase::Setup, record.now());
            permitted(&mut record, found, &mut refused).and_then(allowed)
        }
        Ok(Err(verdict)) => Err(verdict),
        Err(_) => Err(record.timed_out(record.now()).into()),
    };
    Found { record, resolution, refused, addresses }
}

/// An IPv4-mapped address is the IPv4 address.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), 0),
        IpAddr::V6(_) => address,
    }
}
