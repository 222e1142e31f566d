//! Versions and negotiation (rows S58 to S78 of the fault list).
#![cfg(all(feature = "ring", feature = "webpki-roots", feature = "idna"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;
#[macro_use]
mod tls;

use std::time::Duration;

use netsonde::tls::{AlertDirection, HandshakeKind, TlsConfig, TlsHint, TlsVersion};
use netsonde::{FailureKind as K, Phase, RawCode};
use netsonde_support::tls::hello::ClientHello;
use netsonde_support::tls::raw::{self, ServerHello};
use netsonde_support::{Key, Script, Server};

use check::within_ms;
use tls::*;

/// A server that answers a hello with these bytes, and waits for the client to leave.
fn answering(answer: impl Fn(&ClientHello) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let answer = async move |conn: &mut netsonde_support::server::Conn| {
        let hello = ClientHello::read(conn).await?;
        conn.send(&answer(&hello)).await
    };
    Server::tcp(Script::new().run(answer).hang())
}

/// Both versions, at most and at least this one.
fn between(min_version: TlsVersion, max_version: TlsVersion) -> TlsConfig {
    TlsConfig { min_version, max_version, ..TlsConfig::default() }
}

fn any() -> TlsConfig {
    between(TlsVersion::Tls12, TlsVersion::Tls13)
}

#[tokio::test]
async fn s58_sslv2_or_sslv3_server() {
    let ssl2_error = || vec![0x80, 3, 0, 0, 1];
    for server in [
        answering(|_| raw::ssl2_server_hello()),
        answering(move |_| ssl2_error()),
        answering(|_| raw::ssl3_alert(raw::FATAL, raw::HANDSHAKE_FAILURE)),
        answering(|_| raw::ssl3_alert(raw::FATAL, 0x15)),
        answering(|hello| ServerHello::tls12(hello).version(0x0300).suite(0x0005).record()),
    ] {
        for config in [any(), recording(&any())] {
            let result = shake(server.addr(), &config).await;
            assert_failed(&result, K::TlsVersion);
            assert_eq!(tls_of(&result).version, None);
        }
    }
}

#[tokio::test]
async fn s60_tls_1_1_only() {
    // One that answers in its own version, and one that says so.
    for server in [
        answering(|hello| ServerHello::tls12(hello).version(0x0302).suite(0xc013).record()),
        answering(|hello| ServerHello::tls12(hello).version(0x0301).suite(0xc013).record()),
        answering(|_| raw::alert(raw::FATAL, raw::PROTOCOL_VERSION)),
        answering(|_| raw::versioned_record(raw::ALERT, 0x0301, &[2, raw::PROTOCOL_VERSION])),
    ] {
        let result = shake(server.addr(), &any()).await;
        assert_failed(&result, K::TlsVersion);
        let (direction, code) = alert(&result).unwrap();
        assert_eq!(code, raw::PROTOCOL_VERSION, "{direction:?}");
    }
}

#[tokio::test]
async fn s60_tls_1_1_only_of_openssl() {
    // Security level 0 is the one that still lets it speak that version.
    let arguments = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let Some((openssl, _)) = openssl_self_signed(&["rsa:2048"], &arguments) else { return };
    let result = shake(openssl.addr(), &any()).await;
    assert_failed(&result, K::TlsVersion);
    assert_eq!(alert(&result), Some((AlertDirection::Received, raw::PROTOCOL_VERSION)));
}

#[tokio::test]
async fn s61_tls_1_2_only() {
    let (pki, tls) = good();
    let server = silent(&tls.tls12());
    let result = shake(server.addr(), &trusting(&pki.root)).await;
    assert_passed(&result);
    let tls = tls_of(&result);
    assert_eq!(tls.version, Some(TlsVersion::Tls12));
    let suite = tls.cipher_suite.as_deref();
    assert_eq!(suite, Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    assert_eq!(tls.group.as_deref(), Some("x25519"));
    assert_eq!(tls.signature_scheme.as_deref(), Some("ecdsa_secp256r1_sha256"));
    assert_eq!(server.connection(0).tls.unwrap().version, "TLSv1_2");

    let config = TlsConfig { min_version: TlsVersion::Tls13, ..trusting(&pki.root) };
    assert_failed(&shake(server.addr(), &config).await, K::TlsVersion);
}

#[tokio::test]
async fn s62_tls_1_3_only() {
    let (pki, tls) = good();
    let server = silent(&tls.tls13());
    let result = shake(server.addr(), &trusting(&pki.root)).await;
    assert_passed(&result);
    let tls = tls_of(&result);
    assert_eq!(tls.version, Some(TlsVersion::Tls13));
    assert_eq!(tls.cipher_suite.as_deref(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(server.connection(0).tls.unwrap().version, "TLSv1_3");

    let config = TlsConfig { max_version: TlsVersion::Tls12, ..trusting(&pki.root) };
    let result = shake(server.addr(), &config).await;
    assert_failed(&result, K::TlsVersion);
    assert_eq!(alert(&result), Some((AlertDirection::Received, raw::PROTOCOL_VERSION)));
}

/// A server that only has suites and groups that are not offered refuses the hello, as OpenSSL does
/// (see `s64_only_finite_field_dh_of_openssl`). One that insists breaks the protocol: see S66.
#[tokio::test]
async fn s64_only_finite_field_dh() {
    // TLS_DHE_RSA_WITH_AES_128_GCM_SHA256 in TLS 1.2, ffdhe2048 in TLS 1.3.
    let server = answering(|hello| {
        assert!(!hello.suites.contains(&0x009e));
        assert!(hello.shares.iter().all(|(group, _)| *group != 0x0100));
        raw::alert(raw::FATAL, raw::HANDSHAKE_FAILURE)
    });
    for config in [any(), between(TlsVersion::Tls12, TlsVersion::Tls12)] {
        let result = shake(server.addr(), &config).await;
        assert_failed(&result, K::TlsNoSuite);
        let failure = result.outcome.failure().unwrap();
        assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: raw::HANDSHAKE_FAILURE }));
    }
    let retry = answering(|hello| ServerHello::retry(hello, 0x0100).record());
    assert_failed(&shake(retry.addr(), &any()).await, K::TlsIllegalParameter);
}

#[tokio::test]
async fn s64_only_finite_field_dh_of_openssl() {
    for arguments in
        [["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], ["-tls1_3", "-groups", "ffdhe2048"]]
    {
        let Some((openssl, _)) = openssl_self_signed(&["rsa:2048"], &arguments) else { return };
        let result = shake(openssl.addr(), &any()).await;
        assert_failed(&result, K::TlsNoSuite);
        assert_eq!(alert(&result), Some((AlertDirection::Received, raw::HANDSHAKE_FAILURE)));
    }
}

#[tokio::test]
async fn s65_only_rc4_3des_null_or_export() {
    // TLS_RSA_WITH_RC4_128_SHA, ..._3DES_EDE_CBC_SHA, ..._NULL_SHA, TLS_RSA_EXPORT_WITH_RC4_40_MD5.
    for suite in [0x0005, 0x000a, 0x0002, 0x0003] {
        for refusal in [raw::HANDSHAKE_FAILURE, 71] {
            let server = answering(move |hello| {
                if hello.suites.contains(&suite) {
                    return ServerHello::tls12(hello).suite(suite).record();
                }
                raw::alert(raw::FATAL, refusal)
            });
            let result = shake(server.addr(), &any()).await;
            assert_failed(&result, K::TlsNoSuite);
            assert_eq!(alert(&result), Some((AlertDirection::Received, refusal)));
        }
    }
}

#[tokio::test]
async fn s66_suite_never_offered() {
    let tls13 = |hello: &ClientHello, suite| {
        let (group, share) = hello.shares[0].clone();
        ServerHello::tls13(hello, group, &share).suite(suite).record()
    };
    for server in [
        answering(|hello| ServerHello::tls12(hello).suite(0x0005).record()),
        answering(|hello| ServerHello::tls12(hello).suite(0x009e).record()),
        answering(|hello| ServerHello::tls12(hello).suite(0xeaea).record()),
        // A suite that was offered, of the other version.
        answering(|hello| ServerHello::tls12(hello).suite(0x1301).record()),
        answering(move |hello| tls13(hello, 0xc02b)),
        // TLS_AES_128_CCM_8_SHA256
        answering(move |hello| tls13(hello, 0x1305)),
    ] {
        let result = shake(server.addr(), &any()).await;
        assert_failed(&result, K::TlsIllegalParameter);
        // rustls says handshake_failure in one case and illegal_parameter in the others.
        let (direction, code) = alert(&result).unwrap();
        assert!(direction == AlertDirection::Sent && [40, 47].contains(&code), "{result}");
    }
}

#[tokio::test]
async fn s68_downgrade_sentinel() {
    let (pki, tls) = good();
    let server = silent(&tls.downgrade_sentinel());
    let result = shake(server.addr(), &trusting(&pki.root)).await;
    assert_failed(&result, K::TlsDowngrade);
    assert_eq!(alert(&result), Some((AlertDirection::Sent, 47)));
    // To a client that has never offered TLS 1.3 the mark means nothing.
    let config = TlsConfig { max_version: TlsVersion::Tls12, ..trusting(&pki.root) };
    assert_passed(&shake(server.addr(), &config).await);
}

#[tokio::test]
async fn s69_closes_on_a_tls_1_3_hello() {
    let (pki, tls) = good();
    let server = Server::tcp(Script::new().run(async move |conn| {
        // All of the hello is read, so that the close is a FIN.
        let record = conn.read(5).await?;
        let body = conn.read(usize::from(u16::from_be_bytes([record[3], record[4]]))).await?;
        let hello = ClientHello::parse(&body).unwrap();
        if hello.versions.contains(&0x0304) {
            return Ok(());
        }
        conn.unread(&[record, body].concat());
        conn.start_tls(&tls.clone().tls12()).await
    }));
    let config = trusting(&pki.root);
    let result = shake(server.addr(), &config).await;
    assert_failed(&result, K::Closed);
    assert_eq!(tls_of(&result).bytes_in, 0);
    let config = TlsConfig { max_version: TlsVersion::Tls12, ..config };
    assert_passed(&shake(server.addr(), &config).await);
}

#[tokio::test]
async fn s70_hello_larger_than_one_segment() {
    let (pki, tls) = good();
    // It reads what fits into one segment, and waits for ever if that was not all.
    let server = Server::tcp(Script::new().run(async move |conn| {
        let record = conn.read(5).await?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        if length > 1_400 {
            conn.drain().await;
            return Ok(());
        }
        let body = conn.read(length).await?;
        conn.unread(&[record, body].concat());
        conn.start_tls(&tls).await
    }));
    let small = trusting(&pki.root);
    let result = shake(server.addr(), &small).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).hint, None);

    let alpn = (0..100).map(|n| format!("a-rather-long-name-{n}")).collect();
    let large = TlsConfig { alpn, ..small };
    let result = shake_within(NAME, server.addr(), &large, &within_ms(150)).await;
    assert_failed(&result, K::Timeout);
    assert_eq!(tls_of(&result).hint, Some(TlsHint::HelloSize));
    assert!(tls_of(&result).client_hello_bytes > 1_428);
}

/// A TLS 1.3 server that lacks the group of the key share asks once more; that is no fault.
#[tokio::test]
async fn s72_one_retry_is_fine() {
    let (pki, tls) = good();
    let server = silent(&tls.groups(&[rustls::NamedGroup::secp384r1]));
    let result = shake(server.addr(), &trusting(&pki.root)).await;
    assert_passed(&result);
    assert_eq!(tls_of(&result).handshake, Some(HandshakeKind::FullWithRetry));
    assert_eq!(tls_of(&result).group.as_deref(), Some("secp384r1"));
}

#[tokio::test]
async fn s72_retry_request_twice() {
    let server = Server::tcp(Script::new().run(async |conn| {
        for group in [0x18, 0x17] {
            let hello = ClientHello::read(conn).await?;
            conn.send(&ServerHello::retry(&hello, group).record()).await?;
            // The second hello follows a change-cipher-spec.
            if group == 0x18 {
                conn.read(6).await?;
            }
        }
        conn.drain().await;
        Ok(())
    }));
    let result = shake(server.addr(), &any()).await;
    assert_failed(&result, K::TlsUnexpectedMessage);
    assert_eq!(alert(&result), Some((AlertDirection::Sent, 10)));
}

#[tokio::test]
async fn s73_retry_for_the_same_group() {
    let server = answering(|hello| ServerHello::retry(hello, hello.shares[0].0).record());
    let result = shake(server.addr(), &any()).await;
    assert_failed(&result, K::TlsIllegalParameter);
    assert_eq!(alert(&result), Some((AlertDirection::Sent, 47)));
}

#[tokio::test]
async fn s74_no_alpn() {
    let (pki, tls) = good();
    for tls in [tls.clone().tls12(), tls.tls13()] {
        let server = silent(&tls);
        let alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
        let result = shake(server.addr(), &TlsConfig { alpn, ..trusting(&pki.root) }).await;
        assert_passed(&result);
        assert_eq!(tls_of(&result).alpn, None);
        assert_eq!(server.connection(0).hello.unwrap().alpn, ["h2", "http/1.1"]);
    }
}

#[tokio::test]
async fn s76_no_shared_protocol() {
    let (pki, tls) = good();
    let tls = tls.alpn(["imap", "x"]);
    for tls in [tls.clone().tls12(), tls.tls13()] {
        let server = silent(&tls);
        let alpn = vec!["h2".to_owned()];
        let result = shake(server.addr(), &TlsConfig { alpn, ..trusting(&pki.root) }).await;
        assert_failed(&result, K::TlsAlert);
        let sent = Some((AlertDirection::Received, raw::NO_APPLICATION_PROTOCOL));
        assert_eq!(alert(&result), sent);
        assert!(detail(&result).contains("no_application_protocol"), "{result}");
        let alpn = vec!["h2".to_owned(), "x".to_owned()];
        let result = shake(server.addr(), &TlsConfig { alpn, ..trusting(&pki.root) }).await;
        assert_passed(&result);
        assert_eq!(tls_of(&result).alpn.as_deref(), Some("x"));
    }
}

#[tokio::test]
async fn s77_sni_unknown_fatal_alert() {
    let (pki, tls) = good();
    let known = pki.leaf("b.test").key(Key::p384()).issue();
    let tls = tls.named("b.test", known.clone()).refuse_unknown_names();
    for tls in [tls.clone().tls12(), tls.tls13()] {
        let server = silent(&tls);
        let config = trusting(&pki.root);
        let result = shake(server.addr(), &config).await;
        assert_failed(&result, K::TlsAlert);
        let failure = result.outcome.failure().unwrap();
        assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: raw::UNRECOGNIZED_NAME }));
        assert!(detail(&result).contains("unrecognized_name"), "{result}");
        let result = shake_as("b.test", server.addr(), &config).await;
        assert_passed(&result);
        assert_served(&result, &known.chain);
        // Without a name the server is at a loss too.
        let nameless = TlsConfig { sni: netsonde::tls::Sni::Off, ..config };
        assert_failed(&shake_as("b.test", server.addr(), &nameless).await, K::TlsAlert);
        assert_eq!(server.connection(2).hello.unwrap().sni, None);
    }
}

#[tokio::test]
async fn s78_sni_unknown_warning_alert() {
    let (pki, tls) = good();
    let tls = tls.warn_of_unknown_names();
    for tls in [tls.clone().tls12(), tls.tls13()] {
        let server = silent(&tls);
        let result = shake(server.addr(), &trusting(&pki.root)).await;
        assert_passed(&result);
        assert!(result.timing.phase(Phase::Tls).unwrap() < Duration::from_secs(5));
    }
}
