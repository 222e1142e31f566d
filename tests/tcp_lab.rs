//! Connecting over paths that fail: the rows of the fault list that need networks of their own.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use check::lab::{BEHIND, NEXT, Pair, Routed, Wired, at, ip, probe, serve};
use check::{checked_with, code, connecting, in_own_process, saying, stuck, within_ms};
use netsonde::script::Step;
use netsonde::tcp::{PeerEnd, SocketOptions, TcpConfig, TcpProber, TcpReport};
use netsonde::{
    AddressPolicy, Dialing, Event, OutboundPolicy, Phase, ProbeResult, Prober, RawCode,
    StaticResolver, Target, Verdict,
};
use netsonde_support::packet::{self, Frame, Passage, Responder, Tap, Tcp};
use netsonde_support::{Lab, Script, Unaccepted};

const CONNECT: Option<Phase> = Some(Phase::Connect);
const SCRIPT: Option<Phase> = Some(Phase::Script);

fn raw(result: &ProbeResult<TcpReport>) -> Option<RawCode> {
    result.verdict.failure().and_then(|failure| failure.raw)
}

fn icmp(icmp_type: u8, code: u8, from: &str) -> Option<RawCode> {
    Some(RawCode::Icmp { icmp_type, code, from: Some(ip(from)) })
}

/// The segments that a capture has seen so far, and whether each left the client.
fn segments(tap: &Tap) -> Vec<(Tcp, bool)> {
    let frames = tap.receive_until(Duration::from_millis(50), |_| false);
    frames.iter().filter_map(|frame| Some((frame.tcp()?, frame.outgoing))).collect()
}

#[test]
fn t2_rst_to_syn() {
    let Some(lab) = Pair::new("t2") else { return };
    lab.server.nft(
        "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
         add rule inet t i tcp dport 81 reject with tcp reset",
    );
    for address in NEXT {
        let tap = Tap::open(&lab.near);
        let result = probe(&lab.client, &connecting(), &within_ms(1000), at(address, 81));
        assert_eq!(code(&result), ("refused", CONNECT), "{address}");
        assert_eq!(raw(&result), Some(RawCode::Errno { value: libc::ECONNREFUSED }));
        let frames = tap.receive_until(Duration::from_millis(50), |_| false);
        let seen: Vec<_> = frames.iter().filter(|frame| frame.tcp().is_some()).collect();
        assert_eq!(seen.len(), 2, "one SYN, one RST");
        let rtt = seen[1].at.duration_since(seen[0].at).unwrap();
        let took = result.attempts[0].duration();
        assert!(took <= rtt + Duration::from_millis(5), "{took:?}, on the wire {rtt:?}");
    }
}

/// What a connect whose SYN was sent again has to look like.
fn assert_flagged(result: &ProbeResult<TcpReport>, times: u32, least: Duration) {
    assert_eq!(code(result), ("pass", None), "{result}");
    let connection = result.report.connection.as_ref().unwrap();
    assert_eq!(connection.syn_retransmits, Some(times), "{result}");
    assert_eq!(connection.rtt, None, "nobody knows which SYN was answered");
    assert_eq!((result.quality.stamp, result.quality.uncertainty_ns), (None, None));
    assert_eq!(result.attempts[0].syn_retransmits, Some(times));
    let connect = result.timing.phase(Phase::Connect).unwrap();
    let range = least..least + Duration::from_millis(400);
    assert!(range.contains(&connect), "{connect:?}");
    assert!(result.to_string().contains("SYN sent again"), "{result}");
}

#[test]
fn t4_first_syn_lost() {
    let Some(lab) = Pair::new("t4") else { return };
    lab.client.drop_first_out(1, "tcp flags syn / syn,ack");
    let _server = serve(&lab.server, at(NEXT[0], 80), Script::new().hang());
    let result = probe(&lab.client, &connecting(), &within_ms(5000), at(NEXT[0], 80));
    assert_flagged(&result, 1, Duration::from_secs(1));
    // The next one is as good as any.
    let result = probe(&lab.client, &connecting(), &within_ms(5000), at(NEXT[0], 80));
    assert!(result.report.connection.unwrap().rtt.is_some());
}

#[test]
fn t5_syn_ack_lost() {
    // Lost until the client has asked again, or the server's own repetition could be faster.
    let mut syns = 0;
    let judge = move |frame: &Frame, to_server: bool| {
        let Some(tcp) = frame.tcp() else { return Passage::Pass };
        syns += usize::from(to_server && tcp.is_syn());
        let answers = !to_server && tcp.flags & Tcp::SYN != 0;
        if answers && syns < 2 { Passage::Drop } else { Passage::Pass }
    };
    let Some(lab) = Wired::new("t5", judge) else { return };
    let _server = serve(&lab.server, at(NEXT[0], 80), Script::new().hang());
    let result = probe(&lab.client, &connecting(), &within_ms(5000), at(NEXT[0], 80));
    assert_flagged(&result, 1, Duration::from_secs(1));
}

#[test]
fn t6_host_unreachable_from_a_router() {
    let Some(lab) = Routed::new("t6") else { return };
    lab.router.ip("route add unreachable 10.3.0.0/24");
    lab.router.ip("route add prohibit 10.4.0.0/24");
    lab.router.ip("-6 route add unreachable fd03::/64");
    for (address, expected, raw_code) in [
        ("10.3.0.1", "host_unreachable", icmp(3, 1, NEXT[0])),
        ("10.4.0.1", "filtered", icmp(3, 13, NEXT[0])),
        // An unreachable route of IPv6 is "no route" (ip-route(8)).
        ("fd03::1", "net_unreachable", icmp(1, 0, NEXT[1])),
        // Nobody answers the router's question for this neighbour, which takes it seconds.
        ("10.2.0.77", "host_unreachable", icmp(3, 1, NEXT[0])),
        ("fd02::77", "host_unreachable", icmp(1, 3, NEXT[1])),
    ] {
        let result = probe(&lab.client, &connecting(), &within_ms(8000), at(address, 80));
        assert_eq!(code(&result), (expected, CONNECT), "{address}: {result}");
        assert_eq!(raw(&result), raw_code, "{address}");
        let from = NEXT[usize::from(ip(address).is_ipv6())];
        assert!(result.to_string().contains(&format!("from {from}")), "{result}");
    }
    // And from this host itself, when the neighbour on its own wire does not answer.
    let result = probe(&lab.client, &connecting(), &within_ms(8000), at("10.1.0.77", 80));
    assert_eq!(code(&result), ("host_unreachable", CONNECT));
    // A host without a route at all says so at once.
    lab.client.ip("route delete default");
    let result = probe(&lab.client, &connecting(), &within_ms(1000), at("10.9.0.1", 80));
    assert_eq!(code(&result), ("net_unreachable", CONNECT));
}

#[test]
fn t8_admin_prohibited() {
    let Some(lab) = Routed::new("t8") else { return };
    lab.router.nft(
        "add table inet t; add chain inet t f { type filter hook forward priority 0; }; \
         add rule inet t f tcp dport 81 reject with icmpx type admin-prohibited; \
         add rule inet t f tcp dport 82 reject with icmpx type no-route; \
         add rule inet t f tcp dport 83 reject with icmpx type port-unreachable; \
         add rule inet t f tcp dport 84 meta nfproto ipv4 reject with icmp type host-prohibited",
    );
    for (address, port, expected, raw_code) in [
        (BEHIND[0], 81, "filtered", icmp(3, 13, NEXT[0])),
        (BEHIND[1], 81, "filtered", icmp(1, 1, NEXT[1])),
        (BEHIND[0], 82, "net_unreachable", icmp(3, 0, NEXT[0])),
        (BEHIND[1], 82, "net_unreachable", icmp(1, 0, NEXT[1])),
        (BEHIND[0], 83, "port_unreachable", icmp(3, 3, NEXT[0])),
        (BEHIND[1], 83, "port_unreachable", icmp(1, 4, NEXT[1])),
        (BEHIND[0], 84, "prohibited", icmp(3, 10, NEXT[0])),
    ] {
        let result = probe(&lab.client, &connecting(), &within_ms(1000), at(address, port));
        assert_eq!(code(&result), (expected, CONNECT), "{address} {port}: {result}");
        assert_eq!(raw(&result), raw_code, "{address} {port}");
        assert!(result.timing.total() < Duration::from_millis(500), "it does not wait: {result}");
    }
}

#[test]
fn t9_ttl_exceeded() {
    let Some(lab) = Routed::new("t9") else { return };
    let _servers = BEHIND.map(|address| serve(&lab.server, at(address, 80), Script::new().hang()));
    let with_ttl = |ttl| {
        let socket = SocketOptions { ttl: Some(ttl), ..SocketOptions::default() };
        TcpProber::new(TcpConfig { socket, ..TcpConfig::default() }).unwrap()
    };
    for (address, raw_code) in [(BEHIND[0], icmp(11, 0, NEXT[0])), (BEHIND[1], icmp(3, 0, NEXT[1]))]
    {
        let result = probe(&lab.client, &with_ttl(1), &within_ms(1000), at(address, 80));
        assert_eq!(code(&result), ("ttl_exceeded", CONNECT), "{address}");
        assert_eq!(raw(&result), raw_code, "{address}");
        let result = probe(&lab.client, &with_ttl(2), &within_ms(1000), at(address, 80));
        assert_eq!(code(&result), ("pass", None), "{address}");
    }
}

/// A wire on which a router says "fragmentation needed" about every packet beyond 60 bytes, and
/// loses it or lets it pass.
fn too_narrow(word: &str, loses: bool) -> Option<(Wired, Arc<AtomicUsize>)> {
    let packets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&packets);
    let (tell, told) = std::sync::mpsc::channel::<Tap>();
    let mut answer = None;
    let judge = move |frame: &Frame, to_server: bool| {
        let tcp = to_server && frame.tcp().is_some();
        let Some(packet) = frame.packet().filter(|_| tcp) else { return Passage::Pass };
        counted.fetch_add(1, Ordering::SeqCst);
        if packet.len() <= 60 {
            return Passage::Pass;
        }
        let tap = answer.get_or_insert_with(|| told.recv().unwrap());
        let message = packet::fragmentation_needed(packet, 60);
        tap.send(&frame.reply_from(ip("10.1.0.9"), packet::ICMP, &message));
        if loses { Passage::Drop } else { Passage::Pass }
    };
    let lab = Wired::new(word, judge)?;
    tell.send(Tap::open(&lab.left)).unwrap();
    Some((lab, packets))
}

#[test]
fn t10_fragmentation_needed_below_88_bytes() {
    let text = "x".repeat(3000);
    let server = || Script::new().read(3000).send("ok\n").hang();
    let prober = saying([Step::send(text), Step::expect("^ok$")]);

    let Some((lab, _)) = too_narrow("t10a", false) else { return };
    let _server = serve(&lab.server, at(NEXT[0], 80), server());
    let result = probe(&lab.client, &prober, &within_ms(5000), at(NEXT[0], 80));
    assert_eq!(code(&result), ("pass", None));

    let Some((lab, packets)) = too_narrow("t10b", true) else { return };
    let _server = serve(&lab.server, at(NEXT[0], 80), server());
    let result = probe(&lab.client, &prober, &within_ms(1500), at(NEXT[0], 80));
    assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(1)));
    let seen = packets.load(Ordering::SeqCst);
    assert!((3..100).contains(&seen), "no loop: {seen} packets in 1.5 s");

    // The same about the SYN.
    let Some(lab) = Lab::new("t10c") else { return };
    let (client, router) = (lab.namespace("client"), lab.namespace("router"));
    let (near, far) = lab.link((&client, "10.1.0.1/24"), (&router, ""));
    near.neighbour(NEXT[0], &far);
    let _router = Responder::start(Tap::open(&far), |frame| {
        frame.tcp()?;
        let message = packet::fragmentation_needed(frame.packet()?, 60);
        Some(frame.reply_from(ip("10.1.0.9"), packet::ICMP, &message))
    });
    let tap = Tap::open(&near);
    let result = probe(&client, &connecting(), &within_ms(1500), at(NEXT[0], 80));
    assert_eq!(code(&result), ("timeout", CONNECT));
    let syns = segments(&tap).len();
    assert!((1..=3).contains(&syns), "no loop: {syns} SYNs in 1.5 s");
}

#[test]
fn t13_listen_queue_full_with_abort_on_overflow() {
    // What follows the SYN is late, and by then another connection has taken the only place.
    let judge = |frame: &Frame, to_server: bool| match frame.tcp() {
        Some(tcp) if to_server && !tcp.is_syn() => Passage::Delay(Duration::from_millis(150)),
        _ => Passage::Pass,
    };
    let Some(lab) = Wired::new("t13", judge) else { return };
    lab.server.sysctl("ipv4/tcp_abort_on_overflow", "1");
    let target = at(NEXT[0], 80);
    let socket = lab.server.run(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&target.into()).unwrap();
        socket.listen(0).unwrap();
        socket
    });
    let prober = saying([Step::expect("^220")]);
    let (server, taken) = (lab.server.clone(), std::sync::Mutex::new(Vec::new()));
    let hook = move |event: &Event<'_>| {
        if matches!(event, Event::Entered { phase: Phase::Script, .. }) {
            let stream = server.run(|| TcpStream::connect(target)).unwrap();
            taken.lock().unwrap().push(stream);
        }
    };
    let result =
        lab.client.block_on(async || checked_with(&prober, &within_ms(1000), target, hook).await);
    assert_eq!(stuck(&result), ("reset", SCRIPT, Some(0)), "{result}");
    assert_eq!(check::peer_end(&result), Some(PeerEnd::Reset));
    drop(socket);
}

#[test]
fn t14_forged_syn_ack() {
    let Some(lab) = Lab::new("t14") else { return };
    let (client, stranger) = (lab.namespace("client"), lab.namespace("stranger"));
    let (near, far) = lab.link((&client, "10.1.0.1/24"), (&stranger, ""));
    near.neighbour(NEXT[0], &far);
    let _forger = Responder::start(Tap::open(&far), |frame| {
        let syn = frame.tcp().filter(Tcp::is_syn)?;
        let mut answer = syn.syn_ack(1);
        answer.acknowledgment = answer.acknowledgment.wrapping_add(7);
        let ip = frame.ip()?;
        Some(frame.reply(packet::TCP, &answer.bytes(ip.destination, ip.source)))
    });
    let tap = Tap::open(&near);
    let result = probe(&client, &connecting(), &within_ms(300), at(NEXT[0], 80));
    assert_eq!(code(&result), ("timeout", CONNECT));
    assert_eq!(result.report.connection, None);
    let forged = segments(&tap).iter().filter(|(_, outgoing)| !outgoing).count();
    assert!(forged >= 1, "the forged answer has come");
}

#[test]
fn t24_local_firewall() {
    let Some(lab) = Pair::new("t24") else { return };
    lab.client.nft(
        "add table inet t; add chain inet t o { type filter hook output priority 0; }; \
         add rule inet t o tcp dport 81 drop; \
         add rule inet t o tcp dport 82 reject with icmpx type admin-prohibited; \
         add rule inet t o tcp dport 83 reject with icmpx type port-unreachable; \
         add rule inet t o tcp dport 84 reject with tcp reset",
    );
    let tap = Tap::open(&lab.near);
    for address in NEXT {
        // Linux does not tell a TCP socket that its SYN was dropped on the way out.
        let result = probe(&lab.client, &connecting(), &within_ms(200), at(address, 81));
        assert_eq!(code(&result), ("timeout", CONNECT), "{result}");
        for port in [82, 83] {
            let result = probe(&lab.client, &connecting(), &within_ms(500), at(address, port));
            assert_eq!(code(&result), ("local_permission", CONNECT), "{port}: {result}");
        }
        let result = probe(&lab.client, &connecting(), &within_ms(500), at(address, 84));
        assert_eq!(code(&result), ("refused", CONNECT), "{result}");
    }
    assert_eq!(segments(&tap), [], "nothing has left");
    lab.client.nft("flush ruleset");
    lab.client.nft(
        "add table inet t; add chain inet t o { type route hook output priority 0; }; \
         add rule inet t o tcp dport 85 meta mark set 5",
    );
    lab.client.ip("rule add fwmark 5 prohibit");
    lab.client.ip("route add prohibit 10.7.0.0/24");
    let result = probe(&lab.client, &connecting(), &within_ms(500), at("10.7.0.1", 80));
    assert_eq!(code(&result), ("local_permission", CONNECT), "{result}");
    lab.client.ip("route add blackhole 10.8.0.0/24");
    let result = probe(&lab.client, &connecting(), &within_ms(500), at("10.8.0.1", 80));
    assert_eq!(code(&result), ("local_route", CONNECT), "{result}");
}

#[test]
fn t25_dual_stack_with_ipv6_swallowed() {
    let Some(lab) = Pair::new("t25") else { return };
    let _servers = NEXT.map(|address| serve(&lab.server, at(address, 80), Script::new().hang()));
    lab.server.nft(
        "add table ip6 t; add chain ip6 t i { type filter hook input priority 0; }; \
         add rule ip6 t i tcp dport 80 drop",
    );
    let resolver = StaticResolver::new().with("both.test", [ip(NEXT[1]), ip(NEXT[0])]).unwrap();
    let cx = within_ms(3000).with_resolver(resolver);
    let target: Target = "both.test:80".parse().unwrap();
    for (addresses, attempt_timeout, delay) in [
        (AddressPolicy::HappyEyeballs, None, 250),
        (AddressPolicy::Any, Some(Duration::from_millis(400)), 400),
    ] {
        let dialing = Dialing { addresses, attempt_timeout, ..Dialing::default() };
        let prober = TcpProber::new(TcpConfig { dialing, ..TcpConfig::default() }).unwrap();
        let result = probe(&lab.client, &prober, &cx, target.clone());
        assert_eq!(code(&result), ("pass", None), "{result}");
        assert_eq!(result.report.connection.as_ref().unwrap().peer, at(NEXT[0], 80));
        let [v6, v4] = result.attempts.as_slice() else { panic!("{result}") };
        assert_eq!(v6.address, at(NEXT[1], 80).into());
        assert_eq!((v6.selected, v4.selected), (false, true));
        let given_up = match addresses {
            AddressPolicy::HappyEyeballs => None,
            _ => Some("timeout"),
        };
        assert_eq!(v6.verdict.as_ref().and_then(Verdict::code), given_up, "{result}");
        let apart = Duration::from_nanos(v4.start_ns - v6.start_ns);
        let range = Duration::from_millis(delay)..Duration::from_millis(delay + 100);
        assert!(range.contains(&apart), "{apart:?}");
        assert!(v6.duration() >= Duration::from_millis(delay), "each is timed: {result}");
        assert!(v4.duration() < Duration::from_millis(100), "each is timed: {result}");
    }
}

#[test]
fn t28_the_system_s_resolver_eats_the_deadline() {
    const TEST: &str = "t28_the_system_s_resolver_eats_the_deadline";
    let Some(()) = netsonde_support::require_root() else { return };
    let Some(_) = netsonde_support::require_command("unshare") else { return };
    // A network and a resolv.conf of its own: port 53 of its loopback is bound, and never answers.
    let folder = netsonde_support::TempDir::new("t28");
    let conf = folder.join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n").unwrap();
    let before = format!(
        "exec unshare --net --mount sh -c 'ip link set lo up && \
         mount --bind {} \"$(realpath /etc/resolv.conf)\" && exec \"$0\" \"$@\"' \"$0\" \"$@\";",
        conf.display()
    );
    if !in_own_process(TEST, &before) {
        return;
    }
    let _silent = std::net::UdpSocket::bind("127.0.0.1:53").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let target: Target = "slow.example:80".parse().unwrap();
    let result = runtime.block_on(check::checked(&connecting(), &within_ms(300), target));
    assert_eq!(code(&result), ("timeout", Some(Phase::Resolve)));
    runtime.shutdown_background();
}

#[test]
fn t30_denied_ranges_see_no_packet() {
    let Some(lab) = Routed::new("t30") else { return };
    let mut policy = OutboundPolicy::guarded();
    for network in ["10.2.0.0/24", "fd02::/64"] {
        policy.deny.push(network.parse().unwrap());
    }
    lab.client.ip("route add 169.254.169.254/32 via 10.1.0.2");
    let tap = Tap::open(&lab.near);
    let v4_in_v6 = ["64:ff9b::10.2.0.2", "2002:a02:2::1", "::ffff:10.2.0.2"];
    for address in [BEHIND[0], BEHIND[1], "169.254.169.254"].into_iter().chain(v4_in_v6) {
        let cx = within_ms(300).with_policy(policy.clone());
        let result = probe(&lab.client, &connecting(), &cx, at(address, 80));
        assert_eq!(code(&result), ("policy", Some(Phase::Setup)), "{result}");
        assert!(check::none_dialled(&result), "{result}");
    }
    assert_eq!(segments(&tap), [], "no packet");
    // The same without the policy: the capture would have shown it.
    probe(&lab.client, &connecting(), &within_ms(300), at(BEHIND[0], 80));
    assert!(!segments(&tap).is_empty());
}

#[test]
fn t78_ports_used_up_without_a_reset_are_local() {
    let Some(lab) = Lab::new("t78") else { return };
    let host = lab.namespace("host");
    host.sysctl("ipv4/ip_local_port_range", "40000 40049");
    host.sysctl("ipv4/tcp_tw_reuse", "0");
    // Nobody accepts, so this side closes first and keeps the port for a while (RFC 9293, 3.6).
    let sink = host.run(Unaccepted::v4);
    let seen = host.block_on(async || {
        let mut seen = [0; 2];
        for _ in 0..80 {
            let result = connecting().probe_with(&within_ms(500), &sink.addr().into()).await;
            check::check(&result);
            match result.verdict.code() {
                None => seen[0] += 1,
                Some("local_address") => seen[1] += 1,
                Some(_) => panic!("{result}"),
            }
        }
        seen
    });
    assert_eq!(seen[0] + seen[1], 80);
    assert!(seen[0] >= 40 && seen[1] >= 20, "passed, no port left: {seen:?}");
    // With a reset no port is kept.
    let socket = SocketOptions { reset_on_close: true, ..SocketOptions::default() };
    let prober = TcpProber::new(TcpConfig { socket, ..TcpConfig::default() }).unwrap();
    let sink = host.run(|| Unaccepted::on(at("127.0.0.1", 30_000)));
    host.block_on(async || {
        for _ in 0..200 {
            let result = prober.probe_with(&within_ms(500), &sink.addr().into()).await;
            assert_eq!(code(&result), ("pass", None), "{result}");
        }
    });
}
