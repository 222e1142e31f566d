//! How discoveries of the path MTU are set up.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MtuExpect;
use crate::Error;
use crate::icmp::trace::check_leaving;
use crate::resolve::{AddressPolicy, Dialing};

/// How the path MTU is found out; checked once, when the prober is built.
///
/// Echo requests of different sizes are sent that must not be fragmented, one at a time. Sizes are
/// those of the whole packet with its IP header. The answers are as large as the requests: a path
/// that loses large packets on the way back only looks like one that loses them on the way there.
///
/// ```
/// use netsonde::icmp::mtu::MtuConfig;
///
/// let discovery: MtuConfig = serde_saphyr::from_str("
/// tries: 2
/// expect: {min_mtu: 1500, no_black_hole: true}
/// ")?;
/// discovery.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct MtuConfig {
    /// How long the whole probe may take. Default 60 s. A context may set another.
    #[serde(with = "crate::duration")]
    pub timeout: Duration,
    /// Families, address policy, where to connect. One address is asked:
    /// [`HappyEyeballs`](crate::AddressPolicy::HappyEyeballs) is taken as
    /// [`First`](crate::AddressPolicy::First), and `Any` and `All` are refused.
    pub dialing: Dialing,
    /// The largest packet that is tried, in bytes with the IP header: 68 to 65,535 for a target in
    /// IPv4, 1280 to 65,575 for one in IPv6. Default: what the interface takes, or the largest of
    /// these where that is not known; this host refuses what is too large for it.
    pub max: Option<u32>,
    /// How long each packet waits for its answer. Default 1 s.
    #[serde(with = "crate::duration")]
    pub query_timeout: Duration,
    /// How many packets of one size must stay without an answer, 1 to 20, before the size counts as
    /// too large. Default 3. An answer or an error decides at once.
    pub tries: u32,
    /// Differentiated services code point, 0 to 63 (RFC 2474, 3).
    pub dscp: Option<u8>,
    /// Address to send from. A target of the other family is then a local fault.
    pub source: Option<IpAddr>,
    /// Network interface to send by.
    pub interface: Option<String>,
    /// Mark for policy routing and packet filters (`SO_MARK`, socket(7)). Linux; needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    pub fwmark: Option<u32>,
    /// Caps.
    pub limits: MtuLimits,
    /// What makes the probe pass beyond a figure.
    pub expect: MtuExpect,
}

impl Default for MtuConfig {
    fn default() -> Self {
        MtuConfig {
            timeout: Duration::from_secs(60),
            dialing: Dialing::default(),
            max: None,
            query_timeout: Duration::from_secs(1),
            tries: 3,
            dscp: None,
            source: None,
            interface: None,
            fwmark: None,
            limits: MtuLimits::default(),
            expect: MtuExpect::default(),
        }
    }
}

/// Caps of a discovery of the path MTU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct MtuLimits {
    /// Addresses of one name that are considered; more are left out and counted. Default 64.
    pub addresses: usize,
    /// Packets that are sent or tried to be sent, at least 1. Default 150: a search through all sizes
    /// with three tries for each takes at most that many. With fewer the discovery may end early, and
    /// says so.
    pub packets: u32,
    /// MTUs told by errors that are followed, one after the other, before the search halves what is
    /// left instead. Default 8. A path with more steps down than that is still found out, in more
    /// packets; a router that makes up figures cannot keep the search busy.
    pub told: u32,
}

impl Default for MtuLimits {
    fn default() -> Self {
        MtuLimits { addresses: 64, packets: 150, told: 8 }
    }
}

impl MtuConfig {
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
        if self.max.is_some_and(|max| !(68..=65_575).contains(&max)) {
            return Err(Error::config("max", "must lie in 68..=65575"));
        }
        if !(1..=20).contains(&self.tries) {
            return Err(Error::config("tries", "must lie in 1..=20"));
        }
        if self.limits.packets == 0 {
            return Err(Error::config("limits.packets", "must be at least 1"));
        }
        if matches!(self.dialing.addresses, AddressPolicy::Any | AddressPolicy::All) {
            return Err(Error::config("dialing.addresses", "one address is asked: first"));
        }
        check_leaving(self.dscp, self.source, self.interface.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut MtuConfig)) -> Option<String> {
        let mut config = MtuConfig::default();
        change(&mut config);
        config.check().err().map(|error| error.to_string().split(':').next().unwrap().to_owned())
    }

    #[test]
    fn out_of_range_names_the_key() {
        assert_eq!(refused(|_| ()), None);
        let key = |change: fn(&mut MtuConfig)| refused(change).unwrap();
        assert_eq!(key(|c| c.timeout = Duration::ZERO), "timeout");
        assert_eq!(key(|c| c.query_timeout = Duration::ZERO), "query_timeout");
        assert_eq!(key(|c| c.max = Some(67)), "max");
        assert_eq!(key(|c| c.max = Some(65_576)), "max");
        assert_eq!(key(|c| c.tries = 0), "tries");
        assert_eq!(key(|c| c.tries = 21), "tries");
        assert_eq!(key(|c| c.limits.packets = 0), "limits.packets");
        assert_eq!(key(|c| c.dscp = Some(64)), "dscp");
        assert_eq!(key(|c| c.dialing.addresses = AddressPolicy::Any), "dialing.addresses");
        assert_eq!(refused(|c| c.dialing.addresses = AddressPolicy::First), None);
        assert_eq!(refused(|c| c.max = Some(68)), None);
    }

    #[test]
    fn unknown_keys_are_errors_and_what_is_written_is_read() {
        assert!(serde_json::from_str::<MtuConfig>(r#"{"min":3}"#).is_err());
        let config: MtuConfig = serde_json::from_str(r#"{"max":9000,"tries":5}"#).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<MtuConfig>(&text).unwrap(), config);
    }
}
