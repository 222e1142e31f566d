//! What a TLS handshake showed, as data.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::certificate::CertificateReport;
use super::ocsp::OcspReport;
use super::time;
use crate::verdict::FailureKind;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "tls1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "tls1.3")]
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TlsVersion::Tls12 => "TLS 1.2",
            TlsVersion::Tls13 => "TLS 1.3",
        })
    }
}

/// How the session came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandshakeKind {
    /// In full.
    Full,
    /// In full, after the server asked for another key share: one more round trip.
    FullWithRetry,
    /// From an earlier session: no certificate was shown.
    Resumed,
}

/// What became of client authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClientAuth {
    /// The server did not ask.
    NotRequested,
    /// The server asked; there was nothing fitting to show.
    Empty,
    /// The server asked and the certificate was sent.
    Sent,
}

/// What a TLS handshake showed. What did not come to pass is `None` or empty.
///
/// Whatever happens, the report holds what was seen up to then: a server whose certificate was
/// turned down is there with every certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TlsReport {
    /// The version agreed on.
    pub version: Option<TlsVersion>,
    /// IANA name of the cipher suite.
    pub cipher_suite: Option<Cow<'static, str>>,
    /// IANA name of the key exchange group.
    pub group: Option<Cow<'static, str>>,
    /// The application protocol agreed on; escaped where it is not printable ASCII.
    pub alpn: Option<String>,
    /// How the session came about.
    pub handshake: Option<HandshakeKind>,
    /// The name sent as server name indication.
    pub sni: Option<String>,
    /// The name or address that the certificate was checked against.
    pub verified_name: Option<String>,
    /// What became of client authentication; `None` if it did not get that far.
    pub client_auth: Option<ClientAuth>,
    /// IANA name of the scheme with which the server signed the handshake.
    pub signature_scheme: Option<Cow<'static, str>>,
    /// The certificates as served, leaf first.
    pub certificates: Vec<Arc<CertificateReport>>,
    /// Every chain found from the leaf to a trusted root, valid at the time, as far as the search
    /// went.
    pub verified_chains: Vec<VerifiedChain>,
    /// The verdict of each check, also of those that came after a failed one.
    pub checks: Vec<Check>,
    /// The earliest end of validity among the served certificates, verified or not.
    #[serde(with = "time::optional")]
    pub earliest_expiry: Option<i64>,
    /// When the longest lasting verified chain breaks: the latest, over the chains, of the earliest
    /// end of validity in a chain, root included. `None` without a verified chain and with
    /// [`Trust::WebPki`](super::Trust::WebPki), whose roots come without dates.
    #[serde(with = "time::optional")]
    pub best_chain_expiry: Option<i64>,
    /// The stapled OCSP response.
    pub ocsp: Option<OcspReport>,
    /// The alert that ended the handshake or, later, the connection.
    pub alert: Option<Alert>,
    /// The first bytes of a peer that does not speak TLS, unprintable ones escaped.
    pub peer_first_bytes: Option<String>,
    /// What else may help to understand a failure.
    pub hint: Option<TlsHint>,
    /// Length of the first hello on the wire, in bytes.
    pub client_hello_bytes: u64,
    /// Bytes received up to the end of the handshake.
    pub bytes_in: u64,
    /// Bytes sent up to the end of the handshake.
    pub bytes_out: u64,
}

impl TlsReport {
    /// The server's own certificate.
    #[must_use]
    pub fn leaf(&self) -> Option<&CertificateReport> {
        self.certificates.first().map(AsRef::as_ref)
    }

    /// The outcome of a check: failed if it failed for any certificate; `None` if it was not run.
    #[must_use]
    pub fn status(&self, kind: CheckKind) -> Option<CheckStatus> {
        self.checks.iter().filter(|check| check.check == kind).map(|check| check.status).max()
    }

    /// The checks that failed, in order. In full verification the first one is why the handshake
    /// was given up; only `ocsp` may stand here without, see [`OcspPolicy`](super::OcspPolicy).
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.status == CheckStatus::Failed)
    }
}

/// What can be wrong with the identity of a server, apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckKind {
    /// A chain leads from the leaf to a trusted root, dates aside: encoding, authorities, path
    /// lengths, name constraints, critical extensions.
    Chain,
    /// The signatures of that chain, their algorithms and keys.
    Signature,
    /// The dates.
    Validity,
    /// The chain may be used for servers.
    Usage,
    /// The leaf is for the name or address asked for.
    Name,
    /// No revocation list names a certificate of the chain.
    Revocation,
    /// The stapled OCSP response is good.
    Ocsp,
    /// The server holds the leaf's key: it has signed the handshake with it.
    HandshakeSignature,
}

impl CheckKind {
    /// Every check, in the order of a report.
    pub const ALL: &[CheckKind] = &[
        CheckKind::Chain,
        CheckKind::Signature,
        CheckKind::Validity,
        CheckKind::Usage,
        CheckKind::Name,
        CheckKind::Revocation,
        CheckKind::Ocsp,
        CheckKind::HandshakeSignature,
    ];

    /// The stable name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckKind::Chain => "chain",
            CheckKind::Signature => "signature",
            CheckKind::Validity => "validity",
            CheckKind::Usage => "usage",
            CheckKind::Name => "name",
            CheckKind::Revocation => "revocation",
            CheckKind::Ocsp => "ocsp",
            CheckKind::HandshakeSignature => "handshake_signature",
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check went. In rising order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckStatus {
    /// There was nothing to check, or an earlier failure took the ground away.
    Skipped,
    /// Fine.
    Passed,
    /// Not fine.
    Failed,
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CheckStatus::Skipped => "skipped",
            CheckStatus::Passed => "passed",
            CheckStatus::Failed => "failed",
        })
    }
}

/// The outcome of one check. A check may stand in a report several times, once for each
/// certificate that failed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub check: CheckKind,
    /// How it went.
    pub status: CheckStatus,
    /// What is wrong, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FailureKind>,
    /// Which served certificate it is about, counted from 0, the leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<u32>,
    /// More words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Check {
    /// A check without particulars.
    #[must_use]
    pub fn new(check: CheckKind, status: CheckStatus) -> Self {
        Check { check, status, code: None, certificate: None, detail: None }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.check, self.status)?;
        if let Some(index) = self.certificate {
            write!(f, " (certificate {index})")?;
        }
        if let Some(code) = self.code {
            write!(f, ": {code}")?;
        }
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// A chain that was verified, up to a trusted root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifiedChain {
    /// Places in the served list, leaf first, the root not among them.
    pub served: Vec<u32>,
    /// The root of our own that it ends in.
    pub root: Arc<RootReport>,
    /// The earliest end of validity in it, root included; `None` if the root's is unknown.
    #[serde(with = "time::optional")]
    pub expiry: Option<i64>,
}

impl VerifiedChain {
    /// A chain from its parts.
    #[must_use]
    pub fn new(served: Vec<u32>, root: Arc<RootReport>, expiry: Option<i64>) -> Self {
        VerifiedChain { served, root, expiry }
    }
}

/// A trusted root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RootReport {
    /// RFC 4514 text.
    pub subject: Option<String>,
    /// Lower-case hex of the SHA-256 of the certificate, where the certificate is known.
    pub sha256: Option<String>,
    /// End of validity, where it is known.
    #[serde(with = "time::optional")]
    pub not_after: Option<i64>,
}

/// Who sent an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertDirection {
    /// We did.
    Sent,
    /// The peer did.
    Received,
}

/// A TLS alert (RFC 8446, 6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// Who sent it.
    pub direction: AlertDirection,
    /// 1 is a warning, 2 is fatal; `None` where it was encrypted and only its meaning is known.
    pub level: Option<u8>,
    /// The number of its description.
    pub code: u8,
    /// The name of its description, `unknown` if it has none.
    pub name: Cow<'static, str>,
}

impl Alert {
    /// An alert with the name that belongs to its code.
    #[must_use]
    pub fn new(direction: AlertDirection, level: Option<u8>, code: u8) -> Self {
        let name = Cow::Borrowed(super::alert_name(code).unwrap_or("unknown"));
        Alert { direction, level, code, name }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            AlertDirection::Sent => "sent",
            AlertDirection::Received => "received",
        };
        write!(f, "alert {} {} ({direction})", self.code, self.name)
    }
}

/// What else may help to understand a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TlsHint {
    /// Nothing came back, and the hello was too long for one segment of an Ethernet path: some
    /// servers and boxes on the way choke on that.
    HelloSize,
}
