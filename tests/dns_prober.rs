//! The DNS prober against servers that do what they are told.
#![cfg(all(feature = "dns", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

use std::net::SocketAddr;
use std::time::Duration;

use netsonde::dns::{DnsConfig, DnsFate, DnsProber, DnsReport, DnsTransport};
use netsonde::wire::dns::{Class, Composer, Flags, Message, RecordBuf, Section};
use netsonde::{Phase, ProbeResult, Prober, StampSource, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// An answer to a query with these records, its question and id as they were.
fn answer(query: &[u8], flags: u16, records: &[&str]) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let mut out = Vec::new();
    let mut composer = Composer::new(&mut out, message.header().id, Flags(flags));
    for question in message.questions() {
        composer.question(question.name, question.rtype, question.class).unwrap();
    }
    for record in records {
        let record: RecordBuf = record.parse().unwrap();
        record.compose(&mut composer, Section::Answer).unwrap();
    }
    composer.finish();
    out
}

/// Serves datagrams with a function that says what is sent back.
async fn udp(mut serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut query).await {
            for message in serve(&query[..len]) {
                socket.send_to(&message, from).await.unwrap();
            }
        }
    });
    address
}

/// The same over TCP, at the same port if one is given.
async fn tcp(
    at: SocketAddr,
    mut serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(len) = stream.read_u16().await {
                let mut query = vec![0; len.into()];
                stream.read_exact(&mut query).await.unwrap();
                for message in serve(&query) {
                    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&len, message.as_slice()].concat()).await.unwrap();
                }
            }
        }
    });
    address
}

async fn ask(server: SocketAddr, config: DnsConfig) -> ProbeResult<DnsReport> {
    let result = DnsProber::new(config).unwrap().probe(&Target::from(server)).await;
    assert!(result.timing.is_tiled(), "{result}");
    let json = serde_json::to_string(&result).unwrap();
    let back: ProbeResult<DnsReport> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, result);
    result
}

fn question(text: &str) -> DnsConfig {
    DnsConfig::ask(text.parse().unwrap())
}

#[tokio::test]
async fn d1_the_answer_is_taken_apart_and_its_time_is_the_networks() {
    let record = "www.example. 60 IN A 192.0.2.1";
    let server = udp(move |query| vec![answer(query, 0x8180, &[record])]).await;
    let result = ask(server, question("www.example")).await;
    assert!(result.verdict.is_pass(), "{result}");
    let exchange = &result.report.exchange;
    assert_eq!(exchange.answer[0].presentation, record);
    assert_eq!(exchange.answer[0].data, "192.0.2.1");
    let [attempt] = exchange.attempts.as_slice() else { panic!("{result}") };
    assert_eq!(attempt.fate, DnsFate::Answered);
    let network = attempt.network.unwrap();
    assert_eq!(network.source, StampSource::Kernel, "{network:?}");
    assert!(result.timing.phase(Phase::Rtt).unwrap() >= network.duration());
    let header = exchange.header.as_ref().unwrap();
    assert_eq!((header.id, header.recursion_available), (attempt.id, true));
    assert_eq!(result.attempts.len(), 1);
    assert!(result.attempts[0].selected);
}

#[tokio::test]
async fn d28_a_closed_port_is_refused_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let result = ask(closed, question("www.example")).await;
    assert_eq!(result.verdict.code(), Some("refused"), "{result}");
    assert!(result.timing.total() < Duration::from_millis(500));
}

#[tokio::test]
async fn d45_an_answer_that_is_cut_short_over_tcp_as_well_ends_it() {
    let server = udp(|query| vec![answer(query, 0x8380, &[])]).await;
    tcp(server, |query| vec![answer(query, 0x8380, &[])]).await;
    let result = ask(server, question("www.example")).await;
    assert_eq!(result.verdict.code(), Some("dns_truncated"), "{result}");
    let fates: Vec<_> =
        result.report.exchange.attempts.iter().map(|a| (a.transport, a.fate)).collect();
    let (udp, tcp) = (DnsTransport::Udp, DnsTransport::Tcp);
    assert_eq!(fates, [(udp, DnsFate::Truncated), (tcp, DnsFate::Truncated)]);
}

#[tokio::test]
async fn several_questions_over_tcp_share_a_connection() {
    let nowhere = "127.0.0.1:0".parse().unwrap();
    let server =
        tcp(nowhere, |query| vec![answer(query, 0x8180, &["a.example. 1 IN A 192.0.2.1"])]).await;
    let mut config = question("a.example");
    config.transport = DnsTransport::Tcp;
    config.questions.push("a.example. AAAA".parse().unwrap());
    config.questions.push("b.example. A".parse().unwrap());
    let result = ask(server, config).await;
    assert!(result.verdict.is_pass(), "{result}");
    let ports: Vec<_> = result.report.exchanges().map(|e| e.attempts[0].port.unwrap()).collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    assert_eq!(result.report.others[1].question.as_ref().unwrap().class, Class::IN);
}

#[tokio::test]
async fn d2_d26_without_an_answer_the_time_is_up_when_it_is_up() {
    let server = udp(|query| {
        let mut wrong = answer(query, 0x8180, &[]);
        wrong[0] ^= 1;
        vec![wrong]
    })
    .await;
    let mut config = question("www.example");
    config.attempt_timeout = Duration::from_millis(150);
    config.retries = 1;
    let result = ask(server, config).await;
    assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
    assert_eq!(result.verdict.phase(), Some(Phase::Rtt));
    let attempts = &result.report.exchange.attempts;
    assert_eq!(attempts.len(), 2, "{result}");
    assert!(attempts.iter().all(|attempt| attempt.mismatches["txid"] == 1), "{attempts:?}");
    assert!(attempts[0].id != attempts[1].id || attempts[0].port != attempts[1].port);
    assert!(result.timing.total() >= Duration::from_millis(300));
}
