//! Authorities and servers made on the spot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use crate::Failure;
use crate::tls::{TlsConfig, TlsConnector, TlsReport, TlsStream, Trust};

/// A certificate with its key and what it was made from.
pub(super) struct Made {
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) der: CertificateDer<'static>,
}

impl Made {
    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(super) fn pem(&self) -> String {
        crate::io::tls::der::pem(&self.der)
    }

    /// The same name and key, signed by another authority.
    pub(super) fn cross_signed_by(&self, issuer: &Made) -> CertificateDer<'static> {
        self.params.signed_by(&self.key, &issuer.issuer()).unwrap().der().clone()
    }

    pub(super) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn root(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = authority(name);
    edit(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    Made { params, key, der }
}

pub(super) fn intermediate(
    name: &str,
    issuer: &Made,
    edit: impl FnOnce(&mut CertificateParams),
) -> Made {
    let mut params = authority(name);
    edit(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &issuer.issuer()).unwrap().der().clone();
    Made { params, key, der }
}

pub(super) fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2021, 1, 1);
    params.not_after = date_time_ymd(2050, 6, 7);
    params.use_authority_key_identifier_extension = true;
    params
}

pub(super) fn leaf(name: &str, issuer: &Made, edit: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = leaf_params(name);
    edit(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, &issuer.issuer()).unwrap().der().clone();
    Made { params, key, der }
}

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server with this chain; only its leaf needs a key.
pub(super) fn server(chain: &[&CertificateDer<'static>], leaf: &Made) -> ServerConfig {
    let chain = chain.iter().map(|der| (*der).clone()).collect();
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, leaf.key_der()).unwrap();
    config.session_storage = ServerSessionMemoryCache::new(32);
    config
}

pub(super) fn server_of_versions(
    leaf: &Made,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    let chain = vec![leaf.der.clone()];
    builder.with_no_client_auth().with_single_cert(chain, leaf.key_der()).unwrap()
}

/// A server that wants a client certificate of `clients`.
pub(super) fn server_with_clients(leaf: &Made, clients: &Made) -> ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(clients.der.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS).unwrap();
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    builder.with_single_cert(vec![leaf.der.clone()], leaf.key_der()).unwrap()
}

/// Trusts just these.
pub(super) fn trusting(roots: &[&Made]) -> TlsConfig {
    let pem = roots.iter().map(|root| root.pem()).collect();
    TlsConfig { trust: Trust::Pem(pem), ..TlsConfig::default() }
}

pub(super) type Outcome = (Result<TlsStream<DuplexStream>, Failure>, TlsReport);

/// One handshake; the server then echoes what it reads.
pub(super) async fn shake(connector: &TlsConnector, server: ServerConfig, host: &str) -> Outcome {
    let (near, far) = tokio::io::duplex(65_536);
    tokio::spawn(async move {
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(far).await else { return };
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        let _ = stream.shutdown().await;
    });
    let mut report = TlsReport::default();
    let outcome = connector.handshake(Some(&host.parse().unwrap()), near, &mut report).await;
    (outcome, report)
}

pub(super) async fn connect(config: &TlsConfig, server: ServerConfig, host: &str) -> Outcome {
    shake(&TlsConnector::new(config).unwrap(), server, host).await
}

/// A file that is gone at the end.
pub(super) struct TempFile(pub(super) PathBuf);

impl TempFile {
    pub(super) fn new(content: impl AsRef<[u8]>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netsonde-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
