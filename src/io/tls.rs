//! TLS over any stream: set up once, then one recorded handshake a probe.

mod certificate;
mod der;
mod name;

pub use certificate::read_certificate;
