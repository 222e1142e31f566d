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
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod tests;

#[cfg(test)]
#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
#[test]
fn without_a_provider_tls_is_a_set_up_error_that_names_a_feature() {
    let error = TlsConnector::new(&crate::tls::TlsConfig::default()).unwrap_err().to_string();
    assert!(error.contains("provider") && error.contains("ring"), "{error}");
}

pub use certificate::read_certificate;
pub use connector::TlsConnector;
pub use ocsp::read_ocsp_response;
pub use stream::TlsStream;
