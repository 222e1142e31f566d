//! How a TCP socket is set up before it is dialled.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Options of the socket behind a TCP probe.
///
/// What is `None` is left to the system. Whatever the system refuses is a local fault of the probe:
/// nothing is clamped, and nothing is left out in silence.
///
/// ```
/// use netsonde::tcp::SocketOptions;
///
/// let options = SocketOptions { dscp: Some(46), ttl: Some(16), ..SocketOptions::default() };
/// options.check()?;
/// assert!(SocketOptions { dscp: Some(64), ..SocketOptions::default() }.check().is_err());
/// # Ok::<(), netsonde::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct SocketOptions {
    /// Address to dial from. A target of the other family is then a local fault.
    pub source: Option<IpAddr>,
    /// Lowest and highest port to dial from, both included. They are tried in turn from a random
    /// one on; a port counts as used up when the system holds a connection from it to the same
    /// address and port. Default: the system picks from its own range.
    pub source_ports: Option<[u16; 2]>,
    /// Network interface that packets leave and arrive by (`SO_BINDTODEVICE`, socket(7)). Linux.
    pub interface: Option<String>,
    /// Mark for policy routing and packet filters (`SO_MARK`, socket(7)). Linux; needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    pub fwmark: Option<u32>,
    /// Differentiated services code point, 0 to 63 (RFC 2474, 3).
    pub dscp: Option<u8>,
    /// Time to live or hop limit of outgoing packets, 1 to 255.
    pub ttl: Option<u8>,
    /// Send small segments at once (`TCP_NODELAY`, tcp(7)). Default true: a probe waits for
    /// answers, and Nagle's algorithm would delay the questions.
    pub nodelay: bool,
    /// Reset the connection instead of closing it in an orderly way (`SO_LINGER` of zero,
    /// socket(7)). Default false. It leaves no port in TIME_WAIT, which allows tens of thousands of
    /// probes a minute to one target; but the peer sees an error, and what was sent last may be
    /// thrown away on the way.
    pub reset_on_close: bool,
    /// Receive buffer in bytes (`SO_RCVBUF`, socket(7)). A system that grants less is a local fault.
    pub recv_buffer_bytes: Option<u32>,
    /// Send buffer in bytes (`SO_SNDBUF`, socket(7)). A system that grants less is a local fault.
    pub send_buffer_bytes: Option<u32>,
    /// Congestion control algorithm by the system's name (`TCP_CONGESTION`, tcp(7)). Linux.
    pub congestion_control: Option<String>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            source: None,
            source_ports: None,
            interface: None,
            fwmark: None,
            dscp: None,
            ttl: None,
            nodelay: true,
            reset_on_close: false,
            recv_buffer_bytes: None,
            send_buffer_bytes: None,
            congestion_control: None,
        }
    }
}

/// Longest name of a network interface and of a congestion control algorithm on Linux, in bytes
/// (`IFNAMSIZ` and `TCP_CA_NAME_MAX`, less the closing NUL).
const NAME_BYTES: usize = 15;

impl SocketOptions {
    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        if self.source.is_some_and(|ip| ip.is_multicast()) {
            return Err(Error::config("source", "must not be a multicast address"));
        }
        if self.source_ports.is_some_and(|[low, high]| low == 0 || low > high) {
            return Err(Error::config("source_ports", "must be two ports above 0 in rising order"));
        }
        if self.dscp.is_some_and(|dscp| dscp > 63) {
            return Err(Error::config("dscp", "must lie in 0..=63 (RFC 2474, 3)"));
        }
        if self.ttl == Some(0) {
            return Err(Error::config("ttl", "must lie in 1..=255"));
        }
        for (key, bytes) in [
            ("recv_buffer_bytes", self.recv_buffer_bytes),
            ("send_buffer_bytes", self.send_buffer_bytes),
        ] {
            if bytes.is_some_and(|bytes| bytes == 0 || bytes > i32::MAX.unsigned_abs()) {
                return Err(Error::config(key, "must lie in 1..=2147483647"));
            }
        }
        for (key, name) in
            [("interface", &self.interface), ("congestion_control", &self.congestion_control)]
        {
            if name.as_deref().is_some_and(|name| !is_interface_name(name)) {
                return Err(Error::config(key, "must be 1 to 15 bytes without blanks, / and NUL"));
            }
        }
        Ok(())
    }
}

pub(crate) fn is_interface_name(name: &str) -> bool {
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    (1..=NAME_BYTES).contains(&name.len()) && !name.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &SocketOptions) -> Option<String> {
        options.check().err().map(|error| error.to_string().split(':').next().unwrap().to_owned())
    }

    #[test]
    fn out_of_range_names_the_key() {
        let base = SocketOptions::default;
        let key = |options: SocketOptions| refused(&options);
        let name = |len: usize| Some("e".repeat(len));
        assert_eq!(key(base()), None);
        assert_eq!(key(SocketOptions { dscp: Some(63), ttl: Some(1), ..base() }), None);
        assert_eq!(key(SocketOptions { dscp: Some(64), ..base() }).unwrap(), "dscp");
        assert_eq!(key(SocketOptions { ttl: Some(0), ..base() }).unwrap(), "ttl");
        for ports in [[0, 5], [6, 5]] {
            let options = SocketOptions { source_ports: Some(ports), ..base() };
            assert_eq!(key(options).unwrap(), "source_ports");
        }
        assert_eq!(key(SocketOptions { source_ports: Some([7, 7]), ..base() }), None);
        assert_eq!(key(SocketOptions { interface: name(15), ..base() }), None);
        for bad in [name(16), name(0), Some("a/b".into()), Some("a\0".into())] {
            let options = SocketOptions { interface: bad.clone(), ..base() };
            assert_eq!(key(options).unwrap(), "interface");
            let options = SocketOptions { congestion_control: bad, ..base() };
            assert_eq!(key(options).unwrap(), "congestion_control");
        }
        let options = SocketOptions { recv_buffer_bytes: Some(0), ..base() };
        assert_eq!(key(options).unwrap(), "recv_buffer_bytes");
        let options = SocketOptions { send_buffer_bytes: Some(1 << 31), ..base() };
        assert_eq!(key(options).unwrap(), "send_buffer_bytes");
        let options = SocketOptions { source: Some("224.0.0.1".parse().unwrap()), ..base() };
        assert_eq!(key(options).unwrap(), "source");
    }

    #[test]
    fn yaml_keys_are_checked() {
        let options: SocketOptions = serde_json::from_str(r#"{"source_ports":[9,10]}"#).unwrap();
        assert!(options.nodelay && options.source_ports == Some([9, 10]));
        assert!(serde_json::from_str::<SocketOptions>(r#"{"dcsp":1}"#).is_err());
    }
}
