//! What the stream probers find out.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::report::{AnyReport, Report, ReportBody};
use crate::timing::{NetworkTime, Timing};
use crate::verdict::Verdict;

/// What the TCP prober found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TcpReport {
    /// What the name of the target resolved to; `None` if it is an address or was not resolved.
    pub resolution: Option<Resolution>,
    /// The connection that was used; `None` if there was none.
    pub connection: Option<TcpConnection>,
    /// Under [`AddressPolicy::All`](crate::AddressPolicy::All): the other addresses, each with a
    /// report of its own. The fields above are those of the deciding address: the first that did not
    /// pass, else the first.
    pub others: Vec<AddressReport>,
}

/// What a name resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resolution {
    /// The addresses of the wanted families, in the order of dialling.
    pub addresses: Vec<SocketAddr>,
    /// How many more were left out: beyond the cap, or of other families.
    pub omitted: u32,
    /// How long they may be kept, in seconds; `None` where the resolver does not say.
    pub ttl_s: Option<u64>,
}

/// An established TCP connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TcpConnection {
    /// The address at the other end.
    pub peer: SocketAddr,
    /// The address at this end.
    pub local: SocketAddr,
    /// The round trip of the handshake as the kernel measured it; `None` if a SYN had to be sent
    /// again, since then nobody knows which one was answered.
    pub rtt: Option<NetworkTime>,
    /// SYN packets that had to be sent again; `None` where the kernel does not tell.
    pub syn_retransmits: Option<u32>,
}

/// One of the other addresses under [`AddressPolicy::All`](crate::AddressPolicy::All).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AddressReport {
    /// The address.
    pub address: SocketAddr,
    /// What the measurement of it found.
    pub outcome: Verdict,
    /// Where its time went; zero is the start of the probe.
    pub timing: Timing,
    /// Its connection.
    pub connection: Option<TcpConnection>,
}

/// What the Unix socket prober found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UnixReport {}

impl AnyReport for TcpReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(connection) = &self.connection else { return Ok(()) };
        write!(f, "  {} from {}", connection.peer, connection.local)
    }
}

impl ReportBody for TcpReport {
    const KIND: &'static str = "tcp";

    fn into_report(self) -> Report {
        Report::Tcp(Box::new(self))
    }
}

impl AnyReport for UnixReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl ReportBody for UnixReport {
    const KIND: &'static str = "unix";

    fn into_report(self) -> Report {
        Report::Unix(Box::new(self))
    }
}
