//! What is probed: hosts, endpoints and socket paths, with text forms that round-trip.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod name;

pub use name::Name;

/// The text is not a target, host or endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// A name that is empty, too long, or has a label that is empty, too long or of bad letters.
    Name {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something that looks like an address and is none.
    Address,
    /// A zone that is empty, too long, or stands behind something other than an IPv6 address.
    Zone,
    /// No port where one is needed.
    PortMissing,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// A socket path that is empty, too long for the kernel (unix(7): 108 bytes with the end mark),
    /// or holds a NUL.
    Path,
    /// A name with letters outside ASCII in a build without the feature `idna`.
    IdnaFeature,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Name { why } => write!(f, "invalid name: {why}"),
            TargetError::Address => f.write_str("invalid IP address"),
            TargetError::Zone => f.write_str("invalid zone: only an IPv6 address has one"),
            TargetError::PortMissing => f.write_str("no port: write HOST:PORT"),
            TargetError::Port => f.write_str("invalid port: it is a number from 1 to 65535"),
            TargetError::Path => f.write_str("invalid socket path: 1 to 107 bytes without NUL"),
            TargetError::IdnaFeature => {
                f.write_str("a name outside ASCII needs the feature `idna`")
            }
        }
    }
}

impl std::error::Error for TargetError {}

/// A name or an address.
///
/// Addresses may be written in every form that inet_aton(3) takes (`0x7f.1`, `017700000001`,
/// `2130706433`), because that is what resolvers make of them; they are shown in the usual form.
///
/// ```
/// use netsonde::Host;
///
/// let host: Host = "fe80::1%eth0".parse()?;
/// assert_eq!(host.to_string(), "fe80::1%eth0");
/// assert_eq!("0x7f.1".parse::<Host>()?.to_string(), "127.0.0.1");
/// assert_eq!("Example.COM".parse::<Host>()?, "example.com".parse()?);
/// # Ok::<(), netsonde::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Host {
    /// A domain name, in ASCII form.
    Name(Name),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// The interface of a scoped address (RFC 4007, 11), by name or number.
        zone: Option<Box<str>>,
    },
}

impl Host {
    /// The address, if it is written as one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some((*address).into()),
            Host::V6 { address, .. } => Some((*address).into()),
        }
    }

    /// The name, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Host::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The zone of a scoped IPv6 address.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        match self {
            Host::V6 { zone, .. } => zone.as_deref(),
            _ => None,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6 { address, zone: None },
        }
    }
}

impl FromStr for Host {
    type Err = TargetError;

    /// # Errors
    /// [`TargetError`] if the text is neither a name nor an address.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if inner.is_some() || text.contains(':') || text.contains('%') {
            return parse_v6(inner.unwrap_or(text));
        }
        if let Some(address) = name::legacy_v4(text)? {
            return Ok(Host::V4(address));
        }
        let name: Name = text.parse()?;
        // Full-width digits become ASCII ones on the way, so look once more.
        Ok(name::legacy_v4(name.as_str())?.map_or(Host::Name(name), Host::V4))
    }
}

fn parse_v6(text: &str) -> Result<Host, TargetError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<Ipv6Addr>() else {
        return Err(if zone.is_some() && !address.contains(':') {
            TargetError::Zone
        } else {
            TargetError::Address
        });
    };
    let fits = |zone: &str| {
        (1..=64).contains(&zone.len())
            && zone.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'[' | b']' | b'/'))
    };
    match zone {
        Some(zone) if !fits(zone) => Err(TargetError::Zone),
        zone => Ok(Host::V6 { address, zone: zone.map(Into::into) }),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::V4(address) => address.fmt(f),
            Host::V6 { address, zone: None } => address.fmt(f),
            Host::V6 { address, zone: Some(zone) } => write!(f, "{address}%{zone}"),
        }
    }
}

/// A host and a port.
///
/// ```
/// use netsonde::Endpoint;
///
/// let endpoint: Endpoint = "[2001:db8::1]:443".parse()?;
/// assert_eq!(endpoint.port, 443);
/// assert_eq!(endpoint.to_string(), "[2001:db8::1]:443");
/// # Ok::<(), netsonde::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Endpoint {
    /// Where.
    pub host: Host,
    /// Which port; never 0 when it was parsed.
    pub port: u16,
}

impl Endpoint {
    /// A host and a port.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        Endpoint { host, port }
    }
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        let host = match address {
            std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Host::V6 { address: *v6.ip(), zone: Some(v6.scope_id().to_string().into()) }
            }
            other => other.ip().into(),
        };
        Endpoint { host, port: address.port() }
    }
}

impl FromStr for Endpoint {
    type Err = TargetError;

    /// # Errors
    /// [`TargetError`] if the text is not `HOST:PORT` with an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::PortMissing)?;
        if host.starts_with('[') != host.ends_with(']') {
            return Err(TargetError::PortMissing);
        }
        if host.contains(':') && !host.starts_with('[') {
            return Err(TargetError::PortMissing);
        }
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TargetError::Port);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(TargetError::Port)?;
        Ok(Endpoint { host: host.parse()?, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            host @ Host::V6 { .. } => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// The address of a Unix stream socket (unix(7)): a path, or a name of the abstract space (Linux).
///
/// ```
/// use netsonde::UnixAddress;
///
/// assert_eq!("/run/app.sock".parse::<UnixAddress>()?.to_string(), "/run/app.sock");
/// assert_eq!("@app".parse::<UnixAddress>()?, UnixAddress::Abstract("app".into()));
/// # Ok::<(), netsonde::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum UnixAddress {
    /// A file system path.
    Path(Box<str>),
    /// A name of the abstract space, without its leading NUL.
    Abstract(Box<str>),
}

impl FromStr for UnixAddress {
    type Err = TargetError;

    /// # Errors
    /// [`TargetError::Path`] if it is empty, over 107 bytes, or holds a NUL.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (name, is_abstract) = match text.strip_prefix('@') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.is_empty() || name.len() > 107 || name.contains('\0') {
            return Err(TargetError::Path);
        }
        Ok(if is_abstract {
            UnixAddress::Abstract(name.into())
        } else {
            UnixAddress::Path(name.into())
        })
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddress::Path(path) => f.write_str(path),
            UnixAddress::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// What a prober is pointed at. Which forms a prober takes is said in its documentation; a form
/// that it does not take is refused before anything is sent.
///
/// ```
/// use netsonde::Target;
///
/// for text in ["example.com", "192.0.2.7:25", "[::1]:443", "unix:/run/app.sock", "unix:@app"] {
///     let target: Target = text.parse()?;
///     assert_eq!(target.to_string(), text);
/// }
/// # Ok::<(), netsonde::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Target {
    /// A host without a port.
    Host(Host),
    /// A host and a port.
    Endpoint(Endpoint),
    /// A Unix stream socket, written `unix:PATH` or `unix:@NAME`.
    Unix(UnixAddress),
}

impl Target {
    /// The host, unless it is a Unix socket.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        match self {
            Target::Host(host) => Some(host),
            Target::Endpoint(endpoint) => Some(&endpoint.host),
            Target::Unix(_) => None,
        }
    }

    /// The port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Target::Endpoint(endpoint) => Some(endpoint.port),
            _ => None,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// # Errors
    /// [`TargetError`] if the text has none of the forms.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(address) = text.strip_prefix("unix:") {
            return address.parse().map(Target::Unix);
        }
        // A bare IPv6 address has colons and no port; anything else with a colon has one.
        let bare_v6 = parse_v6(text).is_ok() || (text.starts_with('[') && text.ends_with(']'));
        if bare_v6 || !text.contains(':') {
            text.parse().map(Target::Host)
        } else {
            text.parse().map(Target::Endpoint)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Host(host) => host.fmt(f),
            Target::Endpoint(endpoint) => endpoint.fmt(f),
            Target::Unix(address) => write!(f, "unix:{address}"),
        }
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Target::Endpoint(endpoint)
    }
}

impl From<std::net::SocketAddr> for Target {
    fn from(address: std::net::SocketAddr) -> Self {
        Target::Endpoint(address.into())
    }
}

impl From<UnixAddress> for Target {
    fn from(address: UnixAddress) -> Self {
        Target::Unix(address)
    }
}

macro_rules! text_serde {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|error| {
                    serde::de::Error::custom(format_args!("`{}`: {error}", text.escape_debug()))
                })
            }
        }
    )*};
}

text_serde!(Name, Host, Endpoint, UnixAddress, Target);

#[cfg(test)]
mod tests;
