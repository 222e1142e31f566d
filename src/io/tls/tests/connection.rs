//! Handshakes: what is negotiated, what goes wrong on the wire, what is kept when it does.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::pki::*;
use crate::tls::{
    Alert, AlertDirection, ClientAuth, ClientCertificate, HandshakeKind, KeySource, PemSource,
    Provider, Sni, TlsConfig, TlsConnector, TlsHint, TlsReport, TlsStream, TlsVersion, Trust,
    Verify,
};
use crate::{Failure, FailureKind, RawCode, Secret};

fn good() -> (Made, Made) {
    let root = root("root", |_| {});
    let leaf = leaf("a.test", &root, |_| {});
    (root, leaf)
}

#[tokio::test]
async fn what_was_negotiated() {
    let (root, leaf) = good();
    let config = TlsConfig { alpn: vec!["h2".into(), "http/1.1".into()], ..trusting(&[&root]) };
    let mut server = server(&[&leaf.der], &leaf);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::new(&config).unwrap();
    for _ in 0..3 {
        let (outcome, report) = shake(&connector, server.clone(), "a.test.").await;
        let mut stream = outcome.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
        assert!(!stream.truncated() && stream.bytes().0 > 5);

        assert_eq!(report.version, Some(TlsVersion::Tls13));
        assert_eq!(report.cipher_suite.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
        assert_eq!(report.group.as_deref(), Some("x25519"));
        assert_eq!(report.alpn.as_deref(), Some("http/1.1"));
        assert_eq!(report.signature_scheme.as_deref(), Some("ecdsa_secp256r1_sha256"));
        assert_eq!(report.sni.as_deref(), Some("a.test"));
        assert_eq!(report.client_auth, Some(ClientAuth::NotRequested));
        // Never a resumed one.
        assert_eq!(report.handshake, Some(HandshakeKind::Full));
        assert!(report.client_hello_bytes > 100 && report.bytes_in > 500);
        assert!(report.bytes_out > report.client_hello_bytes);
        assert_eq!((report.alert, report.hint, report.peer_first_bytes), (None, None, None));
    }
}

#[tokio::test]
async fn versions() {
    let (root, leaf) = good();
    let config = trusting(&[&root]);
    let old = || server_of_versions(&leaf, &[&rustls::version::TLS12]);
    let (outcome, report) = connect(&config, old(), "a.test").await;
    outcome.unwrap();
    assert_eq!(report.version, Some(TlsVersion::Tls12));
    assert_eq!(report.cipher_suite.as_deref(), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));

    let new_only = TlsConfig { min_version: TlsVersion::Tls13, ..config.clone() };
    let (outcome, report) = connect(&new_only, old(), "a.test").await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsVersion);
    assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: 70 }));
    assert_eq!(report.alert, Some(Alert::new(AlertDirection::Received, Some(2), 70)));

    let old_only = TlsConfig { max_version: TlsVersion::Tls12, ..config.clone() };
    let server = server_of_versions(&leaf, &[&rustls::version::TLS13]);
    assert_eq!(
        connect(&old_only, server, "a.test").await.0.unwrap_err().kind,
        FailureKind::TlsVersion
    );
    let none = TlsConfig { min_version: TlsVersion::Tls13, ..old_only };
    assert!(TlsConnector::new(&none).unwrap_err().to_string().starts_with("max_version:"));
}

#[tokio::test]
async fn alerts_of_the_server() {
    let (root, leaf) = good();
    let config = TlsConfig { alpn: vec!["imap".into()], ..trusting(&[&root]) };
    let mut server = server(&[&leaf.der], &leaf);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let failure = connect(&config, server, "a.test").await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsAlert);
    assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: 120 }));
    assert_eq!(failure.detail.as_deref(), Some("alert 120 no_application_protocol"));
}

#[tokio::test]
async fn names_sent_and_verified() {
    let (root, leaf) = good();
    let server = || server(&[&leaf.der], &leaf);
    let config = TlsConfig {
        sni: Sni::Name("front.test".into()),
        verify_name: Some("a.test".into()),
        ..trusting(&[&root])
    };
    let (outcome, report) = connect(&config, server(), "192.0.2.7").await;
    outcome.unwrap();
    assert_eq!(report.sni.as_deref(), Some("front.test"));
    assert_eq!(report.verified_name.as_deref(), Some("a.test"));

    let off = TlsConfig { sni: Sni::Off, ..trusting(&[&root]) };
    let (outcome, report) = connect(&off, server(), "a.test").await;
    outcome.unwrap();
    assert_eq!((report.sni, report.verified_name.as_deref()), (None, Some("a.test")));

    // Checked against the override only.
    let other = TlsConfig { verify_name: Some("b.test".into()), ..trusting(&[&root]) };
    let failure = connect(&other, server(), "a.test").await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsNameMismatch);
}

/// Runs a handshake against a server that is a script of bytes.
async fn against<F, Fut>(config: &TlsConfig, script: F) -> (Failure, TlsReport)
where
    F: FnOnce(DuplexStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let connector = TlsConnector::new(config).unwrap();
    let (near, far) = tokio::io::duplex(65_536);
    tokio::spawn(script(far));
    let mut report = TlsReport::default();
    let host = "a.test".parse().unwrap();
    let failure = connector.handshake(Some(&host), near, &mut report).await.unwrap_err();
    assert_eq!(failure.phase, Some(crate::Phase::Tls));
    (failure, report)
}

async fn answer(bytes: &'static [u8]) -> (Failure, TlsReport) {
    let (root, _) = good();
    against(&trusting(&[&root]), |mut far| async move {
        let mut hello = [0; 64];
        let _ = far.read(&mut hello).await;
        let _ = far.write_all(bytes).await;
        let _ = far.read(&mut hello).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await
}

#[tokio::test]
async fn peers_that_do_not_speak_tls() {
    let (failure, report) = answer(b"220 mail.test ESMTP\r\n").await;
    assert_eq!(failure.kind, FailureKind::TlsNotTls);
    assert_eq!(report.peer_first_bytes.as_deref(), Some("220 mail.test ESMTP\\r\\n"));
    assert_eq!(answer(b"HTTP/1.1 400 Bad Request\r\n").await.0.kind, FailureKind::TlsNotTls);
    assert_eq!(answer(&[22, 1, 2, 3, 4, 5]).await.0.kind, FailureKind::TlsNotTls);
    assert_eq!(answer(&[0x80, 3, 0, 0, 1]).await.0.kind, FailureKind::TlsVersion);
    assert_eq!(answer(&[21, 3, 0, 0, 2, 2, 40]).await.0.kind, FailureKind::TlsVersion);
}

#[tokio::test]
async fn every_fatal_alert_is_told() {
    for code in 0..=255u8 {
        let bytes: &'static [u8] = Box::leak(Box::new([21, 3, 3, 0, 2, 2, code]));
        let (failure, report) = answer(bytes).await;
        let wanted = match code {
            40 | 71 => FailureKind::TlsNoSuite,
            70 => FailureKind::TlsVersion,
            _ => FailureKind::TlsAlert,
        };
        assert_eq!((failure.kind, failure.raw), (wanted, Some(RawCode::TlsAlert { value: code })));
        assert_eq!(report.alert, Some(Alert::new(AlertDirection::Received, Some(2), code)));
    }
}

#[tokio::test]
async fn records_that_break_the_rules() {
    // A handshake message of 16 MB.
    assert_eq!(answer(&[22, 3, 3, 0, 4, 2, 255, 255, 255]).await.0.kind, FailureKind::TlsLimit);
    // A record above 2^14 + 2048.
    assert_eq!(answer(&[22, 3, 3, 255, 255, 2]).await.0.kind, FailureKind::TlsLimit);
    // Empty handshake records.
    assert_eq!(answer(&[22, 3, 3, 0, 0, 22]).await.0.kind, FailureKind::TlsEmptyFragments);
    // Application data, or a Finished, instead of a hello.
    let (failure, report) = answer(&[23, 3, 3, 0, 1, 0]).await;
    assert_eq!(failure.kind, FailureKind::TlsUnexpectedMessage);
    assert_eq!(report.alert, Some(Alert::new(AlertDirection::Sent, Some(2), 10)));
    assert_eq!(
        answer(&[22, 3, 3, 0, 4, 20, 0, 0, 0]).await.0.kind,
        FailureKind::TlsUnexpectedMessage
    );
    let warnings: &'static [u8] = Box::leak([21, 3, 3, 0, 2, 1, 90].repeat(10).into());
    assert_eq!(answer(warnings).await.0.kind, FailureKind::TlsAlertFlood);
}

#[tokio::test]
async fn an_early_end() {
    let (root, _) = good();
    let (failure, report) = against(&trusting(&[&root]), |far| async move { drop(far) }).await;
    assert_eq!(failure.kind, FailureKind::Closed);
    assert!(report.certificates.is_empty() && report.checks.is_empty());
    let (failure, _) = against(&trusting(&[&root]), |mut far| async move {
        let _ = far.write_all(&[22, 3, 3, 0, 50, 2, 0]).await;
    })
    .await;
    assert_eq!(failure.kind, FailureKind::Closed);
}

#[tokio::test]
async fn more_than_the_cap() {
    let (root, leaf) = good();
    let mut config = trusting(&[&root]);
    config.limits.handshake_bytes = 300;
    let (outcome, report) = connect(&config, server(&[&leaf.der], &leaf), "a.test").await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsLimit);
    assert_eq!(failure.limit.map(|limit| limit.cap), Some(300));
    assert!(report.bytes_in > 300);
}

#[tokio::test]
async fn a_dropped_handshake_leaves_its_report_and_nothing_else() {
    let (root, _) = good();
    let connector = TlsConnector::new(&trusting(&[&root])).unwrap();
    let material = Arc::strong_count(connector.material());
    let (near, mut far) = tokio::io::duplex(65_536);
    let mut report = TlsReport::default();
    let host = "a.test".parse().unwrap();
    let shaking = connector.handshake(Some(&host), near, &mut report);
    assert!(timeout(Duration::from_millis(20), shaking).await.is_err());
    assert!(report.bytes_out > 100 && report.bytes_in == 0);
    assert_eq!(report.client_hello_bytes, report.bytes_out);
    assert_eq!(report.hint, None);
    assert_eq!(Arc::strong_count(connector.material()), material);
    let mut hello = Vec::new();
    far.read_to_end(&mut hello).await.unwrap();
    assert_eq!(u64::try_from(hello.len()).unwrap(), report.bytes_out);
}

#[test]
fn the_hint_about_long_hellos_reads_back() {
    let report = TlsReport { hint: Some(TlsHint::HelloSize), ..TlsReport::default() };
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains("\"hint\":\"hello_size\""));
    assert_eq!(serde_json::from_str::<TlsReport>(&json).unwrap(), report);
}

fn client_certificate(client: &Made) -> Option<ClientCertificate> {
    let key = KeySource::Pem(Secret::from(client.key.serialize_pem()));
    Some(ClientCertificate { chain: PemSource::Pem(client.pem()), key })
}

#[tokio::test]
async fn client_certificates() {
    let (root, leaf) = good();
    let clients = super::pki::root("clients", |_| {});
    let me = super::pki::leaf("me", &clients, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let stranger = super::pki::root("stranger", |_| {});
    let impostor = super::pki::leaf("me", &stranger, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let server = || server_with_clients(&leaf, &clients);
    let with = |client| TlsConfig { client_certificate: client, ..trusting(&[&root]) };

    let (outcome, report) = connect(&with(client_certificate(&me)), server(), "a.test").await;
    let mut stream = outcome.unwrap();
    assert_eq!(report.client_auth, Some(ClientAuth::Sent));
    timeout(Duration::from_secs(5), stream.settle()).await.unwrap().unwrap();

    // TLS 1.3: turned down after the handshake.
    for (client, seen, alert) in
        [(None, ClientAuth::Empty, 116), (client_certificate(&impostor), ClientAuth::Sent, 48)]
    {
        let (outcome, report) = connect(&with(client.clone()), server(), "a.test").await;
        let mut stream = outcome.unwrap();
        assert_eq!(report.client_auth, Some(seen));
        let failure = timeout(Duration::from_secs(5), stream.settle()).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::TlsAlert);
        assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: alert }));
        assert_eq!(stream.alert().map(|alert| alert.code), Some(alert));

        // And seen as well by who reads without settling.
        let (outcome, _) = connect(&with(client), server(), "a.test").await;
        let error = outcome.unwrap().read(&mut [0]).await.unwrap_err();
        let failure = TlsStream::<DuplexStream>::failure_of(&error).unwrap();
        assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: alert }));
    }

    // TLS 1.2: within the handshake.
    let config =
        TlsConfig { max_version: TlsVersion::Tls12, ..with(client_certificate(&impostor)) };
    let (outcome, report) = connect(&config, server(), "a.test").await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TlsAlert);
    assert_eq!(report.client_auth, Some(ClientAuth::Sent));
    assert_eq!(report.certificates.len(), 1);
}

#[test]
fn client_keys_that_cannot_be_used() {
    let (root, leaf) = good();
    let other = super::pki::root("other", |_| {});
    let chain = PemSource::Pem(leaf.pem());
    let error = |key: KeySource| {
        let client_certificate = Some(ClientCertificate { chain: chain.clone(), key });
        let config = TlsConfig { client_certificate, ..trusting(&[&root]) };
        let error = TlsConnector::new(&config).unwrap_err();
        format!("{error} {error:?}")
    };
    let secret = other.key.serialize_pem();
    let body = secret.lines().nth(1).unwrap();
    let text = error(KeySource::Pem(Secret::from(secret.as_str())));
    assert!(text.contains("does not belong") && !text.contains(body), "{text}");
    let sealed = secret.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let text = error(KeySource::Pem(Secret::from(sealed)));
    assert!(text.contains("is encrypted") && !text.contains(body), "{text}");
    let text = error(KeySource::Pem(Secret::from(secret.replace("-----", "----"))));
    assert!(text.contains("no private key") && !text.contains(body), "{text}");
    let text = error(KeySource::File("/nonexistent/key.pem".into()));
    assert!(text.contains("/nonexistent/key.pem"), "{text}");
}

#[test]
fn set_up_errors_name_the_key() {
    let (root, _) = good();
    let good = trusting(&[&root]);
    let error = |config: TlsConfig| TlsConnector::new(&config).unwrap_err().to_string();
    let config = TlsConfig { trust: Trust::None, ..good.clone() };
    assert!(error(config.clone()).starts_with("trust:"));
    TlsConnector::new(&TlsConfig { verify: Verify::DangerRecordOnly, ..config }).unwrap();
    let config = TlsConfig { ca_files: vec!["/nonexistent/ca.pem".into()], ..good.clone() };
    assert_eq!(error(config), "ca_files[0]: cannot use /nonexistent/ca.pem");
    let junk = TempFile::new("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let config = TlsConfig { ca_files: vec![junk.0.clone()], ..good.clone() };
    assert!(error(config).starts_with("ca_files[0]: certificate 1:"));
    let empty = TempFile::new("nothing");
    let config = TlsConfig { trust: Trust::Files(vec![empty.0.clone()]), ..good.clone() };
    assert_eq!(error(config), "trust.files[0]: holds no certificate in PEM");
    let config = TlsConfig { crl_files: vec![empty.0.clone()], ..good.clone() };
    assert!(error(config).starts_with("crl_files[0]:"));
    let config = TlsConfig { sni: Sni::Name("192.0.2.1".into()), ..good.clone() };
    assert!(error(config).starts_with("sni.name:"));
    let config = TlsConfig { verify_name: Some("a..b".into()), ..good.clone() };
    assert!(error(config).starts_with("verify_name:"));
    let config = TlsConfig { alpn: vec!["h2".into(), String::new()], ..good.clone() };
    assert!(error(config).starts_with("alpn[1]:"));
    if !cfg!(feature = "aws-lc-rs") {
        let config = TlsConfig { provider: Provider::AwsLcRs, ..good };
        assert_eq!(error(config), "provider: this build lacks the feature `aws-lc-rs`");
    }
}

#[tokio::test]
async fn the_key_log_is_written_only_when_asked() {
    let (root, leaf) = good();
    let log = TempFile::new("");
    let config = TlsConfig { key_log: Some(log.0.clone()), ..trusting(&[&root]) };
    connect(&trusting(&[&root]), server(&[&leaf.der], &leaf), "a.test").await.0.unwrap();
    assert_eq!(std::fs::read_to_string(&log.0).unwrap(), "");
    let (outcome, report) = connect(&config, server(&[&leaf.der], &leaf), "a.test").await;
    let text = std::fs::read_to_string(&log.0).unwrap();
    assert!(text.lines().count() >= 4 && text.contains("CLIENT_TRAFFIC_SECRET_0 "), "{text}");
    let secret = text.split_whitespace().nth(2).unwrap();
    let shown = format!("{:?} {report:?} {config:?}", outcome.unwrap());
    assert!(!shown.contains(secret));
}

#[tokio::test]
async fn a_stream_cut_without_notice_is_told() {
    let (root, leaf) = good();
    let connector = TlsConnector::new(&trusting(&[&root])).unwrap();
    let (near, far) = tokio::io::duplex(65_536);
    let server = server(&[&leaf.der], &leaf);
    tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(far).await.unwrap();
        stream.write_all(b"part").await.unwrap();
        stream.flush().await.unwrap();
    });
    let mut report = TlsReport::default();
    let host = "a.test".parse().unwrap();
    let mut stream = connector.handshake(Some(&host), near, &mut report).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "part");
    assert!(stream.truncated());
}

#[tokio::test]
async fn much_data_goes_through() {
    let (root, leaf) = good();
    let config = trusting(&[&root]);
    let (outcome, _) = connect(&config, server(&[&leaf.der], &leaf), "a.test").await;
    let (mut reader, mut writer) = tokio::io::split(outcome.unwrap());
    let data: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    sending.await.unwrap();
    assert!(got == data);
}
