//! Pings of many hosts at once, with netsonde and with surge-ping.
//!
//! Both send 56 bytes of payload from one raw socket, to as many addresses of 127.0.0.0/8, each target in
//! a task of its own, netsonde also all of them in one sweep. netsonde stamps in the kernel, checks a keyed cookie and makes a whole report;
//! surge-ping is used as its own example does it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netsonde::icmp::{
    EngineConfig, IcmpConfig, IcmpEngine, IcmpProber, SocketChoice, Stamps, SweepConfig, SweepEvent,
};
use netsonde::{ProbeContext, Prober, Target};
use rustix::time::{ClockId, clock_gettime};
use surge_ping::{Client, Config, PingIdentifier, PingSequence};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::Result;

/// How much less CPU time than surge-ping netsonde is to take.
const GOAL: f64 = 5.0;

/// How long each packet waits.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The first target.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

const RUNTIMES: [&str; 2] = ["current_thread", "multi_thread"];

/// The peers; ours are measured against the last. Those between show what stamps cost, and what the
/// job takes without any of it.
const PEERS: [&str; 5] =
    ["netsonde", "netsonde-unstamped", "netsonde-sweep", "bare-socket", "surge-ping"];

/// Those that the goal is for, by one probe a host and by one plan for all hosts.
const OURS: [&str; 2] = ["netsonde", "netsonde-sweep"];

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    targets: u16,
    count: u16,
    interval: Duration,
    /// Whether the hosts begin one after the other, all within one interval, rather than at once.
    spread: bool,
    rounds: usize,
    runtime: Option<&'static str>,
}

impl Job {
    /// Reads options.
    pub(crate) fn read(options: &[&str]) -> Result<Self> {
        let mut job = Job {
            targets: 1000,
            count: 5,
            interval: Duration::from_millis(100),
            spread: false,
            rounds: 11,
            runtime: None,
        };
        for option in options.chunks(2) {
            match option {
                ["--targets", value] => job.targets = value.parse()?,
                ["--count", value] => job.count = value.parse()?,
                ["--interval", value] => job.interval = Duration::from_millis(value.parse()?),
                ["--start", "at-once"] => job.spread = false,
                ["--start", "spread"] => job.spread = true,
                ["--rounds", value] => job.rounds = value.parse()?,
                ["--runtime", value] => {
                    let known = RUNTIMES.into_iter().find(|known| known == value);
                    job.runtime = Some(known.ok_or("current_thread or multi_thread")?);
                }
                other => return Err(format!("not an option: {}", other.join(" ")).into()),
            }
        }
        if !(1..=65_000).contains(&job.targets) || job.count == 0 || job.rounds == 0 {
            return Err("targets: 1 to 65000; count and rounds: at least 1".into());
        }
        if job.interval.is_zero() {
            return Err("interval: at least 1".into());
        }
        Ok(job)
    }

    fn start(&self) -> &'static str {
        if self.spread { "spread" } else { "at-once" }
    }

    /// How long the host at this place waits before it begins.
    fn delay(&self, place: u16) -> Duration {
        if self.spread {
            self.interval * u32::from(place) / u32::from(self.targets)
        } else {
            Duration::ZERO
        }
    }

    fn packets(&self) -> u64 {
        u64::from(self.targets) * u64::from(self.count)
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(FIRST);
        (0..u32::from(self.targets)).map(move |place| Ipv4Addr::from(first + place))
    }
}

/// What one process has measured about itself.
#[derive(Clone, Copy, Debug)]
struct Run {
    answered: u64,
    cpu_us: f64,
    wall_ms: f64,
}

/// Measures; `false` if the goal was missed.
pub(crate) fn compare(job: &Job) -> Result<bool> {
    let runtimes: Vec<&str> = job.runtime.map_or(RUNTIMES.to_vec(), |one| vec![one]);
    let mut met = true;
    for runtime in runtimes {
        met &= compare_on(runtime, job)?;
    }
    Ok(met)
}

fn compare_on(runtime: &str, job: &Job) -> Result<bool> {
    let mut runs: [Vec<Run>; PEERS.len()] = Default::default();
    for peer in PEERS {
        // Loads the program, and what the kernel makes once.
        start(peer, runtime, job)?;
    }
    for round in 0..job.rounds {
        // Whoever goes first in a round finds other caches than who goes last.
        let mut order: Vec<usize> = (0..PEERS.len()).collect();
        order.rotate_left(round % PEERS.len());
        for place in order {
            if let (Some(peer), Some(runs)) = (PEERS.get(place), runs.get_mut(place)) {
                runs.push(start(peer, runtime, job)?);
            }
        }
    }
    println!(
        "{} hosts x {} packets, one every {} ms, start {}, {runtime}, {} rounds: least, median, most",
        job.targets,
        job.count,
        job.interval.as_millis(),
        job.start(),
        job.rounds
    );
    let packets = job.packets() as f64;
    let mut medians = Vec::new();
    for (peer, runs) in PEERS.iter().zip(&runs) {
        let cpu = spread(runs.iter().map(|run| run.cpu_us / packets));
        let answered = spread(runs.iter().map(|run| run.cpu_us / run.answered as f64));
        let wall = spread(runs.iter().map(|run| run.wall_ms));
        let lost = runs.iter().map(|run| job.packets() - run.answered.min(job.packets())).sum();
        let lost: u64 = lost;
        println!(
            "  {peer:<18}  CPU {:>5.2} {:>5.2} {:>5.2} us a packet, {:>5.2} {:>5.2} {:>5.2} an answer   \
             wall {:>5.0} {:>5.0} {:>5.0} ms   {:.1} % lost",
            cpu[0],
            cpu[1],
            cpu[2],
            answered[0],
            answered[1],
            answered[2],
            wall[0],
            wall[1],
            wall[2],
            lost as f64 * 100.0 / (packets * runs.len() as f64)
        );
        medians.push((cpu[1], answered[1]));
    }
    let Some(theirs) = medians.last() else { return Ok(false) };
    let mut met = false;
    for (peer, ours) in PEERS.iter().zip(&medians).filter(|(peer, _)| OURS.contains(peer)) {
        // Whoever loses packets spares itself their answers.
        let (sent, ratio) = (theirs.0 / ours.0, theirs.1 / ours.1);
        met |= ratio >= GOAL;
        let word = if ratio >= GOAL { "met" } else { "missed" };
        println!(
            "  surge-ping takes {sent:.2} times the CPU time of {peer} a packet, {ratio:.2} times an \
             answer; goal: at least {GOAL} an answer, {word}"
        );
    }
    Ok(met)
}

/// The least, the median and the most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}

/// Runs one of them in a process of its own.
fn start(peer: &str, runtime: &str, job: &Job) -> Result<Run> {
    let (targets, count) = (job.targets.to_string(), job.count.to_string());
    let interval = job.interval.as_millis().to_string();
    let output = Command::new(std::env::current_exe()?)
        .args(["child", peer, "--runtime", runtime])
        .args(["--targets", &targets, "--count", &count, "--interval", &interval])
        .args(["--start", job.start()])
        .output()?;
    if !output.status.success() {
        return Err(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    let mut word = || words.next().ok_or("the process has said too little");
    Ok(Run { answered: word()?.parse()?, cpu_us: word()?.parse()?, wall_ms: word()?.parse()? })
}

/// What such a process does. It tells its own CPU time, from its very beginning.
pub(crate) fn child(peer: &str, job: &Job) -> Result<bool> {
    let began = Instant::now();
    let runtime = runtime(job.runtime.ok_or("which runtime?")?)?;
    let answered = runtime.block_on(async {
        match peer {
            "netsonde" => netsonde(job, Stamps::Full).await,
            "netsonde-unstamped" => netsonde(job, Stamps::Off).await,
            "netsonde-sweep" => sweep(job).await,
            "bare-socket" => {
                let addresses: Vec<Ipv4Addr> = job.addresses().collect();
                crate::bare::ping(&addresses, job.count, job.interval)
            }
            "surge-ping" => surge_ping(job).await,
            _ => Err(format!("who is {peer}?").into()),
        }
    })?;
    let wall_ms = began.elapsed().as_secs_f64() * 1e3;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu_us = cpu.tv_sec as f64 * 1e6 + cpu.tv_nsec as f64 / 1e3;
    println!("{answered} {cpu_us} {wall_ms}");
    Ok(true)
}

fn runtime(kind: &str) -> Result<Runtime> {
    let mut builder = match kind {
        "current_thread" => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    Ok(builder.enable_all().build()?)
}

fn ours(job: &Job, stamps: Stamps) -> Result<(IcmpEngine, IcmpConfig)> {
    let socket = SocketChoice::Raw;
    let engine = IcmpEngine::new(EngineConfig { socket, stamps, ..EngineConfig::default() })?;
    let config = IcmpConfig {
        count: job.count.into(),
        interval: job.interval,
        reply_timeout: TIMEOUT,
        ..IcmpConfig::default()
    };
    Ok((engine, config))
}

fn targets(job: &Job) -> Result<Vec<Target>> {
    Ok(job
        .addresses()
        .map(|address| address.to_string().parse())
        .collect::<std::result::Result<_, _>>()?)
}

async fn netsonde(job: &Job, stamps: Stamps) -> Result<u64> {
    let (engine, config) = ours(job, stamps)?;
    let prober = Arc::new(IcmpProber::new(&engine, config)?);
    let mut tasks = Vec::with_capacity(job.targets.into());
    for (place, target) in (0_u16..).zip(targets(job)?) {
        let delay = job.delay(place);
        let prober = Arc::clone(&prober);
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let result = prober.probe(&target).await;
            result.report.stats.map_or(0, |stats| stats.received)
        }));
    }
    sum(tasks).await
}

/// The same by one plan, in one future.
async fn sweep(job: &Job) -> Result<u64> {
    let (engine, config) = ours(job, Stamps::Full)?;
    let prober = IcmpProber::new(&engine, config)?;
    let hosts = targets(job)?;
    // Spread, the hosts begin one after the other, all within one interval.
    let gap = if job.spread { job.interval / u32::from(job.targets) } else { Duration::ZERO };
    let plan = SweepConfig { gap, ..SweepConfig::default() };
    let cx = ProbeContext::new();
    let mut sweep = prober.sweep(&cx, hosts, &plan).await?;
    let mut answered = 0;
    while let Some(event) = sweep.next().await {
        if let SweepEvent::Done { result, .. } = event {
            answered += result.report.stats.map_or(0, |stats| stats.received);
        }
    }
    Ok(answered)
}

async fn surge_ping(job: &Job) -> Result<u64> {
    let client = Client::new(&Config::builder().sock_type_hint(socket2::Type::RAW).build())?;
    let (count, every) = (job.count, job.interval);
    let mut tasks = Vec::with_capacity(job.targets.into());
    for (identifier, address) in (0_u16..).zip(job.addresses()) {
        let client = client.clone();
        let delay = job.delay(identifier);
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let payload = [0; 56];
            let mut pinger = client.pinger(address.into(), PingIdentifier(identifier)).await;
            pinger.timeout(TIMEOUT);
            let mut interval = tokio::time::interval(every);
            let mut answered = 0;
            for number in 0..count {
                interval.tick().await;
                if pinger.ping(PingSequence(number), &payload).await.is_ok() {
                    answered += 1;
                }
            }
            answered
        }));
    }
    sum(tasks).await
}

async fn sum(tasks: Vec<JoinHandle<u64>>) -> Result<u64> {
    let mut all = 0;
    for task in tasks {
        all += task.await?;
    }
    Ok(all)
}
