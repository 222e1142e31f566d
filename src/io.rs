//! The only place that names the runtime, sockets and the TLS library.

#[allow(dead_code, reason = "dialling uses the rest")]
mod errno;
pub(crate) mod resolve;
#[allow(dead_code, reason = "dialling uses it")]
pub(crate) mod socket;
pub(crate) mod time;

#[cfg(feature = "tls")]
pub(crate) mod tls;
