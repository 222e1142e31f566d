//! Echo requests on loopback.
#![cfg(all(feature = "icmp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::Ipv4Addr;
use std::time::Duration;

use netsonde::icmp::{
    EchoFate, EchoOptions, EngineConfig, IcmpConfig, IcmpEngine, IcmpLimits, IcmpProber,
    IcmpReport, Payload, SocketChoice, SocketMode, Stamps,
};
use netsonde::{
    AddressPolicy, Dialing, Phase, ProbeContext, ProbeResult, Prober, StampSource, StaticResolver,
};
use netsonde_support::require_root;

fn engine() -> IcmpEngine {
    IcmpEngine::new(EngineConfig::default()).unwrap()
}

async fn ping(target: &str, config: IcmpConfig) -> ProbeResult<IcmpReport> {
    let prober = IcmpProber::new(&engine(), config).unwrap();
    prober.probe(&target.parse().unwrap()).await
}

#[tokio::test]
async fn i1_an_answer_passes_with_the_stamps_of_the_kernel() {
    if require_root().is_none() {
        return;
    }
    for target in ["127.0.0.1", "::1"] {
        let result = ping(target, IcmpConfig::default()).await;
        assert!(result.verdict.is_pass(), "{result}");
        let [packet] = result.report.packets.as_slice() else { panic!("{result}") };
        let EchoFate::Answered(answer) = packet.fate else { panic!("{result}") };
        assert_eq!(answer.from.to_string(), target);
        assert_eq!(answer.rtt.source, StampSource::Kernel, "{answer:?}");
        assert!(answer.rtt.ns < 5_000_000 && answer.rtt.ns <= answer.elapsed_ns, "{answer:?}");
        assert_eq!((answer.ttl, answer.tos), (Some(64), Some(0)));
        assert_eq!((answer.payload_bytes, answer.weak_match), (56, false));
        assert_eq!(result.report.socket, Some(SocketMode::Raw));
        assert!(result.timing.is_tiled());
        assert_eq!(result.timing.last_phase(), Some(Phase::Rtt));
        assert_eq!(result.attempts.len(), 1);
        assert!(result.attempts[0].selected && result.attempts[0].verdict.is_some(), "{result}");
        println!("{result}");
    }
}

#[tokio::test]
async fn a_train_is_paced_and_counted() {
    if require_root().is_none() {
        return;
    }
    let config =
        IcmpConfig { count: 20, interval: Duration::from_millis(5), ..IcmpConfig::default() };
    let result = ping("127.0.0.1", config).await;
    let stats = result.report.stats.as_ref().unwrap();
    assert_eq!(
        (stats.sent, stats.received, stats.lost, stats.duplicates),
        (20, 20, 0, 0),
        "{result}"
    );
    for (packet, number) in result.report.packets.iter().zip(0..) {
        assert_eq!(packet.number, number);
        let late = packet.sent_ns.unwrap() - packet.planned_ns;
        assert!(late < 20_000_000, "{packet:?}");
    }
    let [first, .., last] = result.report.packets.as_slice() else { panic!() };
    assert!(last.planned_ns - first.planned_ns >= 95_000_000);
    println!("{result}");
}

#[tokio::test]
async fn i46_i48_every_size_comes_back_as_it_was_sent() {
    if require_root().is_none() {
        return;
    }
    for target in ["127.0.0.1", "::1"] {
        for size in [0, 1, 7, 8, 15, 16, 57, 1472, 1473, 9000, 65_507] {
            let echo = EchoOptions { size, payload: Payload::Random, ..EchoOptions::default() };
            let result = ping(target, IcmpConfig { echo, ..IcmpConfig::default() }).await;
            assert!(result.verdict.is_pass(), "{size}: {result}");
            let answer = result.report.packets[0].fate.answer().copied().unwrap();
            assert_eq!((answer.payload_bytes, answer.weak_match), (size, size < 8));
        }
    }
}

#[tokio::test]
async fn options_reach_the_packet() {
    if require_root().is_none() {
        return;
    }
    for (target, source) in [("127.0.0.1", "127.0.0.9"), ("::1", "::1")] {
        let echo = EchoOptions {
            ttl: Some(7),
            dscp: Some(46),
            source: source.parse().ok(),
            interface: Some("lo".into()),
            fwmark: Some(9),
            ..EchoOptions::default()
        };
        let result = ping(target, IcmpConfig { echo, ..IcmpConfig::default() }).await;
        assert!(result.verdict.is_pass(), "{result}");
        let answer = result.report.packets[0].fate.answer().copied().unwrap();
        // Linux answers with the class of the request (RFC 1122, 3.2.2.6).
        assert_eq!(answer.tos, Some(46 << 2), "{target}");
    }
}

#[tokio::test]
async fn a23_without_stamps_the_source_is_named() {
    if require_root().is_none() {
        return;
    }
    for (stamps, source) in
        [(Stamps::Receive, StampSource::UserSend), (Stamps::Off, StampSource::User)]
    {
        let engine = IcmpEngine::new(EngineConfig { stamps, ..EngineConfig::default() }).unwrap();
        let prober = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
        let result = prober.probe(&"127.0.0.1".parse().unwrap()).await;
        let answer = result.report.packets[0].fate.answer().copied().unwrap();
        assert_eq!(answer.rtt.source, source, "{answer:?}");
        assert_eq!(result.quality.stamp, Some(source));
    }
}

#[tokio::test]
async fn i120_a_source_that_is_not_ours_is_local() {
    if require_root().is_none() {
        return;
    }
    let echo = EchoOptions { source: "192.0.2.1".parse().ok(), ..EchoOptions::default() };
    let result = ping("127.0.0.1", IcmpConfig { echo, ..IcmpConfig::default() }).await;
    assert_eq!(result.verdict.code(), Some("local_address"), "{result}");
    let echo = EchoOptions { source: "::1".parse().ok(), ..EchoOptions::default() };
    let result = ping("127.0.0.1", IcmpConfig { echo, ..IcmpConfig::default() }).await;
    assert_eq!(result.verdict.code(), Some("local_address"), "{result}");
}

#[tokio::test]
async fn i25_i26_i128_i129_what_an_address_may_be() {
    for target in ["0.0.0.0", "::"] {
        let result = ping(target, IcmpConfig::default()).await;
        assert_eq!(result.verdict.code(), Some("policy"), "{result}");
    }
    let result = ping("fe80::1", IcmpConfig::default()).await;
    assert_eq!(result.verdict.code(), Some("local_interface"), "{result}");
    assert!(result.verdict.to_string().contains("zone"), "{result}");
    let result = ping("fe80::1%nowhere", IcmpConfig::default()).await;
    assert_eq!(result.verdict.code(), Some("local_interface"), "{result}");
    if require_root().is_some() {
        let result = ping("::ffff:127.0.0.1", IcmpConfig::default()).await;
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(result.report.address, "127.0.0.1".parse().ok());
    }
}

/// One name with a thousand addresses of loopback, most of them beyond every cap.
fn thousand() -> ProbeContext {
    let addresses = (0..1_000_u32).map(|number| Ipv4Addr::from(0x7f02_0001 + number).into());
    let resolver = StaticResolver::new().with("many.test", addresses).unwrap();
    ProbeContext::new().with_resolver(resolver)
}

#[tokio::test]
async fn i132_of_a_thousand_addresses_the_first_by_policy_is_asked_and_the_list_is_bounded() {
    if require_root().is_none() {
        return;
    }
    let (cx, target) = (thousand(), "many.test".parse().unwrap());
    // So many of them are asked.
    for (addresses, asked) in [
        (AddressPolicy::First, 1),
        (AddressPolicy::HappyEyeballs, 1),
        (AddressPolicy::Any, 1),
        (AddressPolicy::All, 64),
    ] {
        let dialing = Dialing { addresses, ..Dialing::default() };
        let config = IcmpConfig { dialing, ..IcmpConfig::default() };
        let engine = engine();
        let prober = IcmpProber::new(&engine, config).unwrap();
        let result = prober.probe_with(&cx, &target).await;
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(result.report.address, "127.2.0.1".parse().ok(), "{addresses:?}");
        let resolution = result.report.resolution.as_ref().unwrap();
        assert_eq!((resolution.addresses.len(), resolution.omitted), (64, 936), "{addresses:?}");
        assert_eq!((result.attempts.len(), result.report.others.len()), (asked, asked - 1));
        assert_eq!(engine.stats().sent, asked as u64, "{addresses:?}");
    }
    let limits = IcmpLimits { addresses: 3, ..IcmpLimits::default() };
    let dialing = Dialing { addresses: AddressPolicy::All, ..Dialing::default() };
    let config = IcmpConfig { dialing, limits, ..IcmpConfig::default() };
    let result = IcmpProber::new(&engine(), config).unwrap().probe_with(&cx, &target).await;
    assert_eq!(result.report.resolution.as_ref().unwrap().omitted, 997, "{result}");
    assert_eq!(result.attempts.len(), 3, "{result}");
}

#[tokio::test]
async fn i14_engines_side_by_side_see_only_their_own() {
    if require_root().is_none() {
        return;
    }
    let engines = [engine(), engine(), engine()];
    let config =
        IcmpConfig { count: 50, interval: Duration::from_millis(1), ..IcmpConfig::default() };
    let mut tasks = Vec::new();
    for engine in &engines {
        let prober = IcmpProber::new(engine, config.clone()).unwrap();
        tasks.push(tokio::spawn(async move { prober.probe(&"127.0.0.1".parse().unwrap()).await }));
    }
    for task in tasks {
        let stats = task.await.unwrap().report.stats.unwrap();
        assert_eq!((stats.received, stats.duplicates), (50, 0));
    }
    for engine in &engines {
        assert_eq!(engine.stats().sent, 50);
        assert_eq!(engine.stats().strays.total(), 0, "{:?}", engine.stats());
    }
}

#[tokio::test]
async fn i124_ten_thousand_in_flight_are_all_answered() {
    if require_root().is_none() {
        return;
    }
    let engine = engine();
    let prober = std::sync::Arc::new(IcmpProber::new(&engine, IcmpConfig::default()).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000_u32 {
        let prober = std::sync::Arc::clone(&prober);
        let target = Ipv4Addr::from(0x7f01_0000 + number).to_string().parse().unwrap();
        tasks.spawn(async move { prober.probe(&target).await });
    }
    let mut answered = 0;
    while let Some(result) = tasks.join_next().await {
        let result = result.unwrap();
        assert!(result.verdict.is_pass(), "{result}");
        answered += 1;
    }
    assert_eq!((answered, engine.stats().waiting), (10_000, 0));
}

#[tokio::test]
async fn a_forbidden_kind_of_socket_says_what_would_help() {
    if require_root().is_none() {
        return;
    }
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
    if range.split_whitespace().next() != Some("1") {
        println!("datagram sockets are allowed here");
        return;
    }
    let config = EngineConfig { socket: SocketChoice::Datagram, ..EngineConfig::default() };
    let prober = IcmpProber::new(&IcmpEngine::new(config).unwrap(), IcmpConfig::default()).unwrap();
    let result = prober.probe(&"127.0.0.1".parse().unwrap()).await;
    assert_eq!(result.verdict.code(), Some("local_permission"), "{result}");
    assert!(result.verdict.to_string().contains("ping_group_range"), "{result}");
}
