//! `sonde mtu` on loopback, whose interface takes 65536 bytes. It needs the right to an ICMP socket.

use netsonde::Report;
use netsonde::icmp::mtu::{Evidence, MtuEnd};
use netsonde_support::require_root;

use crate::{json, sonde};

#[test]
fn loopback_carries_all_that_ip_has() {
    if require_root().is_none() {
        return;
    }
    for (target, mtu, evidence) in
        [("127.0.0.1", 65_535, Evidence::Protocol), ("::1", 65_536, Evidence::Host)]
    {
        let (run, result) = json(&["mtu", target]);
        run.ended(0);
        let Report::Mtu(report) = &result.report else { panic!("{result}") };
        assert_eq!((report.mtu, report.confirmed, report.end), (Some(mtu), true, MtuEnd::Found));
        assert_eq!(report.evidence, Some(evidence), "{result}");
    }
    let run = sonde(&["mtu", "127.0.0.1", "::1"]).ended(0);
    for part in ["path mtu 65535: IP has no more", "path mtu 65536: the interface takes no more"] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
}

#[test]
fn what_is_not_to_be_tried_is_not_confirmed() {
    if require_root().is_none() {
        return;
    }
    let run = sonde(&["mtu", "--max", "9000", "-i", "lo", "--source", "127.0.0.1", "127.0.0.2"]);
    let part = "path mtu at least 9000, not confirmed: no larger packet was to be tried";
    assert!(run.out.contains(part), "{run:?}");
    run.ended(0);
    let run = sonde(&["mtu", "--max", "9000", "--min-mtu", "9000", "::1", "--format", "jsonl"]);
    assert_eq!(run.ended(0).out.lines().count(), 1);
    // Whether more would pass is not known.
    let (run, result) = json(&["mtu", "--max", "9000", "--min-mtu", "9001", "127.0.0.1"]);
    run.ended(2);
    assert_eq!(result.verdict.code(), Some("not_evaluable"), "{result}");
}

#[test]
fn metrics_say_the_figure_and_how_sure_it_is() {
    if require_root().is_none() {
        return;
    }
    let run = sonde(&["mtu", "--max", "9000", "127.0.0.1", "--format", "prometheus"]).ended(0);
    for line in [
        "netsonde_path_mtu_bytes{kind=\"mtu\",target=\"127.0.0.1\"} 9000",
        "netsonde_path_mtu_confirmed{kind=\"mtu\",target=\"127.0.0.1\"} 0",
    ] {
        assert!(run.out.lines().any(|seen| seen == line), "{line}: {}", run.out);
    }
}

#[test]
fn wrong_usage_and_what_cannot_be_asked() {
    sonde(&["mtu", "127.0.0.1:80"]).ended(2);
    sonde(&["mtu", "--max", "67", "127.0.0.1"]).ended(2);
    sonde(&["mtu", "--tries", "0", "127.0.0.1"]).ended(2);
    sonde(&["mtu", "-4", "-6", "localhost"]).ended(2);
    for (args, code) in [
        (&["mtu", "0.0.0.0"][..], "policy"),
        (&["mtu", "--max", "1279", "::1"], "unsupported_target"),
        (&["mtu", "--source", "::1", "127.0.0.1"], "local_address"),
        (&["mtu", "-i", "none-such", "127.0.0.1"], "local_interface"),
    ] {
        let (run, result) = json(args);
        run.ended(2);
        assert_eq!(result.verdict.code(), Some(code), "{args:?}: {result}");
    }
}
