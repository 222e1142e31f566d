//! The DNS prober over paths that fail: the rows of the fault list that need networks of their own.
#![cfg(all(feature = "dns", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a panic is a failed test"
)]

mod check;
mod dns;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use check::lab::{BEHIND, NEXT, Pair, Routed, Wired, at, ip};
use dns::{CUT, FINE, answer, ask, asking, genuine, only, outcome, passed_over, raw};
use netsonde::dns::{DnsConfig, DnsFate, DnsReport, DnsTransport, EdnsConfig, RawOption};
use netsonde::{Phase, ProbeResult, RawCode};
use netsonde_support::packet::{self, Frame, Passage, Tap, UDP};
use netsonde_support::{Namespace, require_command};

const RTT: Option<Phase> = Some(Phase::Rtt);

/// A name server in a namespace, with a thread of its own.
struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl NameServer {
    fn start(
        on: &Namespace,
        address: SocketAddr,
        mut serve: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = on.run(|| UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 4096];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut query) else { continue };
                for message in serve(&query[..len]) {
                    let _ = socket.send_to(&message, from);
                }
            }
        });
        NameServer { stop, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

fn ask_from(from: &Namespace, server: SocketAddr, config: DnsConfig) -> ProbeResult<DnsReport> {
    from.block_on(async || ask(server, config).await)
}

fn raw_code(result: &ProbeResult<DnsReport>) -> Option<RawCode> {
    result.outcome.failure().and_then(|failure| failure.raw)
}

fn icmp(icmp_type: u8, code: u8, from: &str) -> Option<RawCode> {
    Some(RawCode::Icmp { icmp_type, code, from: Some(ip(from)) })
}

/// The query in a frame to port 53, and the port that it comes from.
fn query_in(frame: &Frame) -> Option<(Vec<u8>, u16)> {
    let payload = frame.payload().filter(|_| frame.ip().is_some_and(|ip| ip.protocol == UDP))?;
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    (port(2) == 53).then(|| (payload[8..].to_vec(), port(0)))
}

/// A frame that answers a query, from any address and port.
fn forged(frame: &Frame, from: SocketAddr, message: &[u8]) -> Vec<u8> {
    let (_, port) = query_in(frame).unwrap();
    let length = u16::try_from(message.len() + 8).unwrap();
    let head = [from.port(), port, length, 0].map(u16::to_be_bytes).concat();
    let mut datagram = [&head[..], message].concat();
    let to: IpAddr = frame.ip().unwrap().source;
    let sum = packet::transport_checksum(from.ip(), to, UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.reply_from(from.ip(), UDP, &datagram)
}

/// A wire on which something is sent to the client for each query, before the query goes on: at once, or so
/// much later.
fn with_forger(
    word: &str,
    pass: Passage,
    forge: impl Fn(&Frame, &[u8]) -> Vec<u8> + Send + 'static,
) -> Option<Wired> {
    let (tell, told) = std::sync::mpsc::channel::<Tap>();
    let mut tap = None;
    let judge = move |frame: &Frame, to_server: bool| {
        let Some((query, _)) = query_in(frame).filter(|_| to_server) else { return Passage::Pass };
        let tap = tap.get_or_insert_with(|| told.recv().unwrap());
        tap.send(&forge(frame, &query));
        pass.clone()
    };
    let lab = Wired::new(word, judge)?;
    tell.send(Tap::open(&lab.left)).unwrap();
    Some(lab)
}

#[test]
fn d4_d5_forged_from_another_address_or_port() {
    for (word, from) in
        [("d4", at("10.1.0.9", 53)), ("d5", at(NEXT[0], 54)), ("d4b", at("fd01::9", 53))]
    {
        let server = at(NEXT[usize::from(from.is_ipv6())], 53);
        let forge = move |frame: &Frame, query: &[u8]| forged(frame, from, &genuine(query));
        let Some(lab) = with_forger(word, Passage::Drop, forge) else { return };
        let result = ask_from(&lab.client, server, asking(200));
        assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
        assert_eq!(passed_over(only(&result), "wrong_source"), 1, "{result}");
        assert_eq!(only(&result).other_source, Some(from));
        assert!(result.to_string().contains(&format!("an answer came from {from}")), "{result}");
    }
}

#[test]
fn d28_a_closed_port_is_told_within_a_round_trip() {
    let judge = |_: &Frame, _| Passage::Delay(Duration::from_millis(20));
    let Some(lab) = Wired::new("d28", judge) else { return };
    for address in NEXT {
        let result = ask_from(&lab.client, at(address, 53), asking(2000));
        assert_eq!(outcome(&result), ("refused", RTT), "{result}");
        let rtt = result.timing.phase(Phase::Rtt).unwrap();
        let range = Duration::from_millis(40)..Duration::from_millis(100);
        assert!(range.contains(&rtt), "{rtt:?}: {result}");
        let (icmp_type, code) = if ip(address).is_ipv4() { (3, 3) } else { (1, 4) };
        assert_eq!(raw_code(&result), icmp(icmp_type, code, address));
    }
}

#[test]
fn d29_a_forged_error_in_front_of_the_answer() {
    // The query itself is quoted, as anyone on the way could.
    let forge = |frame: &Frame, _: &[u8]| {
        let quoted = frame.packet().unwrap();
        frame.reply(packet::ICMP, &packet::icmp(3, 3, [0; 4], &quoted[..quoted.len().min(64)]))
    };
    let later = Passage::Delay(Duration::from_millis(30));
    let Some(lab) = with_forger("d29", later, forge) else { return };
    let server = at(NEXT[0], 53);
    let _server = NameServer::start(&lab.server, server, |query| vec![genuine(query)]);
    let result = ask_from(&lab.client, server, asking(2000));
    assert_eq!(outcome(&result), ("refused", RTT), "{result}");
    assert!(result.timing.total() < Duration::from_millis(30), "{result}");
    let result = ask_from(&lab.client, server, DnsConfig { soft_errors: true, ..asking(2000) });
    assert!(result.verdict.is_pass(), "{result}");
    assert_eq!((only(&result).fate, only(&result).errors), (DnsFate::Answered, 1), "it is noted");
}

#[test]
fn d30_unreachable_by_a_router() {
    let Some(lab) = Routed::new("d30") else { return };
    lab.router.ip("route add unreachable 10.3.0.0/24");
    lab.router.ip("route add prohibit 10.4.0.0/24");
    lab.router.ip("-6 route add unreachable fd03::/64");
    lab.router.nft(
        "add table inet t; add chain inet t f { type filter hook forward priority 0; }; \
         add rule inet t f udp dport 81 reject with icmpx type admin-prohibited; \
         add rule inet t f udp dport 82 reject with icmpx type no-route; \
         add rule inet t f udp dport 83 reject with icmpx type port-unreachable; \
         add rule inet t f udp dport 84 meta nfproto ipv4 reject with icmp type host-prohibited",
    );
    for (address, port, expected, raw) in [
        ("10.3.0.1", 53, "host_unreachable", icmp(3, 1, NEXT[0])),
        ("10.4.0.1", 53, "filtered", icmp(3, 13, NEXT[0])),
        ("fd03::1", 53, "net_unreachable", icmp(1, 0, NEXT[1])),
        (BEHIND[0], 81, "filtered", icmp(3, 13, NEXT[0])),
        (BEHIND[1], 81, "filtered", icmp(1, 1, NEXT[1])),
        (BEHIND[0], 82, "net_unreachable", icmp(3, 0, NEXT[0])),
        (BEHIND[1], 82, "net_unreachable", icmp(1, 0, NEXT[1])),
        // For a datagram that is what a server without the port says too.
        (BEHIND[0], 83, "refused", icmp(3, 3, NEXT[0])),
        (BEHIND[0], 84, "prohibited", icmp(3, 10, NEXT[0])),
    ] {
        let result = ask_from(&lab.client, at(address, port), asking(2000));
        assert_eq!(outcome(&result), (expected, RTT), "{address} {port}: {result}");
        assert_eq!(raw_code(&result), raw, "{address} {port}");
        assert!(result.timing.total() < Duration::from_millis(1000), "it does not wait: {result}");
        assert_eq!((only(&result).fate, only(&result).errors), (DnsFate::Refused, 1));
    }
    // A host without a route at all says so at once, and errors of its own are never soft.
    lab.client.ip("route delete default");
    for soft_errors in [false, true] {
        let config = DnsConfig { soft_errors, ..asking(2000) };
        let result = ask_from(&lab.client, at("10.9.0.1", 53), config);
        assert_eq!(outcome(&result), ("net_unreachable", RTT), "{result}");
        assert!(result.timing.total() < Duration::from_millis(500), "{result}");
        assert_eq!(only(&result).sent_ns, None);
    }
}

#[test]
fn d48_d136_tcp_swallows_the_syn() {
    let Some(lab) = Pair::new("d48") else { return };
    lab.server.nft(
        "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
         add rule inet t i tcp dport 53 drop",
    );
    for address in NEXT {
        let server = at(address, 53);
        let _server = NameServer::start(&lab.server, server, |query| vec![answer(query, CUT, &[])]);
        let result = ask_from(&lab.client, server, asking(300));
        assert_eq!(outcome(&result), ("timeout", Some(Phase::Connect)), "{result}");
        let tried = &result.report.exchange.attempts;
        let fates: Vec<_> = tried.iter().map(|a| (a.transport, a.fate)).collect();
        let (udp, tcp) = (DnsTransport::Udp, DnsTransport::Tcp);
        assert_eq!(fates, [(udp, DnsFate::Truncated), (tcp, DnsFate::TimedOut)]);
        assert_eq!(tried[1].sent_ns, None, "the query has not left");
        // And asked over TCP in the first place.
        let config = DnsConfig { transport: DnsTransport::Tcp, ..asking(300) };
        let result = ask_from(&lab.client, server, config);
        assert_eq!(outcome(&result), ("timeout", Some(Phase::Connect)), "{result}");
    }
}

#[test]
fn d110_long_queries_are_dropped() {
    let Some(lab) = Pair::new("d110") else { return };
    // 29 octets and the header of UDP; EDNS adds eleven.
    lab.server.nft(
        "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
         add rule inet t i udp dport 53 udp length > 40 drop",
    );
    let server = at(NEXT[0], 53);
    let _server = NameServer::start(&lab.server, server, |query| vec![genuine(query)]);
    let result = ask_from(&lab.client, server, asking(200));
    assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
    let result = ask_from(&lab.client, server, DnsConfig { without_edns: true, ..asking(200) });
    assert!(result.verdict.is_pass(), "{result}");
    let tried: Vec<_> = result.report.exchange.attempts.iter().map(|a| (a.edns, a.fate)).collect();
    assert_eq!(tried, [(true, DnsFate::TimedOut), (false, DnsFate::Answered)]);
}

/// Whether a frame is the last fragment of several.
fn is_last_fragment(frame: &Frame) -> bool {
    let Some(packet) = frame.packet() else { return false };
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    match packet[0] >> 4 {
        4 => word(6) & 0x3fff != 0 && word(6) & 0x2000 == 0,
        // The header of fragments (RFC 8200, 4.5).
        _ => packet[6] == 44 && word(42) & 1 == 0,
    }
}

#[test]
fn d113_the_last_fragment_is_lost() {
    let lose = Arc::new(AtomicBool::new(false));
    let fragments = Arc::new(AtomicUsize::new(0));
    let (losing, seen) = (Arc::clone(&lose), Arc::clone(&fragments));
    let judge = move |frame: &Frame, to_server: bool| {
        if to_server || !is_last_fragment(frame) {
            return Passage::Pass;
        }
        seen.fetch_add(1, Ordering::SeqCst);
        if losing.load(Ordering::SeqCst) { Passage::Drop } else { Passage::Pass }
    };
    let Some(lab) = Wired::new("d113", judge) else { return };
    for address in NEXT {
        let server = at(address, 53);
        let _server = NameServer::start(&lab.server, server, |query| {
            let head = raw(query, FINE, [1, 0, 0], &[0xc0, 12, 255, 0, 0, 1, 0, 0, 0, 0, 11, 184]);
            vec![[head, vec![7; 3000]].concat()]
        });
        let edns = Some(EdnsConfig { udp_payload: 4096, ..EdnsConfig::default() });
        let config = DnsConfig { edns, ..asking(300) };
        lose.store(false, Ordering::SeqCst);
        let result = ask_from(&lab.client, server, config.clone());
        assert!(result.verdict.is_pass(), "{}", result.verdict);
        lose.store(true, Ordering::SeqCst);
        let result = ask_from(&lab.client, server, config);
        assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
        assert!(only(&result).mismatches.is_empty(), "half an answer does not come in: {result}");
    }
    assert_eq!(fragments.load(Ordering::SeqCst), 4);
}

#[test]
fn d145_thirty_percent_loss_and_two_retries() {
    let queries = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&queries);
    let mut state = 0x5eed_d145_u64;
    let judge = move |frame: &Frame, to_server: bool| {
        if frame.ip().is_none_or(|ip| ip.protocol != UDP) {
            return Passage::Pass;
        }
        counted.fetch_add(u64::from(to_server), Ordering::SeqCst);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let lost = (state >> 32) % 10 < 3;
        if lost { Passage::Drop } else { Passage::Delay(Duration::from_millis(2)) }
    };
    let Some(lab) = Wired::new("d145", judge) else { return };
    let server = at(NEXT[0], 53);
    let _server = NameServer::start(&lab.server, server, |query| vec![genuine(query)]);
    let timeout = Duration::from_millis(250);
    let (mut passed, mut sent) = (0, 0);
    for _ in 0..40 {
        // Three attempts are 300 ms: the deadline of the probe comes before.
        let config = DnsConfig { timeout, retries: 2, ..asking(100) };
        let result = ask_from(&lab.client, server, config);
        let attempts = &result.report.exchange.attempts;
        sent += attempts.len();
        let (last, before) = attempts.split_last().unwrap();
        assert!(attempts.len() <= 3, "{result}");
        assert!(before.iter().all(|attempt| attempt.fate == DnsFate::TimedOut), "{result}");
        if result.verdict.is_pass() {
            passed += 1;
            assert_eq!(last.fate, DnsFate::Answered);
            assert!(last.network.unwrap().duration() < Duration::from_millis(100), "{result}");
        } else {
            assert_eq!(outcome(&result), ("timeout", RTT), "{result}");
            assert_eq!((attempts.len(), last.fate), (3, DnsFate::TimedOut), "{result}");
            let total = result.timing.total();
            assert!(total >= timeout && total < timeout + Duration::from_millis(50), "{result}");
        }
    }
    println!("{passed} of 40 passed, {sent} queries");
    // Half of all attempts fail, so one probe in eight does.
    assert!((20..40).contains(&passed), "{passed} of 40");
    assert_eq!(queries.load(Ordering::SeqCst), sent as u64, "each attempt is one datagram");
}

#[test]
fn d149_what_this_host_lacks() {
    let Some(lab) = Pair::new("d149") else { return };
    let local = |result: &ProbeResult<DnsReport>, code: &str, errno: i32| {
        let netsonde::Verdict::Unknown(fault) = &result.outcome else { panic!("{result}") };
        assert_eq!((result.outcome.code(), fault.errno), (Some(code), Some(errno)), "{result}");
        assert!(result.timing.total() < Duration::from_millis(500), "at once: {result}");
        assert_eq!(only(result).sent_ns, None);
    };
    let server = at(NEXT[0], 53);
    // A filter of this host.
    lab.client.nft(
        "add table inet t; add chain inet t o { type filter hook output priority 0; }; \
         add rule inet t o udp dport 54 drop",
    );
    for soft_errors in [false, true] {
        let config = DnsConfig { soft_errors, ..asking(1000) };
        let result = ask_from(&lab.client, at(NEXT[0], 54), config);
        local(&result, "local_permission", libc::EPERM);
    }
    // No port is left of those that the system gives.
    lab.client.sysctl("ipv4/ip_local_port_range", "40000 40001");
    let held: Vec<_> = lab
        .client
        .run(|| [40_000, 40_001].map(|port| UdpSocket::bind(("0.0.0.0", port)).unwrap()).into());
    let result = ask_from(&lab.client, server, asking(1000));
    local(&result, "local_address", libc::EAGAIN);
    drop::<Vec<_>>(held);
    // No buffer is left: the queue of the interface has no room for this query. A neighbour that is not known
    // yet would take it first.
    let Some(_) = require_command("tc") else { return };
    let _server = NameServer::start(&lab.server, server, |query| vec![genuine(query)]);
    assert!(ask_from(&lab.client, server, asking(1000)).verdict.is_pass());
    lab.client.exec("tc", "qdisc add dev to-server root tbf rate 8kbit burst 1600 limit 100");
    let options = vec![RawOption { code: 65_001, data: vec![0; 1400] }];
    let edns = Some(EdnsConfig { options, ..EdnsConfig::default() });
    let config = DnsConfig { edns, ..asking(1000) };
    let result = ask_from(&lab.client, server, config);
    local(&result, "local_memory", libc::ENOBUFS);
}
