//! Traces through routers that are namespaces.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use netsonde::icmp::trace::{
    AnswerKind, BalancingKind, PathEnd, Rewritten, TraceAnswer, TraceConfig, TraceFate,
    TraceMethod, TracePath, TraceProber, TraceReport,
};
use netsonde::icmp::{SocketChoice, SocketMode};
use netsonde::{
    FailureKind, OutboundPolicy, ProbeContext, ProbeResult, Prober, StampSource, StaticResolver,
};
use netsonde_lab::netlab::address;
use netsonde_lab::responder::{Broken, IcmpError, mpls};
use netsonde_lab::{Capture, LeakCheck, Net, Program, Responder, Topology};
use netsonde_support::leaks::isolated_blocking;
use netsonde_support::netns::{Lab, Namespace};
use netsonde_support::packet;

/// Every method over the kind of socket that it has.
const WAYS: [(TraceMethod, SocketChoice); 5] = [
    (TraceMethod::Icmp, SocketChoice::Raw),
    (TraceMethod::Udp, SocketChoice::Raw),
    (TraceMethod::Tcp, SocketChoice::Raw),
    (TraceMethod::Icmp, SocketChoice::Datagram),
    (TraceMethod::Udp, SocketChoice::Datagram),
];

fn config((method, socket): (TraceMethod, SocketChoice)) -> TraceConfig {
    TraceConfig {
        method,
        socket,
        // Nothing in these networks takes longer.
        query_timeout: Duration::from_millis(500),
        ..TraceConfig::default()
    }
}

fn trace_with(
    from: &Namespace,
    config: TraceConfig,
    to: IpAddr,
    cx: &ProbeContext,
) -> ProbeResult<TraceReport> {
    let target = to.to_string().parse().expect("an address is a target");
    let prober = TraceProber::new(config).expect("fine");
    let result = from.block_on(async || prober.probe_with(cx, &target).await);
    println!("{result}");
    result
}

fn trace(from: &Namespace, config: TraceConfig, to: IpAddr) -> ProbeResult<TraceReport> {
    trace_with(from, config, to, &ProbeContext::new())
}

fn net(word: &str, topology: Topology) -> Option<Net> {
    let ping_groups = Some((0, 2_147_483_647));
    let net = Net::build(word, &Topology { ping_groups, ..topology })?;
    net.routers.iter().chain([&net.server]).for_each(unlimited);
    Some(net)
}

/// Lets a host send as many ICMP errors as it likes, to each peer and to all.
fn unlimited(host: &Namespace) {
    host.sysctl("ipv4/icmp_ratelimit", "0");
    host.sysctl("ipv6/icmp/ratelimit", "0");
    host.sysctl("ipv4/icmp_msgs_per_sec", "1000000");
    host.sysctl("ipv4/icmp_msgs_burst", "1000000");
}

/// Who answered at each hop.
fn hops(path: &TracePath) -> Vec<Vec<IpAddr>> {
    let of_hop = |hop: &netsonde::icmp::trace::TraceHop| {
        let mut from: Vec<IpAddr> = hop.answers().filter_map(|answer| answer.from).collect();
        from.dedup();
        from
    };
    path.hops.iter().map(of_hop).collect()
}

/// The far ends of the wires: who answers on a path through so many routers, and then the target.
fn chain(wires: usize, v6: bool) -> Vec<Vec<IpAddr>> {
    (0..wires).map(|wire| vec![address(wire, 2)[usize::from(v6)]]).collect()
}

fn answers(result: &ProbeResult<TraceReport>) -> impl Iterator<Item = (u8, &TraceAnswer)> {
    result.report.paths.iter().flat_map(|path| path.answers())
}

#[test]
fn i64_i70_the_hops_are_the_routers_in_their_order_and_then_the_target() {
    let Some(net) = net("chain", Topology::path(3)) else { return };
    for way in WAYS {
        for (v6, target) in [(false, net.target[0]), (true, net.target[1])] {
            let result = trace(&net.client, config(way), target);
            assert!(result.verdict.is_pass(), "{way:?} {result}");
            let report = &result.report;
            assert_eq!(report.paths.len(), 1);
            let path = &report.paths[0];
            assert_eq!(path.end, PathEnd::Reached { ttl: 4 }, "{way:?} {result}");
            assert_eq!(hops(path), chain(4, v6), "{way:?} {result}");
            assert!(path.hops.iter().all(|hop| hop.answers().count() == 3), "{way:?} {result}");
            assert_eq!((path.nat_ttl, path.loops.len(), report.forgery_suspects), (None, 0, 0));
            let mode = match way.1 {
                SocketChoice::Raw => SocketMode::Raw,
                _ => SocketMode::Datagram,
            };
            assert_eq!((report.socket, report.method), (Some(mode), Some(way.0)));
            for (ttl, answer) in answers(&result) {
                let rtt = answer.rtt.expect("every answer has a time");
                assert_eq!(rtt.source, StampSource::Kernel, "{way:?} {ttl} {answer:?}");
                assert!(rtt.ns > 0 && rtt.ns < 100_000_000, "{way:?} {ttl} {answer:?}");
                assert!(!answer.weak_match, "{way:?} {ttl} {answer:?}");
                let at_target = answer.answer == AnswerKind::Reached;
                assert_eq!(at_target, ttl == 4);
                if mode == SocketMode::Raw && !at_target {
                    let quoted = answer.quoted.expect("raw sockets see the quote");
                    assert_eq!(quoted.ttl, Some(1), "{answer:?}");
                    assert_eq!(quoted.source, Some(address(0, 1)[usize::from(v6)]));
                    assert!(answer.ttl.is_some_and(|left| left > 50), "{answer:?}");
                }
            }
            assert_eq!(result.quality.stamp, Some(StampSource::Kernel));
            assert!(result.timing.is_tiled());
            assert_eq!(result.attempts.len(), 1);
        }
    }
}

#[test]
fn times_are_those_of_the_line() {
    let hold = Duration::from_millis(10);
    let delay = || Program::delay(hold);
    let ping_groups = Some((0, 2_147_483_647));
    let topology = Topology { ping_groups, ..Topology::path(1) };
    let Some(net) = Net::with_line("line", &topology, delay(), delay()) else { return };
    unlimited(&net.routers[0]);
    unlimited(&net.server);
    for way in WAYS {
        for target in net.target {
            let within = || {
                let result = trace(&net.client, config(way), target);
                assert_eq!(answers(&result).count(), 6, "{way:?} {result}");
                let mut times = answers(&result).filter_map(|(_, answer)| answer.rtt);
                times.all(|rtt| {
                    let beyond = rtt.duration().checked_sub(2 * hold);
                    beyond.is_some_and(|beyond| beyond < Duration::from_millis(5))
                })
            };
            // On a busy machine the line is late, and early by what passes between two looks at its clocks:
            // such a sample is taken again.
            assert!((0..3).any(|_| within()), "{way:?} {target}");
        }
    }
}

#[test]
fn an_open_tcp_port_ends_a_trace_and_no_connection_is_left() {
    let Some(net) = net("open", Topology::path(2)) else { return };
    for target in net.target {
        let accepts = net.server.run(|| std::net::TcpListener::bind((target, 443)).unwrap());
        let way = (TraceMethod::Tcp, SocketChoice::Raw);
        let config = TraceConfig { port: Some(443), ..config(way) };
        let result = trace(&net.client, config, target);
        assert_eq!(result.report.paths[0].end, PathEnd::Reached { ttl: 3 }, "{result}");
        assert_eq!(result.report.port, Some(443));
        let states =
            || net.server.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
        // 03 is SYN_RECV: the kernel of this host has answered each SYN and ACK with RST.
        let end = Instant::now() + Duration::from_secs(2);
        while states().lines().any(|line| line.split_whitespace().nth(3) == Some("03")) {
            assert!(Instant::now() < end, "{}", states());
        }
        accepts.set_nonblocking(true).unwrap();
        assert!(accepts.accept().is_err(), "nothing was established");
    }
}

#[test]
fn a_router_that_stays_silent_is_passed() {
    let mut topology = Topology::path(3);
    let rules = "add table inet t\nadd chain inet t out { type filter hook output priority 0; }\n\
                 add rule inet t out icmp type time-exceeded drop\n\
                 add rule inet t out icmpv6 type time-exceeded drop\n";
    topology.nft.insert("r2".into(), rules.into());
    let Some(net) = net("silent", topology) else { return };
    for way in WAYS {
        for (v6, target) in [(false, net.target[0]), (true, net.target[1])] {
            let result = trace(&net.client, config(way), target);
            let mut wanted = chain(4, v6);
            wanted[1].clear();
            let path = &result.report.paths[0];
            assert_eq!(hops(path), wanted, "{way:?} {result}");
            assert!(path.hops[1].queries.iter().all(|query| query.fate == TraceFate::Lost));
            assert!(result.verdict.is_pass(), "{way:?} {result}");
        }
    }
}

#[test]
fn i61_a_router_that_prohibits_ends_the_path_with_its_reason() {
    let mut topology = Topology::path(3);
    let rules = "add table inet t\nadd chain inet t f { type filter hook forward priority 0; }\n\
                 add rule inet t f ip daddr 10.80.3.2 reject with icmp type admin-prohibited\n\
                 add rule inet t f ip6 daddr fd80:3::2 reject with icmpv6 type admin-prohibited\n";
    topology.nft.insert("r2".into(), rules.into());
    let Some(net) = net("prohibit", topology) else { return };
    for way in WAYS {
        for (v6, target) in [(false, net.target[0]), (true, net.target[1])] {
            let result = trace(&net.client, config(way), target);
            let path = &result.report.paths[0];
            let (failure, from) = (FailureKind::Filtered, Some(address(1, 2)[usize::from(v6)]));
            // Linux forwards, and so filters, only what has more than one hop left.
            assert_eq!(path.end, PathEnd::Refused { ttl: 3, failure, from }, "{way:?} {result}");
            assert_eq!(hops(path)[..2], chain(2, v6), "{way:?} {result}");
            assert_eq!(result.verdict.code(), Some("filtered"), "{way:?} {result}");
            assert!(result.to_string().contains("!X"), "{result}");
        }
    }
}

#[test]
fn i85_translated_addresses_leave_a_hint() {
    // A translator that keeps no state, and so does not restore what errors quote.
    let mut topology = Topology::path(3);
    let rules = "add table ip t\n\
         add chain ip t post { type filter hook postrouting priority 100; }\n\
         add chain ip t pre { type filter hook prerouting priority -400; }\n\
         add rule ip t post oifname \"to-r2\" ip saddr 10.80.0.1 ip saddr set 10.80.1.77 notrack\n\
         add rule ip t pre iifname \"to-r2\" ip daddr 10.80.1.77 ip daddr set 10.80.0.1 notrack\n";
    topology.nft.insert("r1".into(), rules.replace(" notrack", ""));
    // It answers for the address that it lends.
    topology.ip.insert(
        "r2".into(),
        vec!["neigh replace 10.80.1.77 lladdr 02:00:00:00:00:00 dev to-r1".into()],
    );
    let Some(net) = net("nat", topology) else { return };
    // All that is for the lent address goes to the translator.
    let mac = net.routers[0].ip("-o link show dev to-r2");
    let mac = mac.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    net.routers[1].ip(&format!("neigh replace 10.80.1.77 lladdr {mac} dev to-r1"));
    for way in &WAYS[..3] {
        let result = trace(&net.client, config(*way), net.target[0]);
        let path = &result.report.paths[0];
        assert_eq!(path.end, PathEnd::Reached { ttl: 4 }, "{way:?} {result}");
        assert_eq!(path.nat_ttl, Some(2), "{way:?} {result}");
        for (ttl, answer) in path.answers().filter(|(_, answer)| answer.answer == AnswerKind::Hop) {
            assert_eq!(answer.rewritten.contains(&Rewritten::Source), ttl > 1, "{answer:?}");
        }
    }
}

#[test]
fn a_translator_that_restores_what_errors_quote_leaves_no_hint_and_does_no_harm() {
    let mut topology = Topology::path(3);
    let rules = "add table ip t\nadd chain ip t post { type nat hook postrouting priority 100; }\n\
                 add rule ip t post oifname \"to-r2\" masquerade\n";
    topology.nft.insert("r1".into(), rules.into());
    let Some(net) = net("masq", topology) else { return };
    for way in WAYS {
        let result = trace(&net.client, config(way), net.target[0]);
        let path = &result.report.paths[0];
        assert_eq!(hops(path), chain(4, false), "{way:?} {result}");
        assert_eq!((path.nat_ttl, result.report.forgery_suspects), (None, 0), "{way:?} {result}");
    }
}

/// Client, router, two routers side by side, router, server. The way back is always by the first.
struct Diamond {
    _lab: Lab,
    client: Namespace,
    target: [IpAddr; 2],
    /// Who answers at hop 2.
    middle: [[IpAddr; 2]; 2],
}

fn diamond(word: &str) -> Option<Diamond> {
    let lab = Lab::new(word)?;
    let [client, near, a, b, far, server] =
        ["c", "near", "a", "b", "far", "s"].map(|word| lab.namespace(word));
    unlimited(&server);
    for router in [&near, &a, &b, &far] {
        router.forward();
        unlimited(router);
        for scope in ["all", "default"] {
            router.sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0");
        }
        router.sysctl("ipv4/fib_multipath_hash_policy", "1");
        router.sysctl("ipv6/fib_multipath_hash_policy", "1");
    }
    let link = |one: &Namespace, other: &Namespace, net: u8| {
        let (left, right) =
            lab.link((one, &format!("10.81.{net}.1/24")), (other, &format!("10.81.{net}.2/24")));
        left.address(&format!("fd81:{net}::1/64"));
        right.address(&format!("fd81:{net}::2/64"));
        for (device, peer, end) in [(&left, &right, 2), (&right, &left, 1)] {
            device.neighbour(&format!("10.81.{net}.{end}"), peer);
            device.neighbour(&format!("fd81:{net}::{end}"), peer);
        }
    };
    link(&client, &near, 0);
    link(&near, &a, 1);
    link(&near, &b, 2);
    link(&a, &far, 3);
    link(&b, &far, 4);
    link(&far, &server, 5);
    client.ip("route add default via 10.81.0.2");
    client.ip("-6 route add default via fd81:0::2");
    near.ip("route add 10.81.0.0/16 nexthop via 10.81.1.2 nexthop via 10.81.2.2");
    near.ip("-6 route add fd81::/16 nexthop via fd81:1::2 nexthop via fd81:2::2");
    for (router, wire) in [(&a, 3), (&b, 4)] {
        router.ip(&format!("route add 10.81.5.0/24 via 10.81.{wire}.2"));
        router.ip(&format!("-6 route add fd81:5::/64 via fd81:{wire}::2"));
        router.ip(&format!("route add 10.81.0.0/24 via 10.81.{}.1", wire - 2));
        router.ip(&format!("-6 route add fd81:0::/64 via fd81:{}::1", wire - 2));
    }
    far.ip("route add 10.81.0.0/24 via 10.81.3.1");
    far.ip("-6 route add fd81:0::/64 via fd81:3::1");
    server.ip("route add default via 10.81.5.1");
    server.ip("-6 route add default via fd81:5::1");
    let ip = |text: &str| text.parse().unwrap();
    Some(Diamond {
        _lab: lab,
        client,
        target: [ip("10.81.5.2"), ip("fd81:5::2")],
        middle: [[ip("10.81.1.2"), ip("10.81.2.2")], [ip("fd81:1::2"), ip("fd81:2::2")]],
    })
}

#[test]
fn a_flow_keeps_to_one_of_two_paths_and_several_flows_see_both() {
    let Some(diamond) = diamond("ecmp") else { return };
    // Linux shares ICMP out by addresses alone.
    for method in [TraceMethod::Udp, TraceMethod::Tcp] {
        for (target, middle) in diamond.target.into_iter().zip(diamond.middle) {
            let way = (method, SocketChoice::Raw);
            let config = TraceConfig { flows: 16, queries: 5, parallel: 64, ..config(way) };
            let result = trace(&diamond.client, config, target);
            assert_eq!(result.report.paths.len(), 16);
            let mut seen = [0, 0];
            for path in &result.report.paths {
                assert_eq!(path.end, PathEnd::Reached { ttl: 4 }, "{method:?} {result}");
                let [router] = hops(path)[1][..] else { panic!("{method:?} {result}") };
                let place = middle.iter().position(|other| *other == router);
                seen[place.expect("one of the two")] += 1;
            }
            // The odds that all take the same are one in 32,768.
            assert!(seen.iter().all(|count| *count > 0), "{method:?} {seen:?}");
            let hint = &result.report.balancing[0];
            assert_eq!((hint.ttl, hint.by), (2, BalancingKind::Flow), "{result}");
            assert_eq!(hint.routers, middle);
        }
    }
    for target in diamond.target {
        let result = trace(&diamond.client, config((TraceMethod::Icmp, SocketChoice::Raw)), target);
        assert_eq!(result.report.balancing, [], "{result}");
        assert!(result.verdict.is_pass(), "{result}");
    }
}

/// Answers what runs out of hops with labels, two hops away from a stub, and nothing else.
fn labelled(net: &Net) -> Responder {
    Responder::packets(&net.far, |incoming| {
        let ip = incoming.ip;
        let kind = if ip.source.is_ipv4() { 11 } else { 3 };
        let router = if ip.source.is_ipv4() { "198.51.100.1" } else { "2001:db8::1" };
        if ip.ttl > 2 {
            return Vec::new();
        }
        IcmpError::about(incoming.packet, kind, 0)
            .from(router.parse().unwrap())
            .quote_behind_header(8)
            .object(mpls(16_000 + u32::from(ip.ttl), 5, 3))
            .object((2, 15, vec![1, 2, 3, 4]))
            .answers()
    })
}

#[test]
fn labels_and_short_quotes_are_read() {
    let Some(net) = net("mpls", Topology::stub()) else { return };
    let _responder = labelled(&net);
    for way in &WAYS[..3] {
        for target in ["203.0.113.9", "2001:db8::99"] {
            let config = TraceConfig { max_hops: 2, flows: 2, ..config(*way) };
            let result = trace(&net.client, config, target.parse().unwrap());
            for path in &result.report.paths {
                assert_eq!(path.answers().count(), 6, "{way:?} {result}");
                for (ttl, answer) in path.answers() {
                    let [label] = &answer.mpls[..] else { panic!("{way:?} {result}") };
                    assert_eq!((label.label, label.traffic_class), (16_000 + u32::from(ttl), 5));
                    let [object] = &answer.extensions[..] else { panic!("{way:?} {result}") };
                    assert_eq!((object.class, object.data.as_slice()), (2, &[1, 2, 3, 4][..]));
                    assert_eq!(answer.weak_match, way.0 != TraceMethod::Tcp, "{answer:?}");
                    assert_eq!(answer.rewritten, []);
                }
            }
            assert!(result.to_string().contains("[MPLS 16001 tc 5 ttl 3]"), "{result}");
        }
    }
}

#[test]
fn i86_i88_i89_i90_i92_i94_broken_extensions_cost_a_hop_nothing_but_themselves() {
    let Some(net) = net("broken", Topology::stub()) else { return };
    let broken = [
        (Broken::No, true),
        (Broken::LengthZero, false),
        (Broken::OldStyle, true),
        (Broken::LengthBeyond, false),
        (Broken::Version, false),
        (Broken::Checksum, false),
        (Broken::ObjectZero, false),
        (Broken::ObjectShort, false),
        (Broken::ObjectOdd, false),
        (Broken::ObjectBeyond, false),
        (Broken::Cut, false),
    ];
    for (broken, read) in broken {
        let _responder = Responder::packets(&net.far, move |incoming| {
            let kind = if incoming.ip.source.is_ipv4() { 11 } else { 3 };
            let error = IcmpError::about(incoming.packet, kind, 0);
            error.object(mpls(77, 0, 1)).broken(broken).answers()
        });
        for way in &WAYS[..3] {
            for (v6, target) in [(false, "203.0.113.9"), (true, "2001:db8::99")] {
                let config = TraceConfig { max_hops: 2, ..config(*way) };
                let result = trace(&net.client, config, target.parse().unwrap());
                assert_eq!(answers(&result).count(), 6, "{broken:?} {way:?} {result}");
                // IPv6 never had the form of before RFC 4884.
                let read = read && !(v6 && broken == Broken::OldStyle);
                for (_, answer) in answers(&result) {
                    assert_eq!(
                        answer.mpls.len(),
                        usize::from(read),
                        "{broken:?} {way:?} {answer:?}"
                    );
                    assert_eq!(answer.extensions, [], "{broken:?} {way:?}");
                }
            }
        }
    }
}

#[test]
fn over_datagram_sockets_a_short_quote_counts_if_only_one_query_is_under_way() {
    let Some(net) = net("one", Topology::stub()) else { return };
    let _responder = labelled(&net);
    let way = (TraceMethod::Udp, SocketChoice::Datagram);
    let config = TraceConfig { max_hops: 2, parallel: 1, ..config(way) };
    for target in ["203.0.113.9", "2001:db8::99"] {
        let result = trace(&net.client, config.clone(), target.parse().unwrap());
        assert_eq!(answers(&result).count(), 6, "{result}");
        assert!(answers(&result).all(|(_, answer)| answer.weak_match), "{result}");
    }
}

#[test]
fn a_service_that_answers_in_udp_is_the_target() {
    let Some(net) = net("service", Topology::path(2)) else { return };
    for target in net.target {
        for socket in [SocketChoice::Raw, SocketChoice::Datagram] {
            // It says something of its own.
            let service = net.server.run(|| std::net::UdpSocket::bind((target, 53)).unwrap());
            service.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while let Ok((_, from)) = service.recv_from(&mut [0; 100]) {
                        service.send_to(b"no", from).unwrap();
                    }
                });
                let config = TraceConfig {
                    port: Some(53),
                    parallel: 1,
                    ..config((TraceMethod::Udp, socket))
                };
                trace(&net.client, config, target)
            });
            let path = &result.report.paths[0];
            assert_eq!(path.end, PathEnd::Reached { ttl: 3 }, "{result}");
            let last = path.hops[2].answers().next().unwrap();
            assert_eq!((last.failure, last.weak_match), (None, true));
        }
    }
}

#[test]
fn i5_errors_about_packets_that_were_never_sent_find_nobody() {
    let Some(net) = net("forged", Topology::stub()) else { return };
    // The right answer, and before it one whose hash is wrong.
    let _responder = Responder::packets(&net.far, |incoming| {
        let kind = if incoming.ip.source.is_ipv4() { 11 } else { 3 };
        let right = IcmpError::about(incoming.packet, kind, 0);
        let header = packet::Ip::parse(incoming.packet).unwrap().header;
        let forged = right.clone().edit_quote(|quote| match incoming.packet.len() - header {
            // The sequence number of a SYN.
            20..=24 => quote[header + 4] ^= 0xff,
            _ => quote[header + 14] ^= 0xff,
        });
        [forged.answers(), right.answers()].concat()
    });
    for way in WAYS {
        for target in ["203.0.113.9", "2001:db8::99"] {
            let config = TraceConfig { max_hops: 3, ..config(way) };
            let result = trace(&net.client, config, target.parse().unwrap());
            assert_eq!(answers(&result).count(), 9, "{way:?} {result}");
            assert_eq!(result.report.forgery_suspects, 9, "{way:?} {result}");
            let hops = result.report.paths.iter().flat_map(|path| &path.hops);
            let mut queries = hops.flat_map(|hop| &hop.queries);
            assert!(queries.all(|query| query.duplicates == 0), "{way:?} {result}");
        }
    }
}

#[test]
fn i56_a_router_that_finds_no_neighbour_refuses_for_the_target() {
    let Some(net) = net("nobody", Topology::path(1)) else { return };
    // Nobody has this address, and the router gives up asking for it at once.
    net.routers[0].sysctl("ipv4/neigh/to-server/mcast_solicit", "1");
    net.routers[0].sysctl("ipv4/neigh/to-server/retrans_time_ms", "100");
    for way in WAYS {
        let nobody = "10.80.1.9".parse().unwrap();
        let config = TraceConfig { query_timeout: Duration::from_secs(2), ..config(way) };
        let result = trace(&net.client, config, nobody);
        let path = &result.report.paths[0];
        let (failure, from) = (FailureKind::HostUnreachable, Some(address(0, 2)[0]));
        assert_eq!(path.end, PathEnd::Refused { ttl: 2, failure, from }, "{way:?} {result}");
        assert_eq!(result.verdict.code(), Some("host_unreachable"), "{way:?} {result}");
    }
}

#[test]
fn options_leave_as_they_were_asked_for() {
    let Some(net) = net("options", Topology::path(1)) else { return };
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (v6, target) in [(false, net.target[0]), (true, net.target[1])] {
        for way in WAYS {
            let kept = Arc::clone(&seen);
            kept.lock().unwrap().clear();
            let capture = Capture::start_with(&net.near, move |seen| {
                if seen.outgoing
                    && let Some(packet) = packet::packet_of(seen.bytes)
                {
                    kept.lock().unwrap().push(packet.to_vec());
                }
            });
            let config = TraceConfig {
                dscp: Some(46),
                dont_fragment: netsonde::icmp::DontFragment::Set,
                source: Some(address(0, 1)[usize::from(v6)]),
                interface: Some(net.near.name.clone()),
                fwmark: Some(7),
                ..config(way)
            };
            let result = trace(&net.client, config, target);
            assert!(result.verdict.is_pass(), "{way:?} {result}");
            capture.settle();
            _ = capture.end();
            let packets = std::mem::take(&mut *seen.lock().unwrap());
            let queries = packets.iter().filter(|packet| {
                let protocol = packet[if v6 { 6 } else { 9 }];
                // What resets a connection is none of ours.
                let wanted = match way.0 {
                    TraceMethod::Icmp => {
                        if v6 {
                            58
                        } else {
                            1
                        }
                    }
                    TraceMethod::Udp => 17,
                    _ => 6,
                };
                protocol == wanted
            });
            let mut count = 0;
            for packet in queries {
                count += 1;
                let class = if v6 { packet[0] << 4 | packet[1] >> 4 } else { packet[1] };
                assert_eq!(class, 46 << 2, "{way:?}");
                assert!(v6 || packet[6] & 0x40 != 0, "{way:?}: DF");
                let ttl = packet[if v6 { 7 } else { 8 }];
                assert!((1..=30).contains(&ttl), "{way:?} {ttl}");
            }
            assert!(count >= 6, "{way:?}: {count}");
        }
    }
    for way in WAYS.iter().filter(|way| way.0 != TraceMethod::Tcp) {
        let too_big = netsonde::icmp::DontFragment::Set;
        let config = TraceConfig { size: Some(3000), dont_fragment: too_big, ..config(*way) };
        let result = trace(&net.client, config, net.target[0]);
        assert_eq!(result.verdict.code(), Some("local_packet_size"), "{way:?} {result}");
        let fate = &result.report.paths[0].hops[0].queries[0].fate;
        let wanted = TraceFate::NotSent { errno: libc::EMSGSIZE, mtu: Some(1500) };
        assert_eq!(*fate, wanted, "{way:?} {result}");
        // In pieces it passes, and comes back so.
        let in_pieces = netsonde::icmp::DontFragment::Clear;
        let config =
            TraceConfig { size: Some(3000), dont_fragment: in_pieces, ..self::config(*way) };
        let result = trace(&net.client, config, net.target[0]);
        assert_eq!(hops(&result.report.paths[0]), chain(2, false), "{way:?} {result}");
    }
    let config = TraceConfig { source: "10.80.0.99".parse().ok(), ..config(WAYS[0]) };
    let result = trace(&net.client, config, net.target[0]);
    assert_eq!(result.verdict.code(), Some("local_address"), "{result}");
    let config = TraceConfig { interface: Some("nothing0".into()), ..self::config(WAYS[1]) };
    let result = trace(&net.client, config, net.target[0]);
    assert_eq!(result.verdict.code(), Some("local_interface"), "{result}");
}

#[test]
fn the_port_is_that_of_the_target_and_a_policy_is_asked_about_it() {
    let Some(net) = net("port", Topology::path(1)) else { return };
    let denies = OutboundPolicy { deny_ports: vec![81.into()], ..OutboundPolicy::default() };
    let cx = ProbeContext::new().with_policy(denies);
    for (method, default) in [(TraceMethod::Udp, 33_434), (TraceMethod::Tcp, 80)] {
        for (target, configured, port) in [
            ("10.80.1.2", None, default),
            ("10.80.1.2:82", None, 82),
            ("10.80.1.2:81", Some(83), 83),
        ] {
            let config = TraceConfig { port: configured, ..config((method, SocketChoice::Auto)) };
            let prober = TraceProber::new(config).unwrap();
            let target = target.parse().unwrap();
            let result = net.client.block_on(async || prober.probe_with(&cx, &target).await);
            assert!(result.verdict.is_pass(), "{result}");
            assert_eq!(result.report.port, Some(port), "{result}");
            assert_eq!(result.attempts[0].address.to_string(), format!("10.80.1.2:{port}"));
        }
        let prober = TraceProber::new(config((method, SocketChoice::Auto))).unwrap();
        let target = "10.80.1.2:81".parse().unwrap();
        let result = net.client.block_on(async || prober.probe_with(&cx, &target).await);
        assert_eq!(result.verdict.code(), Some("policy"), "{result}");
        assert_eq!(result.report.refused.len(), 1);
    }
}

#[test]
fn waiting_costs_next_to_nothing() {
    isolated_blocking(|| {
        let Some(net) = net("idle", Topology::stub()) else { return };
        for way in WAYS {
            let config = TraceConfig {
                max_hops: 8,
                gap_limit: None,
                query_timeout: Duration::from_millis(700),
                ..config(way)
            };
            // All of the process is this one trace, but for a thread of the test program that sleeps.
            let used = || {
                let text = std::fs::read_to_string("/proc/self/stat").unwrap();
                let fields: Vec<&str> = text.rsplit(')').next().unwrap().split(' ').collect();
                // Ticks of 10 ms in user mode and in the kernel (proc_pid_stat(5)).
                fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
            };
            let before = used();
            let result = trace(&net.client, config, "203.0.113.9".parse().unwrap());
            assert_eq!(result.verdict.code(), Some("timeout"), "{way:?} {result}");
            let ticks = used() - before;
            assert!(ticks < 15, "{way:?}: {ticks} ticks of 10 ms in 1.4 s");
        }
    });
}

#[test]
fn on_the_wire_all_packets_of_a_flow_look_alike() {
    let Some(net) = net("wire", Topology::path(2)) else { return };
    for way in WAYS {
        for (v6, target) in [(false, net.target[0]), (true, net.target[1])] {
            let kept = Arc::new(Mutex::new(Vec::new()));
            let keep = Arc::clone(&kept);
            let capture = Capture::start_with(&net.near, move |seen| {
                let packet = packet::packet_of(seen.bytes).filter(|_| seen.outgoing);
                keep.lock().unwrap().extend(packet.map(<[u8]>::to_vec));
            });
            let result = trace(&net.client, TraceConfig { flows: 4, ..config(way) }, target);
            assert!(result.verdict.is_pass(), "{way:?} {result}");
            capture.settle();
            _ = capture.end();
            let sent = std::mem::take(&mut *kept.lock().unwrap());
            // What routers hash on: class, flow label, addresses, and the first four bytes behind the header.
            let mut flows = BTreeMap::new();
            for packet in sent {
                let ip = packet::Ip::parse(&packet).unwrap();
                let transport = &packet[ip.header..];
                // The kernel resets what was accepted, and has business of its own with multicast.
                let reset = way.0 == TraceMethod::Tcp && transport[13] != 2;
                if reset || ip.destination != target {
                    continue;
                }
                let mut key = if v6 { packet[..4].to_vec() } else { vec![packet[1]] };
                key.extend(&packet[if v6 { 8..40 } else { 12..20 }]);
                key.extend(&transport[..4]);
                *flows.entry(key).or_insert(0) += 1;
            }
            assert_eq!(flows.len(), 4, "{way:?} {flows:x?}");
            assert!(flows.values().all(|count| *count >= 9), "{way:?} {flows:x?}");
        }
    }
}

#[test]
fn hops_have_the_names_that_the_resolver_knows() {
    let Some(net) = net("names", Topology::path(2)) else { return };
    let resolver = StaticResolver::new()
        .with("near.example", [address(0, 2)[0]])
        .and_then(|table| table.with("server.example", [net.target[0]]))
        .unwrap();
    let cx = ProbeContext::new().with_resolver(resolver);
    let config = TraceConfig { names: true, ..config(WAYS[1]) };
    let result = trace_with(&net.client, config, net.target[0], &cx);
    let names: Vec<(&IpAddr, &str)> =
        result.report.names.iter().map(|(address, name)| (address, name.as_str())).collect();
    let wanted = [(&address(0, 2)[0], "near.example"), (&net.target[0], "server.example")];
    assert_eq!(names, wanted, "{result}");
    assert!(result.to_string().contains("near.example (10.80.0.2)"), "{result}");
}

#[test]
fn what_this_host_does_not_let_out_is_local() {
    let mut topology = Topology::path(1);
    let rules = "add table inet t\nadd chain inet t out { type filter hook output priority 0; }\n\
                 add rule inet t out meta l4proto { icmp, udp, tcp } drop\n";
    topology.nft.insert("client".into(), rules.into());
    let Some(net) = net("local", topology) else { return };
    for way in WAYS {
        let result = trace(&net.client, config(way), net.target[0]);
        assert_eq!(result.verdict.code(), Some("local_permission"), "{way:?} {result}");
        let end = result.report.paths[0].end;
        assert_eq!(end, PathEnd::NotSent { ttl: 1, errno: libc::EPERM }, "{way:?} {result}");
    }
}

#[test]
fn i118_what_a_route_says_is_told_before_anything_is_sent() {
    let mut topology = Topology::path(1);
    let routes = ["blackhole 10.90.1.0/24", "unreachable 10.90.2.0/24", "prohibit 10.90.3.0/24"];
    let mut commands: Vec<String> =
        routes.iter().map(|route| format!("route add {route}")).collect();
    commands.push("route del default".into());
    topology.ip.insert("client".into(), commands);
    let Some(net) = net("routes", topology) else { return };
    for way in WAYS {
        for (target, code) in [
            ("10.90.1.1", "local_route"),
            ("10.90.2.1", "host_unreachable"),
            ("10.90.3.1", "local_permission"),
            ("10.90.4.1", "net_unreachable"),
        ] {
            let result = trace(&net.client, config(way), target.parse().unwrap());
            assert_eq!(result.verdict.code(), Some(code), "{way:?} {result}");
            assert_eq!(answers(&result).count(), 0);
        }
    }
}

#[test]
fn i126_a_dropped_trace_closes_all_that_it_had_open() {
    isolated_blocking(|| {
        let Some(net) = net("drop", Topology::stub()) else { return };
        for way in WAYS {
            net.client.block_on(async || {
                let leaks = LeakCheck::baseline();
                let config = TraceConfig { flows: 8, ..config(way) };
                let prober = TraceProber::new(config).unwrap();
                let cx = ProbeContext::new();
                for target in ["203.0.113.9", "2001:db8::99"] {
                    let target = target.parse().unwrap();
                    let mut task = Context::from_waker(Waker::noop());
                    let mut probe = pin!(prober.probe_with(&cx, &target));
                    for _ in 0..3 {
                        assert!(probe.as_mut().poll(&mut task).is_pending(), "{way:?}");
                    }
                    assert!(!leaks.found().is_empty(), "{way:?}: something is open");
                }
                leaks.assert_back_to_base(Duration::from_secs(1));
            });
        }
    });
}

#[test]
fn a_deadline_ends_a_trace_with_what_is_known() {
    let Some(net) = net("deadline", Topology::stub()) else { return };
    let _responder = labelled(&net);
    let cx = ProbeContext::new().with_timeout(Duration::from_millis(200));
    let config = TraceConfig { query_timeout: Duration::from_secs(5), ..config(WAYS[0]) };
    let start = Instant::now();
    let result = trace_with(&net.client, config, "203.0.113.9".parse().unwrap(), &cx);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
    let path = &result.report.paths[0];
    assert_eq!(path.end, PathEnd::Unfinished);
    assert_eq!(path.answers().count(), 6, "{result}");
}
