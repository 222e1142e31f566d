//! What a stapled OCSP response says, as data (RFC 6960).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::time;

/// What the responder says about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OcspStatus {
    /// Not revoked as far as the responder knows.
    Good,
    /// Revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
}

impl fmt::Display for OcspStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            OcspStatus::Good => "good",
            OcspStatus::Revoked => "revoked",
            OcspStatus::Unknown => "unknown",
        })
    }
}

/// Whether the signature of a response was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OcspSignature {
    /// By the issuer's key, or by a responder that the issuer has appointed.
    Verified,
    /// Wrong.
    Failed,
    /// Not checked: the issuer is not known, or the algorithm is not supported.
    #[default]
    NotChecked,
}

/// What a stapled OCSP response says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OcspReport {
    /// The status of the leaf; `None` if the response holds none, see `error`.
    pub status: Option<OcspStatus>,
    /// When the status was known to be right.
    #[serde(with = "time::optional")]
    pub this_update: Option<i64>,
    /// When newer information is due.
    #[serde(with = "time::optional")]
    pub next_update: Option<i64>,
    /// When the response was signed.
    #[serde(with = "time::optional")]
    pub produced_at: Option<i64>,
    /// When the certificate was revoked.
    #[serde(with = "time::optional")]
    pub revoked_at: Option<i64>,
    /// Why it was revoked, in the words of RFC 5280 (5.3.1).
    pub reason: Option<Cow<'static, str>>,
    /// Whether the signature was checked.
    pub signature: OcspSignature,
    /// Whether the response is past its next update or lies in the future.
    pub outdated: bool,
    /// Why the response is of no use.
    pub error: Option<String>,
    /// Length of the response in bytes.
    pub der_len: u64,
}

impl OcspReport {
    /// Whether it says `good`, is up to date, and its signature is not known to be wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status == Some(OcspStatus::Good)
            && self.error.is_none()
            && !self.outdated
            && self.signature != OcspSignature::Failed
    }
}
