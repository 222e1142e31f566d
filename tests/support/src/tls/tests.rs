use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, InvalidMessage,
    PeerMisbehaved, SignatureScheme, StreamOwned,
};

use super::hello::ClientHello as Hello;
use super::raw::ServerHello;
use super::*;
use crate::{Fate, Flow, Key, Pki, Point, Relay, Script, Server};

const SOON: Duration = Duration::from_secs(5);

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn client_config(root: &Authority) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(root.root_store())
        .with_no_client_auth()
}

/// A client whose handshake is complete, or the reason why not.
fn connect_with(server: &Server, config: ClientConfig, name: &str) -> Result<Stream, io::Error> {
    let socket = TcpStream::connect(server.addr()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn connect(server: &Server, root: &Authority) -> Result<Stream, io::Error> {
    connect_with(server, client_config(root), "good.test")
}

fn rustls_error(error: &io::Error) -> Error {
    let inner = error.get_ref().unwrap_or_else(|| panic!("{error:?}"));
    inner.downcast_ref::<Error>().unwrap_or_else(|| panic!("{error:?}")).clone()
}

fn failure(server: &Server, root: &Authority) -> Error {
    rustls_error(&connect(server, root).unwrap_err())
}

fn text(mut stream: Stream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn good() -> (Pki, TlsServer) {
    let pki = Pki::new();
    let tls = TlsServer::new(pki.leaf("good.test").issue());
    (pki, tls)
}

fn after(tls: &TlsServer) -> Script {
    Script::new().start_tls(tls).send("hello")
}

#[test]
fn both_versions_serve_and_are_logged() {
    let (pki, tls) = good();
    for (tls, version) in [(tls.clone().tls12(), "TLSv1_2"), (tls.tls13(), "TLSv1_3")] {
        let server = Server::tcp(after(&tls.alpn(["h2", "x"])).read(3));
        let mut config = client_config(&pki.root);
        config.alpn_protocols = vec![b"y".to_vec(), b"x".to_vec()];
        let mut stream = connect_with(&server, config, "good.test").unwrap();
        stream.write_all(b"abc").unwrap();
        assert_eq!(text(stream), "hello");
        let seen = server.connection(0);
        let hello = seen.hello.unwrap();
        assert_eq!(hello.sni.as_deref(), Some("good.test"));
        assert_eq!(hello.alpn, ["y", "x"]);
        let tls = seen.tls.unwrap();
        assert_eq!((tls.version.as_str(), tls.alpn.as_deref()), (version, Some("x")));
        assert!(!tls.resumed && tls.client_chain.is_empty());
        assert_eq!(seen.received, b"abc");
    }
}

#[test]
fn every_key_can_serve() {
    let pki = Pki::new();
    for key in [Key::p256(), Key::p384(), Key::ed25519(), Key::rsa(2048), Key::rsa(8192)] {
        for version in [TlsServer::tls12, TlsServer::tls13] {
            let leaf = pki.leaf("good.test").key(key.clone()).issue();
            let server = Server::tcp(after(&version(TlsServer::new(leaf))));
            assert_eq!(text(connect(&server, &pki.root).unwrap()), "hello", "{key:?}");
        }
    }
}

/// Takes any chain and checks only that the handshake is signed with the leaf's key.
#[derive(Debug)]
struct AnyChain;

impl ServerCertVerifier for AnyChain {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn odd_keys_are_presented_and_fail_at_the_signature() {
    let pki = Pki::new();
    let odd =
        [Key::rsa(512), Key::rsa(1024), Key::rsa_exponent_one(), Key::p521(), Key::secp256k1()];
    for key in odd {
        for version in [TlsServer::tls12, TlsServer::tls13] {
            let leaf = pki.leaf("good.test").key(key.clone()).issue();
            let server = Server::tcp(after(&version(TlsServer::new(leaf))));
            let mut config = client_config(&pki.root);
            config.dangerous().set_certificate_verifier(Arc::new(AnyChain));
            let error = connect_with(&server, config, "good.test").unwrap_err();
            assert!(matches!(rustls_error(&error), Error::InvalidCertificate(_)), "{error:?}");
        }
    }
}

#[test]
fn client_certificates_are_demanded() {
    let (pki, tls) = good();
    let server = Server::tcp(after(&tls.tls12().require_client(&pki.root)));
    let required = AlertDescription::CertificateRequired;
    let alert = failure(&server, &pki.root);
    assert!(
        alert == Error::AlertReceived(required)
            || alert == Error::AlertReceived(AlertDescription::HandshakeFailure),
        "{alert:?}"
    );

    let client = pki.client("client.test").issue();
    let key = rustls::pki_types::PrivateKeyDer::try_from(client.key.private_der().to_vec());
    let mut config = client_config(&pki.root);
    config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(pki.root.root_store())
        .with_client_auth_cert(client.certificates(), key.unwrap())
        .inspect(|_| drop(config))
        .unwrap();
    assert_eq!(text(connect_with(&server, config, "good.test").unwrap()), "hello");
    assert_eq!(server.connection(1).tls.unwrap().client_chain, client.chain);
}

#[test]
fn names_choose_certificates_or_are_refused() {
    let (pki, tls) = good();
    let tls = tls.named("other.test", pki.leaf("other.test").issue());
    let server = Server::tcp(after(&tls));
    for name in ["good.test", "other.test"] {
        connect_with(&server, client_config(&pki.root), name).unwrap();
    }
    let server = Server::tcp(after(&tls.clone().refuse_unknown_names()));
    let alert = Error::AlertReceived(AlertDescription::UnrecognisedName);
    assert_eq!(failure(&server, &pki.root), alert);
    connect_with(&server, client_config(&pki.root), "other.test").unwrap();
    let server = Server::tcp(after(&tls.tls12().warn_of_unknown_names()));
    assert_eq!(text(connect(&server, &pki.root).unwrap()), "hello");
}

#[test]
fn evil_servers_break_the_rule_that_they_should() {
    let (pki, tls) = good();
    for version in [TlsServer::tls12, TlsServer::tls13] {
        let tls = version(tls.clone());
        let server = Server::tcp(after(&tls.clone().wrong_finished()));
        assert_eq!(failure(&server, &pki.root), Error::DecryptError);
        let server = Server::tcp(after(&tls.clone().invalid_curve_point()));
        let why = PeerMisbehaved::InvalidKeyShare;
        assert_eq!(failure(&server, &pki.root), Error::PeerMisbehaved(why));
    }
    let server = Server::tcp(after(&tls.downgrade_sentinel()));
    let why = PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported;
    assert_eq!(failure(&server, &pki.root), Error::PeerMisbehaved(why));
}

#[test]
fn sealed_records_decrypt_at_the_peer() {
    let (pki, tls) = good();
    let chacha = [
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    for tls in [tls.clone(), tls.clone().suites(&chacha)] {
        for version in [TlsServer::tls12, TlsServer::tls13] {
            let data = |text: &str| (raw::APPLICATION_DATA, text.as_bytes().to_vec());
            let close = (raw::ALERT, vec![raw::WARNING, 0]);
            let records = vec![data("by "), data("hand"), close];
            let script = Script::new().start_tls(&version(tls.clone())).send("sealed ");
            let server = Server::tcp(script.tls_records(records));
            assert_eq!(text(connect(&server, &pki.root).unwrap()), "sealed by hand");
        }
    }
    // A request to renegotiate, which rustls answers with a warning.
    let hello_request = raw::handshake(raw::message::HELLO_REQUEST, b"");
    let records = [(raw::HANDSHAKE, hello_request), (raw::APPLICATION_DATA, b"on".to_vec())];
    let script = Script::new().start_tls(&tls.tls12()).tls_records(records).read(1);
    let server = Server::tcp(script);
    let mut stream = connect(&server, &pki.root).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"on");
}

#[test]
fn tickets_and_key_updates_come_in_numbers() {
    let (pki, tls) = good();
    let server = Server::tcp(after(&tls.clone().tls13().tickets(500)));
    let mut stream = connect(&server, &pki.root).unwrap();
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(stream.conn.tls13_tickets_received(), 500);

    let server = Server::tcp(Script::new().start_tls(&tls.tls13()).tls_key_updates());
    let mut stream = connect(&server, &pki.root).unwrap();
    let error = stream.read(&mut hello).unwrap_err();
    let why = PeerMisbehaved::TooManyKeyUpdateRequests;
    assert_eq!(rustls_error(&error), Error::PeerMisbehaved(why));
}

#[test]
fn sessions_can_be_resumed() {
    let (pki, tls) = good();
    let server = Server::tcp(after(&tls));
    let config = client_config(&pki.root);
    for resumed in [false, true] {
        let stream = connect_with(&server, config.clone(), "good.test").unwrap();
        assert_eq!(text(stream), "hello");
        let tls = server.connections().pop().unwrap().tls.unwrap();
        assert_eq!(tls.resumed, resumed);
    }
}

#[test]
fn records_are_no_longer_than_asked() {
    let (pki, tls) = good();
    let server = Server::tcp(after(&tls.max_fragment(64)));
    assert_eq!(text(connect(&server, &pki.root).unwrap()), "hello");
}

fn answering(answer: impl Fn(&Hello) -> Vec<u8> + Send + Sync + 'static) -> Server {
    Server::tcp(Script::new().run(async move |conn| {
        let hello = Hello::read(conn).await?;
        conn.send(&answer(&hello)).await
    }))
}

#[test]
fn raw_records_are_understood() {
    let pki = Pki::new();
    let fail = |server: &Server| failure(server, &pki.root);

    let never_offered = answering(|hello| ServerHello::tls12(hello).suite(0x0005).record());
    let misbehaved = PeerMisbehaved::SelectedUnofferedCipherSuite;
    assert_eq!(fail(&never_offered), Error::PeerMisbehaved(misbehaved));

    let sentinel =
        answering(|hello| ServerHello::tls12(hello).random_end(raw::DOWNGRADE_TO_12).record());
    let misbehaved = PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported;
    assert_eq!(fail(&sentinel), Error::PeerMisbehaved(misbehaved));

    let retries = answering(|hello| ServerHello::retry(hello, hello.shares[0].0).record());
    let misbehaved = PeerMisbehaved::IllegalHelloRetryRequestWithOfferedGroup;
    assert_eq!(fail(&retries), Error::PeerMisbehaved(misbehaved));

    let twice = Server::tcp(Script::new().run(async |conn| {
        for group in [0x18, 0x17] {
            let hello = Hello::read(conn).await?;
            conn.send(&ServerHello::retry(&hello, group).record()).await?;
            // The second hello follows a change-cipher-spec.
            if group == 0x18 {
                conn.read(6).await?;
            }
        }
        Ok(())
    }));
    let error = fail(&twice);
    assert!(
        matches!(error, Error::InappropriateHandshakeMessage { .. })
            || matches!(error, Error::PeerMisbehaved(_)),
        "{error:?}"
    );

    let empty_list = answering(|hello| {
        let none: [&[u8]; 0] = [];
        [ServerHello::tls12(hello).record(), raw::certificates(&none), raw::server_hello_done()]
            .concat()
    });
    let error = fail(&empty_list);
    assert!(
        matches!(
            error,
            Error::NoCertificatesPresented | Error::InappropriateHandshakeMessage { .. }
        ),
        "{error:?}"
    );

    let huge = answering(|_| raw::handshake_header(raw::message::CERTIFICATE, 0x00ff_ffff));
    assert_eq!(fail(&huge), Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge));

    for code in [40, 70, 112, 200] {
        let server = answering(move |_| raw::alert(raw::FATAL, code));
        assert_eq!(fail(&server), Error::AlertReceived(AlertDescription::from(code)));
    }
}

#[test]
fn relays_damage_what_a_good_server_says() {
    let (pki, tls) = good();
    let every_message = Flow::new().one_byte_records().segments(700, Duration::ZERO);
    for version in [TlsServer::tls12, TlsServer::tls13] {
        let tls = version(tls.clone());
        let server = Server::tcp(after(&tls));
        let through = |flow: Flow| Relay::to(server.addr()).from_server(flow).start();
        assert_eq!(text(connect(&through(every_message.clone()), &pki.root).unwrap()), "hello");

        let stalled = through(Flow::new().after(Point::Message(2), Fate::Stall));
        let socket = TcpStream::connect(stalled.addr()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let name = ServerName::try_from("good.test").unwrap();
        let session = ClientConnection::new(Arc::new(client_config(&pki.root)), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        let error = loop {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(stream.conn.protocol_version().is_some(), "the hello has come");

        let cut = through(Flow::new().after(Point::Message(2), Fate::Fin));
        let error = connect(&cut, &pki.root).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    // The first sealed record: the server's certificate flight, or its Finished.
    let server = Server::tcp(after(&tls.clone().tls13()));
    let flip = Flow::new().flip_record_of(raw::APPLICATION_DATA, 0);
    let relay = Relay::to(server.addr()).from_server(flip).start();
    assert_eq!(failure(&relay, &pki.root), Error::DecryptError);
    let server = Server::tcp(Script::new().start_tls(&tls.tls12()).read(1).send("hello"));
    let flip = Flow::new().flip_record_of(raw::APPLICATION_DATA, 0);
    let relay = Relay::to(server.addr()).from_server(flip).start();
    let mut stream = connect(&relay, &pki.root).unwrap();
    stream.write_all(b"?").unwrap();
    let error = stream.read(&mut [0; 5]).unwrap_err();
    assert_eq!(rustls_error(&error), Error::DecryptError);
}

#[test]
fn floods_meet_the_librarys_caps() {
    let pki = Pki::new();
    let flood = |records: Vec<u8>| {
        let script = Script::new().run(async |conn| Hello::read(conn).await.map(drop));
        failure(&Server::tcp(script.send_forever(records)), &pki.root)
    };
    // Empty handshake records are refused at once, the first of many empty ones of any kind.
    assert!(matches!(flood(raw::record(raw::HANDSHAKE, b"")), Error::InvalidMessage(_)));
    let warning = raw::alert(raw::WARNING, raw::UNRECOGNIZED_NAME);
    let misbehaved = PeerMisbehaved::TooManyWarningAlertsReceived;
    assert_eq!(flood(warning), Error::PeerMisbehaved(misbehaved));
    let error = flood(raw::change_cipher_spec());
    assert!(
        matches!(error, Error::InappropriateMessage { .. } | Error::PeerMisbehaved(_)),
        "{error:?}"
    );
    let early = flood(raw::record(raw::APPLICATION_DATA, b"too early"));
    assert!(matches!(early, Error::InappropriateMessage { .. }), "{early:?}");
}

#[test]
fn hellos_are_parsed_cut_short_or_whole() {
    let (pki, _) = good();
    let config = Arc::new(client_config(&pki.root));
    let name = ServerName::try_from("good.test").unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    let message = &record[5..];
    let hello = Hello::parse(message).unwrap();
    assert_eq!(hello.sni.as_deref(), Some("good.test"));
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.shares[0].0, 0x1d);
    assert_eq!(hello.length, message.len());
    for length in 0..message.len() {
        assert_eq!(Hello::parse(&message[..length]), None);
    }
}

/// A client that says good-bye in TLS is still connected: how it leaves is in the log all the same.
#[test]
fn the_close_behind_a_close_notify_is_seen() {
    let (pki, tls) = good();
    let server = Server::tcp(Script::new().start_tls(&tls).hang());
    let mut stream = connect(&server, &pki.root).unwrap();
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(server.connection(0).closed().is_none());
    drop(stream);
    server.blocking_closed(0, SOON);
}

#[test]
fn a_hello_can_be_looked_at_and_served() {
    let (pki, tls) = good();
    let server = Server::tcp(Script::new().run(async move |conn| {
        let header = conn.read(5).await?;
        let body = conn.read(usize::from(header[3]) << 8 | usize::from(header[4])).await?;
        assert!(Hello::parse(&body).is_some());
        conn.unread(&[header, body].concat());
        conn.start_tls(&tls).await?;
        conn.send(b"hello").await
    }));
    assert_eq!(text(connect(&server, &pki.root).unwrap()), "hello");
}
