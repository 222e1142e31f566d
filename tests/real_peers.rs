//! Real servers: what Debian ships of postfix, dovecot, postgresql, redis, nginx, haproxy, OpenSSL and
//! OpenSSH. Each is started by its test, on a loopback port, and ended with it.

#![cfg(all(feature = "ring", feature = "webpki-roots", feature = "idna"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;
#[macro_use]
mod tls;

use std::net::SocketAddr;

use netsonde::script::{Dialogue, Script as Steps, Step};
use netsonde::tcp::{TcpConfig, TcpReport};
use netsonde::tls::{
    AlertDirection, CheckKind, CheckStatus, ClientAuth, ClientCertificate, KeySource, OcspPolicy,
    OcspSignature, OcspStatus, PemSource, TlsConfig, TlsVersion,
};
use netsonde::{FailureKind as K, Phase, ProbeResult, Target};
use netsonde_support::{Authority, Issued, Key, Pki, daemon};

use check::{checked, script_of, stuck, within_ms};
use tls::*;

/// A chain with an RSA leaf, which every server takes.
fn rsa() -> (Pki, Issued) {
    let pki = Pki::new();
    let leaf = pki.leaf(NAME).key(Key::rsa(2048)).issue();
    (pki, leaf)
}

async fn run(address: SocketAddr, config: TcpConfig) -> ProbeResult<TcpReport> {
    checked(&prober_to(address, config), &within_ms(10_000), target(NAME)).await
}

/// A ready dialogue, these steps behind it, under TLS where the dialogue starts it.
async fn talk(
    address: SocketAddr,
    dialogue: &str,
    tls: Option<TlsConfig>,
    steps: Vec<Step>,
) -> ProbeResult<TcpReport> {
    let dialogue = Some(Dialogue::by_name(dialogue).unwrap());
    let script = Steps::new(steps);
    run(address, TcpConfig { tls, dialogue, script, ..TcpConfig::default() }).await
}

/// These steps under TLS from the first byte.
async fn secure(address: SocketAddr, tls: TlsConfig, steps: Vec<Step>) -> ProbeResult<TcpReport> {
    let script = Steps::new(steps);
    run(address, TcpConfig { tls: Some(tls), script, ..TcpConfig::default() }).await
}

/// It passed, in TLS 1.3 with this chain.
#[track_caller]
fn assert_secure(result: &ProbeResult<TcpReport>, issued: &Issued) {
    assert_passed(result);
    assert_eq!(tls_of(result).version, Some(TlsVersion::Tls13));
    assert_served(result, &issued.chain);
    assert_eq!(tls_of(result).verified_chains.len(), 1);
}

fn phases(result: &ProbeResult<TcpReport>) -> Vec<Phase> {
    result.timing.spans.iter().map(|span| span.phase).collect()
}

const STARTTLS_PHASES: [Phase; 5] =
    [Phase::Connect, Phase::Script, Phase::Tls, Phase::Script, Phase::Close];

#[tokio::test]
async fn postfix_starts_tls() {
    let (pki, leaf) = rsa();
    let Some(postfix) = daemon::postfix(Some(&leaf), "") else { return };
    let quit = vec![
        Step::send("EHLO probe.test\r\n"),
        Step::expect("^250 ").with_reject("^5"),
        Step::send("QUIT\r\n"),
        Step::expect("^221 ").with_reject("^5"),
    ];
    let result = talk(postfix.addr(), "smtp", Some(trusting(&pki.root)), quit.clone()).await;
    assert_secure(&result, &leaf);
    assert_eq!(phases(&result), STARTTLS_PHASES);
    let greeting = script_of(&result).steps[0].matched.as_deref();
    assert_eq!(greeting, Some("220 mail.test ESMTP"));

    // Somebody else's authority: the same verdict as without STARTTLS, and the certificates.
    let stranger = trusting(&Authority::root("Stranger"));
    let result = talk(postfix.addr(), "smtp", Some(stranger.clone()), quit.clone()).await;
    assert_failed(&result, K::TlsUnknownIssuer);
    assert_served(&result, &leaf.chain);
    let result = talk(postfix.addr(), "smtp", Some(recording(&stranger)), quit).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).status(CheckKind::Chain), Some(CheckStatus::Failed));
}

#[tokio::test]
async fn s108_not_offered_by_postfix() {
    let Some(postfix) = daemon::postfix(None, "") else { return };
    let result = talk(postfix.addr(), "smtp", None, vec![]).await;
    assert_eq!(stuck(&result), ("starttls_refused", Some(Phase::Script), Some(2)), "{result}");
    assert_eq!(result.report.tls, None);
}

#[tokio::test]
async fn s117_upgrade_refused_by_postfix_with_454() {
    let (_, leaf) = rsa();
    let extra = "smtpd_tls_key_file = /nonexistent/key.pem";
    let Some(postfix) = daemon::postfix(Some(&leaf), extra) else { return };
    let result = talk(postfix.addr(), "smtp", None, vec![]).await;
    assert_eq!(stuck(&result), ("starttls_refused", Some(Phase::Script), Some(4)), "{result}");
    assert!(detail(&result).contains("454 4.7.0 TLS not available"), "{result}");
}

/// The certificate rows in three real servers, one of them behind STARTTLS.
#[tokio::test]
async fn s118_certificate_faults_of_postfix_and_nginx() {
    let pki = Pki::new();
    let expired = pki.leaf(NAME).key(Key::rsa(2048)).days(-9, -1).issue();
    let wrong_name = pki.leaf("b.test").key(Key::rsa(2048)).issue();
    let untrusted = Authority::root("Stranger").leaf(NAME).key(Key::rsa(2048)).issue();
    let incomplete = pki.leaf(NAME).key(Key::rsa(2048)).issue().with_chain([]);
    for (leaf, kind) in [
        (expired, K::TlsExpired),
        (wrong_name, K::TlsNameMismatch),
        (untrusted, K::TlsUnknownIssuer),
        (incomplete, K::TlsUnknownIssuer),
    ] {
        let Some(postfix) = daemon::postfix(Some(&leaf), "") else { return };
        let Some(nginx) = daemon::nginx(&leaf, "") else { return };
        let config = trusting(&pki.root);
        let behind = talk(postfix.addr(), "smtp", Some(config.clone()), vec![]).await;
        let direct = shake(nginx.addr(), &config).await;
        for result in [&behind, &direct] {
            assert_failed(result, kind);
            assert_served(result, &leaf.chain);
        }
        assert_eq!(detail(&behind), detail(&direct));
        assert_eq!(tls_of(&behind).checks, tls_of(&direct).checks);
    }
}

#[tokio::test]
async fn dovecot_speaks_imap_and_pop3() {
    let (pki, leaf) = rsa();
    let Some(dovecot) = daemon::dovecot(&leaf) else { return };
    let config = || trusting(&pki.root);
    let imap = vec![
        Step::send("a2 LOGIN someone secret\r\n").with_secret(),
        Step::expect("^a2 OK").with_reject("^a2 "),
        Step::send("a3 LOGOUT\r\n"),
        Step::expect("^a3 OK").with_reject("^a3 "),
    ];
    let pop3 = vec![Step::send("QUIT\r\n"), Step::expect(r"^\+OK").with_reject("^-ERR")];
    for (dialogue, plain, secured, steps) in
        [("imap", "imap", "imaps", imap), ("pop3", "pop3", "pop3s", pop3)]
    {
        let address = dovecot.addr_of(plain);
        let result = talk(address, dialogue, Some(config()), steps.clone()).await;
        assert_secure(&result, &leaf);
        assert_eq!(phases(&result), STARTTLS_PHASES);

        let greeting = Step::expect(r"^(?:\* OK|\+OK)").with_reject("^");
        let steps = [vec![greeting], steps].concat();
        let result = secure(dovecot.addr_of(secured), config(), steps).await;
        assert_secure(&result, &leaf);
        let direct = [Phase::Connect, Phase::Tls, Phase::Script, Phase::Close];
        assert_eq!(phases(&result), direct);
    }
    // A wrong password is an answer of the server, not of ours.
    let wrong = vec![
        Step::send("a2 LOGIN someone wrong\r\n").with_secret(),
        Step::expect("^a2 OK").with_reject("^a2 "),
    ];
    let result = talk(dovecot.addr_of("imap"), "imap", Some(config()), wrong).await;
    assert_eq!(stuck(&result), ("script_rejected", Some(Phase::Script), Some(5)), "{result}");
}

#[tokio::test]
async fn postgresql_starts_tls() {
    let (pki, leaf) = rsa();
    let Some(postgresql) = daemon::postgresql(&leaf) else { return };
    // A start-up message of protocol 3.0 for user and database `postgres`, which needs no password
    // here: the answer is AuthenticationOk. Then Terminate.
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap().to_be_bytes();
    let startup = [&length[..], &[0, 3, 0, 0], parameters].concat();
    let steps = vec![
        Step::send_hex(startup),
        Step::expect_hex(b"R\0\0\0\x08\0\0\0\0"),
        Step::expect_raw(r"server_version\x00(?P<version>[^\x00]+)\x00")
            .with_label("server_version", "${version}"),
        Step::send_hex(b"X\0\0\0\x04"),
    ];
    let config = trusting(&pki.root);
    let result = talk(postgresql.addr(), "postgres", Some(config), steps).await;
    assert_secure(&result, &leaf);
    let version = &script_of(&result).labels["server_version"];
    assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
}

#[tokio::test]
async fn redis_answers_ping() {
    let (pki, leaf) = rsa();
    let Some(redis) = daemon::redis() else { return };
    let result = talk(redis.addr(), "redis", None, vec![]).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(script_of(&result).steps[1].matched.as_deref(), Some("+PONG"));

    let Some(redis) = daemon::redis_tls(&leaf) else { return };
    let result = talk(redis.addr(), "redis", Some(trusting(&pki.root)), vec![]).await;
    assert_secure(&result, &leaf);
    // In the clear, the same server says nothing that is redis.
    let result = talk(redis.addr(), "redis", None, vec![]).await;
    assert!(!result.verdict.is_pass(), "{result}");
}

/// What a web server answers to the shortest of requests.
fn http() -> Vec<Step> {
    vec![
        Step::send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        Step::expect("^HTTP/1[.][01] 200").with_reject("^"),
        Step::expect("^$"),
        Step::expect("^ok$"),
    ]
}

#[tokio::test]
async fn nginx_speaks_tls() {
    let (pki, leaf) = rsa();
    let Some(nginx) = daemon::nginx(&leaf, "ssl_protocols TLSv1.2 TLSv1.3;") else { return };
    let result = secure(nginx.addr(), trusting(&pki.root), http()).await;
    assert_secure(&result, &leaf);
    assert_eq!(tls_of(&result).alpn, None);

    let alpn = vec!["http/1.1".to_owned()];
    let older = TlsConfig { max_version: TlsVersion::Tls12, alpn, ..trusting(&pki.root) };
    let result = secure(nginx.addr(), older, http()).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).version, Some(TlsVersion::Tls12));
    assert_eq!(tls_of(&result).alpn.as_deref(), Some("http/1.1"));
    assert_served(&result, &leaf.chain);
    let suite = tls_of(&result).cipher_suite.as_deref().unwrap();
    assert!(suite.starts_with("TLS_ECDHE_RSA_WITH_"), "{suite}");

    // TLS on a port that speaks HTTP is answered in HTTP.
    let Some(plain) = daemon::nginx(&leaf, "error_page 497 =400 /;") else { return };
    let steps = vec![Step::send("GET / HTTP/1.0\r\n\r\n"), Step::expect("^HTTP/1.1 400")];
    let script = Steps::new(steps);
    let result = run(plain.addr(), TcpConfig { script, ..TcpConfig::default() }).await;
    assert!(result.verdict.is_pass(), "{result}");
}

#[tokio::test]
async fn haproxy_speaks_tls() {
    let (pki, leaf) = rsa();
    let Some(haproxy) = daemon::haproxy(&leaf, "alpn h2,http/1.1") else { return };
    let alpn = vec!["http/1.1".to_owned()];
    let config = TlsConfig { alpn, ..trusting(&pki.root) };
    let result = secure(haproxy.addr(), config, http()[..2].to_vec()).await;
    assert_secure(&result, &leaf);
    assert_eq!(tls_of(&result).alpn.as_deref(), Some("http/1.1"));

    let Some(older) = daemon::haproxy(&leaf, "ssl-max-ver TLSv1.2") else { return };
    let result = secure(older.addr(), trusting(&pki.root), http()[..2].to_vec()).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).version, Some(TlsVersion::Tls12));
}

#[tokio::test]
async fn s77_haproxy_refuses_an_unknown_name() {
    let (pki, leaf) = rsa();
    let Some(haproxy) = daemon::haproxy(&leaf, "strict-sni") else { return };
    assert_passed(&shake(haproxy.addr(), &trusting(&pki.root)).await);
    let result = shake_as("b.test", haproxy.addr(), &trusting(&pki.root)).await;
    let failure = result.outcome.failure().unwrap();
    assert_eq!(failure.phase, Some(Phase::Tls));
    assert!(matches!(alert(&result), Some((AlertDirection::Received, 40 | 112))), "{result}");
}

#[tokio::test]
async fn openssl_with_tls_1_2_only() {
    let (pki, leaf) = rsa();
    let Some(openssl) = daemon::openssl_server(&leaf, &["-tls1_2"]) else { return };
    let result = shake(openssl.addr(), &trusting(&pki.root)).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).version, Some(TlsVersion::Tls12));
    assert_served(&result, &leaf.chain);
    let config = TlsConfig { min_version: TlsVersion::Tls13, ..trusting(&pki.root) };
    let result = shake(openssl.addr(), &config).await;
    assert_failed(&result, K::TlsVersion);
    assert_eq!(alert(&result), Some((AlertDirection::Received, 70)));
}

#[tokio::test]
async fn openssl_with_client_certificates() {
    let (pki, leaf) = rsa();
    let folder = netsonde_support::TempDir::new("ca");
    let ca = folder.join("ca.pem");
    pki.root.write_pem(&ca);
    let ca = ca.display().to_string();
    let client = |issued: Issued| ClientCertificate {
        chain: PemSource::Pem(issued.chain_pem()),
        key: KeySource::Pem(issued.key.private_pem().into()),
    };
    let stranger = Authority::root("Stranger");
    let required = ["-Verify", "3", "-CAfile", &ca, "-verify_return_error"];
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [&required[..], &[version]].concat();
        let Some(openssl) = daemon::openssl_server(&leaf, &arguments) else { return };
        let mut config = trusting(&pki.root);
        for (certificate, auth, refusal) in [
            (Some(client(pki.client("c.test").issue())), ClientAuth::Sent, None),
            (Some(client(stranger.client("c.test").issue())), ClientAuth::Sent, Some(48)),
            (None, ClientAuth::Empty, Some(if version == "-tls1_2" { 40 } else { 116 })),
        ] {
            config.client_certificate = certificate;
            let result = shake(openssl.addr(), &config).await;
            assert_eq!(tls_of(&result).client_auth, Some(auth), "{version}: {result}");
            match refusal {
                None => assert_passed(&result),
                Some(code) => {
                    assert_failed(&result, K::TlsAlert);
                    let received = Some((AlertDirection::Received, code));
                    assert_eq!(alert(&result), received, "{version}: {result}");
                }
            }
            assert_served(&result, &leaf.chain);
        }
    }
}

#[tokio::test]
async fn openssl_staples_ocsp_responses() {
    let (pki, leaf) = rsa();
    let folder = netsonde_support::TempDir::new("ocsp");
    let good = pki.intermediate.ocsp(&leaf);
    for (response, status) in
        [(good.clone(), OcspStatus::Good), (good.revoked(), OcspStatus::Revoked)]
    {
        let file = folder.join("response.der");
        std::fs::write(&file, response.der()).unwrap();
        let file = file.display().to_string();
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = ["-status_file", file.as_str(), version];
            let Some(openssl) = daemon::openssl_server(&leaf, &arguments) else { return };
            let result = shake(openssl.addr(), &trusting(&pki.root)).await;
            assert_passed(&result);
            let ocsp = tls_of(&result).ocsp.as_ref().unwrap();
            assert_eq!((ocsp.status, ocsp.signature), (Some(status), OcspSignature::Verified));
            assert_eq!(ocsp.is_good(), status == OcspStatus::Good);
            assert!(ocsp.this_update.is_some() && ocsp.next_update > ocsp.this_update);

            let strict = TlsConfig { ocsp: OcspPolicy::Fail, ..trusting(&pki.root) };
            let result = shake(openssl.addr(), &strict).await;
            if status == OcspStatus::Good {
                assert_passed(&result);
            } else {
                assert_failed(&result, K::TlsRevoked);
                assert_eq!(tls_of(&result).ocsp.as_ref().unwrap().reason.as_deref(), {
                    Some("keyCompromise")
                });
            }
        }
    }
}

#[tokio::test]
async fn sshd_shows_its_banner() {
    let Some(sshd) = daemon::sshd() else { return };
    let result = talk(sshd.addr(), "ssh", None, vec![]).await;
    assert!(result.verdict.is_pass(), "{result}");
    let labels = &script_of(&result).labels;
    assert_eq!(labels["ssh_protocol"], "2.0");
    assert!(labels["ssh_version"].starts_with("OpenSSH_"), "{labels:?}");
    // And TLS to it is no TLS (S85).
    let target: Target = target(NAME);
    let result = shake(sshd.addr(), &TlsConfig::default()).await;
    assert_eq!(result.target, target);
    assert_failed(&result, K::TlsNotTls);
    assert!(detail(&result).starts_with("SSH-2.0-OpenSSH_"), "{result}");
}
