//! Beside what others report of the same path in the same run.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netsonde::icmp::IcmpConfig;
use netsonde_lab::{Capture, Marks, Net};
use netsonde_support::require_command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::*;

/// A child that ends with this handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Where the reference listens, inside of the client's namespace.
const REFERENCE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9115);

const AT_ONCE: u16 = 1_000;

/// The server answers for many addresses, so that the capture tells probes apart by them.
fn many(net: &Net, family: usize, prober: u8) -> Vec<IpAddr> {
    let address = |number: u16| match family {
        0 => format!("10.99.{}.{}", u16::from(prober) * 16 + number / 250, number % 250 + 1),
        _ => format!("fd99::{prober}:{number:x}"),
    };
    if prober == 0 {
        let route =
            ["-4 route add local 10.99.0.0/16 dev lo", "-6 route add local fd99::/64 dev lo"];
        net.server.ip(route[family]);
    }
    (0..AT_ONCE).map(|number| address(number).parse().unwrap()).collect()
}

/// Asks the reference for one probe and reads what it says of the round trip.
async fn ask(target: IpAddr) -> Option<Duration> {
    let module = if target.is_ipv4() { "icmp4" } else { "icmp6" };
    let mut stream = TcpStream::connect(REFERENCE).await.ok()?;
    let request = format!(
        "GET /probe?module={module}&target={target} HTTP/1.1\r\nHost: localhost\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    if !text.contains("probe_success 1") {
        return None;
    }
    let line = text.lines().find_map(|line| {
        line.strip_prefix("probe_icmp_duration_seconds{phase=\"rtt\"} ")?.parse().ok()
    });
    line.map(Duration::from_secs_f64)
}

/// The errors of what was reported, by target.
fn errors(reported: &[(IpAddr, Duration)], marks: &Marks) -> Spread {
    let errors = reported.iter().filter_map(|(target, rtt)| {
        let [echo] = echoes(marks, *target)[..] else { return None };
        Some(rtt.abs_diff(echo.rtt?).as_nanos() as u64)
    });
    Spread::of(errors)
}

#[test]
fn a20_a_thousand_probes_at_once_beside_blackbox_exporter() {
    let _turn = turn();
    let Some(program) = require_command("prometheus-blackbox-exporter") else { return };
    let Some(net) = path("a20", ms(10)) else { return };
    let targets = [0, 1].map(|family| [many(&net, family, 0), many(&net, family, 1)]);
    let config = std::env::temp_dir().join(format!("netsonde-a20-{}.yml", std::process::id()));
    let module = |number: u8| {
        format!(
            "  icmp{number}:\n    prober: icmp\n    timeout: 5s\n    icmp:\n      \
             preferred_ip_protocol: ip{number}\n      ip_protocol_fallback: false\n"
        )
    };
    std::fs::write(&config, format!("modules:\n{}{}", module(4), module(6))).unwrap();
    let started = net.client.run(|| {
        Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address={REFERENCE}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    });
    let _reference = Running(started.unwrap());
    net.client.block_on(async || {
        for _ in 0..100 {
            if TcpStream::connect(REFERENCE).await.is_ok() {
                return;
            }
            tokio::time::sleep(ms(50)).await;
        }
        panic!("the reference does not listen");
    });
    std::fs::remove_file(&config).unwrap();
    gate("A-20", || {
        for [theirs, ours] in &targets {
            let capture = Capture::start(&net.near);
            let reported = net.client.block_on(async || {
                let asked: Vec<_> =
                    theirs.iter().map(|target| (*target, tokio::spawn(ask(*target)))).collect();
                let mut reported = Vec::new();
                for (target, task) in asked {
                    reported.extend(task.await.unwrap().map(|rtt| (target, rtt)));
                }
                reported
            });
            capture.settle();
            let reference = errors(&reported, &capture.end());
            let engine = raw();
            let config = IcmpConfig::default();
            let trains = ours.iter().map(|target| Train::new(&engine, &config, *target));
            let (results, marks) = send(&net, trains.collect());
            let reported: Vec<_> = results
                .iter()
                .filter_map(|result| {
                    let answer = result.report.packets.first()?.fate.answer()?;
                    Some((result.report.address?, answer.rtt.duration()))
                })
                .collect();
            let errors = errors(&reported, &marks);
            println!("A-20 blackbox_exporter, {}: error {reference}", theirs[0]);
            judge(&format!("A-20 netsonde, {}", ours[0]), &errors, &[(990, 100.0)])?;
            if errors.len() < usize::from(AT_ONCE) || reference.at(990) < 50_000.0 {
                return Err(format!("{} answers; reference {reference}", errors.len()));
            }
        }
        Ok(())
    });
}

/// Round trips that ping(8) prints.
fn ping(net: &Net, target: IpAddr, count: u32) -> Vec<u64> {
    let count = count.to_string();
    let output = net.client.run(|| {
        let mut command = Command::new("ping");
        command.env("LC_ALL", "C").args(["-n", "-i", "0.002", "-c", &count]);
        command.arg(target.to_string()).output().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout);
    let time = |line: &str| {
        let word = line.split_once("time=")?.1.split_whitespace().next()?;
        Some((word.parse::<f64>().ok()? * 1e6) as u64)
    };
    text.lines().filter_map(time).collect()
}

#[test]
fn a21_medians_are_those_of_ping() {
    let _turn = turn();
    let Some(_) = require_command("ping") else { return };
    let Some(net) = wire("a21") else { return };
    let other = another(&net, 1);
    gate("A-21", || {
        for (target, other) in net.target.into_iter().zip(other) {
            // Side by side, each every 2 ms.
            let train = Train::new(&raw(), &config(1_000, ms(2), ms(1000)), target);
            let (theirs, (results, marks)) = std::thread::scope(|scope| {
                let theirs = scope.spawn(|| ping(&net, other, 1_000));
                let ours = send(&net, vec![train.after(ms(3))]);
                (theirs.join().unwrap(), ours)
            });
            let ours = results[0].report.stats.as_ref().unwrap().rtt.unwrap();
            let theirs = Spread::of(theirs);
            let truth = |target| {
                let rtts = echoes(&marks, target).into_iter().filter_map(|echo| echo.rtt);
                Spread::of(rtts.map(|rtt| rtt.as_nanos() as u64))
            };
            let median = ours.median_ns as f64 / 1000.0;
            println!(
                "A-21 {target}: median {median:.1} us, ping {:.1} us; on the wire {:.1} and {:.1} us",
                theirs.at(500),
                truth(target).at(500),
                truth(other).at(500)
            );
            if theirs.len() < 990 || (median - theirs.at(500)).abs() > 20.0 {
                return Err(format!("median {median} us, ping {theirs}"));
            }
        }
        Ok(())
    });
}
