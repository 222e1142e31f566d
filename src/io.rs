//! The only place that names the runtime, sockets and the TLS library.

pub(crate) mod time;

#[cfg(feature = "tls")]
pub(crate) mod tls;
