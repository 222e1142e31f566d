//! TLS: what to offer and trust ([`TlsConfig`]), what was seen ([`TlsReport`]) and what is
//! expected of it ([`TlsExpect`]).
//!
//! The types here are plain data and always compiled. What speaks TLS is behind the feature `tls`.

mod alert;
mod certificate;
mod config;
mod expect;
mod ocsp;
mod report;
mod time;

#[cfg(feature = "tls")]
pub(crate) use time::{seconds as utc_seconds, text as rfc3339};

pub use alert::alert_name;
pub use certificate::{CertificateNames, CertificateReport, CertificateRole, PublicKeyReport};
pub use config::{
    ClientCertificate, CrlPolicy, KeySource, OcspPolicy, PemSource, Provider, Sni, TlsConfig,
    TlsLimits, Trust, Verify,
};
pub use expect::{AlertCode, TextMatch, TlsExpect};
pub use ocsp::{OcspReport, OcspSignature, OcspStatus};
pub use report::{
    Alert, AlertDirection, Check, CheckKind, CheckStatus, ClientAuth, HandshakeKind, RootReport,
    TlsHint, TlsReport, TlsVersion, VerifiedChain,
};

#[cfg(feature = "tls")]
pub use crate::io::tls::{TlsConnector, TlsStream, read_certificate, read_ocsp_response};
