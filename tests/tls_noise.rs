//! Stalls and noise (rows S80 to S106 of the fault list).

#![cfg(all(feature = "ring", feature = "webpki-roots", feature = "idna"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;
#[macro_use]
mod tls;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netsonde::script::{Script as Dialogue, Step};
use netsonde::tcp::{TcpConfig, TcpReport};
use netsonde::tls::{AlertDirection, TlsConfig, TlsLimits, TlsVersion, alert_name};
use netsonde::{FailureKind as K, LimitHit, Phase, ProbeResult, RawCode};
use netsonde_support::relay::{Fate, Flow, Point, Relay};
use netsonde_support::tls::hello::ClientHello;
use netsonde_support::tls::raw::{self, ServerHello, message};
use netsonde_support::{Key, Leaks, Pki, Script, Server, TlsServer};

use check::{checked, script_of, within_ms};
use tls::*;

/// Time enough for a handshake, and short enough to wait for its end.
const SHORT_MS: u64 = 200;

/// Shakes hands through a relay that does this to what the server says.
async fn damaged(tls: TlsServer, root: &Pki, flow: Flow) -> ProbeResult<TcpReport> {
    let server = silent(&tls);
    let relay = Relay::to(server.addr()).from_server(flow).start();
    shake_within(NAME, relay.addr(), &trusting(&root.root), &within_ms(SHORT_MS)).await
}

/// Shakes hands with a server that reads a hello and runs these steps.
async fn after_hello(steps: Script) -> ProbeResult<TcpReport> {
    let hello = Script::new().run(async |conn| ClientHello::read(conn).await.map(drop));
    let server = Server::tcp(hello.then(&steps));
    shake_within(NAME, server.addr(), &TlsConfig::default(), &within_ms(2_000)).await
}

/// Speaks TLS with a server that does these steps then, and waits for a line `done`.
async fn after_handshake(tls: &TlsServer, root: &Pki, steps: Script) -> ProbeResult<TcpReport> {
    let server = Server::tcp(Script::new().start_tls(tls).then(&steps));
    let script = Dialogue::new([Step::expect("^done$")]);
    let tls = Some(trusting(&root.root));
    let config = TcpConfig { tls, script, ..TcpConfig::default() };
    checked(&prober_to(server.addr(), config), &within_ms(5_000), target(NAME)).await
}

/// A flood that begins right behind the handshake may be met in it already.
#[track_caller]
fn assert_broken(result: &ProbeResult<TcpReport>, kind: K) {
    let (code, phase) = check::code(result);
    assert_eq!(code, kind.code(), "{result}");
    assert!(matches!(phase, Some(Phase::Tls | Phase::Script)), "{result}");
}

fn both(tls: &TlsServer) -> [TlsServer; 2] {
    [tls.clone().tls12(), tls.clone().tls13()]
}

#[tokio::test]
async fn s80_one_byte_per_second() {
    let (pki, tls) = good();
    for tls in both(&tls) {
        let result = damaged(tls, &pki, Flow::new().segments(1, Duration::from_secs(1))).await;
        assert_failed(&result, K::Timeout);
        assert_eq!(tls_of(&result).bytes_in, 1);
    }
}

#[tokio::test]
async fn s81_stall_after_server_hello() {
    let (pki, tls) = good();
    for tls in both(&tls) {
        let stall = Flow::new().after(Point::Message(message::SERVER_HELLO), Fate::Stall);
        let version = tls.config().alpn_protocols.is_empty();
        let result = damaged(tls, &pki, stall).await;
        assert_failed(&result, K::Timeout);
        assert!(version && tls_of(&result).version.is_some(), "{result}");
        assert!(tls_of(&result).certificates.is_empty() && tls_of(&result).hint.is_none());
    }
}

/// The library shows certificates when it verifies them: in TLS 1.2 that is after the whole flight,
/// so that one which stops short leaves none in the report. In TLS 1.3 they follow at once.
#[tokio::test]
async fn s82_stall_after_certificate() {
    let (pki, tls) = good();
    let stall = Flow::new().after(Point::Message(message::CERTIFICATE), Fate::Stall);
    let result = damaged(tls.clone().tls12(), &pki, stall).await;
    assert_failed(&result, K::Timeout);
    assert_eq!(tls_of(&result).version, Some(TlsVersion::Tls12));

    // Encrypted, the messages go in records of 200 bytes: some of them, the last one not.
    let mut shown = 0;
    for records in 3..30 {
        let tls = tls.clone().tls13().max_fragment(200);
        let stall = Flow::new().after(Point::Records(records), Fate::Stall);
        let result = damaged(tls, &pki, stall).await;
        if result.outcome.is_pass() {
            break;
        }
        assert_failed(&result, K::Timeout);
        shown = usize::max(shown, tls_of(&result).certificates.len());
    }
    assert_eq!(shown, 2);
}

#[tokio::test]
async fn s84_plain_http_on_the_tls_port() {
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for steps in [
        Script::new().send(answer),
        Script::new().send_each(answer, Duration::from_millis(1)),
        Script::new().send(answer).rst(),
        Script::new().send_forever(answer),
    ] {
        let result = after_hello(steps).await;
        assert_failed(&result, K::TlsNotTls);
        let seen = tls_of(&result).peer_first_bytes.as_deref().unwrap();
        assert!(r"HTTP/1.1 400 Bad Request\r\nContent-Length: 0".starts_with(&seen[..1]), "{seen}");
        assert!(detail(&result).starts_with(&seen[..1]), "{result}");
    }
    let result = after_hello(Script::new().send(answer).hang()).await;
    let seen = tls_of(&result).peer_first_bytes.as_deref().unwrap();
    assert!(seen.starts_with(r"HTTP/1.1 400 Bad Request\r\nContent-"), "{seen}");
}

#[tokio::test]
async fn s85_ssh_or_smtp_banner_on_the_tls_port() {
    for banner in ["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "220 mail.test ESMTP Postfix\r\n"] {
        // They speak first, and do not wait for anybody's hello.
        let server = Server::tcp(Script::new().send(banner).hang());
        let result = shake(server.addr(), &TlsConfig::default()).await;
        assert_failed(&result, K::TlsNotTls);
        let seen = tls_of(&result).peer_first_bytes.as_deref().unwrap();
        assert_eq!(seen, banner.escape_default().to_string());
        assert!(detail(&result).contains(seen), "{result}");
    }
}

/// Bytes from a generator (Knuth's MMIX), so that a failure can be seen again.
fn random(seed: u64) -> Vec<u8> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(next(&seed), next).take(200).map(|state| (state >> 56) as u8).collect()
}

#[tokio::test]
async fn s86_random_bytes() {
    for seed in 0..100 {
        let bytes = random(seed);
        // What begins like a record is taken for one: those are the rows below.
        assert!(!(20..=23).contains(&bytes[0]) || bytes[1] != 3);
        let result = after_hello(Script::new().send(&bytes).hang()).await;
        assert_failed(&result, K::TlsNotTls);
    }
    for first in 0..=255 {
        let result = after_hello(Script::new().send([&[first][..], &[0x5a; 100]].concat())).await;
        assert_failed(&result, K::TlsNotTls);
    }
}

/// Records of the right form with random contents are TLS that breaks a rule.
#[tokio::test]
async fn s86_random_records() {
    for seed in 0..100 {
        let kind = 20 + (seed % 4) as u8;
        let result = after_hello(Script::new().send(raw::record(kind, &random(seed)))).await;
        let failure = result.outcome.failure().unwrap();
        assert_eq!(failure.phase, Some(Phase::Tls));
        assert!(failure.code().starts_with("tls_"), "{result}");
        assert_ne!(failure.kind, K::TlsNotTls, "{result}");
    }
}

#[tokio::test]
async fn s88_empty_records_without_end() {
    for kind in [raw::HANDSHAKE, raw::APPLICATION_DATA] {
        let result = after_hello(Script::new().send_forever(raw::record(kind, b""))).await;
        let expected = match kind {
            raw::HANDSHAKE => K::TlsEmptyFragments,
            _ => K::TlsUnexpectedMessage,
        };
        assert_failed(&result, expected);
    }
    // Within the session, where single ones are fine.
    let (pki, tls) = good();
    let empty = || vec![(raw::APPLICATION_DATA, vec![])];
    for tls in both(&tls) {
        let few = Script::new()
            .tls_records(empty())
            .tls_records(vec![(raw::APPLICATION_DATA, b"done\n".to_vec())]);
        assert_passed(&after_handshake(&tls, &pki, few).await);
        let flood = Script::new().tls_records_forever(empty());
        let result = after_handshake(&tls, &pki, flood).await;
        assert_broken(&result, K::TlsEmptyFragments);
    }
}

#[tokio::test]
async fn s89_one_byte_per_record() {
    let (pki, tls) = good();
    for tls in both(&tls) {
        assert_passed(&damaged(tls, &pki, Flow::new().one_byte_records()).await);
    }
    // In TLS 1.3 only the server's hello is in the clear; 32 bytes a record is the least for the rest.
    assert_passed(&damaged(tls.tls13().max_fragment(32), &pki, Flow::new()).await);
}

#[tokio::test]
async fn s90_handshake_length_of_16_mb() {
    for kind in [message::SERVER_HELLO, message::CERTIFICATE] {
        let result = after_hello(Script::new().send(raw::handshake_header(kind, 0xff_ffff))).await;
        assert_failed(&result, K::TlsLimit);
        assert_eq!(tls_of(&result).bytes_in, 9);
    }
}

/// A peer that also delivers is given up at the header.
#[tokio::test]
async fn s90_handshake_of_16_mb_is_not_held() {
    if !check::in_own_process("s90_handshake_of_16_mb_is_not_held", "") {
        return;
    }
    let chunk = raw::record(raw::HANDSHAKE, &[0; 16_000]);
    let steps = Script::new()
        .send(raw::handshake_header(message::SERVER_HELLO, 0xff_ffff))
        .send_forever(chunk);
    after_hello(steps.clone()).await;
    let leaks = Leaks::baseline();
    for _ in 0..10 {
        let result = after_hello(steps.clone()).await;
        assert_failed(&result, K::TlsLimit);
        assert!(tls_of(&result).bytes_in < 100_000);
    }
    assert!(leaks.growth() < 4 << 20, "{} bytes", leaks.growth());
}

/// The longest message that the library announces to take, and a byte more than it holds.
#[tokio::test]
async fn s90_handshake_length_of_64_kib() {
    let server = Server::tcp(Script::new().run(async |conn| {
        let hello = ClientHello::read(conn).await?;
        conn.send(&ServerHello::tls12(&hello).record()).await?;
        conn.send(&raw::handshake_header(message::CERTIFICATE, 0xffff)).await?;
        let chunk = raw::record(raw::HANDSHAKE, &[0; 16_000]);
        loop {
            conn.send(&chunk).await?;
        }
    }));
    let result = shake(server.addr(), &TlsConfig::default()).await;
    assert_failed(&result, K::TlsLimit);
    assert!(tls_of(&result).bytes_in < 100_000);
}

/// Our own cap on the bytes of a handshake, which the library does not have.
#[tokio::test]
async fn s90_handshake_of_many_bytes() {
    let (pki, tls) = good();
    let server = silent(&tls);
    let limits = TlsLimits { handshake_bytes: 1_000, ..TlsLimits::default() };
    let config = TlsConfig { limits, ..trusting(&pki.root) };
    let result = shake(server.addr(), &config).await;
    assert_failed(&result, K::TlsLimit);
    let limit = result.outcome.failure().unwrap().limit.unwrap();
    assert_eq!(limit, LimitHit::new(1_000, tls_of(&result).bytes_in));
}

#[tokio::test]
async fn s92_warning_alerts_without_end() {
    let warning = raw::alert(raw::WARNING, raw::UNRECOGNIZED_NAME);
    assert_failed(&after_hello(Script::new().send_forever(&warning)).await, K::TlsAlertFlood);
    let (pki, tls) = good();
    let flood = Script::new().tls_records_forever(vec![(raw::ALERT, vec![raw::WARNING, 112])]);
    let result = after_handshake(&tls.tls12(), &pki, flood).await;
    assert_broken(&result, K::TlsAlertFlood);
}

#[tokio::test]
async fn s93_change_cipher_spec_without_end() {
    let flood = Script::new().send_forever(raw::change_cipher_spec());
    assert_failed(&after_hello(flood).await, K::TlsUnexpectedMessage);
    for tls13 in [false, true] {
        let server = Server::tcp(Script::new().run(async move |conn| {
            let hello = ClientHello::read(conn).await?;
            let answer = if tls13 {
                let (group, share) = hello.shares[0].clone();
                ServerHello::tls13(&hello, group, &share)
            } else {
                ServerHello::tls12(&hello)
            };
            conn.send(&answer.record()).await?;
            loop {
                conn.send(&raw::change_cipher_spec().repeat(1_000)).await?;
            }
        }));
        let result = shake(server.addr(), &TlsConfig::default()).await;
        assert_failed(&result, K::TlsUnexpectedMessage);
    }
}

/// Before the server's hello some alerts can only mean that there is nothing in common.
#[tokio::test]
async fn s94_each_fatal_alert() {
    let server = Server::tcp(Script::new().run(async |conn| {
        let hello = ClientHello::read(conn).await?;
        // The name asked for tells what to do.
        let name = hello.sni.clone().unwrap_or_default();
        let code = name.split('.').next().and_then(|code| code.parse().ok()).unwrap();
        if name.ends_with("late.test") {
            conn.send(&ServerHello::tls12(&hello).record()).await?;
        }
        conn.send(&raw::alert(raw::FATAL, code)).await?;
        conn.drain().await;
        Ok(())
    }));
    for code in 0..=255 {
        for moment in ["early", "late"] {
            let name = format!("{code}.{moment}.test");
            let result = shake_as(&name, server.addr(), &TlsConfig::default()).await;
            let failure = result.outcome.failure().unwrap();
            let expected = match (code, moment) {
                (40 | 71, "early") => K::TlsNoSuite,
                (70, "early") => K::TlsVersion,
                _ => K::TlsAlert,
            };
            assert_failed(&result, expected);
            assert_eq!(failure.raw, Some(RawCode::TlsAlert { value: code }));
            let words = format!("alert {code} {}", alert_name(code).unwrap_or("unknown"));
            assert_eq!(detail(&result), words);
            assert_eq!(alert(&result), Some((AlertDirection::Received, code)));
        }
    }
}

/// The one alert that is a good-bye.
#[tokio::test]
async fn s94_close_notify_as_a_warning() {
    let steps = Script::new().send(raw::alert(raw::WARNING, 0));
    assert_failed(&after_hello(steps).await, K::Closed);
}

/// Where a handshake can be cut: inside of a record header, of a record, between two messages.
fn cuts() -> Vec<Point> {
    let bytes = [1, 3, 5, 20, 60, 200, 400].map(Point::Bytes);
    bytes.into_iter().chain([Point::Message(message::SERVER_HELLO), Point::Records(1)]).collect()
}

#[tokio::test]
async fn s96_fin_in_mid_handshake() {
    let (pki, tls) = good();
    for point in cuts() {
        for tls in both(&tls) {
            let result = damaged(tls, &pki, Flow::new().after(point, Fate::Fin)).await;
            assert_failed(&result, K::Closed);
        }
    }
}

#[tokio::test]
async fn s97_rst_in_mid_handshake() {
    let (pki, tls) = good();
    for point in cuts() {
        for tls in both(&tls) {
            let result = damaged(tls, &pki, Flow::new().after(point, Fate::Rst)).await;
            assert_failed(&result, K::Reset);
        }
    }
}

#[tokio::test]
async fn s98_application_data_before_finished() {
    let data = raw::record(raw::APPLICATION_DATA, b"hello");
    assert_failed(&after_hello(Script::new().send(&data)).await, K::TlsUnexpectedMessage);
    // In TLS 1.2 at any later place too; in TLS 1.3 such a record is taken for an encrypted one.
    let server = Server::tcp(Script::new().run(async |conn| {
        let hello = ClientHello::read(conn).await?;
        let data = raw::record(raw::APPLICATION_DATA, b"hello");
        conn.send(&[ServerHello::tls12(&hello).record(), data].concat()).await
    }));
    assert_failed(&shake(server.addr(), &TlsConfig::default()).await, K::TlsUnexpectedMessage);
}

#[tokio::test]
async fn s100_renegotiation_request() {
    let (pki, tls) = good();
    let tls = tls.tls12();
    let hello_request = || (raw::HANDSHAKE, raw::handshake(message::HELLO_REQUEST, b""));
    let done = (raw::APPLICATION_DATA, b"done\n".to_vec());
    let once = Script::new().tls_records(vec![hello_request(), done]).read_to_end();
    assert_passed(&after_handshake(&tls, &pki, once).await);
    let flood = Script::new().tls_records_forever(vec![hello_request()]);
    let result = after_handshake(&tls, &pki, flood).await;
    assert_broken(&result, K::TlsUnexpectedMessage);
}

#[tokio::test]
async fn s101_10_000_session_tickets() {
    const BOUND: u64 = 8 << 20;
    if !check::in_own_process("s101_10_000_session_tickets", "") {
        return;
    }
    let (pki, tls) = good();
    let tls = tls.tls13().tickets(0);
    // Lifetime, age, a nonce, a ticket of 200 bytes, no extensions (RFC 8446, 4.6.1).
    let ticket = [&[0, 0, 14, 16, 1, 2, 3, 4, 1, 0, 0, 200][..], &[7; 200], &[0, 0]].concat();
    let ticket = (raw::HANDSHAKE, raw::handshake(message::NEW_SESSION_TICKET, &ticket));
    let done = Script::new()
        .tls_records(vec![ticket; 10_000])
        .tls_records(vec![(raw::APPLICATION_DATA, b"done\n".to_vec())])
        .read_to_end();
    // The server's own memory is of this process too; it is there after the first time.
    assert_passed(&after_handshake(&tls, &pki, done.clone()).await);
    let leaks = Leaks::baseline();
    for _ in 0..3 {
        let result = after_handshake(&tls, &pki, done.clone()).await;
        assert_passed(&result);
        assert_eq!(script_of(&result).bytes_received, 5);
    }
    assert!(leaks.growth() < BOUND, "{} bytes", leaks.growth());
}

/// Tickets that do not end with their records pile up in the library, up to 64 KiB.
#[tokio::test]
async fn s101_10_000_session_tickets_across_records() {
    let (pki, tls) = good();
    let done = Script::new().send("done\n").read_to_end();
    let result = after_handshake(&tls.tls13().tickets(10_000), &pki, done).await;
    assert_broken(&result, K::TlsLimit);
}

/// The library takes so many requests to change keys and no more.
#[tokio::test]
async fn s102_key_updates_without_end() {
    let (pki, tls) = good();
    let result = after_handshake(&tls.tls13(), &pki, Script::new().tls_key_updates()).await;
    assert_broken(&result, K::TlsUnexpectedMessage);
}

/// Keeps the secret that a server seals with.
#[derive(Debug, Default)]
struct ServerSecret(Mutex<Vec<u8>>);

impl rustls::KeyLog for ServerSecret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "SERVER_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}

/// A peer that changes only its own keys may do so for ever, and makes the client work for each: the
/// deadline ends it, and other work of the thread gets its turn.
#[tokio::test]
async fn s102_key_updates_that_ask_for_nothing() {
    // Up to three times: the flood and its maker want both processors for themselves.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (late, allowed, longest) = key_updates_that_ask_for_nothing().await;
        // It is on time, and nobody else of the thread had to wait for long.
        if late <= allowed && longest < Duration::from_millis(200) {
            return;
        }
        seen.push((late, allowed, longest));
    }
    panic!("late, allowed to be so, longest wait of others: {seen:?}");
}

/// How late the probe ended, how late it may be here and now, and how long others had to wait.
async fn key_updates_that_ask_for_nothing() -> (Duration, Duration, Duration) {
    let (pki, tls) = good();
    let secret = Arc::new(ServerSecret::default());
    let log: Arc<dyn rustls::KeyLog> = secret.clone();
    let flood = Script::new().run(async move |conn| {
        let secret = secret.0.lock().unwrap().clone();
        conn.key_updates_unasked(&secret).await
    });
    let server = Server::tcp(Script::new().start_tls(&tls.tls13().key_log(log)).then(&flood));
    let script = Dialogue::new([Step::expect("^done$")]);
    let config = TcpConfig { tls: Some(trusting(&pki.root)), script, ..TcpConfig::default() };
    let prober = prober_to(server.addr(), config);
    let (cx, target) = (within_ms(400), target(NAME));
    let mut longest = Duration::ZERO;
    let others = async {
        loop {
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            longest = longest.max(before.elapsed());
        }
    };
    let stalls = check::Stalls::watch();
    let result = tokio::select! {
        result = netsonde::Prober::probe_with(&prober, &cx, &target) => result,
        () = others => unreachable!(),
    };
    let allowed = check::LATE + stalls.total();
    check::check(&result);
    let (total, timeout) = (result.timing.total(), Duration::from_millis(400));
    assert!(total >= timeout, "{result}");
    assert_eq!(check::stuck(&result), ("timeout", Some(Phase::Script), Some(0)), "{result}");
    // It was at it all the time.
    let tcp = result.report.connection.as_ref().unwrap().at_end.as_ref().unwrap();
    assert!(tcp.bytes_received.unwrap() > 100_000, "{tcp:?}");
    (total - timeout, allowed, longest)
}

#[tokio::test]
async fn s104_bad_record_mac() {
    let (pki, tls) = good();
    let [tls12, tls13] = both(&tls);
    for number in [0, 1] {
        let flip = Flow::new().flip_record_of(raw::APPLICATION_DATA, number);
        assert_failed(&damaged(tls13.clone().max_fragment(200), &pki, flip).await, K::TlsDecrypt);
    }
    // The records of a TLS 1.2 flight, ended by change-cipher-spec and Finished.
    let tls12 = tls12.max_fragment(16_000);
    let mut refused = Vec::new();
    for number in 0..12 {
        let result = damaged(tls12.clone(), &pki, Flow::new().flip_record(number)).await;
        let failure = result.outcome.failure().map(|failure| failure.kind);
        refused.push(failure);
    }
    let last = refused.iter().rposition(Option::is_some).unwrap();
    assert_eq!(refused[last], Some(K::TlsDecrypt), "{refused:?}");

    // After the handshake, in the middle of a script.
    let server = Server::tcp(Script::new().start_tls(&tls13.tickets(0)).send("done\n"));
    let flip = Flow::new().flip_record_of(raw::APPLICATION_DATA, 1);
    let relay = Relay::to(server.addr()).from_server(flip).start();
    let script = Dialogue::new([Step::expect("^done$")]);
    let config = TcpConfig { tls: Some(trusting(&pki.root)), script, ..TcpConfig::default() };
    let result = checked(&prober_to(relay.addr(), config), &within_ms(5_000), target(NAME)).await;
    assert_eq!(check::code(&result).0, "tls_decrypt", "{result}");
}

#[tokio::test]
async fn s105_wrong_finished() {
    let (pki, tls) = good();
    for tls in both(&tls) {
        let server = silent(&tls.wrong_finished());
        for config in [trusting(&pki.root), recording(&trusting(&pki.root))] {
            let result = shake(server.addr(), &config).await;
            assert_failed(&result, K::TlsDecrypt);
            assert_eq!(tls_of(&result).certificates.len(), 2);
        }
    }
}

#[tokio::test]
async fn s106_invalid_curve_point() {
    let pki = Pki::new();
    let leaf = pki.leaf(NAME).key(Key::p384()).issue();
    for tls in both(&TlsServer::new(leaf)) {
        let server = silent(&tls.invalid_curve_point());
        let result = shake(server.addr(), &trusting(&pki.root)).await;
        assert_failed(&result, K::TlsIllegalParameter);
        assert!(matches!(alert(&result), Some((AlertDirection::Sent, _))), "{result}");
    }
}
