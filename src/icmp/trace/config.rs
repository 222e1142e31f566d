//! How traces are set up.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TraceExpect;
use crate::Error;
use crate::icmp::{DontFragment, SocketChoice};
use crate::resolve::{AddressPolicy, Dialing};

/// How a trace is set up; checked once, when the prober is built.
///
/// ```
/// use netsonde::icmp::trace::TraceConfig;
///
/// let trace: TraceConfig = serde_saphyr::from_str("
/// method: udp
/// queries: 2
/// flows: 4
/// expect: {max_hops: 12, forbidden: [198.51.100.0/24]}
/// ")?;
/// trace.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TraceConfig {
    /// How long the whole probe may take. Default 60 s. A context may set another.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Families, address policy, where to connect. One address is traced:
    /// [`HappyEyeballs`](crate::AddressPolicy::HappyEyeballs) is taken as
    /// [`First`](crate::AddressPolicy::First), and `Any` and `All` are refused.
    pub dialing: Dialing,
    /// What is sent.
    pub method: TraceMethod,
    /// What kind of socket to use. TCP needs a raw one. Over datagram sockets (ICMP, UDP) the system
    /// tells who sent an error and why, but not what it quoted: no labels, no hint at address
    /// translation.
    pub socket: SocketChoice,
    /// Destination port, 1 to 65,535. Default: that of the target if it has one, else 33434 for UDP, as
    /// traceroute has it, and 80 for TCP. ICMP has no ports. It never changes within a flow.
    pub port: Option<u16>,
    /// Bytes of payload behind the eight bytes of the ICMP or UDP header, 2 to 65,507: two bytes balance
    /// the checksum, and below 12 there is no room for a hash that others cannot guess, so that answers
    /// match weakly. Default 32, which makes packets of 60 bytes in IPv4 and 80 in IPv6. TCP sends a SYN
    /// without payload, and a size is then an error.
    pub size: Option<u32>,
    /// The time to live or hop limit that is begun with, 1 to 255. Default 1.
    pub first_ttl: u16,
    /// The largest time to live or hop limit, up to 255. Default 30.
    pub max_hops: u16,
    /// Queries for each hop and flow, 1 to 100. Default 3. None is ever repeated.
    pub queries: u32,
    /// How long each query waits for its answer. Default 1 s: longer than all but satellite paths
    /// need, and short enough that silent hops do not hold up the trace.
    #[serde(with = "crate::duration")]
    pub query_timeout: Duration,
    /// How many queries may be on their way at a time, at least 1. Default 16. With 1 the trace goes
    /// hop by hop and asks nothing beyond the target.
    pub parallel: u32,
    /// The least time from one query to the next. Default: none. Routers limit the rate at which they
    /// report errors, often to one in some milliseconds.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// Number of flows, 1 to 64. Default 1. In each, whatever routers hash to choose among equal
    /// paths stays the same for all queries (as in Paris traceroute), so that its hops lie on one
    /// path; different flows may show different paths.
    pub flows: u32,
    /// A path ends after so many hops in a row that did not answer any query, at least 1; `null` for
    /// never. Default 5.
    pub gap_limit: Option<u16>,
    /// Differentiated services code point, 0 to 63 (RFC 2474, 3).
    pub dscp: Option<u8>,
    /// Whether the packets may be fragmented.
    pub dont_fragment: DontFragment,
    /// Address to send from. A target of the other family is then a local fault.
    pub source: Option<IpAddr>,
    /// Network interface to send by.
    pub interface: Option<String>,
    /// Mark for policy routing and packet filters (`SO_MARK`, socket(7)). Linux; needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    pub fwmark: Option<u32>,
    /// Look up the names of the hops once the trace is done, by
    /// [`reverse`](crate::Resolve::reverse) of the context's resolver, for two seconds at most. What
    /// has no name by then goes without. Default: addresses only.
    pub names: bool,
    /// Caps on what is kept.
    pub limits: TraceLimits,
    /// What makes the probe pass beyond a path.
    pub expect: TraceExpect,
}

impl Default for TraceConfig {
    fn default() -> Self {
        TraceConfig {
            timeout: Duration::from_secs(60),
            dialing: Dialing::default(),
            method: TraceMethod::default(),
            socket: SocketChoice::default(),
            port: None,
            size: None,
            first_ttl: 1,
            max_hops: 30,
            queries: 3,
            query_timeout: Duration::from_secs(1),
            parallel: 16,
            interval: Duration::ZERO,
            flows: 1,
            gap_limit: Some(5),
            dscp: None,
            dont_fragment: DontFragment::default(),
            source: None,
            interface: None,
            fwmark: None,
            names: false,
            limits: TraceLimits::default(),
            expect: TraceExpect::default(),
        }
    }
}

/// What a trace sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TraceMethod {
    /// Echo requests.
    #[default]
    Icmp,
    /// UDP datagrams to a port where nobody is expected: the target says that it is unreachable.
    Udp,
    /// TCP SYN segments: the target accepts or refuses the connection.
    Tcp,
}

impl TraceMethod {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TraceMethod::Icmp => "icmp",
            TraceMethod::Udp => "udp",
            TraceMethod::Tcp => "tcp",
        }
    }

    /// The destination port if none is configured; `None` if there are no ports.
    #[must_use]
    pub const fn default_port(self) -> Option<u16> {
        match self {
            TraceMethod::Icmp => None,
            TraceMethod::Udp => Some(33_434),
            TraceMethod::Tcp => Some(80),
        }
    }
}

/// Caps on what the report of a trace holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TraceLimits {
    /// Addresses of one name that are considered; more are left out and counted. Default 64.
    pub addresses: usize,
    /// MPLS labels kept of one answer; more are left out and counted. Default 16.
    pub labels: usize,
    /// Bytes of other extension objects (RFC 4884) kept of one answer; objects that do not fit are
    /// left out and counted. Default 256.
    pub extension_bytes: usize,
}

impl Default for TraceLimits {
    fn default() -> Self {
        TraceLimits { addresses: 64, labels: 16, extension_bytes: 256 }
    }
}

/// Queries of one trace: so many tickets tell them apart in a sequence number.
const MAX_QUERIES: u32 = 65_536;

/// Largest payload of an echo request: what IPv4 leaves of 65,535 bytes.
const MAX_SIZE: u32 = 65_507;

impl TraceConfig {
    /// Bytes of payload behind the header of ICMP or UDP; 0 for TCP.
    #[must_use]
    pub fn payload_bytes(&self) -> u32 {
        self.size.unwrap_or(if self.method == TraceMethod::Tcp { 0 } else { 32 })
    }

    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        self.dialing.check().map_err(|error| error.under("dialing"))?;
        for (key, value) in [("timeout", self.timeout), ("query_timeout", self.query_timeout)] {
            if value.is_zero() {
                return Err(Error::config(key, "must be longer than zero"));
            }
        }
        if !(1..=255).contains(&self.first_ttl) {
            return Err(Error::config("first_ttl", "must lie in 1..=255"));
        }
        if !(self.first_ttl..=255).contains(&self.max_hops) {
            return Err(Error::config("max_hops", "must lie in first_ttl..=255"));
        }
        if !(1..=100).contains(&self.queries) {
            return Err(Error::config("queries", "must lie in 1..=100"));
        }
        if !(1..=64).contains(&self.flows) {
            return Err(Error::config("flows", "must lie in 1..=64"));
        }
        let hops = u32::from(self.max_hops - self.first_ttl) + 1;
        if self.queries * self.flows * hops > MAX_QUERIES {
            return Err(Error::config(
                "flows",
                "flows, queries and hops must not come to more than 65536 packets",
            ));
        }
        if self.parallel == 0 {
            return Err(Error::config("parallel", "must be at least 1"));
        }
        if self.gap_limit == Some(0) {
            return Err(Error::config("gap_limit", "must be at least 1"));
        }
        match (self.method, self.port) {
            (TraceMethod::Icmp, Some(_)) => {
                return Err(Error::config("port", "ICMP has no ports"));
            }
            (_, Some(0)) => return Err(Error::config("port", "must lie in 1..=65535")),
            _ => {}
        }
        if self.size.is_some() && self.method == TraceMethod::Tcp {
            return Err(Error::config("size", "a SYN carries no payload"));
        }
        if self.method != TraceMethod::Tcp && !(2..=MAX_SIZE).contains(&self.payload_bytes()) {
            return Err(Error::config("size", "must lie in 2..=65507"));
        }
        if (self.method, self.socket) == (TraceMethod::Tcp, SocketChoice::Datagram) {
            return Err(Error::config("socket", "TCP needs a raw one"));
        }
        if matches!(self.dialing.addresses, AddressPolicy::Any | AddressPolicy::All) {
            return Err(Error::config("dialing.addresses", "one address is traced: first"));
        }
        check_leaving(self.dscp, self.source, self.interface.as_deref())?;
        self.expect.check().map_err(|error| error.under("expect"))
    }
}

/// Checks what says how packets leave.
pub(in crate::icmp) fn check_leaving(
    dscp: Option<u8>,
    source: Option<IpAddr>,
    interface: Option<&str>,
) -> Result<(), Error> {
    if dscp.is_some_and(|dscp| dscp > 63) {
        return Err(Error::config("dscp", "must lie in 0..=63 (RFC 2474, 3)"));
    }
    if source.is_some_and(|source| source.is_multicast()) {
        return Err(Error::config("source", "must not be a multicast address"));
    }
    if interface.is_some_and(|name| !crate::tcp::is_interface_name(name)) {
        return Err(Error::config("interface", "must be 1 to 15 bytes without blanks, / and NUL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut TraceConfig)) -> Option<String> {
        let mut config = TraceConfig::default();
        change(&mut config);
        config.check().err().map(|error| error.to_string().split(':').next().unwrap().to_owned())
    }

    #[test]
    fn out_of_range_names_the_key() {
        assert_eq!(refused(|_| ()), None);
        let key = |change: fn(&mut TraceConfig)| refused(change).unwrap();
        assert_eq!(key(|c| c.timeout = Duration::ZERO), "timeout");
        assert_eq!(key(|c| c.query_timeout = Duration::ZERO), "query_timeout");
        assert_eq!(key(|c| c.first_ttl = 0), "first_ttl");
        assert_eq!(key(|c| c.first_ttl = 256), "first_ttl");
        assert_eq!(key(|c| c.max_hops = 256), "max_hops");
        assert_eq!(key(|c| (c.first_ttl, c.max_hops) = (9, 8)), "max_hops");
        assert_eq!(key(|c| c.queries = 0), "queries");
        assert_eq!(key(|c| c.queries = 101), "queries");
        assert_eq!(key(|c| c.flows = 0), "flows");
        assert_eq!(key(|c| c.flows = 65), "flows");
        assert_eq!(key(|c| (c.flows, c.queries, c.max_hops) = (64, 5, 255)), "flows");
        assert_eq!(key(|c| c.parallel = 0), "parallel");
        assert_eq!(key(|c| c.gap_limit = Some(0)), "gap_limit");
        assert_eq!(key(|c| c.port = Some(53)), "port");
        assert_eq!(key(|c| (c.method, c.port) = (TraceMethod::Udp, Some(0))), "port");
        assert_eq!(key(|c| (c.method, c.size) = (TraceMethod::Tcp, Some(0))), "size");
        assert_eq!(key(|c| c.size = Some(65_508)), "size");
        assert_eq!(key(|c| c.size = Some(1)), "size");
        let by_tcp_over_datagram: fn(&mut TraceConfig) =
            |c| (c.method, c.socket) = (TraceMethod::Tcp, SocketChoice::Datagram);
        assert_eq!(key(by_tcp_over_datagram), "socket");
        assert_eq!(key(|c| c.dialing.addresses = AddressPolicy::All), "dialing.addresses");
        assert_eq!(key(|c| c.dscp = Some(64)), "dscp");
        assert_eq!(key(|c| c.source = "224.0.0.1".parse().ok()), "source");
        assert_eq!(key(|c| c.interface = Some("a b".into())), "interface");
        assert_eq!(refused(|c| (c.first_ttl, c.max_hops) = (255, 255)), None);
        assert_eq!(refused(|c| (c.method, c.port) = (TraceMethod::Tcp, Some(443))), None);
    }

    #[test]
    fn unknown_keys_are_errors_and_what_is_written_is_read() {
        assert!(serde_json::from_str::<TraceConfig>(r#"{"hops":3}"#).is_err());
        let config: TraceConfig =
            serde_json::from_str(r#"{"method":"tcp","gap_limit":null,"query_timeout":"2s"}"#)
                .unwrap();
        assert_eq!((config.gap_limit, config.payload_bytes()), (None, 0));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<TraceConfig>(&text).unwrap(), config);
    }
}
