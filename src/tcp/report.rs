//! What the stream probers find out.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::TcpInfo;
use crate::report::{Report, ReportBody};
use crate::script::ScriptReport;
use crate::target::UnixAddress;
use crate::timing::{NetworkTime, Timing};
use crate::tls::TlsReport;
use crate::verdict::Verdict;

/// What the TCP prober found out. What was not reached is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TcpReport {
    /// What the name of the target resolved to; `None` if it is an address.
    pub resolution: Option<Resolution>,
    /// The addresses that the outbound policy refused; they were not dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedAddress>,
    /// The connection that was used.
    pub connection: Option<TcpConnection>,
    /// The TLS handshake, as far as it came.
    pub tls: Option<TlsReport>,
    /// The script, as far as it came.
    pub script: Option<ScriptReport>,
    /// How the peer had ended the connection when the probe was through; `None` if it had not, or
    /// if nobody looked.
    pub peer_end: Option<PeerEnd>,
    /// Under [`AddressPolicy::All`](crate::AddressPolicy::All): the other addresses, each with a
    /// report of its own. The fields above are those of the deciding address: the first that did
    /// not pass, else the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<AddressReport>,
}

/// What a name resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resolution {
    /// The addresses of the wanted families, in the resolver's order with the preferred family in
    /// front.
    pub addresses: Vec<SocketAddr>,
    /// How many more were left out: beyond the cap, or of other families.
    pub omitted: u32,
    /// How long they may be kept, in seconds; `None` where the resolver does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Where they come from; `None` where the resolver does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<crate::resolve::ResolveDetail>,
}

/// An address that the outbound policy refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedAddress {
    /// The address.
    pub address: SocketAddr,
    /// The rule that refused it, in words.
    pub why: String,
}

impl RefusedAddress {
    /// An address and the rule that refused it.
    #[must_use]
    pub fn new(address: SocketAddr, why: impl Into<String>) -> Self {
        RefusedAddress { address, why: why.into() }
    }
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
    /// again, since then nobody knows which one was answered, or where the kernel does not tell.
    pub rtt: Option<NetworkTime>,
    /// SYN packets that had to be sent again; `None` where the kernel does not tell.
    pub syn_retransmits: Option<u32>,
    /// The kernel's figures right after the handshake.
    pub at_connect: Option<TcpInfo>,
    /// The kernel's figures at the end of the probe.
    pub at_end: Option<TcpInfo>,
}

/// An established connection to a Unix stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnixConnection {
    /// The address at the other end.
    pub peer: UnixAddress,
    /// Who listens (`SO_PEERCRED`, unix(7)): the credentials of the process that called listen(2).
    pub credentials: Option<PeerCredentials>,
    /// How often the dial was repeated because the queue of the listener was full.
    pub busy_retries: u32,
}

/// The credentials of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Process; `None` if it lives in another process namespace.
    pub pid: Option<u32>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How a peer has ended its side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerEnd {
    /// In an orderly way.
    Closed,
    /// By a reset.
    Reset,
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
    /// Its TLS handshake.
    pub tls: Option<TlsReport>,
    /// Its script.
    pub script: Option<ScriptReport>,
    /// How the peer had ended the connection.
    pub peer_end: Option<PeerEnd>,
}

/// What the Unix socket prober found out. What was not reached is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UnixReport {
    /// The connection.
    pub connection: Option<UnixConnection>,
    /// The TLS handshake, as far as it came.
    pub tls: Option<TlsReport>,
    /// The script, as far as it came.
    pub script: Option<ScriptReport>,
    /// How the peer had ended the connection when the probe was through; `None` if it had not, or
    /// if nobody looked.
    pub peer_end: Option<PeerEnd>,
}

impl ReportBody for TcpReport {
    const KIND: &'static str = "tcp";

    fn into_report(self) -> Report {
        Report::Tcp(Box::new(self))
    }
}

impl ReportBody for UnixReport {
    const KIND: &'static str = "unix";

    fn into_report(self) -> Report {
        Report::Unix(Box::new(self))
    }
}
