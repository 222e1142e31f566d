//! Names to addresses: what is asked, who answers, and which addresses are then dialled.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::target::Name;
use crate::verdict::{Failure, FailureKind, LocalFault, Verdict};

/// Which address family to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// Both, in the order of the resolver (RFC 6724).
    #[default]
    Any,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv4 first; IPv6 if there is no IPv4 address, or if the IPv4 ones fail and the policy tries on.
    PreferV4,
    /// IPv6 first; IPv4 if there is no IPv6 address, or if the IPv6 ones fail and the policy tries on.
    PreferV6,
}

impl Family {
    /// Whether an address of this kind may be used at all.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Family::V4Only => address.is_ipv4(),
            Family::V6Only => address.is_ipv6(),
            Family::Any | Family::PreferV4 | Family::PreferV6 => true,
        }
    }

    /// Drops what is not admitted and moves the preferred family to the front, keeping the order
    /// within each family (RFC 6724 has been applied by the resolver).
    pub fn arrange(self, addresses: &mut Vec<SocketAddr>) {
        addresses.retain(|address| self.admits(address.ip()));
        match self {
            Family::PreferV4 => addresses.sort_by_key(SocketAddr::is_ipv6),
            Family::PreferV6 => addresses.sort_by_key(SocketAddr::is_ipv4),
            Family::Any | Family::V4Only | Family::V6Only => {}
        }
    }
}

/// What is done with several addresses of one name. Every address tried is an attempt in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AddressPolicy {
    /// The first address alone.
    First,
    /// One after the other, until one connects.
    Any,
    /// Each one is probed, side by side; the probe passes if all of them pass.
    All,
    /// A staggered race (RFC 8305): families alternate, the next address is dialled when the one
    /// before has failed or [`Dialing::attempt_delay`] has gone by; the first connection wins.
    #[default]
    HappyEyeballs,
}

/// How an endpoint is dialled.
///
/// ```
/// use netsonde::{AddressPolicy, Dialing, Family};
///
/// let dialing = Dialing { family: Family::V6Only, addresses: AddressPolicy::All, ..Dialing::default() };
/// assert_eq!(dialing.attempt_delay.as_millis(), 250);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct Dialing {
    /// Which family. Default: any, in the resolver's order.
    pub family: Family,
    /// What is done with several addresses. Default: a race after RFC 8305.
    pub addresses: AddressPolicy,
    /// Between two dials of a race. Default 250 ms, which RFC 8305 (5) recommends; the same section
    /// wants at least 10 ms and at most 2 s, and other values are refused.
    #[serde(with = "crate::duration")]
    pub attempt_delay: Duration,
    /// The longest wait for one address under [`AddressPolicy::Any`] and in a race; by default only
    /// the deadline of the probe ends it.
    #[serde(with = "crate::duration::optional")]
    pub attempt_timeout: Option<Duration>,
    /// Dial this instead of the target; the name, SNI and everything else stay those of the target.
    pub connect_to: Option<ConnectTo>,
}

impl Default for Dialing {
    fn default() -> Self {
        Dialing {
            family: Family::Any,
            addresses: AddressPolicy::HappyEyeballs,
            attempt_delay: Duration::from_millis(250),
            attempt_timeout: None,
            connect_to: None,
        }
    }
}

impl Dialing {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error) naming the key.
    pub fn check(&self) -> Result<(), crate::Error> {
        if !(10..=2000).contains(&self.attempt_delay.as_millis()) {
            let why = "must lie between 10 ms and 2 s (RFC 8305, 5)";
            return Err(crate::Error::config("attempt_delay", why));
        }
        if self.attempt_timeout == Some(Duration::ZERO) {
            return Err(crate::Error::config("attempt_timeout", "must be longer than zero"));
        }
        Ok(())
    }
}

/// Where to connect instead of the target: another host, another port, or both; written `HOST`,
/// `HOST:PORT` or `:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectTo {
    /// The other host; `None` keeps the target's.
    pub host: Option<crate::Host>,
    /// The other port; `None` keeps the target's.
    pub port: Option<u16>,
}

impl std::str::FromStr for ConnectTo {
    type Err = crate::TargetError;

    /// # Errors
    /// [`TargetError`](crate::TargetError) if it has none of the forms.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(port) = text.strip_prefix(':').filter(|rest| !rest.contains(':')) {
            let port = port.parse().ok().filter(|port| *port != 0);
            return Ok(ConnectTo { host: None, port: Some(port.ok_or(crate::TargetError::Port)?) });
        }
        match text.parse()? {
            crate::Target::Host(host) => Ok(ConnectTo { host: Some(host), port: None }),
            crate::Target::Endpoint(crate::Endpoint { host, port }) => {
                Ok(ConnectTo { host: Some(host), port: Some(port) })
            }
            crate::Target::Unix(_) => Err(crate::TargetError::Address),
        }
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Some(host), Some(port)) => crate::Endpoint::new(host.clone(), port).fmt(f),
            (Some(host), None) => host.fmt(f),
            (None, Some(port)) => write!(f, ":{port}"),
            (None, None) => Ok(()),
        }
    }
}

impl Serialize for ConnectTo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectTo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The answer of a resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The addresses in the order of RFC 6724, each with port 0 and the scope that it came with.
    pub addresses: Vec<SocketAddr>,
    /// How long they may be kept; `None` where the resolver does not say.
    pub ttl: Option<Duration>,
    /// Where they come from; `None` where the resolver does not say.
    pub detail: Option<ResolveDetail>,
}

/// Where addresses of a name come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResolveDetail {
    /// From what.
    pub source: ResolveSource,
    /// The name server that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// Whose addresses they are, when all aliases have been followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
    /// Queries that were made.
    #[serde(default)]
    pub queries: u32,
    /// Whether one of A and AAAA was not answered.
    #[serde(default)]
    pub incomplete: bool,
}

impl ResolveDetail {
    /// What comes from there.
    #[must_use]
    pub const fn new(source: ResolveSource) -> Self {
        ResolveDetail { source, server: None, canonical: None, queries: 0, incomplete: false }
    }
}

/// From what an address comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResolveSource {
    /// It is so by definition, as for `localhost`.
    Local,
    /// A hosts file.
    Hosts,
    /// A name server, just now.
    Server,
    /// An answer that was kept for no longer than it said.
    Cache,
    /// An answer that was kept for longer, since no server had another (RFC 8767).
    StaleCache,
}

impl ResolveSource {
    /// Of two the one that says less of how things are now.
    #[cfg(all(feature = "dns", target_os = "linux"))]
    pub(crate) fn weaker(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Resolved {
    /// An answer without a lifetime.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Resolved { addresses, ttl: None, detail: None }
    }

    /// Says how long the addresses may be kept.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name service answered, or failed to.
    Failed(Failure),
    /// This host could not ask.
    Local(LocalFault),
}

impl ResolveError {
    /// There is no such name.
    #[must_use]
    pub fn no_such_name() -> Self {
        ResolveError::Failed(Failure::new(FailureKind::ResolveNoSuchName))
    }
}

impl From<ResolveError> for Verdict {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Failed(failure) => Verdict::Fail(failure),
            ResolveError::Local(fault) => Verdict::Unknown(fault),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::Failed(failure) => failure.fmt(f),
            ResolveError::Local(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ResolveError {}

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Turns names into addresses. Write your own to resolve from a service registry, a fixed server or
/// a test; the deadline of the probe bounds it from outside, and it is dropped when that passes.
///
/// ```
/// use netsonde::{BoxFuture, Family, Name, Resolve, ResolveError, Resolved};
///
/// #[derive(Debug)]
/// struct Registry;
///
/// impl Resolve for Registry {
///     fn resolve<'a>(&'a self, name: &'a Name, _family: Family) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
///         Box::pin(async move {
///             match name.as_str() {
///                 "billing" => Ok(Resolved::new(vec!["192.0.2.7:0".parse().unwrap()])),
///                 _ => Err(ResolveError::no_such_name()),
///             }
///         })
///     }
/// }
/// ```
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a name. The family is a hint: what does not fit is dropped afterwards.
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
        family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>>;

    /// The name of an address, as the hops of a trace are asked for; `None` if it has none. A resolver
    /// that does not say otherwise knows no names.
    ///
    /// Whatever comes back is what strangers say: it is shown with its control characters escaped, and
    /// nothing is decided by it.
    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        let _ = address;
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A fixed table of names. What is not in it has no address.
///
/// ```
/// use netsonde::StaticResolver;
///
/// let resolver = StaticResolver::new().with("db.internal", ["192.0.2.1".parse()?, "2001:db8::1".parse()?])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    names: BTreeMap<Name, Vec<IpAddr>>,
}

impl StaticResolver {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        StaticResolver::default()
    }

    /// Adds a name.
    ///
    /// # Errors
    /// [`TargetError::Name`](crate::TargetError::Name) if it is not a valid name.
    pub fn with(
        mut self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, crate::TargetError> {
        self.names.entry(name.parse()?).or_default().extend(addresses);
        Ok(self)
    }
}

impl Resolve for StaticResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a Name,
        _family: Family,
    ) -> BoxFuture<'a, Result<Resolved, ResolveError>> {
        let found = self.names.get(name).ok_or_else(ResolveError::no_such_name);
        let answer = found.map(|all| Resolved::new(all.iter().map(|ip| (*ip, 0).into()).collect()));
        Box::pin(std::future::ready(answer))
    }

    fn reverse<'a>(
        &'a self,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<Option<String>, ResolveError>> {
        let found = self.names.iter().find(|(_, addresses)| addresses.contains(&address));
        let name = found.map(|(name, _)| name.as_str().to_owned());
        Box::pin(std::future::ready(Ok(name)))
    }
}

/// The order in which a race dials (RFC 8305, 4): the first family alternates with the other one.
#[must_use]
pub fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut same, mut other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|a| a.is_ipv4() == first.is_ipv4());
    same.reverse();
    other.reverse();
    let mut out = Vec::with_capacity(addresses.len());
    while !(same.is_empty() && other.is_empty()) {
        out.extend(same.pop());
        out.extend(other.pop());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|t| SocketAddr::new(t.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn a_preference_moves_a_family_and_keeps_its_order() {
        let all = ["::2", "10.0.0.2", "::1", "10.0.0.1"];
        let arranged = |family: Family| {
            let mut addresses = list(&all);
            family.arrange(&mut addresses);
            addresses
        };
        assert_eq!(arranged(Family::Any), list(&all));
        assert_eq!(arranged(Family::PreferV4), list(&["10.0.0.2", "10.0.0.1", "::2", "::1"]));
        assert_eq!(arranged(Family::PreferV6), list(&["::2", "::1", "10.0.0.2", "10.0.0.1"]));
        assert_eq!(arranged(Family::V4Only), list(&["10.0.0.2", "10.0.0.1"]));
        assert_eq!(arranged(Family::V6Only), list(&["::2", "::1"]));
    }

    #[test]
    fn a_race_alternates_families() {
        let all = list(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(interleave(&all), list(&["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]));
        assert_eq!(interleave(&all[3..]), all[3..]);
        assert_eq!(interleave(&[]), []);
    }

    #[test]
    fn out_of_range_is_an_error_not_a_clamp() {
        let dialing = Dialing { attempt_delay: Duration::from_millis(5), ..Dialing::default() };
        assert!(dialing.check().unwrap_err().to_string().starts_with("attempt_delay:"));
        assert!(serde_json::from_str::<Dialing>(r#"{"famly":"any"}"#).is_err());
    }

    #[test]
    fn connect_to_has_three_forms() {
        for text in ["a.example", "a.example:1", ":8443", "[::1]:443", "::1"] {
            assert_eq!(text.parse::<ConnectTo>().unwrap().to_string(), text);
        }
        for text in [":0", ":", "unix:@x", ""] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }
}
