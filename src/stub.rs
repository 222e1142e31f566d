//! The stub resolver's configuration and what it tells of a lookup.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dns::{DnsFate, DnsTransport};
use crate::engine::stub::{Negative, StubAddress};
use crate::error::Error;
use crate::resolve::{ResolveDetail, ResolveError, ResolveSource, Resolved};
use crate::tcp::SocketOptions;
use crate::verdict::Verdict;
use crate::wire::dns::{DnsName, Rcode, RecordType};

/// Servers that may be given.
const MAX_SERVERS: usize = 16;

/// How names are looked up. The defaults are those of resolv.conf(5), without a cache.
///
/// ```
/// use netsonde::StubConfig;
///
/// let config = StubConfig { rotate: true, ..StubConfig::asking(["192.0.2.53:53".parse()?]) };
/// config.check()?;
/// assert!(serde_json::from_str::<StubConfig>(r#"{"server": []}"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct StubConfig {
    /// The name servers with their ports, 1 to 16.
    pub servers: Vec<SocketAddr>,
    /// The domains that are tried behind a name. Default: none.
    pub search: Vec<DnsName>,
    /// Dots that a name needs to be asked for as it is first. Default 1.
    pub ndots: u32,
    /// How long the first server is waited for; see [`ServerWalk`](crate::engine::stub::ServerWalk) for the
    /// others. Default 5 s.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// How often all servers are asked. Default 2.
    pub attempts: u32,
    /// Whether each lookup begins with the next server. Default: no.
    pub rotate: bool,
    /// Whether queries carry EDNS. Default: no.
    pub edns0: bool,
    /// The UDP payload told by EDNS, in octets. Default 1,232, at least 512.
    pub udp_payload: u16,
    /// Whether queries set AD, and AD of an answer is believed. Default: no.
    pub trust_ad: bool,
    /// Whether queries go over TCP from the start. Default: no.
    pub use_vc: bool,
    /// Whether AAAA is never asked for. Default: no.
    pub no_aaaa: bool,
    /// Whether A and AAAA are asked for one after the other. Default: both at once.
    pub single_request: bool,
    /// Whether a name with one label is never asked for as it is. Default: no.
    pub no_tld_query: bool,
    /// Whether the letters of names have random case, which answers must repeat. Default: no.
    pub mixed_case: bool,
    /// A hosts file that is looked into first. It is read once. Default: none.
    pub hosts_file: Option<PathBuf>,
    /// The largest hosts file, in bytes. Default 1 MiB.
    pub hosts_bytes: u64,
    /// What is kept of answers. Default: nothing.
    pub cache: Option<StubCache>,
    /// Aliases that are followed in an answer. Default 16.
    pub aliases: usize,
    /// Addresses that are taken from an answer. Default 256; what is beyond is counted.
    pub addresses: usize,
    /// The largest message over TCP, in octets. Default 65,535.
    pub message_bytes: usize,
    /// Source address, interface and the like for queries.
    pub socket: SocketOptions,
}

impl Default for StubConfig {
    fn default() -> Self {
        StubConfig {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            edns0: false,
            udp_payload: 1232,
            trust_ad: false,
            use_vc: false,
            no_aaaa: false,
            single_request: false,
            no_tld_query: false,
            mixed_case: false,
            hosts_file: None,
            hosts_bytes: 1 << 20,
            cache: None,
            aliases: 16,
            addresses: 256,
            message_bytes: 65_535,
            socket: SocketOptions::default(),
        }
    }
}

/// What is kept of answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct StubCache {
    /// Answers that are kept at most, one for each name and type. Default 1,024.
    pub entries: usize,
    /// The longest that addresses are kept, if their lifetime is longer. Default 7 days (RFC 8767, 4).
    #[serde(with = "crate::duration")]
    pub ttl: Duration,
    /// The longest that there being nothing is kept. Default 3 h (RFC 2308, 5).
    #[serde(with = "crate::duration")]
    pub negative_ttl: Duration,
    /// How long beyond its end an answer may be given when no server has one (RFC 8767). Default: not at
    /// all.
    #[serde(with = "crate::duration")]
    pub stale: Duration,
}

impl Default for StubCache {
    fn default() -> Self {
        let limits = crate::engine::stub::CacheLimits::default();
        let crate::engine::stub::CacheLimits { entries, ttl, negative_ttl, stale } = limits;
        StubCache { entries, ttl, negative_ttl, stale }
    }
}

impl StubConfig {
    /// The defaults, with these servers.
    #[must_use]
    pub fn asking(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        StubConfig { servers: servers.into_iter().collect(), ..StubConfig::default() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn check(&self) -> Result<(), Error> {
        if self.servers.is_empty() || self.servers.len() > MAX_SERVERS {
            return Err(Error::config("servers", "1 to 16 are needed"));
        }
        if self.servers.iter().any(|server| server.port() == 0) {
            return Err(Error::config("servers", "nothing can be sent to port 0"));
        }
        if self.timeout.is_zero() {
            return Err(Error::config("timeout", "must be longer than zero"));
        }
        if self.attempts == 0 {
            return Err(Error::config("attempts", "must be at least 1"));
        }
        if self.udp_payload < 512 {
            return Err(Error::config("udp_payload", "must be at least 512 (RFC 6891, 6.2.3)"));
        }
        if !(512..=65_535).contains(&self.message_bytes) {
            return Err(Error::config("message_bytes", "must lie between 512 and 65535"));
        }
        if self.cache.as_ref().is_some_and(|cache| cache.entries == 0) {
            return Err(Error::config("cache.entries", "must be at least 1"));
        }
        self.socket.check().map_err(|error| error.under("socket"))
    }
}

/// One query of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StubAttempt {
    /// The name of the search list that was asked for.
    pub name: DnsName,
    /// The type.
    pub rtype: RecordType,
    /// The server.
    pub server: SocketAddr,
    /// How it went.
    pub transport: DnsTransport,
    /// When it began, in nanoseconds since the lookup did.
    pub start_ns: u64,
    /// How long it took, with connecting if there was any, in nanoseconds.
    pub duration_ns: u64,
    /// What became of it.
    pub fate: DnsFate,
    /// What the server said.
    pub rcode: Option<Rcode>,
    /// What was wrong with an answer that looked fine.
    pub why: Option<String>,
    /// Why it was not answered.
    pub verdict: Option<Verdict>,
}

/// How there is no address, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StubNegative {
    /// In which way.
    pub kind: Negative,
    /// Seconds for which that may be kept (RFC 2308); `None` if the answer does not say.
    pub ttl_s: Option<u32>,
}

/// What a lookup found out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StubAnswer {
    /// The name that was asked for: of the search list, the one that decided.
    pub name: DnsName,
    /// Whose addresses they are, when all aliases have been followed.
    pub canonical: Option<DnsName>,
    /// The addresses in the order of RFC 6724, each with its lifetime.
    pub addresses: Vec<StubAddress>,
    /// Addresses that were left out, beyond the cap.
    pub omitted: usize,
    /// Where it comes from.
    pub source: ResolveSource,
    /// The server that answered; `None` if none was asked for it.
    pub server: Option<SocketAddr>,
    /// How there is no address.
    pub negative: Option<StubNegative>,
    /// Whether a part is missing: one of A and AAAA was not answered, the other has addresses.
    pub incomplete: bool,
    /// Whether all servers that answered said so with AD; `None` unless `trust_ad` is on.
    pub authentic: Option<bool>,
    /// Every query that was made, in the order in which they began.
    pub attempts: Vec<StubAttempt>,
    /// Why there is no address; `None` if there is one.
    pub error: Option<ResolveError>,
}

impl StubAnswer {
    /// How long all addresses may be kept; `None` if nobody said.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        let least = self.addresses.iter().filter_map(|address| address.ttl_s).min();
        least.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The bare addresses.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|address| address.address)
    }

    /// It in the form that probers take.
    ///
    /// # Errors
    /// Why there is no address.
    pub fn into_resolved(self) -> Result<Resolved, ResolveError> {
        let ttl = self.ttl();
        let addresses = self.ips().map(|ip| (ip, 0).into()).collect();
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut resolved = Resolved::new(addresses);
        resolved.ttl = ttl;
        let mut detail = ResolveDetail::new(self.source);
        detail.server = self.server;
        detail.canonical = self.canonical.map(|name| name.to_string());
        detail.queries = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        detail.incomplete = self.incomplete;
        resolved.detail = Some(detail);
        Ok(resolved)
    }
}

impl fmt::Display for StubAttempt {
    /// On one line: `www.example. A 192.0.2.53:53 udp 1.2ms SERVFAIL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = Duration::from_nanos(self.duration_ns).as_secs_f64() * 1000.0;
        let transport = self.transport.as_str();
        write!(f, "{} {} {} {transport} {millis:.1}ms", self.name, self.rtype, self.server)?;
        match (self.rcode, &self.verdict, &self.why) {
            (_, _, Some(why)) => write!(f, " {why}"),
            (Some(rcode), ..) => write!(f, " {rcode}"),
            (_, Some(verdict), _) => write!(f, " {}", verdict.code().unwrap_or("pass")),
            _ => Ok(()),
        }
    }
}
