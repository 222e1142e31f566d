//! Name servers that do what a test tells them, and questions to them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use netsonde::dns::{DnsAttempt, DnsConfig, DnsProber, DnsReport};
use netsonde::wire::dns::{Composer, Flags, Message, RecordBuf, Section};
use netsonde::{Phase, ProbeContext, ProbeResult, Prober, Target};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::check::{self, Checkable};

/// NOERROR, with RD and RA.
pub(crate) const FINE: u16 = 0x8180;

/// The same, cut short.
pub(crate) const CUT: u16 = 0x8380;

pub(crate) const RECORD: &str = "www.example. 60 IN A 192.0.2.1";

/// No address in particular.
pub(crate) fn nowhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An answer to a query with these records, its question and id as they were.
pub(crate) fn answer(query: &[u8], flags: u16, records: &[&str]) -> Vec<u8> {
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

/// What is wanted: one record.
pub(crate) fn genuine(query: &[u8]) -> Vec<u8> {
    answer(query, FINE, &[RECORD])
}

/// The question section of a query.
pub(crate) fn question_of(query: &[u8]) -> &[u8] {
    let mut at = 12;
    while query[at] != 0 {
        at += usize::from(query[at]) + 1;
    }
    &query[12..at + 5]
}

/// An answer octet by octet: the counts of its three sections, and what stands in them.
pub(crate) fn raw(query: &[u8], flags: u16, counts: [u16; 3], body: &[u8]) -> Vec<u8> {
    let mut out = [&query[..2], &flags.to_be_bytes(), &[0, 1]].concat();
    out.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    [&out, question_of(query), body].concat()
}

/// An OPT record: the upper bits of the response code and the version, and its data.
pub(crate) fn opt(code_and_version: [u8; 2], data: &[u8]) -> Vec<u8> {
    let [code, version] = code_and_version;
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0, 0, 41, 4, 208, code, version, 0, 0, length[0], length[1]], data].concat()
}

/// A message with its length in front.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&length, message].concat()
}

/// Serves datagrams with a function that says what is sent back.
pub(crate) async fn udp(serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    udp_at(nowhere(), serve).await
}

/// The same at an address.
pub(crate) async fn udp_at(
    at: SocketAddr,
    serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    serve_udp(UdpSocket::bind(at).await.unwrap(), serve)
}

fn serve_udp(
    socket: UdpSocket,
    mut serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 4096];
        // An error is about what was sent before: the client has gone.
        loop {
            let Ok((len, from)) = socket.recv_from(&mut query).await else { continue };
            for message in serve(&query[..len]) {
                let _ = socket.send_to(&message, from).await;
            }
        }
    });
    address
}

/// Serves connections, each with a task of its own that is told its number.
pub(crate) async fn tcp_with<F>(
    at: SocketAddr,
    serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    accept(TcpListener::bind(at).await.unwrap(), serve)
}

fn accept<F>(
    listener: TcpListener,
    serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, number));
            number += 1;
        }
    });
    address
}

/// The next query on a stream; `None` if there is none.
pub(crate) async fn read_query(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let len = stream.read_u16().await.ok()?;
    let mut query = vec![0; len.into()];
    stream.read_exact(&mut query).await.ok()?;
    Some(query)
}

/// Serves queries over TCP with a function that says what is sent back.
pub(crate) async fn tcp(
    at: SocketAddr,
    serve: impl Fn(&[u8]) -> Vec<Vec<u8>> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    serve_tcp(TcpListener::bind(at).await.unwrap(), serve)
}

/// Serves datagrams and connections at the same port.
pub(crate) async fn udp_and_tcp(
    datagrams: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    queries: impl Fn(&[u8]) -> Vec<Vec<u8>> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    loop {
        let socket = UdpSocket::bind(nowhere()).await.unwrap();
        // Somebody else may have it for TCP.
        let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await else { continue };
        serve_tcp(listener, queries);
        return serve_udp(socket, datagrams);
    }
}

fn serve_tcp(
    listener: TcpListener,
    serve: impl Fn(&[u8]) -> Vec<Vec<u8>> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    use tokio::io::AsyncWriteExt;
    accept(listener, move |mut stream, _| {
        let serve = serve.clone();
        async move {
            while let Some(query) = read_query(&mut stream).await {
                for message in serve(&query) {
                    if stream.write_all(&framed(&message)).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}

/// A server that takes whatever comes and never says anything.
pub(crate) async fn silent() -> SocketAddr {
    udp(|_| Vec::new()).await
}

pub(crate) fn question(text: &str) -> DnsConfig {
    DnsConfig::ask(text.parse().unwrap())
}

/// The question of most tests, each attempt with so many milliseconds.
pub(crate) fn asking(ms: u64) -> DnsConfig {
    DnsConfig { attempt_timeout: Duration::from_millis(ms), ..question("www.example") }
}

/// Asks, and checks what every result has to keep.
pub(crate) async fn ask(server: SocketAddr, config: DnsConfig) -> ProbeResult<DnsReport> {
    ask_with(&ProbeContext::new(), server.into(), config).await
}

/// The same with a context.
pub(crate) async fn ask_with(
    cx: &ProbeContext,
    target: Target,
    config: DnsConfig,
) -> ProbeResult<DnsReport> {
    let result = DnsProber::new(config).unwrap().probe_with(cx, &target).await;
    looked_over(&result);
    result
}

/// Checks what every result has to keep.
pub(crate) fn looked_over(result: &ProbeResult<DnsReport>) {
    // The checks of texts are for reports of a usual size: a message may have 65,535 octets.
    if result.report.exchanges().all(|exchange| exchange.message.len() < 2000) {
        check::check(result);
    }
    assert!(result.timing.is_tiled(), "{result}");
    let json = serde_json::to_string(result).unwrap();
    let back: ProbeResult<DnsReport> = serde_json::from_str(&json).unwrap();
    assert_eq!(&back, result);
}

impl Checkable for DnsReport {
    fn check(result: &ProbeResult<Self>) {
        for exchange in result.report.exchanges() {
            for attempt in &exchange.attempts {
                let end = attempt.end_ns.unwrap_or(result.timing.total_ns);
                assert!(attempt.start_ns <= end && end <= result.timing.total_ns, "{attempt:?}");
                let sent = attempt.sent_ns.unwrap_or(attempt.start_ns);
                assert!((attempt.start_ns..=end).contains(&sent), "{attempt:?}");
                assert!(!attempt.mismatches.values().any(|count| *count == 0), "{attempt:?}");
            }
            let has_answer = exchange.answered().is_some() && exchange.header.is_some();
            let passed = exchange.outcome.as_ref().is_some_and(netsonde::Verdict::is_pass);
            assert!(has_answer || !passed, "{result}");
        }
    }
}

/// Code and phase of what the exchange itself came to.
pub(crate) fn outcome(result: &ProbeResult<DnsReport>) -> (&'static str, Option<Phase>) {
    (result.outcome.code().unwrap_or("pass"), result.outcome.phase())
}

/// The only attempt.
#[track_caller]
pub(crate) fn only(result: &ProbeResult<DnsReport>) -> &DnsAttempt {
    let [attempt] = result.report.exchange.attempts.as_slice() else { panic!("{result}") };
    attempt
}

/// How often something was passed over for a reason.
pub(crate) fn passed_over(attempt: &DnsAttempt, why: &str) -> u64 {
    attempt.mismatches.get(why).copied().unwrap_or(0)
}
