//! From the configuration to what all handshakes share. Everything is read and checked here, once.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, SupportedProtocolVersion};

use super::cache::Cache;
use super::roots::{Roots, load_crls};
use super::verifier::{Material, Recorder};
use crate::tls::{ClientCertificate, KeySource, PemSource, Provider, Sni, TlsConfig, TlsVersion};
use crate::{Error, Host};

/// What is ready before the first handshake.
pub(super) struct Ready {
    /// Lacks the verifier and the client certificate resolver of the single handshake.
    pub(super) config: ClientConfig,
    pub(super) material: Arc<Material>,
    pub(super) sni: Option<ServerName<'static>>,
    pub(super) verify_name: Option<ServerName<'static>>,
}

pub(super) fn prepare(config: &TlsConfig) -> Result<Ready, Error> {
    let provider = Arc::new(provider(config.provider)?);
    let versions = versions(config)?;
    let client_key = config.client_certificate.as_ref();
    let client_key = client_key.map(|files| client_key_of(files, &provider)).transpose()?;
    let material = Arc::new(Material {
        roots: Roots::load(config)?,
        crls: load_crls(config)?,
        crl_policy: config.crl_policy,
        ocsp: config.ocsp,
        verify: config.verify,
        limits: config.limits,
        algorithms: provider.signature_verification_algorithms,
        cache: Cache::new(config.limits, config.keep_der),
        client_key: client_key.map(Arc::new),
    });
    let nobody = Arc::new(Recorder::new(Arc::clone(&material), None));
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| Error::config("min_version", error))?
        .dangerous()
        .with_custom_certificate_verifier(nobody)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    client.enable_sni = config.sni != Sni::Off;
    client.alpn_protocols = alpn(&config.alpn)?;
    if let Some(path) = &config.key_log {
        client.key_log = Arc::new(KeyFile::open(path)?);
    }
    let sni = match &config.sni {
        Sni::Name(name) => match host("sni.name", name)? {
            name @ ServerName::DnsName(_) => Some(name),
            _ => return Err(Error::config("sni.name", "an address cannot be sent")),
        },
        Sni::FromTarget | Sni::Off => None,
    };
    let verify_name = config.verify_name.as_deref().map(|name| host("verify_name", name));
    Ok(Ready { config: client, material, sni, verify_name: verify_name.transpose()? })
}

/// The form of a host that certificates carry; `None` if none could.
pub(super) fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match (host.ip(), host.name()) {
        (Some(address), _) => Some(ServerName::from(address)),
        (None, Some(name)) => ServerName::try_from(name.without_dot().to_owned()).ok(),
        (None, None) => None,
    }
}

fn host(key: &str, text: &str) -> Result<ServerName<'static>, Error> {
    let host = Host::from_str(text).map_err(|error| Error::config(key, error))?;
    server_name(&host).ok_or_else(|| Error::config(key, "no certificate could carry this name"))
}

fn provider(wanted: Provider) -> Result<CryptoProvider, Error> {
    match wanted {
        #[cfg(feature = "ring")]
        Provider::Auto | Provider::Ring => Ok(rustls::crypto::ring::default_provider()),
        #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
        Provider::Auto => Ok(rustls::crypto::aws_lc_rs::default_provider()),
        #[cfg(feature = "aws-lc-rs")]
        Provider::AwsLcRs => Ok(rustls::crypto::aws_lc_rs::default_provider()),
        #[cfg(not(feature = "aws-lc-rs"))]
        Provider::AwsLcRs => Err(Error::feature("provider", "aws-lc-rs")),
        #[cfg(not(feature = "ring"))]
        Provider::Ring => Err(Error::feature("provider", "ring")),
        #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
        Provider::Auto => Err(Error::feature("provider", "ring")),
    }
}

fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let range = config.min_version..=config.max_version;
    if range.is_empty() {
        return Err(Error::config("max_version", "is below min_version"));
    }
    let all = [
        (TlsVersion::Tls13, &rustls::version::TLS13),
        (TlsVersion::Tls12, &rustls::version::TLS12),
    ];
    let wanted = all.into_iter().filter(|(version, _)| range.contains(version));
    Ok(wanted.map(|(_, version)| version).collect())
}

fn alpn(protocols: &[String]) -> Result<Vec<Vec<u8>>, Error> {
    let protocol = |(index, name): (usize, &String)| match name.len() {
        1..=255 => Ok(name.clone().into_bytes()),
        _ => Err(Error::config(format!("alpn[{index}]"), "has 1 to 255 bytes")),
    };
    protocols.iter().enumerate().map(protocol).collect()
}

fn client_key_of(
    files: &ClientCertificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    const CHAIN: &str = "client_certificate.chain";
    const KEY: &str = "client_certificate.key";
    let read =
        |key: &str, path: &Path| fs::read(path).map_err(|source| Error::file(key, path, source));
    let chain = match &files.chain {
        PemSource::File(path) => read(CHAIN, path)?,
        PemSource::Pem(text) => text.clone().into_bytes(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::config(CHAIN, error))?;
    if chain.is_empty() {
        return Err(Error::config(CHAIN, "holds no certificate in PEM"));
    }
    // Errors about the key never quote any of it.
    let read_key = |text: &[u8]| {
        PrivateKeyDer::from_pem_slice(text).map_err(|_| {
            let encrypted = text.windows(9).any(|window| window == b"ENCRYPTED");
            let why = if encrypted { "is encrypted" } else { "holds no private key in PEM" };
            Error::config(KEY, why)
        })
    };
    let key = match &files.key {
        KeySource::File(path) => {
            let mut text = read(KEY, path)?;
            let key = read_key(&text);
            text.fill(0);
            key?
        }
        KeySource::Pem(text) => read_key(text.expose().as_bytes())?,
    };
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            Error::config(KEY, "does not belong to the certificate")
        }
        rustls::Error::InvalidCertificate(_) => Error::config(CHAIN, "cannot be read"),
        _ => Error::config(KEY, "cannot be used"),
    })
}

/// A file in NSS key log format.
#[derive(Debug)]
struct KeyFile(Mutex<File>);

impl KeyFile {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| Error::file("key_log", path, source))?;
        Ok(KeyFile(Mutex::new(file)))
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let (random, secret) = (super::der::hex(client_random), super::der::hex(secret));
        let line = format!("{label} {random} {secret}\n");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk is no reason to fail a probe.
        let _ = file.write_all(line.as_bytes());
    }
}
