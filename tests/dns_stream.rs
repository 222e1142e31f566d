//! The DNS prober over TCP and TLS: streams that come in pieces, stall, end too early or speak something
//! else.
#![cfg(all(feature = "dns", feature = "tls", feature = "ring", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod check;
mod dns;

use std::net::SocketAddr;
use std::time::Duration;

use check::in_own_process;
use dns::{
    CUT, FINE, RECORD, answer, ask, asking, framed, genuine, nowhere, only, outcome, passed_over,
    read_query, tcp_with, udp_and_tcp,
};
use netsonde::dns::{
    DnsConfig, DnsFate, DnsProber, DnsTransport, EdnsConfig, RawOption, TlsProfile,
};
use netsonde::tls::{TlsConfig, Trust};
use netsonde::{Phase, Prober, Target};
use netsonde_support::{ClosedPort, FullBacklog, Pki, TlsServer, Unaccepted, leaks};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn over_tcp(ms: u64) -> DnsConfig {
    DnsConfig { transport: DnsTransport::Tcp, ..asking(ms) }
}

/// Serves connections with octets made from the first query, and then leaves or stays.
async fn saying(stays: bool, make: fn(&[u8]) -> Vec<u8>) -> SocketAddr {
    tcp_with(nowhere(), move |mut stream, _| async move {
        let Some(query) = read_query(&mut stream).await else { return };
        stream.write_all(&make(&query)).await.unwrap();
        if stays {
            std::future::pending::<()>().await;
        }
    })
    .await
}

async fn in_pieces(stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], pause: Duration) {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn d45_an_answer_that_is_cut_short_over_tcp_as_well_ends_it() {
    let cut = |query: &[u8]| vec![answer(query, CUT, &[])];
    let server = udp_and_tcp(cut, cut).await;
    let result = ask(server, asking(2000)).await;
    assert_eq!(outcome(&result).0, "dns_truncated", "{result}");
    assert!(result.to_string().contains("over a stream as well"), "{result}");
    let fates: Vec<_> =
        result.report.exchange.attempts.iter().map(|a| (a.transport, a.fate)).collect();
    let (udp, tcp) = (DnsTransport::Udp, DnsTransport::Tcp);
    assert_eq!(fates, [(udp, DnsFate::Truncated), (tcp, DnsFate::Truncated)]);
}

#[tokio::test]
async fn d128_one_octet_per_segment() {
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        while let Some(query) = read_query(&mut stream).await {
            in_pieces(&mut stream, &framed(&genuine(&query)), Duration::from_millis(2)).await;
        }
    })
    .await;
    let result = ask(server, over_tcp(3000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(result.report.exchange.answer[0].presentation, RECORD);
    let attempt = only(&result);
    // The network's time ends with the first octet.
    assert!(attempt.network.unwrap().duration() < result.timing.phase(Phase::Transfer).unwrap());
}

#[tokio::test]
async fn d129_too_slow_for_the_deadline() {
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        let Some(query) = read_query(&mut stream).await else { return };
        in_pieces(&mut stream, &framed(&genuine(&query)), Duration::from_millis(100)).await;
    })
    .await;
    let result = ask(server, over_tcp(350)).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Transfer)), "{result}");
    assert!(result.timing.total() >= Duration::from_millis(350));
}

#[tokio::test]
async fn d130_a_length_of_zero() {
    for make in
        [|_: &[u8]| vec![0, 0], |query: &[u8]| [&[0, 0], &framed(&genuine(query))[..]].concat()]
    {
        let result = ask(saying(true, make).await, over_tcp(2000)).await;
        assert_eq!(outcome(&result), ("dns_length", Some(Phase::Transfer)), "{result}");
        assert!(result.timing.total() < Duration::from_millis(1000), "at once: {result}");
    }
}

#[test]
fn d132_a_promise_of_65535_octets() {
    if !in_own_process("d132_a_promise_of_65535_octets", "") {
        return;
    }
    const MANY: usize = 200;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // The prefix, and nothing or nearly all of what it promises.
        for sent in [0, 60_000_usize] {
            let server = tcp_with(nowhere(), move |mut stream, _| async move {
                let Some(_) = read_query(&mut stream).await else { return };
                stream.write_all(&[255, 255]).await.unwrap();
                for _ in 0..sent / 1000 {
                    let _ = stream.write_all(&[7; 1000]).await;
                }
                std::future::pending::<()>().await;
            })
            .await;
            let result = ask(server, over_tcp(300)).await;
            assert_eq!(outcome(&result), ("timeout", Some(Phase::Transfer)), "{result}");
            let prober = std::sync::Arc::new(DnsProber::new(over_tcp(2500)).unwrap());
            let before = leaks::resident_bytes();
            let mut probes = tokio::task::JoinSet::new();
            for _ in 0..MANY {
                let prober = std::sync::Arc::clone(&prober);
                probes.spawn(async move { prober.probe(&server.into()).await });
            }
            tokio::time::sleep(Duration::from_millis(2000)).await;
            let each = leaks::resident_bytes().saturating_sub(before) / MANY as u64;
            while let Some(result) = probes.join_next().await {
                assert_eq!(outcome(&result.unwrap()).0, "timeout");
            }
            // Beside the message a probe and the server's task hold some KiB; a Vec that grows has room for
            // twice what is in it.
            println!("{sent} octets sent: {each} bytes for each of {MANY} probes");
            assert!(each <= 2 * sent as u64 + (48 << 10), "{each} bytes");
        }
    });
}

#[tokio::test]
async fn d133_d134_the_end_comes_too_early() {
    for (make, detail) in [
        (
            (|query: &[u8]| [&[1, 0], &genuine(query)[..]].concat()) as fn(&[u8]) -> Vec<u8>,
            "in the middle",
        ),
        (|_| vec![0], "in the middle"),
        (|_| vec![], "without an answer"),
    ] {
        let result = ask(saying(false, make).await, over_tcp(2000)).await;
        assert_eq!(outcome(&result).0, "closed", "{result}");
        assert!(result.to_string().contains(detail), "{detail}: {result}");
        assert_eq!(only(&result).fate, DnsFate::Refused, "nothing is asked twice: {result}");
        assert!(result.timing.total() < Duration::from_millis(1000));
    }
    // A reset is told as what it is.
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        let _ = read_query(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let result = ask(server, over_tcp(2000)).await;
    assert_eq!(outcome(&result).0, "reset", "{result}");
}

#[tokio::test]
async fn d136_nobody_answers_the_syn() {
    let full = FullBacklog::v4();
    let result = ask(full.addr(), over_tcp(200)).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Connect)), "{result}");
    assert_eq!((only(&result).sent_ns.is_some(), only(&result).port), (false, None), "{result}");
    let closed = ClosedPort::v4();
    let result = ask(closed.addr(), DnsConfig { retries: 1, ..over_tcp(2000) }).await;
    assert_eq!(outcome(&result), ("refused", Some(Phase::Connect)), "{result}");
    assert_eq!(result.report.exchange.attempts.len(), 2);
}

#[tokio::test]
async fn d137_two_messages_in_one_segment() {
    let other = |query: &[u8]| answer(query, FINE, &["www.example. 60 IN A 203.0.113.9"]);
    let server = tcp_with(nowhere(), move |mut stream, _| async move {
        while let Some(query) = read_query(&mut stream).await {
            let both = [framed(&genuine(&query)), framed(&other(&query))].concat();
            stream.write_all(&both).await.unwrap();
        }
    })
    .await;
    let result = ask(server, over_tcp(2000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(result.report.exchange.answer[0].presentation, RECORD, "the first one wins");
    assert_eq!(only(&result).conflicts, 1, "{result}");
    // One that is to something else goes by.
    let server = tcp_with(nowhere(), move |mut stream, _| async move {
        while let Some(query) = read_query(&mut stream).await {
            let mut wrong = genuine(&query);
            wrong[0] ^= 1;
            let both = [framed(&wrong), framed(&genuine(&query))].concat();
            stream.write_all(&both).await.unwrap();
        }
    })
    .await;
    let result = ask(server, over_tcp(2000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!(passed_over(only(&result), "txid"), 1);
}

fn three_questions(ms: u64) -> DnsConfig {
    let mut config = over_tcp(ms);
    config.questions.push("a.example AAAA".parse().unwrap());
    config.questions.push("b.example MX".parse().unwrap());
    config
}

#[tokio::test]
async fn d138_answers_in_another_order() {
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        let mut queries = Vec::new();
        while queries.len() < 3 {
            queries.push(read_query(&mut stream).await.unwrap());
        }
        for query in queries.iter().rev() {
            stream.write_all(&framed(&answer(query, FINE, &[]))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let result = ask(server, three_questions(2000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    let exchanges: Vec<_> = result.report.exchanges().collect();
    assert_eq!(exchanges.len(), 3);
    for exchange in &exchanges {
        let message = exchange.parsed().unwrap();
        let asked = exchange.question.as_ref().unwrap();
        assert_eq!(message.questions().next().unwrap().name, asked.name.as_ref());
        assert_eq!(exchange.attempts.len(), 1);
        assert_eq!(exchange.header.as_ref().unwrap().id, exchange.attempts[0].id);
    }
    let end = |place: usize| exchanges[place].attempts[0].end_ns.unwrap();
    assert!(end(2) < end(1) && end(1) < end(0), "{result}");
}

#[tokio::test]
async fn d140_another_protocol_on_this_port() {
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    const TLS: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
    for (make, detail) in [
        ((|_| HTTP.to_vec()) as fn(&[u8]) -> Vec<u8>, "speaks HTTP"),
        (|_| TLS.to_vec(), "speaks TLS"),
    ] {
        // Whether it then leaves or stays.
        for stays in [false, true] {
            let result = ask(saying(stays, make).await, over_tcp(200)).await;
            assert_eq!(outcome(&result), ("protocol", Some(Phase::Transfer)), "{result}");
            assert!(result.to_string().contains(detail), "{result}");
        }
    }
    // SSH says something else again: a length that is not kept.
    let result = ask(saying(false, |_| b"SSH-2.0-x\r\n".to_vec()).await, over_tcp(200)).await;
    assert_eq!(outcome(&result).0, "closed", "{result}");
}

#[tokio::test]
async fn d141_closed_after_one_answer_of_a_set() {
    // Each connection is good for one answer.
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        let Some(query) = read_query(&mut stream).await else { return };
        // Whatever was sent is taken, or closing would be a reset.
        for _ in 0..2 {
            let next = read_query(&mut stream);
            let _ = tokio::time::timeout(Duration::from_millis(20), next).await;
        }
        stream.write_all(&framed(&answer(&query, FINE, &[]))).await.unwrap();
    })
    .await;
    let mut config = three_questions(3000);
    config.questions.pop();
    let result = ask(server, config).await;
    assert!(result.verdict.is_pass(), "{result}");
    let second = &result.report.others[0];
    let [first, again] = second.attempts.as_slice() else { panic!("{second:?}") };
    assert_eq!((first.fate, again.fate), (DnsFate::Refused, DnsFate::Answered));
    assert_eq!(first.verdict.as_ref().unwrap().code(), Some("closed"), "it is recorded: {first:?}");
    assert_ne!(first.port, again.port, "a new connection");
    // The third would be a second new connection for the same question: once is all there is.
    let result = ask(server, three_questions(3000)).await;
    assert_eq!(outcome(&result).0, "closed", "{result}");
    let tried: Vec<_> = result.report.exchanges().map(|one| one.attempts.len()).collect();
    assert_eq!(tried.iter().max(), Some(&2), "{tried:?}");
}

#[tokio::test]
async fn d142_the_window_stays_zero() {
    // Nobody reads. What fits into the buffers of both systems has left, as far as this one can tell; so
    // it takes more than that to be stuck in sending.
    let sink = Unaccepted::v4();
    let mut config = over_tcp(400);
    config.socket.send_buffer_bytes = Some(16 << 10);
    let result = ask(sink.addr(), config.clone()).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Processing)), "{result}");
    let options = vec![RawOption { code: 65_001, data: vec![0; 16_000] }];
    config.edns = Some(EdnsConfig { options, ..EdnsConfig::default() });
    let one = config.questions[0].clone();
    config.questions.resize(64, one);
    let result = ask(sink.addr(), config).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Request)), "{}", result.verdict);
    assert_eq!(only(&result).sent_ns, None, "it has not left");
}

fn over_tls(pki: Option<&Pki>, ms: u64) -> DnsConfig {
    let trust = pki.map(|pki| Trust::Pem(pki.root.pem()));
    let tls = trust.map(|trust| TlsConfig { trust, ..TlsConfig::default() });
    DnsConfig { transport: DnsTransport::Tls, tls, ..asking(ms) }
}

/// A server of DNS over TLS that sends these octets for a query, one in each record.
async fn tls_server(tls: &TlsServer, make: fn(&[u8]) -> Vec<u8>) -> SocketAddr {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls.config());
    tcp_with(nowhere(), move |stream: TcpStream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while let Some(query) = read_query(&mut stream).await {
                in_pieces(&mut stream, &make(&query), Duration::ZERO).await;
            }
        }
    })
    .await
}

async fn ask_named(
    server: SocketAddr,
    config: DnsConfig,
) -> netsonde::ProbeResult<netsonde::dns::DnsReport> {
    let mut config = config;
    config.dialing.connect_to = Some(server.to_string().parse().unwrap());
    let target: Target = "dns.test:853".parse().unwrap();
    dns::ask_with(&netsonde::ProbeContext::new(), target, config).await
}

#[tokio::test]
async fn d128_d130_d132_over_tls() {
    let pki = Pki::new();
    let tls = TlsServer::new(pki.leaf("dns.test").issue()).alpn(["dot"]);
    let server = tls_server(&tls, |query| framed(&genuine(query))).await;
    let result = ask_named(server, over_tls(Some(&pki), 3000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    let report = result.report.exchange.tls.as_ref().unwrap();
    assert_eq!(report.alpn.as_deref(), Some("dot"), "{report:?}");
    assert!(result.timing.phase(Phase::Tls).is_some());
    for (make, ends) in [
        ((|_| vec![0, 0]) as fn(&[u8]) -> Vec<u8>, "dns_length"),
        (|_| vec![255, 255, 1], "timeout"),
    ] {
        let server = tls_server(&tls, make).await;
        let result = ask_named(server, over_tls(Some(&pki), 500)).await;
        assert_eq!(outcome(&result), (ends, Some(Phase::Transfer)), "{result}");
    }
    // Who cannot be verified is told nothing, unless that is what was asked for. The other root has the same
    // name and another key.
    let result = ask_named(server, over_tls(Some(&Pki::new()), 3000)).await;
    assert_eq!(outcome(&result), ("tls_bad_signature", Some(Phase::Tls)), "{result}");
    assert_eq!(only(&result).sent_ns, None);
    let config =
        DnsConfig { tls_profile: TlsProfile::Opportunistic, ..over_tls(Some(&Pki::new()), 3000) };
    let result = ask_named(server, config).await;
    assert!(result.verdict.is_pass(), "{result}");
}

#[tokio::test]
async fn d144_dns_over_tls_to_a_server_without() {
    // The plain server takes the ClientHello for a query: the first octets of its record are a length.
    let server = tcp_with(nowhere(), |mut stream, _| async move {
        let mut hello = [0; 64];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut hello).await.unwrap();
        let refusal = [&hello[2..4], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        stream.write_all(&framed(&refusal)).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let result = ask(server, over_tls(None, 2000)).await;
    assert_eq!(outcome(&result), ("tls_not_tls", Some(Phase::Tls)), "{result}");
    assert_eq!(only(&result).sent_ns, None, "nothing was asked in clear text");
}

#[tokio::test]
async fn a_handshake_that_stalls_names_its_phase() {
    let sink = Unaccepted::v4();
    let result = ask(sink.addr(), over_tls(None, 200)).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Tls)), "{result}");
    // As does the deadline of the probe.
    let config = DnsConfig { timeout: Duration::from_millis(150), ..over_tcp(2000) };
    let result = ask(sink.addr(), config).await;
    assert_eq!(outcome(&result), ("timeout", Some(Phase::Processing)), "{result}");
}
