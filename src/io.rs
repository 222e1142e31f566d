//! The only place that names the runtime, sockets and the TLS library.

pub(crate) mod connect;
mod dial;
mod errno;
mod record;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod talk;
pub(crate) mod tcp;
pub(crate) mod time;
#[cfg(all(unix, feature = "unix"))]
pub(crate) mod unix;
mod wire;

#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "io/no_tls.rs"]
pub(crate) mod tls;
