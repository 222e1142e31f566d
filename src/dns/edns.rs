//! What queries say by EDNS.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What queries say by EDNS (RFC 6891).
///
/// ```
/// use netsonde::dns::EdnsConfig;
///
/// let edns: EdnsConfig = serde_saphyr::from_str("
/// dnssec_ok: true
/// client_subnet: 192.0.2.0/24
/// cookie: true
/// padding: 128
/// options: [{code: 65001, data: 00ff}]
/// ")?;
/// assert_eq!(edns.udp_payload, 1232);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct EdnsConfig {
    /// The largest datagram that is said to be taken, in octets. Default 1,232, which no path has to take
    /// apart.
    pub udp_payload: u16,
    /// The version. Default 0.
    pub version: u8,
    /// DO: signatures are wanted (RFC 3225). Default: no.
    pub dnssec_ok: bool,
    /// Ask who the server is (NSID, RFC 5001). Default: no.
    pub nsid: bool,
    /// The network of the client (RFC 7871). Default: not told.
    pub client_subnet: Option<ClientSubnet>,
    /// Send a cookie of the client, a new one with each query (RFC 7873). Default: no.
    pub cookie: bool,
    /// Fill up queries to a multiple of so many octets (RFC 7830; RFC 8467 has 128 for them). Default: no.
    pub padding: Option<u16>,
    /// Ask how long the connection is kept (RFC 7828). Over UDP it must not be asked. Default: no.
    pub keepalive: bool,
    /// Any other options, in their order.
    pub options: Vec<RawOption>,
}

impl Default for EdnsConfig {
    fn default() -> Self {
        EdnsConfig {
            udp_payload: 1232,
            version: 0,
            dnssec_ok: false,
            nsid: false,
            client_subnet: None,
            cookie: false,
            padding: None,
            keepalive: false,
            options: Vec::new(),
        }
    }
}

impl EdnsConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.padding == Some(0) {
            return Err(Error::config("padding", "must be at least 1"));
        }
        let octets: usize = self.options.iter().map(|option| option.data.len() + 4).sum();
        if octets > 16_384 {
            return Err(Error::config("options", "have more than 16384 octets together"));
        }
        Ok(())
    }
}

/// The network of a client, written `ADDRESS/BITS`. Bits behind the prefix are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSubnet {
    /// The address.
    pub address: IpAddr,
    /// Bits of it that are told.
    pub prefix: u8,
}

impl fmt::Display for ClientSubnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for ClientSubnet {
    type Err = Error;

    /// # Errors
    /// [`Error::Config`] with the key `client_subnet`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::config("client_subnet", "must be ADDRESS/BITS, such as 192.0.2.0/24");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(ClientSubnet { address, prefix })
    }
}

impl Serialize for ClientSubnet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientSubnet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An option by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct RawOption {
    /// Its code.
    pub code: u16,
    /// What it holds; in JSON and YAML in hexadecimal digits.
    #[serde(with = "super::report::hex", default)]
    pub data: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_form() {
        for text in ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/56"] {
            assert_eq!(text.parse::<ClientSubnet>().unwrap().to_string(), text);
        }
        for text in ["192.0.2.0", "192.0.2.0/33", "::/129", "a/8", "1.2.3.4/-1"] {
            assert!(text.parse::<ClientSubnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn options_are_hexadecimal() {
        let option: RawOption = serde_json::from_str(r#"{"code":7,"data":"00fF"}"#).unwrap();
        assert_eq!(option.data, [0, 255]);
        for bad in ["0", "0g", "\u{e9}"] {
            let json = format!(r#"{{"code":7,"data":"{bad}"}}"#);
            assert!(serde_json::from_str::<RawOption>(&json).is_err(), "{bad}");
        }
    }
}
