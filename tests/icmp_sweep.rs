//! Many hosts at once: each has the result that a probe of its own would give it.
#![cfg(all(feature = "icmp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::{Duration, Instant};

use netsonde::icmp::{
    EngineConfig, IcmpConfig, IcmpEngine, IcmpExpect, IcmpProber, IcmpReport, SweepConfig,
    SweepEvent,
};
use netsonde::{AddressPolicy, Dialing, ProbeContext, ProbeResult, Prober, StaticResolver, Target};
use netsonde_support::{Lab, require_root};

type Results = Vec<Option<ProbeResult<IcmpReport>>>;

fn engine() -> IcmpEngine {
    IcmpEngine::new(EngineConfig::default()).unwrap()
}

fn prober(engine: &IcmpEngine, config: IcmpConfig) -> IcmpProber {
    IcmpProber::new(engine, config).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn targets(of: &[&str]) -> Vec<Target> {
    of.iter().map(|text| text.parse().unwrap()).collect()
}

fn at_once() -> SweepConfig {
    SweepConfig { gap: Duration::ZERO, ..SweepConfig::default() }
}

/// Every result in its place, and how many packet events there were.
async fn sweep(
    prober: &IcmpProber,
    cx: &ProbeContext,
    of: Vec<Target>,
    plan: &SweepConfig,
) -> (Results, usize) {
    let (mut results, mut packets): (Results, usize) = (vec![None; of.len()], 0);
    let mut sweep = prober.sweep(cx, of, plan).await.unwrap();
    while let Some(event) = sweep.next().await {
        match event {
            SweepEvent::Packet { .. } => packets += 1,
            SweepEvent::Done { place, result } => {
                assert!(results[place].replace(*result).is_none(), "done twice");
            }
            other => panic!("{other:?}"),
        }
    }
    (results, packets)
}

#[test]
fn four_thousand_hosts_are_all_answered_and_none_is_lost() {
    if require_root().is_none() {
        return;
    }
    runtime().block_on(async {
        let engine = engine();
        let train =
            IcmpConfig { count: 5, interval: Duration::from_millis(10), ..IcmpConfig::default() };
        let prober = prober(&engine, train);
        let hosts = (0..4094_u32).map(|n| format!("127.1.{}.{}", (n + 1) / 256, (n + 1) % 256));
        let hosts: Vec<Target> = hosts.map(|host| host.parse().unwrap()).collect();
        let (results, packets) =
            sweep(&prober, &ProbeContext::new(), hosts.clone(), &at_once()).await;
        assert_eq!((results.len(), packets), (4094, 5 * 4094));
        for (result, host) in results.into_iter().zip(hosts) {
            let result = result.unwrap();
            assert!(result.verdict.is_pass() && result.target == host, "{result}");
            let stats = result.report.stats.as_ref().unwrap();
            assert_eq!((stats.sent, stats.received, stats.duplicates), (5, 5, 0));
            assert_eq!(result.attempts.len(), 1);
            assert!(result.attempts[0].selected && result.attempts[0].start_ns == 0);
            assert_eq!(result.report.packets[0].planned_ns, 0);
            assert!(result.timing.total_ns >= result.report.packets[4].sent_ns.unwrap());
        }
        assert_eq!(engine.stats().waiting, 0);
    });
}

#[test]
fn each_host_has_the_verdict_of_its_own_probe() {
    let Some(lab) = Lab::new("sweep") else { return };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/24"), (&there, "10.9.0.2/24"));
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    here.ip("route add blackhole 192.0.2.1");
    here.ip("route add unreachable 192.0.2.2");
    let seen = here.block_on(async || {
        let engine = engine();
        let config = IcmpConfig {
            count: 2,
            interval: Duration::from_millis(20),
            reply_timeout: Duration::from_millis(300),
            ..IcmpConfig::default()
        };
        let prober = prober(&engine, config);
        let cx = ProbeContext::new();
        let of = targets(&[
            "10.9.0.1",
            "10.9.0.2",
            "10.9.0.77",
            "192.0.2.1",
            "192.0.2.2",
            "198.51.100.1",
            "0.0.0.0",
            "127.0.0.1:80",
            "unix:/run/x",
            "nobody.invalid",
            "::1",
        ]);
        let (results, _) = sweep(&prober, &cx, of.clone(), &at_once()).await;
        let mut seen = Vec::new();
        for (of, result) in of.iter().zip(results) {
            let (result, alone) = (result.unwrap(), prober.probe_with(&cx, of).await);
            let code = |verdict: &netsonde::Verdict| verdict.code().map(str::to_owned);
            assert_eq!(code(&result.verdict), code(&alone.verdict), "{of}: {result} {alone}");
            assert_eq!(result.verdict.status(), alone.verdict.status(), "{of}");
            assert_eq!(result.report.packets.len(), alone.report.packets.len(), "{of}");
            assert_eq!(result.attempts.len(), alone.attempts.len(), "{of}");
            let phases = |result: &ProbeResult<IcmpReport>| {
                result.timing.spans.iter().map(|span| span.phase).collect::<Vec<_>>()
            };
            assert_eq!(phases(&result).last(), phases(&alone).last(), "{of}");
            seen.push(code(&result.verdict));
        }
        seen
    });
    // So that the list above is not all of one kind.
    let codes: std::collections::BTreeSet<_> = seen.into_iter().collect();
    assert!(codes.len() >= 6, "{codes:?}");
}

#[test]
fn the_next_address_of_a_name_has_its_turn_when_one_does_not_answer() {
    let Some(lab) = Lab::new("sweepany") else { return };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/24"), (&there, "10.9.0.2/24"));
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    here.block_on(async || {
        let engine = engine();
        let addresses = ["10.9.0.2", "127.0.0.1"].map(|ip| ip.parse().unwrap());
        let names = StaticResolver::new().with("two.test", addresses).unwrap();
        let cx = ProbeContext::new().with_resolver(names);
        for (policy, attempts, passes) in [
            (AddressPolicy::First, 1, false),
            (AddressPolicy::Any, 2, true),
            (AddressPolicy::All, 2, false),
        ] {
            let config = IcmpConfig {
                dialing: Dialing { addresses: policy, ..Dialing::default() },
                reply_timeout: Duration::from_millis(100),
                ..IcmpConfig::default()
            };
            let prober = prober(&engine, config);
            let (results, _) =
                sweep(&prober, &cx, targets(&["two.test", "127.0.0.9"]), &at_once()).await;
            let result = results[0].as_ref().unwrap();
            assert_eq!(result.attempts.len(), attempts, "{policy:?}: {result}");
            assert_eq!(result.verdict.is_pass(), passes, "{policy:?}: {result}");
            assert_eq!(result.report.resolution.as_ref().unwrap().addresses.len(), 2);
            assert!(results[1].as_ref().unwrap().verdict.is_pass());
        }
    });
}

#[test]
fn the_gap_paces_all_of_them_and_a_host_begins_with_its_first_packet() {
    if require_root().is_none() {
        return;
    }
    runtime().block_on(async {
        let engine = engine();
        let prober = prober(&engine, IcmpConfig::default());
        let hosts: Vec<Target> =
            (1..=100).map(|n| format!("127.7.0.{n}").parse().unwrap()).collect();
        let plan = SweepConfig { gap: Duration::from_millis(2), ..SweepConfig::default() };
        let begun = Instant::now();
        let (results, _) = sweep(&prober, &ProbeContext::new(), hosts, &plan).await;
        assert!(begun.elapsed() >= Duration::from_millis(198));
        let starts: Vec<_> = results.iter().map(|r| r.as_ref().unwrap().started_at).collect();
        for pair in starts.windows(2) {
            let apart = pair[1].duration_since(pair[0]).unwrap();
            assert!(apart >= Duration::from_micros(1999), "{apart:?}");
        }
        // The wait for its turn is no time of the host.
        let total =
            |result: &Option<ProbeResult<IcmpReport>>| result.as_ref().unwrap().timing.total_ns;
        let mut totals: Vec<u64> = results.iter().map(total).collect();
        totals.sort_unstable();
        assert!(totals[50] < 50_000_000, "{totals:?}");
    });
}

#[test]
fn a_limit_ends_all_of_it_and_every_host_has_a_result() {
    let Some(lab) = Lab::new("sweepcut") else { return };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/16"), (&there, "10.9.0.2/16"));
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    there.ip("route add local 10.9.1.0/24 dev lo");
    here.block_on(async || {
        let engine = engine();
        let prober = prober(&engine, IcmpConfig::default());
        let cx = ProbeContext::new().with_timeout(Duration::from_millis(300));
        let mut hosts: Vec<Target> =
            (1..=200).map(|n| format!("10.9.1.{n}").parse().unwrap()).collect();
        hosts.push("127.0.0.1".parse().unwrap());
        let begun = Instant::now();
        let (results, _) = sweep(&prober, &cx, hosts, &at_once()).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let results: Vec<_> = results.into_iter().map(Option::unwrap).collect();
        assert!(results[200].verdict.is_pass());
        assert!(results[..200].iter().all(|result| result.verdict.code() == Some("timeout")));
        assert_eq!(engine.stats().waiting, 0);
    });
}

#[test]
fn what_is_dropped_is_freed_and_a_dropped_turn_loses_nothing() {
    let Some(lab) = Lab::new("sweepdrop") else { return };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/16"), (&there, "10.9.0.2/16"));
    there.ip("route add local 10.9.1.0/24 dev lo");
    here.block_on(async || {
        let engine = engine();
        let train =
            IcmpConfig { count: 3, interval: Duration::from_millis(30), ..IcmpConfig::default() };
        let prober = prober(&engine, train);
        let cx = ProbeContext::new();
        let hosts =
            || (1..=200).map(|n| format!("10.9.1.{n}").parse().unwrap()).collect::<Vec<Target>>();
        let mut sweep = prober.sweep(&cx, hosts(), &at_once()).await.unwrap();
        let (mut done, mut packets) = (0, 0);
        loop {
            // Every turn is cut short, most of them before anything has come.
            match tokio::time::timeout(Duration::from_micros(300), sweep.next()).await {
                Err(_) => {}
                Ok(None) => break,
                Ok(Some(SweepEvent::Done { result, .. })) => {
                    assert!(result.verdict.is_pass(), "{result}");
                    done += 1;
                }
                Ok(Some(_)) => packets += 1,
            }
        }
        assert_eq!((done, packets), (200, 600));

        there_is_silence(&there);
        let mut sweep = prober.sweep(&cx, hosts(), &at_once()).await.unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(50), sweep.next()).await;
        assert!(engine.stats().waiting >= 200, "{:?}", engine.stats());
        drop(sweep);
        assert_eq!(engine.stats().waiting, 0);
    });
}

fn there_is_silence(there: &netsonde_support::netns::Namespace) {
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
}

#[test]
fn expectations_and_lingering_are_those_of_the_prober() {
    if require_root().is_none() {
        return;
    }
    runtime().block_on(async {
        let engine = engine();
        let config = IcmpConfig {
            linger: Duration::from_millis(120),
            expect: IcmpExpect { max_rtt: Some(Duration::from_nanos(1)), ..IcmpExpect::default() },
            ..IcmpConfig::default()
        };
        let prober = prober(&engine, config);
        let begun = Instant::now();
        let of = targets(&["127.0.0.1", "127.0.0.2"]);
        let (results, _) = sweep(&prober, &ProbeContext::new(), of, &at_once()).await;
        assert!(begun.elapsed() >= Duration::from_millis(120));
        for result in results {
            let result = result.unwrap();
            assert!(result.outcome.is_pass() && !result.verdict.is_pass(), "{result}");
        }
    });
}
