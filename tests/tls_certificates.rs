//! Certificates, good and bad (rows S1 to S57 of the fault list): each in TLS 1.2 and 1.3, with
//! verification and without.
#![cfg(all(feature = "ring", feature = "webpki-roots", feature = "idna"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;
#[macro_use]
mod tls;

use netsonde::tcp::{TcpConfig, TcpProber, TcpReport};
use netsonde::tls::{
    AlertDirection, CheckKind as C, ClientAuth, ClientCertificate, KeySource, OcspPolicy,
    PemSource, Provider, TlsConfig, TlsVersion, Trust,
};
use netsonde::{Error, FailureKind as K, Phase, ProbeResult, Secret};
use netsonde_support::pki::{CLIENT_AUTH, CertSpec, OcspSpec, SigAlg, Time, chains};
use netsonde_support::{Authority, Issued, Key, Pki, Script, Server, TempDir, TlsServer};

use check::{checked, within_ms};
use tls::*;

macro_rules! directly {
    ($($name:ident: $make:expr => $expected:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            run_row($make, $expected, Way::Direct).await;
        })*
    };
}

certificate_rows!(directly);

/// One look at a certificate, whatever is wrong with it.
async fn seen(pki: &Pki, issued: Issued) -> ProbeResult<TcpReport> {
    let server = silent(&TlsServer::new(issued));
    shake(server.addr(), &recording(&trusting(&pki.root))).await
}

#[tokio::test]
async fn s1_valid_chain_is_told_in_full() {
    let (pki, tls) = good();
    let server = silent(&tls);
    let result = shake(server.addr(), &trusting(&pki.root)).await;
    assert_passed(&result);
    let tls = tls_of(&result);
    let roles: Vec<&str> = tls.certificates.iter().map(|one| one.role.as_str()).collect();
    assert_eq!(roles, ["leaf", "intermediate"]);
    let [chain] = tls.verified_chains.as_slice() else { panic!("{:?}", tls.verified_chains) };
    assert_eq!(chain.served, [0, 1]);
    assert_eq!(chain.root.subject.as_deref(), Some("CN=Support Root"));
    let leaf = tls.leaf().unwrap();
    assert_eq!(leaf.subject.as_deref(), Some("CN=a.test"));
    assert!(matches!(leaf.days_left(now()), Some(89..=90)), "{:?}", leaf.days_left(now()));
    assert_eq!(leaf.names.dns, [NAME]);
    assert_eq!(tls.earliest_expiry, leaf.not_after);
    assert_eq!((tls.best_chain_expiry, chain.expiry), (leaf.not_after, leaf.not_after));
    let names = (tls.sni.as_deref(), tls.verified_name.as_deref());
    assert_eq!(names, (Some(NAME), Some(NAME)));
    let seen = server.connection(0);
    assert_eq!(seen.hello.unwrap().sni.as_deref(), Some(NAME));
    assert!(!seen.tls.unwrap().resumed);
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs().try_into().unwrap()
}

#[tokio::test]
async fn s18_1000_sans_are_counted_and_100_kept() {
    let pki = Pki::new();
    let result = seen(&pki, chains::many_names(&pki, "z.test", 1000)).await;
    let names = &tls_of(&result).leaf().unwrap().names;
    assert_eq!((names.dns.len(), names.total), (100, 1000));
    let mismatch = tls_of(&result).failed().next().unwrap();
    let words = mismatch.detail.as_deref().unwrap();
    assert!(words.ends_with(" host-8.many.test, ..."), "{words}");
}

/// The end of validity in the report, or nothing where it is no date.
#[tokio::test]
async fn s48_expiry_is_right_or_absent() {
    let pki = Pki::new();
    for (end, expected) in [
        (Time::generalized("99991231235959Z"), Some(253_402_300_799)),
        (Time::utc("300231000000Z"), None),
        (Time::utc("500101000000Z"), Some(-631_152_000)),
        (Time::utc("491231235959Z"), Some(2_524_607_999)),
        (Time::generalized("00000101000000Z"), Some(-62_167_219_200)),
        (Time::generalized("20300101000060Z"), None),
        (Time::generalized("2030010100000Z"), None),
        (Time::utc("zzzzzzzzzzzzZ"), None),
        (Time::utc(""), None),
    ] {
        let spec = pki.leaf(NAME).validity(Time::days(-1), end.clone());
        let lone = seen(&pki, spec.issue().with_chain([])).await;
        assert_passed(&lone);
        assert_eq!(tls_of(&lone).leaf().unwrap().not_after, expected, "{end:?}");
        assert_eq!(tls_of(&lone).earliest_expiry, expected, "{end:?}");
    }
}

/// What a real server with such a key says: it finds no signature scheme that ring offers, and so no
/// certificate ever comes. Verification has no part in it.
#[tokio::test]
async fn s41_p521_of_openssl() {
    for arguments in [&[][..], &["-tls1_2"], &["-tls1_3"]] {
        openssl_refuses_us("ec_paramgen_curve:P-521", arguments, (K::TlsNoSuite, 40)).await;
    }
}

#[tokio::test]
async fn s42_secp256k1_of_openssl() {
    let curve = "ec_paramgen_curve:secp256k1";
    for arguments in [&[][..], &["-tls1_2"]] {
        openssl_refuses_us(curve, arguments, (K::TlsNoSuite, 40)).await;
    }
    // In TLS 1.3 the curve does not exist: the server finds that it cannot speak that version.
    openssl_refuses_us(curve, &["-tls1_3"], (K::TlsVersion, 70)).await;
}

async fn openssl_refuses_us(curve: &str, arguments: &[&str], (kind, code): (K, u8)) {
    let key = ["ec", "-pkeyopt", curve];
    let Some((openssl, certificate)) = openssl_self_signed(&key, arguments) else { return };
    let config = TlsConfig {
        trust: Trust::Pem(certificate),
        provider: Provider::Ring,
        ..TlsConfig::default()
    };
    for config in [recording(&config), config] {
        let result = shake(openssl.addr(), &config).await;
        assert_failed(&result, kind);
        assert_eq!(alert(&result), Some((AlertDirection::Received, code)));
        assert_served(&result, &[]);
    }
}

/// The other provider takes it.
#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn s41_p521_with_aws_lc_rs() {
    let key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
    let Some((openssl, certificate)) = openssl_self_signed(&key, &[]) else { return };
    let config = TlsConfig {
        trust: Trust::Pem(certificate),
        provider: Provider::AwsLcRs,
        ..TlsConfig::default()
    };
    let result = shake(openssl.addr(), &config).await;
    assert_passed(&result);
    let key = tls_of(&result).leaf().unwrap().key.clone().unwrap();
    assert_eq!((key.curve.as_deref(), key.bits), (Some("P-521"), Some(521)));
}

/// With an empty list there is nothing to go on with: here verification off changes nothing.
#[tokio::test]
async fn s50_empty_certificate_list() {
    let pki = Pki::new();
    let mut nothing = pki.leaf(NAME).issue();
    nothing.chain.clear();
    for version in [TlsServer::tls12, TlsServer::tls13] {
        let server = silent(&version(TlsServer::new(nothing.clone())));
        let verified = trusting(&pki.root);
        for config in [recording(&verified), verified] {
            let result = shake(server.addr(), &config).await;
            assert_failed(&result, K::TlsNoCertificate);
            assert_served(&result, &[]);
        }
    }
}

fn certificate(issued: &Issued) -> ClientCertificate {
    ClientCertificate {
        chain: PemSource::Pem(issued.chain_pem()),
        key: KeySource::Pem(issued.key.private_pem().into()),
    }
}

#[tokio::test]
async fn s56_client_certificate_of_the_wrong_ca() {
    let (pki, tls) = good();
    let tls = tls.require_client(&pki.root);
    let (right, wrong) = (pki.client("c.test").issue(), Pki::new().client("c.test").issue());
    let stranger = Authority::root("Stranger").client("c.test").issue();
    let mut config = trusting(&pki.root);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        config.max_version = version;
        let server = silent(&tls);
        let cases = [
            (Some(&right), ClientAuth::Sent, None),
            // Of an authority with the same name, and of one that the server does not know at all.
            (Some(&wrong), ClientAuth::Sent, Some(51)),
            (Some(&stranger), ClientAuth::Sent, Some(48)),
            (None, ClientAuth::Empty, Some(116)),
        ];
        for (client, auth, refusal) in cases {
            config.client_certificate = client.map(certificate);
            let verified = shake(server.addr(), &config).await;
            let recorded = shake(server.addr(), &recording(&config)).await;
            for result in [verified, recorded] {
                assert_eq!(tls_of(&result).client_auth, Some(auth), "{version} {client:?}");
                match refusal {
                    None => assert_passed(&result),
                    Some(code) => {
                        assert_failed(&result, K::TlsAlert);
                        assert_eq!(alert(&result), Some((AlertDirection::Received, code)));
                    }
                }
                // The server is fine in any case.
                assert_eq!(tls_of(&result).failed().count(), 0);
                assert_eq!(tls_of(&result).certificates.len(), 2);
            }
        }
    }
}

/// In TLS 1.3 the refusal comes when the handshake is over. A script that reads on meets it there.
#[tokio::test]
async fn s56_client_certificate_refused_while_a_script_reads() {
    let (pki, tls) = good();
    let server = Server::tcp(Script::new().start_tls(&tls.tls13().require_client(&pki.root)));
    let mut config = trusting(&pki.root);
    config.client_certificate = Some(certificate(&Authority::root("Stranger").client("c").issue()));
    let steps = netsonde::script::Script::new([netsonde::script::Step::expect("^220")]);
    let config = TcpConfig { tls: Some(config), script: steps, ..TcpConfig::default() };
    let result = checked(&prober_to(server.addr(), config), &within_ms(5_000), target(NAME)).await;
    assert_eq!(check::stuck(&result), ("tls_alert", Some(Phase::Script), Some(0)), "{result}");
    assert_eq!(alert(&result), Some((AlertDirection::Received, 48)));
}

/// A server that asks and then says nothing: after the wait the client counts as accepted.
#[tokio::test]
async fn s56_silence_after_the_client_certificate_is_no_refusal() {
    let (pki, tls) = good();
    let tls = tls.tls13().tickets(0).require_client(&pki.root);
    let server = silent(&tls);
    let mut config = trusting(&pki.root);
    config.client_certificate = Some(certificate(&pki.client("c.test").issue()));
    config.client_auth_wait = std::time::Duration::from_millis(80);
    let result = shake(server.addr(), &config).await;
    assert_passed(&result);
    assert!(result.timing.phase(Phase::Tls).unwrap() >= config.client_auth_wait);
}

/// What building a prober says of this client certificate.
fn refusal(chain: PemSource, key: KeySource) -> Error {
    let client = Some(ClientCertificate { chain, key });
    let tls = Some(TlsConfig { client_certificate: client, ..TlsConfig::default() });
    TcpProber::new(TcpConfig { tls, ..TcpConfig::default() }).unwrap_err()
}

#[test]
fn s57_client_key_missing_encrypted_or_mismatched() {
    const KEY: &str = "tls.client_certificate.key";
    let folder = TempDir::new("key");
    let pki = Pki::new();
    let issued = pki.client("c.test").key(Key::rsa(2048)).issue();
    let other = Key::p256().private_pem();
    let own = issued.key.private_pem();
    let encrypted = own.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let legacy = own.replace(
        "PRIVATE KEY-----\n",
        "RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n",
    );
    let cut: String = own.lines().take(9).map(|line| format!("{line}\n")).collect();
    let binary = String::from_utf8_lossy(issued.key.private_der()).into_owned();
    let scrambled = own.replace("MII", "AAA");
    for (key, text, why) in [
        ("mismatched", &other, "does not belong to the certificate"),
        ("encrypted", &encrypted, "is encrypted"),
        ("legacy", &legacy, "is encrypted"),
        ("cut", &cut, "holds no private key in PEM"),
        ("binary", &binary, "holds no private key in PEM"),
        ("scrambled", &scrambled, "cannot be used"),
        ("empty", &String::new(), "holds no private key in PEM"),
    ] {
        let file = folder.join(key);
        std::fs::write(&file, text).unwrap();
        for key in [KeySource::File(file), KeySource::Pem(Secret::from(text.as_str()))] {
            let error = refusal(PemSource::Pem(issued.chain_pem()), key);
            assert_eq!(error.to_string(), format!("{KEY}: {why}"));
            assert_hides(&format!("{error:?}"), text);
        }
    }
    let chain = || PemSource::Pem(issued.chain_pem());
    let missing = refusal(chain(), KeySource::File(folder.join("missing")));
    assert!(matches!(&missing, Error::File { key, .. } if key == KEY), "{missing:?}");
    let no_chain = refusal(PemSource::Pem(own.clone()), KeySource::Pem(own.as_str().into()));
    assert!(no_chain.to_string().starts_with("tls.client_certificate.chain: "), "{no_chain}");
    assert_hides(&format!("{no_chain:?}"), &own);
}

/// No line of a key shows up in the text.
#[track_caller]
fn assert_hides(text: &str, key: &str) {
    for line in key.lines().filter(|line| line.len() > 12 && !line.contains("-----")) {
        let start: String = line.chars().take(12).collect();
        assert!(!text.contains(&start), "{text}");
    }
}
