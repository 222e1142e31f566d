//! Whole processes beside each other: `sonde ping` and fping, with the same targets and the same pace.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Result;

/// 4,094 hosts, 5 packets each.
const PACKETS: u32 = 4094 * 5;

#[derive(Clone, Copy, Debug)]
struct Run {
    cpu: Duration,
    wall: Duration,
    received: u64,
}

type Figure = fn(&Run) -> f64;

/// Measures; `false` if the goal was missed.
pub(crate) fn measure(rounds: usize) -> Result<bool> {
    // `cargo build --release -p netsonde-cli` puts it beside this program.
    let sonde = std::env::current_exe()?.with_file_name("sonde");
    let sonde = sonde.to_str().ok_or("a path that is no text")?.to_owned();
    if !std::path::Path::new(&sonde).exists() {
        return Err(format!("{sonde} is missing: cargo build --release -p netsonde-cli").into());
    }
    let ours = ["ping", "--sweep", "127.1.0.0/20", "-c", "5", "--gap", "1us", "-i", "10ms"];
    let theirs = ["-g", "127.1.0.0/20", "-c", "5", "-i", "0.001", "-p", "10", "-q"];
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let pair = if round % 2 == 0 {
            let first = run(&sonde, &ours)?;
            (first, run("fping", &theirs)?)
        } else {
            let first = run("fping", &theirs)?;
            (run(&sonde, &ours)?, first)
        };
        // The first warms the caches of the system.
        if round > 0 {
            mine.push(pair.0);
            others.push(pair.1);
        }
    }
    let ratio = |of: Figure| {
        let pairs = mine.iter().zip(&others);
        median(pairs.map(|(ours, theirs)| of(ours) / of(theirs)).collect())
    };
    let figure = |runs: &[Run], of: Figure| median(runs.iter().map(of).collect());
    let cpu: Figure = |run| run.cpu.as_secs_f64();
    let wall: Figure = |run| run.wall.as_secs_f64();
    let lost = |runs: &[Run]| {
        runs.iter().map(|run| u64::from(PACKETS).saturating_sub(run.received)).sum::<u64>()
    };
    let (cpu_ratio, wall_ratio) = (ratio(cpu), ratio(wall));
    println!("{PACKETS} packets to 4,094 hosts on loopback, {rounds} rounds, medians");
    println!("             {:>12} {:>12} {:>8}", "sonde ping", "fping", "ratio");
    let each = |seconds: f64| seconds * 1e6 / f64::from(PACKETS);
    println!(
        "CPU/packet   {:>9.2} us {:>9.2} us {cpu_ratio:>8.2}",
        each(figure(&mine, cpu)),
        each(figure(&others, cpu))
    );
    println!(
        "wall         {:>9.1} ms {:>9.1} ms {wall_ratio:>8.2}",
        figure(&mine, wall) * 1e3,
        figure(&others, wall) * 1e3
    );
    println!("lost         {:>12} {:>12}", lost(&mine), lost(&others));
    let met = cpu_ratio <= 1.0 && wall_ratio <= 1.0 && lost(&mine) <= lost(&others);
    println!(
        "goal: CPU and wall time at most fping's, same loss: {}",
        if met { "met" } else { "missed" }
    );
    Ok(met)
}

fn run(program: &str, args: &[&str]) -> Result<Run> {
    let before = cpu()?;
    let began = Instant::now();
    // fping writes its summary to standard error.
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let wall = began.elapsed();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // Both have a line of this form for each host.
    let received = text.lines().filter_map(|line| {
        let (_, figures) = line.split_once("xmt/rcv/%loss = ")?;
        figures.split('/').nth(1)?.parse::<u64>().ok()
    });
    Ok(Run { cpu: cpu()?.saturating_sub(before), wall, received: received.sum() })
}

/// What all children have taken that have ended.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
