//! The only place that names the runtime, sockets and the TLS library.

#[allow(dead_code, unused_imports, reason = "the probers that dial come next")]
pub(crate) mod connect;
mod errno;
pub(crate) mod resolve;
#[allow(dead_code, reason = "as above")]
pub(crate) mod socket;
pub(crate) mod time;

#[cfg(feature = "tls")]
pub(crate) mod tls;
