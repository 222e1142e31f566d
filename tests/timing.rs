//! Elapsed time: phases tile the total whatever happens, and a deadline is kept on both sides.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use check::{checked, connecting, saying, within_ms};
use netsonde::script::{Script as Steps, Step};
use netsonde::tcp::{TcpConfig, TcpProber, TcpReport};
use netsonde::{
    AddressPolicy, Dialing, OutboundPolicy, Phase, PhaseClock, ProbeContext, ProbeResult, Prober,
    StaticResolver, Target,
};
use netsonde_support::{ClosedPort, FullBacklog, Script, Server};

/// A small generator of numbers, the same on every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[test]
fn a10_a_million_orders_of_events_tile_the_total() {
    let mut numbers = Numbers(0x5eed_1234_abcd_0042);
    let base = Instant::now() + Duration::from_secs(1);
    let phase = |number: u64| Phase::ALL[usize::try_from(number).unwrap() % Phase::ALL.len()];
    let mut longest = 0;
    for turn in 0..1_000_000 {
        let mut now = base;
        let mut clock = PhaseClock::start(now, phase(numbers.next()));
        let mut told = vec![(clock.phase(), 0)];
        let mut latest = 0;
        for _ in 0..numbers.below(12) {
            // Now and then time stands still, runs backwards, or takes a leap.
            now = match numbers.below(8) {
                0 => now,
                1 => now - Duration::from_nanos(numbers.below(900_000_000)),
                2 => now + Duration::from_secs(numbers.below(100_000)),
                _ => now + Duration::from_nanos(numbers.below(50_000)),
            };
            latest = latest.max(clock.offset_ns(now));
            let next = phase(numbers.next());
            let hop = numbers.below(4) == 0;
            if hop {
                clock.enter_hop(next, now);
            } else {
                clock.enter(next, now);
            }
            if hop || told.last().is_none_or(|(phase, _)| *phase != next) {
                told.push((next, latest));
            }
        }
        now += Duration::from_nanos(numbers.below(1_000));
        latest = latest.max(clock.offset_ns(now));
        let timing = clock.finish(now);
        let spans: Vec<_> = timing.spans.iter().map(|span| (span.phase, span.start_ns)).collect();
        let sum: u64 = timing.spans.iter().map(|span| span.end_ns - span.start_ns).sum();
        assert!(timing.is_tiled(), "{turn}: {timing:?}");
        assert_eq!((sum, spans.len()), (timing.total_ns, told.len()), "{turn}: {timing:?}");
        // A mark of the past counts as the latest one that closed a phase.
        assert!(timing.total_ns <= latest, "{turn}: {timing:?}");
        assert!(spans.iter().map(|span| span.0).eq(told.iter().map(|one| one.0)), "{turn}");
        longest = longest.max(spans.len());
    }
    assert!(longest >= 12);
}

/// How a result ended, for the count.
fn outcome(result: &ProbeResult<TcpReport>) -> String {
    let phase = result.verdict.phase().map_or("", Phase::as_str);
    format!("{} {phase}", result.verdict.code().unwrap_or("pass"))
}

#[tokio::test]
async fn a10_phases_tile_the_total_in_every_outcome() {
    let server = Server::tcp(Script::new().send("220 hi\r\n").read_line().send("250 ok\r\n"));
    let port = server.port();
    let closing = Server::tcp(Script::new());
    let resetting = Server::tcp(Script::new().rst());
    let flooding = Server::tcp(Script::new().send_forever("x"));
    let silent = FullBacklog::v4();
    let closed = ClosedPort::v4();
    let _refusing = ClosedPort::on((Ipv4Addr::new(127, 0, 0, 5), port).into());
    let talk = || [Step::expect("^220"), Step::send("hi\r\n"), Step::expect("^250")];
    let named = |name: &str, port: u16| -> Target { format!("{name}:{port}").parse().unwrap() };
    let everywhere = |addresses| {
        let dialing = Dialing { addresses, ..Dialing::default() };
        let script = Steps::new(talk());
        TcpProber::new(TcpConfig { dialing, script, ..TcpConfig::default() }).unwrap()
    };
    let address = |last| IpAddr::from([127, 0, 0, last]);
    let resolver = StaticResolver::new().with("two.test", [address(5), address(1)]).unwrap();
    let cx = || within_ms(60).with_resolver(resolver.clone());
    let guarded = || cx().with_policy(OutboundPolicy::guarded());

    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..20 {
        let cases: Vec<(TcpProber, ProbeContext, Target)> = vec![
            (connecting(), cx(), server.addr().into()),
            (saying(talk()), cx(), server.addr().into()),
            (saying(talk()), cx(), closing.addr().into()),
            (saying(talk()), cx(), resetting.addr().into()),
            (saying(talk()), cx(), flooding.addr().into()),
            (saying([Step::expect("^never")]), cx(), server.addr().into()),
            (saying([Step::expect("^220").with_reject("hi")]), cx(), closed.addr().into()),
            (saying([Step::expect("^9").with_reject("hi")]), cx(), server.addr().into()),
            (connecting(), cx(), silent.addr().into()),
            (connecting(), cx(), named("nowhere.test", 80)),
            (connecting(), cx(), "127.0.0.1".parse().unwrap()),
            (connecting(), guarded(), server.addr().into()),
            (everywhere(AddressPolicy::HappyEyeballs), cx(), named("two.test", port)),
            (everywhere(AddressPolicy::Any), cx(), named("two.test", port)),
            (everywhere(AddressPolicy::All), cx(), named("two.test", port)),
        ];
        for (prober, cx, target) in cases {
            let result = checked(&prober, &cx, target).await;
            assert!(result.timing.is_tiled());
            for other in &result.report.others {
                assert!(other.timing.is_tiled(), "{other:?}");
            }
            *seen.entry(outcome(&result)).or_default() += 1;
        }
    }
    println!("{seen:?}");
    for outcome in [
        "pass ",
        "closed script",
        "limit_line script",
        "policy setup",
        "refused connect",
        "resolve_no_such_name resolve",
        "script_rejected script",
        "timeout connect",
        "timeout script",
        "unsupported_target setup",
    ] {
        assert!(seen.contains_key(outcome), "{outcome} is missing: {seen:?}");
    }
    assert!(seen.keys().any(|outcome| outcome.starts_with("reset ")), "{seen:?}");
}

/// The lateness that 99 % do not exceed.
fn p99(late: &mut [Duration]) -> Duration {
    late.sort_unstable();
    late[late.len() * 99 / 100]
}

/// With 10,000 pending, the same is part of `t77_ten_thousand_stalled_connections`.
#[tokio::test]
async fn a13_timeouts_are_never_early_and_hardly_late() {
    let server = Server::tcp(Script::new().hang());
    let full = FullBacklog::v4();
    let prober = saying([Step::expect("^220")]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut late = Vec::new();
        for turn in 0..400 {
            // Not always the same place between two ticks of a timer wheel.
            let timeout = Duration::from_micros(10_000 + turn * 137 % 5_000);
            let target = if turn % 2 == 0 { server.addr() } else { full.addr() };
            let cx = ProbeContext::new().with_timeout(timeout);
            let before = Instant::now();
            let result = prober.probe_with(&cx, &target.into()).await;
            let took = before.elapsed();
            assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
            let total = result.timing.total();
            assert!(total >= timeout, "early: {total:?} of {timeout:?}");
            assert!(total <= took, "the result tells all of it: {total:?} of {took:?}");
            late.push(took.saturating_sub(timeout));
        }
        let p99 = p99(&mut late);
        let p50 = late[late.len() / 2];
        println!("timeouts late by p50 {p50:?}, p99 {p99:?}, max {:?}", late[late.len() - 1]);
        if p99 <= Duration::from_millis(10) {
            return;
        }
        seen.push(p99);
    }
    panic!("p99 above 10 ms three times: {seen:?}");
}
