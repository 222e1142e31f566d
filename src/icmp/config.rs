//! How ICMP probes are set up.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::IcmpExpect;
use crate::Error;
use crate::resolve::Dialing;

/// How an ICMP prober is set up; checked once, when the prober is built.
///
/// ```
/// use netsonde::icmp::IcmpConfig;
///
/// let train: IcmpConfig = serde_saphyr::from_str("
/// count: 10
/// interval: 200ms
/// echo: {size: 1400, dont_fragment: set}
/// expect: {max_loss: 0.1, max_rtt: 80ms}
/// ")?;
/// train.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct IcmpConfig {
    /// How long the whole probe may take. Default: as long as the train takes, which is
    /// `(count - 1) * interval + reply_timeout + linger`, a quarter of its intervals more for a plan that
    /// slips on a busy host, and 5 s for resolving. A context may set another.
    #[serde(with = "crate::duration::optional")]
    pub timeout: Option<Duration>,
    /// Families, address policy, where to connect. There are no ports, and no handshakes to race:
    /// [`HappyEyeballs`](crate::AddressPolicy::HappyEyeballs) is taken as
    /// [`First`](crate::AddressPolicy::First).
    pub dialing: Dialing,
    /// Echo requests that are sent, at least 1. Default 1.
    pub count: u32,
    /// From one request to the next. Default 1 s.
    #[serde(with = "crate::duration")]
    pub interval: Duration,
    /// How long each request waits for its answer. Default 3 s.
    #[serde(with = "crate::duration")]
    pub reply_timeout: Duration,
    /// How long to go on listening after the last request is decided, for duplicates and late answers.
    /// Default: not at all.
    #[serde(with = "crate::duration")]
    pub linger: Duration,
    /// What the requests look like.
    pub echo: EchoOptions,
    /// Caps on what is kept.
    pub limits: IcmpLimits,
    /// What makes the probe pass beyond an answer.
    pub expect: IcmpExpect,
}

impl Default for IcmpConfig {
    fn default() -> Self {
        IcmpConfig {
            timeout: None,
            dialing: Dialing::default(),
            count: 1,
            interval: Duration::from_secs(1),
            reply_timeout: Duration::from_secs(3),
            linger: Duration::ZERO,
            echo: EchoOptions::default(),
            limits: IcmpLimits::default(),
            expect: IcmpExpect::default(),
        }
    }
}

/// What kind of socket is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SocketChoice {
    /// Raw if that is allowed, else datagram; for each family by itself.
    #[default]
    Auto,
    /// Raw (raw(7)): needs `CAP_NET_RAW`.
    Raw,
    /// Datagram (icmp(7)): needs a group within `net.ipv4.ping_group_range`. Traces by UDP need nothing.
    Datagram,
}

/// What an echo request looks like and how it leaves.
///
/// What is `None` is left to the system. Whatever the system refuses is a local fault of the probe:
/// nothing is clamped, and nothing is left out in silence.
///
/// ```
/// use netsonde::icmp::EchoOptions;
///
/// assert!(EchoOptions { size: 65_507, ..EchoOptions::default() }.check().is_ok());
/// assert!(EchoOptions { size: 65_508, ..EchoOptions::default() }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct EchoOptions {
    /// Bytes of payload behind the eight bytes of the echo header, 0 to 65,507. Default 56, as ping
    /// has it. Below 8 there is no room for the whole cookie, and answers match weakly; below 16 a late
    /// answer to a packet that is long forgotten cannot be told from a foreign one.
    pub size: u32,
    /// What fills the payload behind the cookie.
    pub payload: Payload,
    /// Time to live or hop limit, 1 to 255.
    pub ttl: Option<u16>,
    /// Differentiated services code point, 0 to 63 (RFC 2474, 3).
    pub dscp: Option<u8>,
    /// Whether the packet may be fragmented.
    pub dont_fragment: DontFragment,
    /// Address to send from. A target of the other family is then a local fault.
    pub source: Option<IpAddr>,
    /// Network interface to send by.
    pub interface: Option<String>,
    /// Mark for policy routing and packet filters (`SO_MARK`, socket(7)). Linux; needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    pub fwmark: Option<u32>,
    /// Allow broadcast and multicast targets. Default: they are refused.
    pub broadcast: bool,
}

impl Default for EchoOptions {
    fn default() -> Self {
        EchoOptions {
            size: 56,
            payload: Payload::default(),
            ttl: None,
            dscp: None,
            dont_fragment: DontFragment::default(),
            source: None,
            interface: None,
            fwmark: None,
            broadcast: false,
        }
    }
}

/// What fills the payload of an echo request behind the cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payload {
    /// Rising bytes, as ping has them.
    #[default]
    Rising,
    /// This byte, over and over.
    Byte(u8),
    /// These bytes, over and over.
    Pattern(Vec<u8>),
    /// Bytes that look random and differ from packet to packet: nothing on the way can compress them.
    Random,
}

/// Whether routers may take a packet apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DontFragment {
    /// As the system does it: Linux sets DF and heeds the path MTU that it has learnt.
    #[default]
    System,
    /// DF is set and the packet leaves in one piece whatever path MTU is known (`IP_PMTUDISC_PROBE`,
    /// ip(7)), or not at all.
    Set,
    /// DF is clear, and the system may take the packet apart itself.
    Clear,
}

/// Caps on what the report of an ICMP probe holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct IcmpLimits {
    /// Addresses of one name that are considered; more are left out and counted. Default 64.
    pub addresses: usize,
    /// Records of single packets; the statistics go on beyond them. Default 1,000.
    pub records: usize,
    /// Hosts that answer a broadcast. Default 64.
    pub responders: usize,
}

impl Default for IcmpLimits {
    fn default() -> Self {
        IcmpLimits { addresses: 64, records: 1_000, responders: 64 }
    }
}

/// Largest payload of an echo request: what IPv4 leaves of 65,535 bytes. IPv6 would take 20 more.
const MAX_SIZE: u32 = 65_507;

impl IcmpConfig {
    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        self.dialing.check().map_err(|error| error.under("dialing"))?;
        if self.count == 0 {
            return Err(Error::config("count", "must be at least 1"));
        }
        for (key, value) in [("interval", self.interval), ("reply_timeout", self.reply_timeout)] {
            if value.is_zero() {
                return Err(Error::config(key, "must be longer than zero"));
            }
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::config("timeout", "must be longer than zero"));
        }
        self.echo.check().map_err(|error| error.under("echo"))?;
        self.expect.check().map_err(|error| error.under("expect"))
    }
}

impl EchoOptions {
    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        if self.size > MAX_SIZE {
            return Err(Error::config("size", "must lie in 0..=65507"));
        }
        if self.ttl.is_some_and(|ttl| !(1..=255).contains(&ttl)) {
            return Err(Error::config("ttl", "must lie in 1..=255"));
        }
        if self.dscp.is_some_and(|dscp| dscp > 63) {
            return Err(Error::config("dscp", "must lie in 0..=63 (RFC 2474, 3)"));
        }
        if self.source.is_some_and(|source| source.is_multicast()) {
            return Err(Error::config("source", "must not be a multicast address"));
        }
        if matches!(&self.payload, Payload::Pattern(bytes) if bytes.is_empty()) {
            return Err(Error::config("payload.pattern", "must have at least one byte"));
        }
        if self.interface.as_deref().is_some_and(|name| !crate::tcp::is_interface_name(name)) {
            return Err(Error::config(
                "interface",
                "must be 1 to 15 bytes without blanks, / and NUL",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &IcmpConfig) -> Option<String> {
        config.check().err().map(|error| error.to_string().split(':').next().unwrap().to_owned())
    }

    fn echo(change: impl FnOnce(&mut EchoOptions)) -> IcmpConfig {
        let mut config = IcmpConfig::default();
        change(&mut config.echo);
        config
    }

    #[test]
    fn out_of_range_names_the_key() {
        assert_eq!(refused(&IcmpConfig::default()), None);
        let base = IcmpConfig::default;
        assert_eq!(refused(&IcmpConfig { count: 0, ..base() }).unwrap(), "count");
        let zero = Duration::ZERO;
        assert_eq!(refused(&IcmpConfig { interval: zero, ..base() }).unwrap(), "interval");
        assert_eq!(
            refused(&IcmpConfig { reply_timeout: zero, ..base() }).unwrap(),
            "reply_timeout"
        );
        assert_eq!(refused(&IcmpConfig { timeout: Some(zero), ..base() }).unwrap(), "timeout");
        assert_eq!(refused(&echo(|echo| echo.dscp = Some(64))).unwrap(), "echo.dscp");
        assert_eq!(
            refused(&echo(|echo| echo.interface = Some("a b".into()))).unwrap(),
            "echo.interface"
        );
        let empty = Payload::Pattern(Vec::new());
        assert_eq!(refused(&echo(|echo| echo.payload = empty)).unwrap(), "echo.payload.pattern");
        let group = "ff02::1".parse().ok();
        assert_eq!(refused(&echo(|echo| echo.source = group)).unwrap(), "echo.source");
    }

    #[test]
    fn i49_the_largest_payload_is_65507_bytes() {
        assert_eq!(refused(&echo(|echo| echo.size = 65_507)), None);
        assert_eq!(refused(&echo(|echo| echo.size = 65_508)).unwrap(), "echo.size");
    }

    #[test]
    fn i133_a_ttl_of_0_or_256_is_a_configuration_error() {
        for ttl in [0, 256] {
            assert_eq!(refused(&echo(|echo| echo.ttl = Some(ttl))).unwrap(), "echo.ttl");
        }
        for ttl in [1, 255] {
            assert_eq!(refused(&echo(|echo| echo.ttl = Some(ttl))), None);
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(serde_json::from_str::<IcmpConfig>(r#"{"echo":{"tll":3}}"#).is_err());
        let config: IcmpConfig =
            serde_json::from_str(r#"{"echo":{"payload":{"byte":165}}}"#).unwrap();
        assert_eq!(config.echo.payload, Payload::Byte(0xa5));
    }
}
