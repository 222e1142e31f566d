//! Memory of many probes that wait for a silent server.

use std::sync::Arc;
use std::time::Duration;

use netsonde::script::{Script, Step};
use netsonde::tcp::TcpProber;
use netsonde::{ProbeContext, Prober, Target};
use tokio::task::JoinSet;

use crate::sink::{Sink, allow_descriptors};
use crate::{Job, Result, speed};

/// Measures; `false` if the goal was missed.
pub(crate) fn measure(job: Job, probes: usize) -> Result<bool> {
    allow_descriptors()?;
    // One more than are held: a probe that fills the caches before anything is counted.
    let mut sink = Sink::start(job, probes + 1)?;
    let targets: Vec<Target> = sink
        .addresses
        .iter()
        .map(|at| at.to_string().parse())
        .collect::<std::result::Result<_, _>>()?;
    let mut config = speed::config(job, &sink.root);
    config.script = Script::new([Step::expect("^a line that never comes")]);
    config.timeout = Duration::from_secs(600);
    let prober = Arc::new(TcpProber::new(config)?);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let hasty = ProbeContext::new().with_timeout(Duration::from_millis(200));
        if let Some(target) = targets.first() {
            let first = prober.probe_with(&hasty, target).await;
            if first.verdict.code() != Some("timeout") {
                return Err(format!("the first probe was to wait until its end: {first}").into());
            }
        }
        let base = memory_kib("VmRSS:")?;

        let mut waiting = JoinSet::new();
        for target in targets.iter().cycle().take(probes) {
            let (prober, target) = (Arc::clone(&prober), target.clone());
            waiting.spawn(async move { prober.probe(&target).await });
        }
        let held = tokio::task::spawn_blocking(move || sink.wait_until_held().map(|()| sink));
        let _sink = loop {
            if held.is_finished() {
                break held.await??;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(ended) = waiting.try_join_next() {
            return Err(format!("a probe did not wait: {}", ended?).into());
        }
        let above = memory_kib("VmRSS:")?.saturating_sub(base);
        let peak = memory_kib("VmHWM:")?.saturating_sub(base);

        let (name, goal) = match job {
            Job::Tcp => ("TCP", 64.0 / 10_000.0),
            Job::Tls => ("TLS", 96.0 / 5_000.0),
        };
        let goal = goal * probes as f64;
        let met = above as f64 / 1024.0 <= goal;
        println!("{probes} {name} probes waiting, resident memory of the client");
        println!("  base               {:>8.1} MiB", base as f64 / 1024.0);
        println!(
            "  above it           {:>8.1} MiB  ({:.2} KiB a probe)",
            above as f64 / 1024.0,
            above as f64 / probes as f64
        );
        println!("  peak above it      {:>8.1} MiB", peak as f64 / 1024.0);
        println!("goal: at most {goal:.1} MiB, {}", if met { "met" } else { "missed" });
        Ok(met)
    })
}

/// A figure of proc_pid_status(5).
pub(crate) fn memory_kib(key: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such figure")?;
    let number = line.split_whitespace().next().ok_or("no number")?;
    Ok(number.parse()?)
}
