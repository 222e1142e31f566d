//! `sonde ping` on loopback. It needs the right to an ICMP socket.

use netsonde::Report;
use netsonde_support::{require_command, require_root};

use crate::{json, sonde, sonde_reading};

#[test]
fn hosts_that_answer_pass_and_are_shown_with_their_figures() {
    if require_root().is_none() {
        return;
    }
    let (run, result) = json(&["ping", "-c", "4", "-i", "10ms", "--ttl", "9", "127.0.0.1"]);
    run.ended(0);
    let Report::Icmp(report) = &result.report else { panic!("{result}") };
    let stats = report.stats.as_ref().unwrap();
    assert_eq!((stats.sent, stats.received, stats.loss), (4, 4, Some(0.0)));
    assert_eq!(report.packets.len(), 4);
}

#[test]
fn a_single_host_is_shown_packet_by_packet_as_ping_does() {
    if require_root().is_none() {
        return;
    }
    let run = sonde(&["ping", "-c", "3", "-i", "10ms", "127.0.0.1"]).ended(0);
    let lines: Vec<&str> = run.out.lines().collect();
    for (seq, line) in lines.iter().take(3).enumerate() {
        let head = format!("64 bytes from 127.0.0.1: seq={seq} ttl=64 time=");
        assert!(line.starts_with(&head) && line.ends_with(" ms"), "{run:?}");
    }
    for part in [
        "--- 127.0.0.1 ping statistics ---",
        "3 packets transmitted, 3 received, 0% packet loss, time ",
        "rtt min/avg/max/mdev = ",
        "times by the kernel, good to ",
    ] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
}

#[test]
fn many_hosts_have_a_line_each_in_their_order_as_fping_does() {
    if require_root().is_none() {
        return;
    }
    let run = sonde(&["ping", "-c", "2", "-i", "10ms", "127.0.0.1", "::1", "127.9.9.9"]).ended(0);
    let hosts = run.out.lines().take(3).map(|line| line.split_once(" : ").unwrap());
    for ((host, figures), wanted) in hosts.zip(["127.0.0.1", "::1", "127.9.9.9"]) {
        assert_eq!(host, wanted);
        assert!(figures.starts_with("xmt/rcv/%loss = 2/2/0%, min/avg/max = "), "{run:?}");
    }
    assert!(run.out.contains("3 hosts: 3 passed, 0 failed, 0 unknown"), "{run:?}");
    assert!(run.out.contains("6 packets transmitted, 6 received, 0% packet loss"), "{run:?}");
}

#[test]
fn a_network_is_swept() {
    if require_root().is_none() {
        return;
    }
    let args = ["ping", "--sweep", "127.5.0.0/25", "-c", "3", "-i", "5ms", "--gap", "20us"];
    let run = sonde(&args).ended(0);
    let rows = run.out.lines().filter(|line| line.contains(" : xmt/rcv/%loss = 3/3/0%")).count();
    assert_eq!(rows, 126, "{run:?}");
    assert!(run.out.contains("126 hosts: 126 passed"), "{run:?}");

    let run = sonde(&["ping", "--sweep", "127.5.0.0/24", "--max-hosts", "100"]).ended(2);
    assert!(run.err.contains("--sweep 127.5.0.0/24: more than 100 hosts"), "{run:?}");
    sonde(&["ping", "--sweep", "127.5.0.0/33"]).ended(2);
    sonde(&["ping"]).ended(2);
}

#[test]
fn one_host_that_does_not_answer_fails_the_run_and_says_so_in_its_line() {
    if require_root().is_none() {
        return;
    }
    let Some(lab) = netsonde_support::netns::Lab::new("ping") else { return };
    let here = lab.namespace("here");
    // No route leads out of it.
    let run = here.run(|| sonde(&["ping", "-c", "1", "127.0.0.1", "192.0.2.1", "nobody.invalid"]));
    assert_ne!(run.status, Some(0), "{run:?}");
    let line = |host: &str| run.out.lines().find(|line| line.starts_with(host)).unwrap();
    assert!(line("192.0.2.1").contains(" : "), "{run:?}");
    assert!(line("nobody.invalid").contains("resolve"), "{run:?}");
    assert!(run.out.contains("1 passed"), "{run:?}");
}

#[test]
fn a_terminal_has_a_live_line_for_every_host() {
    if require_root().is_none() || require_command("script").is_none() {
        return;
    }
    let sonde = env!("CARGO_BIN_EXE_sonde");
    let ping = format!("{sonde} ping -c 5 -i 150ms 127.0.0.1 127.0.0.2");
    let run = std::process::Command::new("script")
        .args(["-qec", &ping, "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{shown}");
    for part in ["127.0.0.1 ", "127.0.0.2 ", "3/5 0% unanswered, last 0.", "\u{1b}["] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("2 hosts: 2 passed"), "{shown}");
}

#[test]
fn metrics_have_a_fate_for_every_packet() {
    if require_root().is_none() {
        return;
    }
    let run =
        sonde(&["ping", "-c", "2", "-i", "10ms", "127.0.0.1", "--format", "prometheus"]).ended(0);
    for line in [
        "netsonde_icmp_packets{kind=\"icmp\",target=\"127.0.0.1\",fate=\"answered\"} 2",
        "netsonde_icmp_packets{kind=\"icmp\",target=\"127.0.0.1\",fate=\"lost\"} 0",
        "netsonde_icmp_loss_ratio{kind=\"icmp\",target=\"127.0.0.1\"} 0",
    ] {
        assert!(run.out.lines().any(|seen| seen == line), "{line}: {}", run.out);
    }
}

#[test]
fn what_is_no_host_is_a_usage_error() {
    let run = sonde(&["ping", "127.0.0.1:80"]).ended(2);
    assert!(run.err.contains("without a port"), "{run:?}");
    let run = sonde_reading(&["ping", "-"], "127.0.0.1\nunix:/run/x\n").ended(2);
    assert!(run.err.contains("standard input:2"), "{run:?}");
    sonde(&["ping", "--size", "65508", "127.0.0.1"]).ended(2);
    sonde(&["ping", "-c", "0", "127.0.0.1"]).ended(2);
}

#[test]
fn a_host_that_cannot_be_asked_is_unknown() {
    let (run, result) = json(&["ping", "0.0.0.0"]);
    run.ended(2);
    assert_eq!(result.verdict.code(), Some("policy"));
}
