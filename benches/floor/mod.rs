//! What a probe is measured against: the same job with blocking sockets and nothing else. And the
//! servers that both talk to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The name in the certificate.
pub(crate) const NAME: &str = "sink.example";

/// Loopback addresses to spread connections over, so that no port is used twice within the minute
/// that TIME_WAIT takes.
const ADDRESSES: u8 = 64;

/// Connects and closes.
pub(crate) fn connect(to: SocketAddr) -> io::Result<()> {
    std::net::TcpStream::connect(to).map(drop)
}

/// Connects, shakes hands in full with the certificate verified, says goodbye and closes.
pub(crate) fn handshake(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect(to)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    session.send_close_notify();
    session.write_tls(&mut stream).map(drop)
}

/// A root, and a server's chain of a leaf and an intermediate under it: ECDSA with P-256, as most
/// servers have it.
pub(crate) struct Identity {
    /// The root in PEM.
    pub(crate) root: String,
    pub(crate) server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let authority = |name: &str| {
            let mut params = CertificateParams::new([])?;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Ok::<_, rcgen::Error>(params)
        };
        let root = CertifiedIssuer::self_signed(authority("root")?, KeyPair::generate()?)?;
        let middle = authority("middle")?;
        let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate()?, &root)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &middle)?;
        let chain = vec![leaf.der().clone(), middle.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Identity { root: root.pem(), server: Arc::new(server) })
    }
}

/// The floor's way to speak TLS: as rustls does it by itself, without resumption.
pub(crate) fn client(root: &str) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes())?)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Listens on the loopback addresses.
pub(crate) fn listen() -> io::Result<Vec<TcpListener>> {
    (1..=ADDRESSES)
        .map(|last| {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
            socket.listen(4096)
        })
        .collect()
}

/// Serves until dropped: shakes hands if there is an identity, says so by `ready`, and waits for
/// the peer to close.
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    ready: impl Fn() + Clone + Send + 'static,
) {
    let mut tasks = JoinSet::new();
    for listener in listeners {
        let (tls, ready) = (tls.clone(), ready.clone());
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(connection(stream, tls.clone(), ready.clone()));
                while served.try_join_next().is_some() {}
            }
        });
    }
    tasks.join_all().await;
}

async fn connection(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    ready: impl Fn(),
) -> io::Result<()> {
    let mut bytes = [0; 64];
    match tls {
        None => {
            ready();
            while stream.read(&mut bytes).await? > 0 {}
        }
        Some(config) => {
            let mut stream = TlsAcceptor::from(config).accept(stream).await?;
            ready();
            while stream.read(&mut bytes).await? > 0 {}
        }
    }
    Ok(())
}
