//! Questions over UDP: CPU time beside bare sockets and beside blackbox_exporter, how many a second, and the
//! memory of many that wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netsonde::dns::{DnsConfig, DnsProber};
use netsonde::{Prober, Target};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::Result;
use crate::hold::memory_kib;
use crate::sink::allow_descriptors;
use crate::speed::{cpu_us, row};

/// How much more CPU time than the bare sockets a question may take.
const GOAL: f64 = 1.3;

/// How much less than blackbox_exporter it is to take.
const GOAL_EXPORTER: f64 = 5.0;

/// How many a second there are to be at least.
const GOAL_RATE: f64 = 10_000.0;

/// How many are on their way at a time where the rate is measured.
const AT_ONCE: usize = 64;

const NAME: &str = "www.netsonde.example";

/// A name server in a process of its own, which ends when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["sink", "dns"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the server")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Server { child, address: line.trim().parse()? })
    }

    fn target(&self) -> Target {
        self.address.into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// That process: every question has one address as its answer.
pub(crate) fn serve() -> Result<bool> {
    std::thread::spawn(|| {
        let mut end = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut end);
        std::process::exit(0);
    });
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", socket.local_addr()?);
    std::io::stdout().flush()?;
    let mut message = [0; 4096];
    // A pointer to the name in the question; A, IN, 60 s, four octets.
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    loop {
        let (len, from) = socket.recv_from(&mut message)?;
        // Behind the question, where EDNS stood if it was spoken.
        let Some(end) = question_end(message.get(..len).unwrap_or_default()) else { continue };
        let Some(place) = message.get_mut(end..end + record.len()) else { continue };
        place.copy_from_slice(&record);
        if let Some(head) = message.get_mut(2..12) {
            head.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        }
        let answer = message.get(..end + record.len()).unwrap_or_default();
        let _ = socket.send_to(answer, from);
    }
}

fn question_end(query: &[u8]) -> Option<usize> {
    let zero = query.get(12..)?.iter().position(|octet| *octet == 0)?;
    Some(12 + zero + 5)
}

fn prober() -> Result<DnsProber> {
    stamped(true)
}

fn stamped(kernel_stamps: bool) -> Result<DnsProber> {
    let config = DnsConfig::ask(format!("{NAME} A").parse()?);
    Ok(DnsProber::new(DnsConfig { kernel_stamps, ..config })?)
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A query as it goes over the wire, with the id 0.
fn query() -> Vec<u8> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in NAME.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    query
}

/// What the job takes at least: a fresh socket, the question, an answer with its id.
fn bare(to: SocketAddr, query: &mut [u8], id: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(to)?;
    if let Some(place) = query.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
    socket.send(query)?;
    let mut answer = [0; 1232];
    let len = socket.recv(&mut answer)?;
    let got = answer.get(..len).unwrap_or_default();
    if got.first_chunk::<2>() == Some(&id.to_be_bytes()) {
        Ok(())
    } else {
        Err("not the answer".into())
    }
}

/// CPU time beside the bare sockets; `false` if the goal was missed.
pub(crate) fn measure(rounds: usize, queries: usize) -> Result<bool> {
    let server = Server::start()?;
    let (target, runtime) = (server.target(), runtime()?);
    let (prober, unstamped) = (prober()?, stamped(false)?);
    let mut query = query();
    let mut run = |what: usize| -> Result<f64> {
        match what {
            0 => {
                let began = cpu_us();
                for id in (0..=u16::MAX).cycle().take(queries) {
                    bare(server.address, &mut query, id)?;
                }
                Ok((cpu_us() - began) / queries as f64)
            }
            1 => runtime.block_on(one_by_one(&prober, &target, queries)),
            _ => runtime.block_on(one_by_one(&unstamped, &target, queries)),
        }
    };
    let mut taken = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let mut figures = [0.0; 3];
        // Whoever goes first in a round finds other caches than who goes last.
        for place in 0..figures.len() {
            let what = (place + round) % figures.len();
            let figure = run(what)?;
            if let Some(place) = figures.get_mut(what) {
                *place = figure;
            }
        }
        // The first warms the caches of the system.
        if round > 0 {
            taken.push(figures);
        }
    }
    println!(
        "question over UDP: CPU time of the client, {rounds} rounds of {queries}, one at a time"
    );
    row("bare sockets", taken.iter().map(|[floor, ..]| *floor), "us");
    row("netsonde", taken.iter().map(|[_, ours, _]| *ours), "us");
    row("without stamps", taken.iter().map(|[_, _, ours]| *ours), "us");
    let ratio = row("ratio", taken.iter().map(|[floor, ours, _]| ours / floor), "");
    row("without stamps", taken.iter().map(|[floor, _, ours]| ours / floor), "");
    let met = ratio <= GOAL;
    println!("goal: at most {GOAL}, {}", if met { "met" } else { "missed" });
    Ok(met)
}

async fn one_by_one(prober: &DnsProber, target: &Target, queries: usize) -> Result<f64> {
    let began = cpu_us();
    for _ in 0..queries {
        let result = prober.probe(target).await;
        if !result.verdict.is_pass() {
            return Err(result.to_string().into());
        }
    }
    Ok((cpu_us() - began) / queries as f64)
}

/// How many a second, with the server on the same machine; `false` if the goal was missed.
pub(crate) fn rate(rounds: usize, queries: usize) -> Result<bool> {
    let server = Server::start()?;
    let (target, prober, runtime) = (server.target(), Arc::new(prober()?), runtime()?);
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        runtime.block_on(async {
            let mut running = JoinSet::new();
            for _ in 0..AT_ONCE {
                let (prober, target) = (Arc::clone(&prober), target.clone());
                running.spawn(async move {
                    for _ in 0..queries / AT_ONCE {
                        let result = prober.probe(&target).await;
                        assert!(result.verdict.is_pass(), "{result}");
                    }
                });
            }
            while let Some(ended) = running.join_next().await {
                ended?;
            }
            Ok::<(), Box<dyn std::error::Error>>(())
        })?;
        let asked = queries / AT_ONCE * AT_ONCE;
        rates.push(asked as f64 / began.elapsed().as_secs_f64());
    }
    println!("questions over UDP, {AT_ONCE} at a time, one thread, the server in another process");
    let rate = row("rate", rates.into_iter(), "/s");
    let met = rate >= GOAL_RATE;
    println!("goal: at least {GOAL_RATE}, {}", if met { "met" } else { "missed" });
    Ok(met)
}

/// Memory of questions that wait for a silent server; `false` if the goal was missed.
pub(crate) fn hold(questions: usize) -> Result<bool> {
    allow_descriptors()?;
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let server = Server::start()?;
    let mut config = DnsConfig::ask(format!("{NAME} A").parse()?);
    config.timeout = Duration::from_secs(600);
    config.attempt_timeout = Duration::from_secs(600);
    let (prober, runtime) = (Arc::new(DnsProber::new(config)?), runtime()?);
    let target: Target = silent.local_addr()?.into();
    runtime.block_on(async {
        let first = prober.probe(&server.target()).await;
        if !first.verdict.is_pass() {
            return Err(first.to_string().into());
        }
        let base = memory_kib("VmRSS:")?;
        let mut waiting = JoinSet::new();
        for _ in 0..questions {
            let (prober, target) = (Arc::clone(&prober), target.clone());
            waiting.spawn(async move { prober.probe(&target).await });
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Some(ended) = waiting.try_join_next() {
            return Err(format!("a question did not wait: {}", ended?).into());
        }
        let above = memory_kib("VmRSS:")?.saturating_sub(base);
        let peak = memory_kib("VmHWM:")?.saturating_sub(base);
        let goal = 48.0 * questions as f64 / 10_000.0;
        let met = above as f64 / 1024.0 <= goal;
        println!("{questions} questions over UDP waiting, resident memory of the client");
        println!("  base               {:>8.1} MiB", base as f64 / 1024.0);
        let each = above as f64 / questions as f64;
        println!(
            "  above it           {:>8.1} MiB  ({each:.2} KiB a question)",
            above as f64 / 1024.0
        );
        println!("  peak above it      {:>8.1} MiB", peak as f64 / 1024.0);
        println!("goal: at most {goal:.1} MiB, {}", if met { "met" } else { "missed" });
        Ok(met)
    })
}

/// CPU time beside that of blackbox_exporter, which is asked over HTTP on one connection; `false` if the
/// goal was missed.
pub(crate) fn exporter(rounds: usize, queries: usize) -> Result<bool> {
    let server = Server::start()?;
    let exporter = Exporter::start()?;
    let (target, prober, runtime) = (server.target(), prober()?, runtime()?);
    let mut taken = Vec::with_capacity(rounds);
    exporter.probe(server.address, queries)?;
    for _ in 0..rounds {
        let ours = runtime.block_on(one_by_one(&prober, &target, queries))?;
        let began = exporter.cpu_us()?;
        exporter.probe(server.address, queries)?;
        // Its clock has ticks of 10 ms.
        taken.push((ours, (exporter.cpu_us()? - began) / queries as f64));
    }
    println!("question over UDP: CPU time of a probe, {rounds} rounds of {queries}, one at a time");
    row("netsonde", taken.iter().map(|(ours, _)| *ours), "us");
    row("blackbox_exporter", taken.iter().map(|(_, theirs)| *theirs), "us");
    let ratio = row("ratio", taken.iter().map(|(ours, theirs)| theirs / ours), "");
    let met = ratio >= GOAL_EXPORTER;
    println!("goal: at least {GOAL_EXPORTER}, {}", if met { "met" } else { "missed" });
    Ok(met)
}

/// A second in proc_pid_stat(5), as every Linux has it for programs (`USER_HZ`).
const TICKS: f64 = 100.0;

struct Exporter {
    child: Child,
    port: u16,
    config: std::path::PathBuf,
}

impl Exporter {
    fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = std::env::temp_dir().join(format!("netsonde-cost-{}.yml", std::process::id()));
        let module = format!(
            "modules:\n  dns:\n    prober: dns\n    dns:\n      query_name: {NAME}\n      query_type: A\n      \
             preferred_ip_protocol: ip4\n"
        );
        std::fs::write(&config, module)?;
        let child = Command::new("prometheus-blackbox-exporter")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()?;
        let exporter = Exporter { child, port, config };
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(exporter);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        Err("blackbox_exporter does not listen".into())
    }

    /// Has it probe so many times.
    fn probe(&self, server: SocketAddr, times: usize) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        let request =
            format!("GET /probe?module=dns&target={server} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut reader = BufReader::new(stream.try_clone()?);
        for _ in 0..times {
            stream.write_all(request.as_bytes())?;
            let body = response(&mut reader)?;
            if !body.contains("\nprobe_success 1") {
                return Err(format!("blackbox_exporter says {body}").into());
            }
        }
        Ok(())
    }

    /// User and system time so far (proc_pid_stat(5)).
    fn cpu_us(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ").ok_or("no name in stat")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<std::result::Result<u64, _>>()?;
        Ok(ticks as f64 * 1e6 / TICKS)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// The body of the next response, which tells its length or comes in chunks.
fn response(reader: &mut impl BufRead) -> Result<String> {
    let (mut length, mut chunked) = (None, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<usize>()?);
        }
        chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        None if chunked => loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16)?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            chunk.truncate(length);
            body.extend(chunk);
            if length == 0 {
                break;
            }
        },
        None => return Err("a response without a length".into()),
    }
    Ok(String::from_utf8(body)?)
}
