//! Where probes may go: checked on the address that is dialled, after every resolution.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A port or a range of ports, written `443` or `8000-8999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

impl Ports {
    /// Whether the port is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Ports(port..=port)
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(range: RangeInclusive<u16>) -> Self {
        Ports(range)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

/// The text is neither a port nor a range of ports in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortsError;

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a port or a range such as 8000-8999")
    }
}

impl std::error::Error for PortsError {}

impl FromStr for Ports {
    type Err = PortsError;

    /// # Errors
    /// [`PortsError`] if it is no port and no rising range.
    fn from_str(text: &str) -> Result<Self, PortsError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: u16 = first.parse().map_err(|_| PortsError)?;
        let last: u16 = last.parse().map_err(|_| PortsError)?;
        if first <= last { Ok(Ports(first..=last)) } else { Err(PortsError) }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u16),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(port) => Ok(port.into()),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Which addresses, ports and Unix sockets a probe may reach. The default allows everything except
/// multicast and broadcast; [`OutboundPolicy::guarded`] is for services that probe what strangers
/// name.
///
/// An address is judged in every form that stands for another one: IPv4-mapped and IPv4-compatible
/// IPv6, NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380) and ISATAP (RFC 5214) are
/// unwrapped, and a denial of any form denies. What is refused is never dialled: the verdict is
/// unknown with the code `policy`.
///
/// ```
/// use netsonde::OutboundPolicy;
///
/// let policy = OutboundPolicy::guarded();
/// assert!(policy.check("192.0.2.1:443".parse()?).is_ok());
/// assert!(policy.check("[64:ff9b::7f00:1]:80".parse()?).is_err());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct OutboundPolicy {
    /// Networks that may be reached; empty means all that are not denied.
    pub allow: Vec<IpNet>,
    /// Networks that may not be reached, whatever `allow` says.
    pub deny: Vec<IpNet>,
    /// Ports that may be reached; empty means all that are not denied.
    pub allow_ports: Vec<Ports>,
    /// Ports that may not be reached, whatever `allow_ports` says.
    pub deny_ports: Vec<Ports>,
    /// Whether multicast and broadcast addresses may be dialled. Default false.
    pub allow_multicast: bool,
    /// Whether Unix sockets may be reached. Default true.
    pub allow_unix: bool,
}

impl Default for OutboundPolicy {
    fn default() -> Self {
        OutboundPolicy {
            allow: Vec::new(),
            deny: Vec::new(),
            allow_ports: Vec::new(),
            deny_ports: Vec::new(),
            allow_multicast: false,
            allow_unix: true,
        }
    }
}

/// Why an address may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyRefusal {
    /// A denied network holds it.
    Denied {
        /// The form of the address that was found there.
        address: IpAddr,
        /// The network.
        network: IpNet,
    },
    /// No allowed network holds it.
    NotAllowed {
        /// The form of the address that is in none.
        address: IpAddr,
    },
    /// The port is denied, or not among the allowed ones.
    Port {
        /// The port.
        port: u16,
    },
    /// Multicast or broadcast.
    Multicast {
        /// The address.
        address: IpAddr,
    },
    /// Unix sockets are denied.
    Unix,
}

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyRefusal::Denied { address, network } => {
                write!(f, "{address} lies in the denied network {network}")
            }
            PolicyRefusal::NotAllowed { address } => {
                write!(f, "{address} lies in no allowed network")
            }
            PolicyRefusal::Port { port } => write!(f, "port {port} is not allowed"),
            PolicyRefusal::Multicast { address } => {
                write!(f, "{address} is a multicast or broadcast address")
            }
            PolicyRefusal::Unix => f.write_str("Unix sockets are not allowed"),
        }
    }
}

impl std::error::Error for PolicyRefusal {}

/// Loopback, link-local with the metadata services, this-host and unspecified, private-use metadata
/// addresses of IPv6 clouds, and reserved space: RFC 6890 and the vendors' documentation.
const GUARDED: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "fec0::/10",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
];

impl OutboundPolicy {
    /// For services that probe targets named by others: denies loopback, link-local, the metadata
    /// addresses of clouds, unspecified and reserved addresses, multicast and Unix sockets. Private
    /// networks stay reachable; add them to `deny` where they should not be.
    #[must_use]
    pub fn guarded() -> Self {
        let deny = GUARDED.iter().filter_map(|network| network.parse().ok()).collect();
        OutboundPolicy { deny, allow_unix: false, ..OutboundPolicy::default() }
    }

    /// Whether a packet may go to this address and port.
    ///
    /// # Errors
    /// The first rule that refuses it.
    pub fn check(&self, to: SocketAddr) -> Result<(), PolicyRefusal> {
        let port = to.port();
        let port_allowed =
            self.allow_ports.is_empty() || self.allow_ports.iter().any(|p| p.contains(port));
        if !port_allowed || self.deny_ports.iter().any(|p| p.contains(port)) {
            return Err(PolicyRefusal::Port { port });
        }
        self.check_address(to.ip())
    }

    /// Whether a packet may go to this address, whatever the port.
    ///
    /// # Errors
    /// The first rule that refuses it.
    pub fn check_address(&self, address: IpAddr) -> Result<(), PolicyRefusal> {
        let forms = Forms::of(address);
        for form in forms.iter() {
            if !self.allow_multicast && is_multicast(form) {
                return Err(PolicyRefusal::Multicast { address: form });
            }
            if let Some(network) = self.deny.iter().find(|net| net.contains(&form)) {
                return Err(PolicyRefusal::Denied { address: form, network: *network });
            }
        }
        // Every form that stands for a destination of its own has to be allowed; a mapped address is
        // the IPv4 address and nothing else.
        let judged = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        if self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&judged)) {
            Ok(())
        } else {
            Err(PolicyRefusal::NotAllowed { address: judged })
        }
    }

    /// Whether a Unix socket may be dialled.
    ///
    /// # Errors
    /// [`PolicyRefusal::Unix`] if not.
    pub fn check_unix(&self) -> Result<(), PolicyRefusal> {
        if self.allow_unix { Ok(()) } else { Err(PolicyRefusal::Unix) }
    }
}

fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// An address and the IPv4 addresses that it carries inside.
struct Forms([Option<IpAddr>; 4]);

impl Forms {
    fn of(address: IpAddr) -> Self {
        let IpAddr::V6(v6) = address else { return Forms([Some(address), None, None, None]) };
        let [a, b, c, d, e, f, g, h] = v6.segments();
        let v4 = |high: u16, low: u16| {
            let [w, x] = high.to_be_bytes();
            let [y, z] = low.to_be_bytes();
            Some(IpAddr::V4(Ipv4Addr::new(w, x, y, z)))
        };
        let tail = v4(g, h);
        let (first, second) = match (a, b) {
            // ::ffff:0:0/96 mapped; ::ffff:0:0:0/96 translated (RFC 2765); ::/96 compatible.
            (0, 0) if [c, d] == [0, 0] && matches!((e, f), (0, 0xffff) | (0xffff, 0)) => {
                (tail, None)
            }
            (0, 0) if [c, d, e, f] == [0; 4] && v6 > Ipv6Addr::LOCALHOST => (tail, None),
            // NAT64: the well-known prefix, and the local-use one, whose usual length is 96.
            (0x64, 0xff9b) => (tail, None),
            (0x2002, _) => (v4(b, c), None),
            // Teredo: the server, and the client with its bits inverted.
            (0x2001, 0) => (v4(c, d), v4(!g, !h)),
            _ if e & !0x0200 == 0 && f == 0x5efe => (tail, None),
            _ => (None, None),
        };
        Forms([Some(address), first, second, None])
    }

    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &OutboundPolicy, address: &str) -> bool {
        policy.check(SocketAddr::new(address.parse().unwrap(), 80)).is_err()
    }

    #[test]
    fn t32_denied_addresses_in_every_spelling() {
        let guarded = OutboundPolicy::guarded();
        assert_eq!(guarded.deny.len(), GUARDED.len());
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::169.254.169.254",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:7f00:1::1",
            "2001:0:c000:201::80ff:fffe",
            "2001:db8::5efe:127.0.0.1",
            "2001:db8::200:5efe:7f00:1",
            "fd00:ec2::254",
        ] {
            assert!(refused(&guarded, address), "{address}");
        }
        for address in [
            "192.0.2.1",
            "10.0.0.1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
            "2002:c000:201::",
            "64:ff9b::c000:201",
        ] {
            assert!(!refused(&guarded, address), "{address}");
        }
    }

    #[test]
    fn t18_multicast_and_broadcast_are_refused_by_default() {
        let policy = OutboundPolicy::default();
        for address in ["224.0.0.1", "239.1.1.1", "255.255.255.255", "ff02::1", "::ffff:224.0.0.1"]
        {
            assert!(refused(&policy, address), "{address}");
        }
        let open = OutboundPolicy { allow_multicast: true, ..policy };
        assert!(!refused(&open, "224.0.0.1"));
    }

    #[test]
    fn allow_lists_and_ports() {
        let policy: OutboundPolicy = serde_json::from_str(
            r#"{"allow":["10.0.0.0/8"],"deny":["10.9.0.0/16"],"allow_ports":[443,"8000-8999"],"deny_ports":["8080"]}"#,
        )
        .unwrap();
        let check = |to: &str| policy.check(to.parse().unwrap());
        assert_eq!(check("10.1.1.1:443"), Ok(()));
        assert_eq!(check("[::ffff:10.1.1.1]:8999"), Ok(()));
        assert_eq!(check("10.1.1.1:8080"), Err(PolicyRefusal::Port { port: 8080 }));
        assert!(matches!(check("10.9.1.1:443"), Err(PolicyRefusal::Denied { .. })));
        assert!(matches!(check("192.0.2.1:443"), Err(PolicyRefusal::NotAllowed { .. })));
        assert!(matches!(check("[64:ff9b::a01:101]:443"), Err(PolicyRefusal::NotAllowed { .. })));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<OutboundPolicy>(&json).unwrap(), policy);
        assert!(serde_json::from_str::<OutboundPolicy>(r#"{"deny_port":[1]}"#).is_err());
        assert!("9-1".parse::<Ports>().is_err());
    }
}
