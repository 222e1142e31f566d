//! State machines: bytes and instants in, actions out. No clock and no socket is named here.

#[cfg(feature = "icmp")]
pub mod cadence;
#[cfg(feature = "icmp")]
pub mod echo;
#[cfg(any(feature = "icmp", feature = "dns"))]
#[cfg_attr(not(feature = "icmp"), allow(dead_code, reason = "some of it is for ICMP alone"))]
pub mod measure;
#[cfg(feature = "icmp")]
pub mod mtu;
#[cfg(feature = "dns")]
pub mod query;
#[cfg(feature = "script")]
pub mod script;
#[cfg(feature = "dns")]
pub mod stub;
#[cfg(feature = "icmp")]
pub mod trace;
