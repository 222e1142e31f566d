//! The DNS prober over UDP: which datagram is the answer, and what becomes of the others.
#![cfg(all(feature = "dns", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod check;
mod dns;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use check::in_own_process;
use dns::{
    CUT, FINE, RECORD, answer, ask, asking, genuine, only, outcome, passed_over, question,
    question_of, raw, silent, udp, udp_and_tcp,
};
use netsonde::dns::{DnsConfig, DnsFate, DnsTransport};
use netsonde::{FailureKind, Phase, StampSource};
use netsonde_support::leaks;
use netsonde_support::skip::require_ipv6;
use tokio::net::UdpSocket;

const RTT: Option<Phase> = Some(Phase::Rtt);
const SHORT: Duration = Duration::from_millis(120);

/// Asks a server that sends this alone: whatever it is passed over as, the time runs out, and no earlier.
async fn alone(why: &str, ends: &str, change: fn(&[u8]) -> Vec<u8>) {
    let server = udp(move |query| vec![change(query)]).await;
    let result = ask(server, asking(120)).await;
    assert_eq!(outcome(&result), (ends, RTT), "{why}: {result}");
    assert_eq!(passed_over(only(&result), why), 1, "{result}");
    assert_eq!(only(&result).mismatches.len(), 1, "{result}");
    assert!(result.timing.total() >= SHORT, "{why}: it does not end early: {result}");
    assert_eq!(only(&result).fate, DnsFate::TimedOut);
    // And in front of the answer it does no harm.
    let server = udp(move |query| vec![change(query), genuine(query)]).await;
    let result = ask(server, asking(2000)).await;
    assert!(result.verdict.is_pass(), "{why}: {result}");
    assert_eq!(passed_over(only(&result), why), 1, "{result}");
    assert_eq!(result.report.exchange.answer[0].presentation, RECORD);
}

/// The answer with some octets of it changed.
fn with(query: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = genuine(query);
    change(&mut message);
    message
}

#[tokio::test]
async fn d1_the_answer_over_either_family() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        if address.starts_with('[') && require_ipv6().is_none() {
            continue;
        }
        let server = dns::udp_at(address.parse().unwrap(), |query| vec![genuine(query)]).await;
        let result = ask(server, question("www.example")).await;
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(result.report.exchange.answer[0].presentation, RECORD);
        let network = only(&result).network.unwrap();
        assert_eq!(network.source, StampSource::Kernel, "{network:?}");
        assert!(result.timing.phase(Phase::Rtt).unwrap() >= network.duration());
        assert_eq!(result.report.exchange.server, Some(server));
    }
}

#[tokio::test]
async fn d2_wrong_id() {
    alone("txid", "timeout", |query| with(query, |message| message[0] ^= 1)).await;
    // A query that comes back is no answer.
    alone("not_response", "timeout", |query| with(query, |message| message[2] &= 0x7f)).await;
}

#[tokio::test]
async fn d5_d6_another_port_and_another_address() {
    for from in ["127.0.0.1:0", "127.0.0.9:0"] {
        let other = std::net::UdpSocket::bind(from).unwrap();
        let told = other.local_addr().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            for believed in [false, true] {
                let (len, from) = server.recv_from(&mut query).await.unwrap();
                other.send_to(&genuine(&query[..len]), from).unwrap();
                if believed {
                    server.send_to(&genuine(&query[..len]), from).await.unwrap();
                }
            }
        });
        let result = ask(address, asking(120)).await;
        assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
        assert_eq!(passed_over(only(&result), "wrong_source"), 1);
        assert_eq!(only(&result).other_source, Some(told));
        let text = result.to_string();
        assert!(text.contains(&format!("an answer came from {told}")), "{text}");
        let result = ask(address, asking(2000)).await;
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(only(&result).other_source, Some(told));
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn d8_other_opcode() {
    alone("opcode", "timeout", |query| with(query, |message| message[2] |= 0x20)).await;
}

/// Header and question are as long as this.
fn without_question(query: &[u8], rcode: u8) -> Vec<u8> {
    [&query[..2], &[0x81, 0x80 | rcode, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
}

#[tokio::test]
async fn d9_no_question() {
    alone("question", "dns_question", |query| without_question(query, 0)).await;
    // A server that fails can have read the question.
    alone("question", "dns_question", |query| without_question(query, 2)).await;
}

#[tokio::test]
async fn d10_no_question_where_it_could_not_be_read() {
    for (rcode, name) in [(1, "FORMERR"), (4, "NOTIMP"), (5, "REFUSED")] {
        let server = udp(move |query| vec![without_question(query, rcode)]).await;
        let result = ask(server, asking(2000)).await;
        assert_eq!(outcome(&result), ("pass", None), "{result}");
        assert_eq!(result.report.exchange.rcode().unwrap().to_string(), name);
        assert_eq!(result.verdict.code(), Some("expectation_failed"), "{result}");
    }
}

#[tokio::test]
async fn d12_d13_d14_another_question() {
    // The octets behind the header: 3 w w w 7 e x a m p l e 0, type, class.
    alone("question", "dns_question", |query| with(query, |message| message[13] = b'x')).await;
    alone("question", "dns_question", |query| with(query, |message| message[26] = 28)).await;
    alone("question", "dns_question", |query| with(query, |message| message[28] = 3)).await;
    // Two questions, of which the first is ours.
    alone("question", "dns_question", |query| {
        let mut message = raw(query, FINE, [0; 3], question_of(query));
        message[5] = 2;
        message
    })
    .await;
}

#[tokio::test]
async fn d16_case_matters_only_when_it_is_random() {
    let upper = |query: &[u8]| with(query, |message| message[13..16].make_ascii_uppercase());
    let server = udp(move |query| vec![upper(query)]).await;
    let result = ask(server, asking(2000)).await;
    assert!(result.verdict.is_pass(), "{result}");

    let lower = |query: &[u8]| with(query, |message| message[12..25].make_ascii_lowercase());
    let server = udp(move |query| vec![lower(query)]).await;
    let config = DnsConfig { mixed_case: true, ..asking(120) };
    // Ten letters are all small by chance once in a thousand times.
    let mut refused = 0;
    for _ in 0..3 {
        let result = ask(server, config.clone()).await;
        let shown = only(&result).name.to_string();
        if shown.bytes().any(|letter| letter.is_ascii_uppercase()) {
            refused += 1;
            assert_eq!(outcome(&result), ("dns_question", RTT), "{result}");
            assert_eq!(passed_over(only(&result), "question"), 1);
        }
    }
    assert!(refused > 0);
    let server = udp(|query| vec![genuine(query)]).await;
    let result = ask(server, DnsConfig { attempt_timeout: 2 * SHORT, ..config }).await;
    assert!(result.verdict.is_pass(), "{result}");
}

#[tokio::test]
async fn d17_a_pointer_in_the_question() {
    // There is nothing in front of it that it could point to but the header, so that such a name cannot
    // be read at all: it counts as malformed, which the list has as "question".
    for target in [4, 12] {
        let server = udp(move |query| {
            let question = [&query[..2], &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, target]];
            vec![[&question.concat()[..], &[0, 1, 0, 1]].concat()]
        })
        .await;
        let result = ask(server, asking(120)).await;
        assert_eq!(outcome(&result), ("dns_malformed", RTT), "{result}");
        assert_eq!(passed_over(only(&result), "malformed"), 1);
        assert!(result.to_string().contains("pointer"), "{result}");
    }
}

#[tokio::test]
async fn d18_an_empty_datagram() {
    alone("short", "timeout", |_| Vec::new()).await;
    alone("short", "timeout", |query| query[..11].to_vec()).await;
}

#[tokio::test]
async fn d20_noise() {
    alone("txid", "timeout", |query| {
        let mut noise: Vec<u8> =
            (0..512_u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
        noise[0] = !query[0];
        noise
    })
    .await;
}

#[tokio::test]
async fn d21_d22_a_broken_body() {
    alone("malformed", "dns_malformed", |query| with(query, |message| message.truncate(40))).await;
    let server = udp(|query| vec![with(query, |message| message.truncate(40))]).await;
    let result = ask(server, asking(120)).await;
    assert!(result.timing.total() >= SHORT, "not earlier: {result}");
    // Reason and place: the record behind header and question has no end.
    assert!(result.to_string().contains("at octet 40"), "{result}");
    assert!(result.report.exchange.message.is_empty());
    // The probe's deadline comes first: the same.
    let config = DnsConfig { timeout: SHORT, ..asking(2000) };
    let result = ask(server, config).await;
    assert_eq!(outcome(&result), ("dns_malformed", RTT), "{result}");
}

#[tokio::test]
async fn d24_the_same_answer_twice() {
    let server = udp(|query| vec![genuine(query), genuine(query)]).await;
    let config = DnsConfig { listen: SHORT, ..asking(2000) };
    let result = ask(server, config.clone()).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!((only(&result).duplicates, only(&result).conflicts), (1, 0));
    assert!(result.timing.total() >= SHORT);
    assert!(result.report.exchange.conflict.is_empty());
    // Without listening the first one ends it.
    let result = ask(server, asking(2000)).await;
    assert_eq!(only(&result).duplicates, 0);
    assert!(result.timing.total() < SHORT, "{result}");
    // Somebody else answers too, and is faster.
    let forged = |query: &[u8]| answer(query, FINE, &["www.example. 60 IN A 203.0.113.9"]);
    let server = udp(move |query| vec![forged(query), genuine(query), genuine(query)]).await;
    let result = ask(server, config).await;
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!((only(&result).duplicates, only(&result).conflicts), (0, 2));
    let exchange = &result.report.exchange;
    assert_eq!(exchange.answer[0].data, "203.0.113.9");
    assert!(exchange.conflict.ends_with(&[192, 0, 2, 1]), "{exchange:?}");
}

#[test]
fn d25_ten_thousand_copies() {
    if !in_own_process("d25_ten_thousand_copies", "") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((len, from)) = server.recv_from(&mut query).await {
                for round in 0..100 {
                    for copy in 0..100 {
                        let mut message = genuine(&query[..len]);
                        // The first and every copy of it, then ever new ones.
                        let last = message.len() - 1;
                        message[last] = if round < 50 { 1 } else { copy };
                        let _ = server.send_to(&message, from).await;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let listening = |ms| DnsConfig { listen: Duration::from_millis(ms), ..asking(2000) };
        // What a process makes once is made by the first probe.
        ask(address, listening(1500)).await;
        let before = leaks::resident_bytes();
        let result = ask(address, listening(1500)).await;
        let growth = leaks::resident_bytes().saturating_sub(before);
        assert!(result.verdict.is_pass(), "{result}");
        let attempt = only(&result);
        let seen = attempt.duplicates + attempt.conflicts;
        println!("{seen} further answers, {growth} bytes more");
        assert!(attempt.duplicates >= 2500 && attempt.conflicts >= 2500, "{attempt:?}");
        assert!(growth <= 256 << 10, "{growth} bytes");
    });
}

#[tokio::test]
async fn d26_an_answer_after_its_time() {
    // Only the first query is answered, while the second attempt waits.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        let (len, from) = socket.recv_from(&mut query).await.unwrap();
        tokio::time::sleep(Duration::from_millis(220)).await;
        socket.send_to(&genuine(&query[..len]), from).await.unwrap();
        std::future::pending::<()>().await;
    });
    let result = ask(address, DnsConfig { retries: 1, ..asking(150) }).await;
    assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
    let [first, second] = result.report.exchange.attempts.as_slice() else { panic!("{result}") };
    assert_eq!((passed_over(first, "late"), second.mismatches.len()), (1, 0), "{result}");
    assert_eq!((first.fate, second.fate), (DnsFate::TimedOut, DnsFate::TimedOut));
    assert_ne!(first.port, second.port, "each attempt has a port of its own");
}

#[tokio::test]
async fn d26_a_retry_is_answered() {
    let count = AtomicUsize::new(0);
    let server = udp(move |query| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Vec::new() } else { vec![genuine(query)] }
    })
    .await;
    let result = ask(server, DnsConfig { retries: 2, ..asking(100) }).await;
    assert!(result.verdict.is_pass(), "{result}");
    let [first, second] = result.report.exchange.attempts.as_slice() else { panic!("{result}") };
    assert_eq!((first.fate, second.fate), (DnsFate::TimedOut, DnsFate::Answered));
    assert_eq!(first.verdict.as_ref().unwrap().code(), Some("timeout"));
    assert!(first.end_ns.unwrap() - first.sent_ns.unwrap() >= 100_000_000);
    assert!(second.start_ns >= first.end_ns.unwrap());
    assert!(second.network.unwrap().duration() < Duration::from_millis(100));
}

#[tokio::test]
async fn d28_a_closed_port_is_refused_at_once_over_either_family() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        if address.starts_with('[') && require_ipv6().is_none() {
            continue;
        }
        let closed = UdpSocket::bind(address).await.unwrap().local_addr().unwrap();
        let result = ask(closed, DnsConfig { retries: 1, ..asking(2000) }).await;
        assert_eq!(outcome(&result), ("refused", RTT), "{result}");
        assert!(result.timing.total() < Duration::from_millis(500), "{result}");
        let attempts = &result.report.exchange.attempts;
        assert_eq!(attempts.len(), 2);
        assert!(attempts.iter().all(|a| a.fate == DnsFate::Refused && a.errors == 1), "{result}");
        // Where errors are soft it is noted, and what ends the wait is the time.
        let result = ask(closed, DnsConfig { soft_errors: true, ..asking(120) }).await;
        assert_eq!(outcome(&result), ("refused", RTT), "{result}");
        assert_eq!((only(&result).fate, only(&result).errors), (DnsFate::TimedOut, 1));
        assert!(result.timing.total() >= SHORT);
    }
}

#[tokio::test]
async fn d44_cut_short_and_tcp_not_allowed() {
    let server = udp(|query| vec![answer(query, CUT, &[RECORD])]).await;
    let result = ask(server, DnsConfig { tcp_fallback: false, ..asking(2000) }).await;
    assert_eq!(outcome(&result), ("dns_truncated", RTT), "{result}");
    assert_eq!(only(&result).fate, DnsFate::Truncated);
    assert!(result.report.exchange.header.as_ref().unwrap().truncated);
    assert_eq!(result.report.exchange.answer[0].presentation, RECORD);
}

#[tokio::test]
async fn d46_what_was_cut_is_not_judged() {
    // Two records are promised; half of one is there.
    let cut = |query: &[u8]| raw(query, CUT, [2, 0, 0], &[0xc0, 12, 0, 1, 0]);
    let server = udp_and_tcp(move |query| vec![cut(query)], |query| vec![genuine(query)]).await;
    let result = ask(server, asking(2000)).await;
    assert!(result.verdict.is_pass(), "{result}");
    let fates: Vec<_> =
        result.report.exchange.attempts.iter().map(|a| (a.transport, a.fate)).collect();
    let (udp, tcp) = (DnsTransport::Udp, DnsTransport::Tcp);
    assert_eq!(fates, [(udp, DnsFate::Truncated), (tcp, DnsFate::Answered)]);
    assert_eq!(result.report.exchange.connection.as_ref().unwrap().peer, server);
    let result = ask(server, DnsConfig { tcp_fallback: false, ..asking(2000) }).await;
    assert_eq!(outcome(&result), ("dns_truncated", RTT), "{result}");
    assert_eq!(result.report.exchange.header.as_ref().unwrap().answers, 2);
    assert!(result.report.exchange.answer.is_empty());
}

#[tokio::test]
async fn the_deadline_of_the_probe_cuts_an_attempt() {
    let server = silent().await;
    let config = DnsConfig { timeout: SHORT, retries: 5, ..asking(2000) };
    let result = ask(server, config).await;
    assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
    assert_eq!(result.outcome.failure().unwrap().kind, FailureKind::Timeout);
    assert_eq!(only(&result).fate, DnsFate::TimedOut);
    assert!(result.timing.total() >= SHORT);
}
