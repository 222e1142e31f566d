//! TLS over any stream: set up once, then one recorded handshake a probe.

mod cache;
mod certificate;
mod classify;
mod connector;
mod der;
mod finding;
mod identity;
mod name;
mod names;
mod ocsp;
mod paths;
mod roots;
mod setup;
mod stream;
mod tap;
mod verifier;

#[cfg(test)]
mod tests;

pub use certificate::read_certificate;
pub use connector::TlsConnector;
pub use ocsp::read_ocsp_response;
pub use stream::TlsStream;
