//! The only place that names the runtime, sockets and the TLS library.
#![cfg_attr(
    not(feature = "tcp"),
    allow(dead_code, unused_imports, reason = "some of what all probers share is for TCP alone")
)]

#[cfg(feature = "tcp")]
pub(crate) mod connect;
#[cfg(feature = "tcp")]
mod dial;
#[cfg(all(feature = "dns", target_os = "linux"))]
pub(crate) mod dns;
mod errno;
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub(crate) mod icmp;
mod join;
mod record;
pub(crate) mod resolve;
pub(crate) mod socket;
#[cfg(feature = "tcp")]
pub(crate) mod talk;
#[cfg(feature = "tcp")]
pub(crate) mod tcp;
pub(crate) mod time;
#[cfg(all(unix, feature = "unix"))]
pub(crate) mod unix;
#[cfg(feature = "tcp")]
mod wire;

#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(all(feature = "tcp", not(feature = "tls")))]
#[path = "io/no_tls.rs"]
pub(crate) mod tls;
