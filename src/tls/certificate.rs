//! What one certificate says, as data.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::time;

/// What a certificate is in the chain it was served with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CertificateRole {
    /// The server's own: the first one served.
    Leaf,
    /// An authority between the leaf and a root.
    Intermediate,
    /// Signed by itself, behind the leaf.
    Root,
    /// Leads nowhere: no served certificate that matters names it as its issuer.
    Unrelated,
    /// Read alone, without a chain around it.
    #[default]
    Unknown,
}

impl CertificateRole {
    /// The stable name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CertificateRole::Leaf => "leaf",
            CertificateRole::Intermediate => "intermediate",
            CertificateRole::Root => "root",
            CertificateRole::Unrelated => "unrelated",
            CertificateRole::Unknown => "unknown",
        }
    }
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one certificate says (RFC 5280). Nothing in here is verified.
///
/// A certificate that cannot be decoded still has its fingerprint, its length, what could be read
/// before the damage, and `decode_error`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CertificateReport {
    /// What it is in the chain it was served with.
    pub role: CertificateRole,
    /// Lower-case hex of the SHA-256 of the whole certificate.
    pub sha256: String,
    /// Length of the certificate in bytes.
    pub der_len: u64,
    /// What the decoder stumbled over first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_error: Option<String>,
    /// 1, 2 or 3.
    pub version: Option<u8>,
    /// Lower-case hex of the serial number's bytes, two digits each; empty for zero.
    pub serial: Option<String>,
    /// RFC 4514 text, most specific part first. Types without a common short name are written
    /// `1.2.3=#hex`.
    pub subject: Option<String>,
    /// As `subject`.
    pub issuer: Option<String>,
    /// First second of validity.
    #[serde(with = "time::optional")]
    pub not_before: Option<i64>,
    /// Last second of validity.
    #[serde(with = "time::optional")]
    pub not_after: Option<i64>,
    /// The alternative names.
    pub names: CertificateNames,
    /// The public key.
    pub key: Option<PublicKeyReport>,
    /// Name of the algorithm that signed it, such as `ecdsa-with-SHA256`; the OID if unknown.
    pub signature_algorithm: Option<String>,
    /// Whether it says that it may issue certificates.
    pub is_ca: bool,
    /// How many authorities may stand between it and a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_len: Option<u8>,
    /// RFC 5280 names such as `digitalSignature`; `None` if the extension is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<Vec<String>>,
    /// Names such as `serverAuth`, OIDs if unknown; `None` if the extension is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_key_usage: Option<Vec<String>>,
    /// OIDs of critical extensions whose meaning is not known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_critical: Vec<String>,
    /// Where revocation lists lie.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crl_urls: Vec<String>,
    /// Where OCSP is answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ocsp_urls: Vec<String>,
    /// Where the issuer's certificate lies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuer_urls: Vec<String>,
    /// Subject key identifier, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_key_id: Option<String>,
    /// Authority key identifier, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_key_id: Option<String>,
    /// Whether subject and issuer are the same. The signature is not checked for this.
    pub self_issued: bool,
    /// The certificate itself in PEM, if the configuration asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl CertificateReport {
    /// Whole days from `now` (Unix seconds) to the end of validity, rounded down; negative once it
    /// has expired. `None` if the end is unknown.
    ///
    /// ```
    /// let mut certificate = netsonde::tls::CertificateReport::default();
    /// certificate.not_after = Some(10 * 86_400);
    /// assert_eq!(certificate.days_left(86_400 + 1), Some(8));
    /// ```
    #[must_use]
    pub fn days_left(&self, now: i64) -> Option<i64> {
        self.not_after.map(|end| end.saturating_sub(now).div_euclid(86_400))
    }

    /// The common name, if the subject has exactly one that is plain text.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        let subject = self.subject.as_deref()?;
        let plain = |part: &str| !part.contains(['\\', '+', '#']);
        let mut found = subject.split(',').filter_map(|part| part.strip_prefix("CN="));
        let name = found.next().filter(|name| plain(name))?;
        found.next().is_none().then_some(name)
    }
}

/// The alternative names of a certificate. Of each kind the first ones are kept, up to a cap;
/// `total` counts all, also those of other kinds and those that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CertificateNames {
    /// DNS names as they stand there: A-labels, maybe with a wildcard. Control characters and
    /// bytes outside of ASCII are escaped.
    pub dns: Vec<String>,
    /// Addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<IpAddr>,
    /// Mail addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email: Vec<String>,
    /// URIs, such as SPIFFE ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uri: Vec<String>,
    /// How many names there are.
    pub total: u32,
}

impl CertificateNames {
    /// The first few of them in one line; how many more there are.
    pub(crate) fn shown(&self, most: usize) -> String {
        let addresses = self.ip.iter().map(ToString::to_string);
        let all = self.dns.iter().cloned().chain(addresses);
        let rest = all.chain(self.email.iter().cloned()).chain(self.uri.iter().cloned());
        let kept: Vec<String> = rest.take(most).collect();
        let more = (self.total as usize).saturating_sub(kept.len());
        if more == 0 { kept.join(", ") } else { format!("{} and {more} more", kept.join(", ")) }
    }
}

/// A public key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PublicKeyReport {
    /// `RSA`, `EC`, `Ed25519`, `ML-DSA-44`, ...; the OID if unknown.
    pub algorithm: String,
    /// Size of the modulus, of the curve's field, or of the key.
    pub bits: Option<u32>,
    /// For `EC`: `P-256`, `secp256k1`, ...; the OID if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<String>,
    /// For `RSA`: the public exponent if it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponent: Option<u64>,
    /// Lower-case hex of the SHA-256 of the SubjectPublicKeyInfo, the value of a key pin.
    pub spki_sha256: String,
}
