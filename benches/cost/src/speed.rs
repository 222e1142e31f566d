//! CPU time of a probe beside its floor, in rounds that alternate.

use netsonde::tcp::{TcpConfig, TcpProber};
use netsonde::tls::{Sni, TlsConfig, Trust};
use netsonde::{Prober, Target};
use rustix::time::{ClockId, clock_gettime};

use crate::sink::Sink;
use crate::{Job, Result, floor};

/// Measures; `false` if the goal was missed.
pub(crate) fn measure(job: Job, rounds: usize, probes: usize) -> Result<bool> {
    let sink = Sink::start(job, 0)?;
    let targets: Vec<Target> = sink
        .addresses
        .iter()
        .map(|at| at.to_string().parse())
        .collect::<std::result::Result<_, _>>()?;
    let prober = TcpProber::new(config(job, &sink.root))?;
    let client = if job == Job::Tls { Some(floor::client(&sink.root)?) } else { None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let bare = || -> Result<f64> {
        let began = cpu_us();
        for to in sink.addresses.iter().cycle().take(probes) {
            match &client {
                None => floor::connect(*to)?,
                Some(client) => floor::handshake(*to, client)?,
            }
        }
        Ok((cpu_us() - began) / probes as f64)
    };
    let ours = || -> Result<f64> {
        runtime.block_on(async {
            let began = cpu_us();
            for target in targets.iter().cycle().take(probes) {
                let result = prober.probe(target).await;
                if !result.verdict.is_pass() {
                    return Err(result.to_string().into());
                }
            }
            Ok((cpu_us() - began) / probes as f64)
        })
    };

    // Whoever goes first in a round finds other caches than who goes second.
    let mut taken = Vec::with_capacity(rounds);
    bare()?;
    ours()?;
    for round in 0..rounds {
        let (floor, probe) = if round % 2 == 0 {
            let floor = bare()?;
            (floor, ours()?)
        } else {
            let probe = ours()?;
            (bare()?, probe)
        };
        taken.push((floor, probe));
    }

    let (name, goal) = match job {
        Job::Tcp => ("TCP connect", 1.25),
        Job::Tls => ("full TLS handshake", 1.15),
    };
    println!("{name}: CPU time of the client, {rounds} rounds of {probes}, one at a time");
    row("blocking sockets", taken.iter().map(|(floor, _)| *floor), "us");
    row("netsonde", taken.iter().map(|(_, probe)| *probe), "us");
    let ratio = row("ratio", taken.iter().map(|(floor, probe)| probe / floor), "");
    let met = ratio <= goal;
    println!("goal: at most {goal}, {}", if met { "met" } else { "missed" });
    Ok(met)
}

pub(crate) fn config(job: Job, root: &str) -> TcpConfig {
    let tls = TlsConfig {
        trust: Trust::Pem(root.to_owned()),
        sni: Sni::Name(floor::NAME.to_owned()),
        verify_name: Some(floor::NAME.to_owned()),
        ..TlsConfig::default()
    };
    TcpConfig { tls: (job == Job::Tls).then_some(tls), ..TcpConfig::default() }
}

/// User and system time of this process so far.
pub(crate) fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Prints a row and gives its median.
pub(crate) fn row(name: &str, values: impl Iterator<Item = f64>, unit: &str) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let (least, median, most) = (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)));
    println!("  {name:<18} {median:>8.2} {unit:<2}  ({least:.2} .. {most:.2})");
    median
}
