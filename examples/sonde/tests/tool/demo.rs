//! `sonde demo`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use netsonde::ProbeResult;

use crate::{command, sonde};

#[test]
fn every_probe_ends_as_it_was_meant_to() {
    let run = sonde(&["demo", "--format", "json"]).ended(0);
    let all: Vec<serde_json::Value> = serde_json::from_str(&run.out).unwrap();
    let results: Vec<ProbeResult> = serde_json::from_str(&run.out).unwrap();
    let seen: Vec<(&str, &str)> = all
        .iter()
        .zip(&results)
        .map(|(value, result)| {
            assert_eq!(value["demo"]["as_meant"], true, "{value}");
            (value["demo"]["name"].as_str().unwrap(), result.verdict.code().unwrap_or("pass"))
        })
        .collect();
    let meant = [
        ("banner", "pass"),
        ("starttls", "pass"),
        ("tls", "pass"),
        ("days-left", "expectation_failed"),
        ("expired", "tls_expired"),
        ("wrong-name", "tls_name_mismatch"),
        ("untrusted", "tls_unknown_issuer"),
        ("slow", "pass"),
        ("silent", "timeout"),
        ("resetting", "reset"),
        ("refusing", "refused"),
        ("closed-port", "pass"),
        ("two-addresses", "pass"),
        ("unix", "pass"),
        ("guarded", "policy"),
    ];
    assert_eq!(seen, meant);
    for result in &results {
        assert!(result.timing.is_tiled(), "{result}");
    }
    let slow = &results[7];
    let script = slow.timing.phase(netsonde::Phase::Script).unwrap();
    assert!(script.as_millis() >= 290, "the server's time is in its phase: {slow}");
    assert_eq!(results[12].attempts.len(), 2);
}

#[test]
fn the_text_explains_each_probe_and_sums_up() {
    let run = sonde(&["demo"]).ended(0);
    assert!(run.err.is_empty(), "{run:?}");
    assert_eq!(run.out.matches("\n$ sonde ").count(), 15);
    assert!(run.out.ends_with("15 probes, each ended as it was meant to\n"), "{}", run.out);
    assert!(!run.out.contains("not as meant"));
    let folders = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let line = run.out.lines().find(|line| line.contains("ca.pem")).unwrap();
    let left = folders.filter(|entry| line.contains(&*entry.path().to_string_lossy())).count();
    assert_eq!(left, 0, "its folder is gone");
}

#[test]
fn the_other_formats_work_too() {
    let run = sonde(&["demo", "--format", "jsonl"]).ended(0);
    assert_eq!(run.out.lines().count(), 15);
    for line in run.out.lines() {
        serde_json::from_str::<ProbeResult>(line).unwrap();
    }
    let run = sonde(&["demo", "--format", "prometheus"]).ended(0);
    let successes = run.out.lines().filter(|line| line.starts_with("netsonde_probe_success{"));
    assert_eq!(successes.count(), 14, "all but the one that is unknown");
    assert!(sonde(&["demo", "--quiet"]).ended(0).out.is_empty());
}

#[test]
fn kept_targets_can_be_probed_by_hand_until_interrupted() {
    let mut child =
        command(&["demo", "--keep"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> =
        out.lines().map_while(Result::ok).take_while(|l| !l.starts_with("15 ")).collect();
    // Held open: the tool is not done writing.
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = err.by_ref().map_while(Result::ok).find(|line| line.contains("until Ctrl-C"));
    assert!(said.is_some_and(|line| line.contains("ca.pem")));
    let by_hand = lines.iter().find(|line| line.contains("sonde tls www.demo.test")).unwrap();
    let words: Vec<&str> = by_hand.split_whitespace().skip(2).collect();
    sonde(&words).ended(0);

    let interrupted =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    sonde(&words).ended(2);
}
