//! Memory of echo requests that wait for hosts that are silent, in network namespaces of its own.

use std::time::Duration;

use netsonde::icmp::{EngineConfig, IcmpConfig, IcmpEngine, IcmpProber, SweepConfig};
use netsonde::{ProbeContext, Target};
use netsonde_support::Lab;

use crate::Result;
use crate::hold::memory_kib;

/// Measures; `false` if the goal was missed.
pub(crate) fn measure(hosts: u32) -> Result<bool> {
    let Some(lab) = Lab::new("fleet") else { return Err("needs root".into()) };
    let (here, there) = (lab.namespace("a"), lab.namespace("b"));
    lab.link((&here, "10.9.0.1/24"), (&there, "10.9.0.2/24"));
    here.ip("route add 10.64.0.0/10 via 10.9.0.2");
    there.ip("route add local 10.64.0.0/10 dev lo");
    there.sysctl("ipv4/icmp_echo_ignore_all", "1");
    here.block_on(async || hold(hosts).await.map_err(|error| error.to_string())).map_err(Into::into)
}

async fn hold(hosts: u32) -> Result<bool> {
    let engine = IcmpEngine::new(EngineConfig::default())?;
    let config = IcmpConfig { reply_timeout: Duration::from_secs(120), ..IcmpConfig::default() };
    let prober = IcmpProber::new(&engine, config)?;
    let (cx, plan) =
        (ProbeContext::new(), SweepConfig { gap: Duration::ZERO, ..SweepConfig::default() });
    // The list of hosts is the caller's, made before and handed over.
    let address = |number: u32| std::net::Ipv4Addr::from(0x0a40_0000 + number);
    let targets: Vec<Target> = (0..hosts)
        .map(|number| address(number).to_string().parse())
        .collect::<std::result::Result<_, _>>()?;
    // Opens the socket and fills what is filled once.
    let first = prober.sweep(&cx, vec!["127.0.0.1".parse()?], &plan).await?;
    let mut first = first;
    while first.next().await.is_some() {}
    drop(first);

    let base = memory_kib("VmRSS:")?;
    let mut sweep = prober.sweep(&cx, targets, &plan).await?;
    while engine.stats().waiting < u64::from(hosts) {
        let turn = tokio::time::timeout(Duration::from_millis(20), sweep.next()).await;
        if let Ok(event) = turn {
            return Err(format!("a host was not silent: {event:?}").into());
        }
    }
    let above = memory_kib("VmRSS:")?.saturating_sub(base);
    let peak = memory_kib("VmHWM:")?.saturating_sub(base);
    let goal = if hosts <= 10_000 { 16.0 } else { 64.0 * f64::from(hosts) / 100_000.0 };
    let met = above as f64 / 1024.0 <= goal;
    println!("{hosts} echo requests in flight, resident memory");
    println!("  base               {:>8.1} MiB", base as f64 / 1024.0);
    println!(
        "  above it           {:>8.1} MiB  ({:.0} bytes each)",
        above as f64 / 1024.0,
        above as f64 * 1024.0 / f64::from(hosts)
    );
    println!("  peak above it      {:>8.1} MiB", peak as f64 / 1024.0);
    println!("goal: at most {goal:.1} MiB, {}", if met { "met" } else { "missed" });
    Ok(met)
}
