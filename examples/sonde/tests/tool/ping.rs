//! `sonde ping` on loopback. It needs the right to an ICMP socket.

use netsonde::Report;
use netsonde_support::require_root;

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

    let run = sonde(&["ping", "-c", "2", "-i", "10ms", "127.0.0.1", "::1"]).ended(0);
    for part in [
        "64 bytes from 127.0.0.1, ttl 64",
        "64 bytes from ::1",
        "2 sent, 2 received",
        "rtt min/avg",
    ] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
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
