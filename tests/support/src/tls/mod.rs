//! TLS servers: well-behaved ones with every setting that a test needs, and ones that break a rule.
//!
//! [`TlsServer`] is a whole TLS stack (rustls). [`raw`] writes single records for a server that only
//! pretends, and [`crate::relay`] damages what a good server says.

mod evil;
pub mod hello;
pub mod raw;
mod seal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::{
    Acceptor, ClientHello, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::pki::{Authority, Issued};
use crate::server::{Entry, HelloSeen, Plain, TlsSeen};

pub(crate) use seal::Sealer;

#[derive(Clone, Debug, PartialEq, Eq)]
enum UnknownName {
    Serve,
    FatalAlert,
    WarningAlert,
}

#[derive(Clone)]
struct ClientAuth {
    roots: Arc<rustls::RootCertStore>,
    crls: Vec<Vec<u8>>,
    required: bool,
}

/// Settings of a TLS server, for [`Script::start_tls`](crate::Script::start_tls).
///
/// ```
/// use netsonde_support::{Pki, Script, Server, TlsServer};
///
/// let pki = Pki::new();
/// let leaf = pki.leaf("good.test").issue();
/// let staple = pki.intermediate.ocsp(&leaf).revoked().der();
/// let tls = TlsServer::new(leaf).tls12().alpn(["h2"]).staple(staple).require_client(&pki.root);
/// let server = Server::tcp(Script::new().start_tls(&tls).send("hello"));
/// # drop(server);
/// ```
#[derive(Clone)]
pub struct TlsServer {
    issued: Issued,
    others: Vec<(String, Issued)>,
    staple: Option<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    client_auth: Option<ClientAuth>,
    tickets: Option<usize>,
    max_fragment: Option<usize>,
    provider: CryptoProvider,
    unknown_name: UnknownName,
    key_log: Option<Arc<dyn rustls::KeyLog>>,
    /// Made at the first handshake and kept, so that sessions can be resumed.
    config: Arc<OnceLock<Arc<ServerConfig>>>,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("versions", &self.versions).finish_non_exhaustive()
    }
}

/// Presents the same certificate to everyone, or another one to some names.
#[derive(Debug)]
struct Resolver {
    usual: Arc<CertifiedKey>,
    others: Vec<(String, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let other = self.others.iter().find(|(known, _)| Some(known.as_str()) == name);
        Some(Arc::clone(other.map_or(&self.usual, |(_, key)| key)))
    }
}

impl TlsServer {
    /// A server with this certificate, TLS 1.2 and 1.3, and nothing else special.
    ///
    /// Chain and key go to the client as they are, whether or not they fit together.
    pub fn new(issued: Issued) -> Self {
        Self {
            issued,
            others: Vec::new(),
            staple: None,
            versions: vec![&TLS13, &TLS12],
            alpn: Vec::new(),
            client_auth: None,
            tickets: None,
            max_fragment: None,
            provider: ring::default_provider(),
            unknown_name: UnknownName::Serve,
            key_log: None,
            config: Arc::default(),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self.config = Arc::default();
        self
    }

    /// Only TLS 1.2.
    #[must_use]
    pub fn tls12(self) -> Self {
        self.change(|this| this.versions = vec![&TLS12])
    }

    /// Only TLS 1.3.
    #[must_use]
    pub fn tls13(self) -> Self {
        self.change(|this| this.versions = vec![&TLS13])
    }

    /// The protocols to choose from; the client must offer one of them if it offers any.
    #[must_use]
    pub fn alpn<T: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = T>) -> Self {
        let protocols = protocols.into_iter().map(|one| one.as_ref().to_vec()).collect();
        self.change(|this| this.alpn = protocols)
    }

    /// Only these cipher suites.
    #[must_use]
    pub fn suites(self, suites: &[CipherSuite]) -> Self {
        self.change(|this| {
            this.provider.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
        })
    }

    /// Only these key exchange groups; one that the client has not sent a share for brings about a
    /// retry request.
    #[must_use]
    pub fn groups(self, groups: &[NamedGroup]) -> Self {
        self.change(|this| this.provider.kx_groups.retain(|group| groups.contains(&group.name())))
    }

    /// Any crypto provider.
    #[must_use]
    pub fn provider(self, provider: CryptoProvider) -> Self {
        self.change(|this| this.provider = provider)
    }

    /// Another certificate for this server name.
    #[must_use]
    pub fn named(self, name: &str, issued: Issued) -> Self {
        self.change(|this| this.others.push((name.to_owned(), issued)))
    }

    /// Refuses server names without a certificate of their own ([`TlsServer::named`]), and hellos
    /// without one, with the fatal alert `unrecognized_name`.
    #[must_use]
    pub fn refuse_unknown_names(self) -> Self {
        self.change(|this| this.unknown_name = UnknownName::FatalAlert)
    }

    /// Answers such names with the warning alert `unrecognized_name`, and goes on.
    #[must_use]
    pub fn warn_of_unknown_names(self) -> Self {
        self.change(|this| this.unknown_name = UnknownName::WarningAlert)
    }

    /// Demands a client certificate that this authority, or one below it, has signed.
    #[must_use]
    pub fn require_client(self, root: &Authority) -> Self {
        self.client_auth(root, true)
    }

    /// Asks for a client certificate, and goes on without.
    #[must_use]
    pub fn request_client(self, root: &Authority) -> Self {
        self.client_auth(root, false)
    }

    fn client_auth(self, root: &Authority, required: bool) -> Self {
        let roots = Arc::new(root.root_store());
        let client_auth = Some(ClientAuth { roots, crls: Vec::new(), required });
        self.change(|this| this.client_auth = client_auth)
    }

    /// Refuses the client certificates that this CRL (DER) lists.
    ///
    /// # Panics
    ///
    /// The server does not ask for client certificates.
    #[must_use]
    pub fn client_crl(self, crl: Vec<u8>) -> Self {
        self.change(|this| {
            this.client_auth.as_mut().expect("client certificates asked for").crls.push(crl);
        })
    }

    /// Staples these bytes as the OCSP response, whatever they are.
    #[must_use]
    pub fn staple(self, response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        self.change(|this| this.staple = Some(response))
    }

    /// Sends so many TLS 1.3 session tickets.
    #[must_use]
    pub fn tickets(self, count: usize) -> Self {
        self.change(|this| this.tickets = Some(count))
    }

    /// Sends records of at most so many bytes, header included (rustls: 32 to 16,389).
    #[must_use]
    pub fn max_fragment(self, bytes: usize) -> Self {
        self.change(|this| this.max_fragment = Some(bytes))
    }

    /// Reports the secrets of each session.
    #[must_use]
    pub fn key_log(self, log: Arc<dyn rustls::KeyLog>) -> Self {
        self.change(|this| this.key_log = Some(log))
    }

    /// Sends a Finished message with a wrong hash (fault S105).
    #[must_use]
    pub fn wrong_finished(self) -> Self {
        self.change(|this| evil::wrong_finished(&mut this.provider))
    }

    /// Sends key shares that are no points of their curve (fault S106); P-256 and P-384 only.
    #[must_use]
    pub fn invalid_curve_point(self) -> Self {
        self.change(|this| evil::invalid_curve_point(&mut this.provider))
    }

    /// Negotiates TLS 1.2 with the mark in its random that a TLS 1.3 server puts there when somebody
    /// has made the client look older than it is (RFC 8446, 4.1.3; fault S68).
    #[must_use]
    pub fn downgrade_sentinel(self) -> Self {
        self.tls12().change(|this| evil::downgrade_sentinel(&mut this.provider))
    }

    fn certified(&self, issued: &Issued) -> Arc<CertifiedKey> {
        let mut certified = CertifiedKey::new(issued.certificates(), issued.key.rustls());
        certified.ocsp.clone_from(&self.staple);
        Arc::new(certified)
    }

    /// The rustls configuration that comes of these settings.
    ///
    /// # Panics
    ///
    /// The settings contradict each other, for instance no suite for the version.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(self.config.get_or_init(|| Arc::new(self.make_config())))
    }

    fn make_config(&self) -> ServerConfig {
        let provider = Arc::new(self.provider.clone());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .expect("suites for the versions");
        let builder = match &self.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => {
                let crls = auth.crls.iter().cloned().map(CertificateRevocationListDer::from);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::clone(&auth.roots), provider)
                        .with_crls(crls)
                        .allow_unknown_revocation_status();
                let verifier =
                    if auth.required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().expect("usable roots"))
            }
        };
        let others =
            self.others.iter().map(|(name, issued)| (name.clone(), self.certified(issued)));
        let resolver = Resolver { usual: self.certified(&self.issued), others: others.collect() };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&self.alpn);
        config.max_fragment_size = self.max_fragment;
        config.enable_secret_extraction = true;
        config.session_storage = ServerSessionMemoryCache::new(256);
        if let Some(tickets) = self.tickets {
            config.send_tls13_tickets = tickets;
        }
        if let Some(key_log) = &self.key_log {
            config.key_log = Arc::clone(key_log);
        }
        config
    }

    pub(crate) async fn accept(&self, plain: Plain, entry: &Entry) -> io::Result<TlsStream<Plain>> {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), plain).await?;
        let seen = hello_seen(&start.client_hello());
        let known = self.others.iter().any(|(name, _)| Some(name) == seen.sni.as_ref());
        entry.update(|log| log.hello = Some(seen));
        if !known {
            match self.unknown_name {
                UnknownName::Serve => {}
                UnknownName::WarningAlert => {
                    start.io.write_all(&raw::alert(raw::WARNING, raw::UNRECOGNIZED_NAME)).await?;
                }
                UnknownName::FatalAlert => {
                    start.io.write_all(&raw::alert(raw::FATAL, raw::UNRECOGNIZED_NAME)).await?;
                    return Err(io::Error::other("unknown server name, refused"));
                }
            }
        }
        let mut stream = start.into_stream(self.config()).await?;
        // A client whose certificate is refused in TLS 1.3 believes in its connection already: tickets
        // and such go out before the script's first byte.
        stream.flush().await?;
        entry.update(|log| log.tls = Some(tls_seen(stream.get_ref().1)));
        Ok(stream)
    }
}

fn hello_seen(hello: &ClientHello<'_>) -> HelloSeen {
    let alpn = hello.alpn().into_iter().flatten();
    HelloSeen {
        sni: hello.server_name().map(str::to_owned),
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        suites: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
        schemes: hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)).collect(),
        groups: hello.named_groups().unwrap_or_default().iter().map(|g| u16::from(*g)).collect(),
    }
}

fn tls_seen(session: &rustls::ServerConnection) -> TlsSeen {
    let chain = session.peer_certificates().unwrap_or_default();
    TlsSeen {
        version: session.protocol_version().map(|it| format!("{it:?}")).unwrap_or_default(),
        suite: session
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()))
            .unwrap_or_default(),
        alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        client_chain: chain.iter().map(|one| one.as_ref().to_vec()).collect(),
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    }
}
