//! How to speak TLS and what to trust, as data.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::report::TlsVersion;
use crate::secret::Secret;

/// How to speak TLS and what to trust. Read and checked once, when a prober is built.
///
/// Every handshake is a full one: a resumed session shows no certificate, so that nothing could be
/// said about it.
///
/// ```
/// use netsonde::tls::{TlsConfig, TlsVersion, Trust};
///
/// let config = TlsConfig {
///     trust: Trust::None,
///     ca_files: vec!["/etc/my-ca.pem".into()],
///     min_version: TlsVersion::Tls13,
///     alpn: vec!["h2".into()],
///     ..TlsConfig::default()
/// };
/// assert!(!config.records_only());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TlsConfig {
    /// Which roots are trusted. Default: Mozilla's list, compiled in.
    pub trust: Trust,
    /// PEM files with further roots, added to `trust`. Default: none.
    pub ca_files: Vec<PathBuf>,
    /// PEM or DER files with revocation lists. Default: none, revocation is not checked.
    pub crl_files: Vec<PathBuf>,
    /// What an absent or outdated revocation list does. Only read if there are `crl_files`.
    pub crl_policy: CrlPolicy,
    /// What a stapled OCSP response that is not good does. Default: it is reported.
    pub ocsp: OcspPolicy,
    /// The lowest version offered. Default: TLS 1.2. Older ones cannot be spoken.
    pub min_version: TlsVersion,
    /// The highest version offered. Default: TLS 1.3.
    pub max_version: TlsVersion,
    /// The server name indication. Default: the name of the target.
    pub sni: Sni,
    /// The name or address that the certificate must carry instead of the target's. Default: the
    /// target's.
    pub verify_name: Option<String>,
    /// Whether a bad certificate ends the handshake. Default: it does.
    pub verify: Verify,
    /// Application protocols offered (RFC 7301), the preferred one first. Default: none.
    pub alpn: Vec<String>,
    /// The certificate shown if the server asks for one. Default: none.
    pub client_certificate: Option<ClientCertificate>,
    /// How long to wait, when the server has asked for a client certificate in TLS 1.3 and there is
    /// no script that reads on, whether it turns the client down: it says so only after the
    /// handshake (RFC 8446, 4.4.2.4). Anything else that the server sends ends the wait; silence up
    /// to here counts as accepted. Default: 500 ms.
    #[serde(with = "crate::duration")]
    pub client_auth_wait: Duration,
    /// Where to append the session keys in NSS key log format. Whoever reads that file reads the
    /// traffic. Default: nowhere.
    pub key_log: Option<PathBuf>,
    /// Which cryptography does the work. Default: `ring` if compiled in, else `aws-lc-rs`.
    pub provider: Provider,
    /// Whether the report keeps each certificate itself. Default: no.
    pub keep_der: bool,
    /// How much of a server is read and kept.
    pub limits: TlsLimits,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            trust: Trust::default(),
            ca_files: Vec::new(),
            crl_files: Vec::new(),
            crl_policy: CrlPolicy::default(),
            ocsp: OcspPolicy::default(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            sni: Sni::default(),
            verify_name: None,
            verify: Verify::default(),
            alpn: Vec::new(),
            client_certificate: None,
            client_auth_wait: Duration::from_millis(500),
            key_log: None,
            provider: Provider::default(),
            keep_der: false,
            limits: TlsLimits::default(),
        }
    }
}

impl TlsConfig {
    /// Whether a bad certificate is only recorded: the handshake then protects against nobody.
    #[must_use]
    pub fn records_only(&self) -> bool {
        self.verify == Verify::DangerRecordOnly
    }
}

/// Which roots are trusted. All of them are loaded once, when the prober is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trust {
    /// Mozilla's list, compiled in (feature `webpki-roots`). It carries no dates, so that
    /// [`TlsReport::best_chain_expiry`](super::TlsReport::best_chain_expiry) stays unknown.
    #[default]
    WebPki,
    /// The store of this system (feature `native-roots`; `SSL_CERT_FILE` and `SSL_CERT_DIR` are
    /// respected). Certificates in it that cannot be read are passed over.
    System,
    /// Only these PEM files; each must hold at least one certificate.
    Files(Vec<PathBuf>),
    /// Only the certificates in this PEM text.
    Pem(String),
    /// Nothing but `ca_files`. Without those it needs [`Verify::DangerRecordOnly`].
    None,
}

/// Whether a bad certificate ends the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verify {
    /// It does, with an alert to the server.
    #[default]
    Full,
    /// **Dangerous for anything but looking**: the same checks are made and recorded, and the
    /// handshake goes on whatever they say, handshake signature included. Anybody on the path can
    /// pose as the server.
    DangerRecordOnly,
}

/// The server name indication (RFC 6066, 3). Addresses are never sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sni {
    /// The name of the target; none if that is an address.
    #[default]
    FromTarget,
    /// This name. The certificate is still checked against the target or `verify_name`.
    Name(String),
    /// None.
    Off,
}

/// What an absent or outdated revocation list does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct CrlPolicy {
    /// Whether a certificate that no list speaks for is accepted. Default: no (`tls_crl`).
    pub allow_missing: bool,
    /// Whether a list past its next update still counts. Default: no (`tls_crl`).
    pub allow_expired: bool,
    /// Whether only the leaf is looked up. Default: no, the whole chain.
    pub leaf_only: bool,
}

/// What a stapled OCSP response does that is unreadable, outdated, wrongly signed or not `good`.
/// A server that staples nothing is fine with both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OcspPolicy {
    /// It is in the report.
    #[default]
    Report,
    /// The verification fails: `tls_revoked` for a revoked certificate, else `tls_ocsp`.
    Fail,
}

/// Which cryptography does the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Provider {
    /// `ring` if compiled in, else `aws-lc-rs`.
    #[default]
    Auto,
    /// Feature `ring`: X25519, P-256, P-384; a hello that fits one segment.
    Ring,
    /// Feature `aws-lc-rs`: X25519MLKEM768 too, and certificates with P-521 and ML-DSA keys; a
    /// hello of about 1,460 bytes.
    AwsLcRs,
}

/// The certificate and key shown to a server that asks for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub chain: PemSource,
    /// The key that belongs to the leaf: PKCS#8, PKCS#1 or SEC 1, not encrypted.
    pub key: KeySource,
}

/// PEM text or where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PemSource {
    /// A file, read when the prober is built.
    File(PathBuf),
    /// The text itself.
    Pem(String),
}

/// A private key or where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeySource {
    /// A PEM file, read when the prober is built.
    File(PathBuf),
    /// The PEM text itself; never shown.
    Pem(Secret),
}

/// How much of a server is read and kept. Every cap ends in `tls_limit` or `tls_budget`, or in a
/// count beside what was kept; none is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TlsLimits {
    /// Bytes read during the handshake. Default: 262,144. Single handshake messages end at 65,535
    /// bytes whatever stands here.
    pub handshake_bytes: u64,
    /// Certificates in the served list. Default: 64.
    pub certificates: u32,
    /// Names of each kind that are kept of one certificate. Default: 100.
    pub names: u32,
    /// Steps of the search for chains through the served list. Default: 1,000, some 15 ms.
    pub path_steps: u32,
    /// Verified chains looked for. Default: 8. Further ones are not searched.
    pub chains: u32,
    /// Bytes kept of a server that does not speak TLS. Default: 64.
    pub first_bytes: u32,
    /// Decoded certificates that a prober remembers, so that the same chain is not decoded again
    /// by each probe. Default: 64; 0 switches it off. Verification is never remembered.
    pub certificate_cache: u32,
}

impl Default for TlsLimits {
    fn default() -> Self {
        TlsLimits {
            handshake_bytes: 262_144,
            certificates: 64,
            names: 100,
            path_steps: 1_000,
            chains: 8,
            first_bytes: 64,
            certificate_cache: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_reads_back_from_yaml_and_hides_the_key() {
        let text = "
trust: { files: [/a.pem] }
sni: { name: a.test }
verify: danger_record_only
min_version: tls1.3
provider: aws-lc-rs
client_certificate: { chain: { file: /c.pem }, key: { pem: canary-key } }
crl_policy: { allow_missing: true }
";
        let config: TlsConfig = serde_saphyr::from_str(text).unwrap();
        assert_eq!(config.trust, Trust::Files(vec!["/a.pem".into()]));
        assert!(config.records_only() && config.crl_policy.allow_missing);
        assert_eq!(config.min_version, TlsVersion::Tls13);
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_saphyr::from_str::<TlsConfig>("insecure: true").is_err());
        assert!(serde_saphyr::from_str::<TlsConfig>("verify: off").is_err());
    }
}
