//! `sonde trace` on loopback, where the target is the first hop.

use std::process::Command;

use netsonde::icmp::trace::PathEnd;
use netsonde::{ProbeResult, Report};
use netsonde_support::skip::require_ipv6;
use netsonde_support::{Lab, require_command, require_root};

use crate::{Run, json, sonde};

fn ends(result: &ProbeResult) -> Vec<PathEnd> {
    let Report::Trace(report) = &result.report else { panic!("{result}") };
    report.paths.iter().map(|path| path.end).collect()
}

#[test]
fn the_target_is_the_first_hop_by_every_method() {
    if require_root().is_none() || require_ipv6().is_none() {
        return;
    }
    for target in ["127.0.0.1", "::1"] {
        for method in [&["-I"][..], &["-U"], &["-T", "-p", "1"], &[]] {
            let (run, result) =
                json(&[&["trace", "-n", "--flows", "2"], method, &[target]].concat());
            run.ended(0);
            let wanted = [PathEnd::Reached { ttl: 1 }; 2];
            assert_eq!(ends(&result), wanted, "{method:?} {result}");
            // Nothing computes checksums on loopback, which must not look like rewriting.
            assert!(!result.to_string().contains("rewritten"), "{method:?} {result}");
        }
    }
}

#[test]
fn a_line_for_each_hop_and_a_block_for_each_path() {
    if require_root().is_none() {
        return;
    }
    let args =
        ["trace", "-U", "-q", "2", "--names", "--resolve", "here.test:127.0.0.1", "here.test"];
    let run = sonde(&args).ended(0);
    for part in ["path to 127.0.0.1 by udp port 33434", "   1  here.test (127.0.0.1) "] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    let hop = run.out.lines().find(|line| line.starts_with("   1 ")).unwrap();
    assert_eq!(hop.matches(" ms").count(), 2, "{hop}");
    assert!(!run.out.contains("flow"), "{}", run.out);
    // An IPv4-mapped address is the IPv4 address.
    let run = sonde(&["trace", "-n", "--flows", "3", "::ffff:127.0.0.1"]).ended(0);
    assert!(run.out.contains("  path to 127.0.0.1 by icmp\n"), "{}", run.out);
    for part in ["  flow 0\n", "  flow 1\n", "  flow 2\n"] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
}

#[test]
fn options_that_cannot_be_are_usage_errors() {
    for args in [
        &["-I", "-U"][..],
        &["-U", "-T"],
        &["-p", "80"],
        &["-T", "-p", "0"],
        &["-T", "--size", "40"],
        &["--size", "1"],
        &["-q", "0"],
        &["-f", "9", "-m", "8"],
        &["-T", "--socket", "datagram"],
        &["--flows", "65"],
        &["-n", "--names"],
    ] {
        let run = sonde(&[&["trace", "127.0.0.1"], args].concat()).ended(2);
        assert!(run.out.is_empty() && !run.err.is_empty(), "{args:?}: {run:?}");
    }
    sonde(&["trace", "127.0.0.1:80"]).ended(2);
    let help = sonde(&["trace", "--help"]).ended(0);
    for word in ["Examples:", "sonde trace ", "Exit status:", "--gap-limit"] {
        assert!(help.out.contains(word), "{word}");
    }
}

/// The tool without any rights of root.
fn unprivileged(args: &[&str]) -> Option<Run> {
    require_root()?;
    let mut command = Command::new(require_command("setpriv")?);
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps=-all", "--bounding-set=-all"]);
    command.arg(env!("CARGO_BIN_EXE_sonde")).args(args);
    Some(command.output().unwrap().into())
}

#[test]
fn i113_without_any_right_to_icmp_both_remedies_are_named() {
    let Some(lab) = Lab::new("tool") else { return };
    // In a new namespace nobody may use datagram sockets (icmp(7)).
    let namespace = lab.namespace("c");
    let args = ["trace", "-I", "127.0.0.1", "--format", "json"];
    let Some(run) = namespace.run(|| unprivileged(&args)) else { return };
    let result = run.ended(2).result();
    assert_eq!(result.verdict.code(), Some("local_permission"), "{result}");
    for remedy in ["setcap cap_net_raw+ep", "net.ipv4.ping_group_range"] {
        assert!(result.to_string().contains(remedy), "{remedy}: {result}");
    }
}

#[test]
fn without_rights_udp_is_traced_and_tcp_says_what_is_missing() {
    let args = ["trace", "-U", "127.0.0.1", "--format", "json"];
    let Some(run) = unprivileged(&args) else { return };
    let result = run.ended(0).result();
    let Report::Trace(report) = &result.report else { panic!("{result}") };
    assert_eq!(report.socket, Some(netsonde::icmp::SocketMode::Datagram));
    assert_eq!(ends(&result), [PathEnd::Reached { ttl: 1 }]);

    let Some(run) = unprivileged(&["trace", "-T", "127.0.0.1", "--format", "json"]) else { return };
    let result = run.ended(2).result();
    assert_eq!(result.verdict.code(), Some("local_permission"), "{result}");
    assert!(result.to_string().contains("setcap cap_net_raw+ep"), "{result}");
}
