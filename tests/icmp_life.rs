//! The life of the ICMP engine: what is dropped frees what it held, and harms nobody else.
#![cfg(all(feature = "icmp", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use netsonde::icmp::{EngineConfig, IcmpConfig, IcmpEngine, IcmpProber};
use netsonde::{ProbeContext, Prober, Target};
use netsonde_support::{Lab, require_root};

fn engine() -> IcmpEngine {
    IcmpEngine::new(EngineConfig::default()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

/// A host that answers nothing, in a namespace of its own.
fn silent<T: Send>(word: &str, work: impl AsyncFnOnce() -> T + Send) -> Option<T> {
    let lab = Lab::new(word)?;
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/24"), (&there, "10.9.0.2/24"));
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    Some(here.block_on(work))
}

#[test]
fn i126_ten_thousand_dropped_probes_leave_nothing_behind() {
    silent("drop", async || {
        let engine = engine();
        let prober = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
        let (cx, to) = (ProbeContext::new(), target("10.9.0.2"));
        {
            // Opens the socket, which stays.
            let mut first = pin!(prober.probe_with(&cx, &to));
            assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        tokio::task::yield_now().await;
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        {
            let mut probes: Vec<_> =
                (0..10_000).map(|_| Box::pin(prober.probe_with(&cx, &to))).collect();
            let mut task = Context::from_waker(Waker::noop());
            assert!(probes.iter_mut().all(|probe| probe.as_mut().poll(&mut task).is_pending()));
            // The last of them leave when the task of the socket has its turn.
            tokio::task::yield_now().await;
            assert_eq!(engine.stats().waiting, 10_000);
        }
        assert_eq!(engine.stats().waiting, 0);
        // Other tests of this process open and close their own.
        assert!(descriptors() < before + 100, "{} after {before}", descriptors());
    });
}

#[test]
fn dropping_one_clone_harms_no_other() {
    if require_root().is_none() {
        return;
    }
    runtime().block_on(async {
        let first = engine();
        let prober = IcmpProber::new(&first.clone(), IcmpConfig::default()).unwrap();
        assert!(prober.probe(&target("127.0.0.1")).await.verdict.is_pass());
        drop(first);
        assert!(prober.probe(&target("127.0.0.1")).await.verdict.is_pass());
    });
}

#[test]
fn dropping_a_clone_under_way_harms_no_probe_of_another() {
    silent("clone", async || {
        let first = engine();
        let other = first.clone();
        let config = IcmpConfig { reply_timeout: Duration::from_millis(300), ..Default::default() };
        let prober = IcmpProber::new(&first, config.clone()).unwrap();
        let doomed = IcmpProber::new(&other, config).unwrap();
        let (cx, to) = (ProbeContext::new(), target("10.9.0.2"));
        let mut kept = pin!(prober.probe_with(&cx, &to));
        let mut task = Context::from_waker(Waker::noop());
        assert!(kept.as_mut().poll(&mut task).is_pending());
        {
            let mut dropped = pin!(doomed.probe_with(&cx, &to));
            assert!(dropped.as_mut().poll(&mut task).is_pending());
            tokio::task::yield_now().await;
            assert_eq!(first.stats().waiting, 2);
        }
        drop((doomed, other));
        assert_eq!(first.stats().waiting, 1);
        let result = kept.await;
        // It waits on until its own time is over, and is not cancelled.
        assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
        // The socket is the same one, and still hears.
        let result = prober.probe(&target("10.9.0.1")).await;
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(first.stats().sent, 3);
    });
}

#[test]
fn equal_requests_at_the_same_time_are_each_answered() {
    if require_root().is_none() {
        return;
    }
    runtime().block_on(async {
        let engine = engine();
        let prober = std::sync::Arc::new(IcmpProber::new(&engine, IcmpConfig::default()).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let prober = std::sync::Arc::clone(&prober);
            tasks.spawn(async move { prober.probe(&target("127.0.0.1")).await });
        }
        while let Some(result) = tasks.join_next().await {
            let result = result.unwrap();
            assert!(result.verdict.is_pass(), "{result}");
            assert_eq!(result.report.stats.unwrap().duplicates, 0);
        }
        assert_eq!((engine.stats().sent, engine.stats().strays.total()), (50, 0));
    });
}

#[test]
fn an_engine_outlives_its_runtime() {
    if require_root().is_none() {
        return;
    }
    let engine = engine();
    let prober = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
    for round in 1..=3 {
        let result = runtime().block_on(prober.probe(&target("127.0.0.1")));
        assert!(result.verdict.is_pass(), "{result}");
        assert_eq!(engine.stats().sent, round);
    }
}

#[test]
fn what_waits_in_a_runtime_that_ends_is_cancelled() {
    let Some(lab) = Lab::new("over") else { return };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/24"), (&there, "10.9.0.2/24"));
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    here.run(|| {
        let engine = engine();
        let prober = IcmpProber::new(&engine, IcmpConfig::default()).unwrap();
        let (first, second) = (runtime(), runtime());
        // The socket belongs to the first.
        first.block_on(async {
            let (cx, to) = (ProbeContext::new(), target("10.9.0.2"));
            let mut probe = pin!(prober.probe_with(&cx, &to));
            assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        });
        let start = Instant::now();
        let result = second.block_on(async {
            let (cx, to) = (ProbeContext::new(), target("10.9.0.2"));
            let mut probe = pin!(prober.probe_with(&cx, &to));
            assert!(probe.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            first.shutdown_background();
            probe.await
        });
        assert_eq!(result.verdict.code(), Some("cancelled"), "{result}");
        assert!(start.elapsed() < Duration::from_secs(1), "{result}");
    });
}

#[test]
fn i125_unanswered_probes_end_in_time_and_not_before() {
    silent("time", async || {
        let engine = engine();
        let wait = Duration::from_millis(300);
        let config = IcmpConfig { reply_timeout: wait, ..IcmpConfig::default() };
        let prober = std::sync::Arc::new(IcmpProber::new(&engine, config).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2_000 {
            let prober = std::sync::Arc::clone(&prober);
            tasks.spawn(async move { prober.probe(&target("10.9.0.2")).await });
        }
        while let Some(result) = tasks.join_next().await {
            let result = result.unwrap();
            assert_eq!(result.verdict.code(), Some("timeout"), "{result}");
            assert!(result.timing.phase(netsonde::Phase::Rtt).unwrap() >= wait, "{result}");
            assert!(result.timing.total() < wait + Duration::from_secs(2), "{result}");
        }
        assert_eq!(engine.stats().waiting, 0);
    });
}
