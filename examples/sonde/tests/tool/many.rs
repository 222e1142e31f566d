//! Many targets: where they come from, and how many are probed at once.

use std::time::Duration;

use netsonde::ProbeResult;
use netsonde_support::{Script, Server, TempDir};

use crate::{connections, sonde, sonde_reading};

/// The most probes that ran at the same time, by their own clocks: a busy server may learn late that
/// one has ended.
fn peak(lines: &str) -> usize {
    let mut marks = Vec::new();
    for line in lines.lines() {
        let result: ProbeResult = serde_json::from_str(line).unwrap();
        marks.push((result.started_at, 1));
        marks.push((result.started_at + result.timing.total(), -1));
    }
    marks.sort_unstable_by_key(|(at, change)| (*at, *change));
    let mut open = 0;
    let peak = marks.iter().map(|(_, change)| {
        open += change;
        open
    });
    usize::try_from(peak.max().unwrap()).unwrap()
}

#[test]
fn no_more_run_at_once_than_allowed() {
    let folder = TempDir::new("tool");
    let script = folder.join("x.yml");
    std::fs::write(&script, "steps: [{expect: x}]").unwrap();
    let script = script.display().to_string();
    for (limit, at_least) in [("1", 1), ("4", 3)] {
        let server = Server::tcp(Script::new().pause(Duration::from_millis(60)).send("x\n"));
        let target = server.addr().to_string();
        let targets = [target.as_str(); 12];
        let options = ["script", &script, "--concurrency", limit, "--format", "jsonl"];
        let run = sonde(&[&options[..], &targets[..]].concat()).ended(0);
        connections(&server, 12);
        let peak = peak(&run.out);
        let limit: usize = limit.parse().unwrap();
        assert!((at_least..=limit).contains(&peak), "{peak} at once, {limit} allowed");
    }
}

#[test]
fn targets_come_from_files_and_standard_input() {
    let server = Server::tcp(Script::new().hang());
    let target = server.addr().to_string();
    let folder = TempDir::new("tool");
    let file = folder.join("targets");
    std::fs::write(&file, format!("# two\n{target} # here\n\n{target}\n")).unwrap();
    let file = file.display().to_string();
    sonde(&["tcp", "--file", &file]).ended(0);
    connections(&server, 2);
    sonde_reading(&["tcp", "-", &target], &format!("{target}\n")).ended(0);
    connections(&server, 4);
    sonde_reading(&["tcp", "--file", "-"], &format!("{target}\n")).ended(0);
    connections(&server, 5);

    std::fs::write(&file, format!("{target}\nhost:port\n")).unwrap();
    let run = sonde(&["tcp", "--file", &file]).ended(2);
    assert!(run.err.contains(&format!("{file}:2: target `host:port`: ")), "{run:?}");
    sonde_reading(&["tcp", "-"], "\n").ended(2);
    // Nothing is probed when a target is bad.
    connections(&server, 5);
}

#[test]
fn a_progress_bar_is_for_several_targets_on_a_terminal() {
    let Some(script) = netsonde_support::require_command("script") else { return };
    let server = Server::tcp(Script::new().pause(Duration::from_millis(400)).send("x\n"));
    let folder = TempDir::new("tool");
    let steps = folder.join("x.yml");
    std::fs::write(&steps, "steps: [{expect: x}]").unwrap();
    let drawn = |count: usize, redirect: &str| {
        let targets = vec![server.addr().to_string(); count].join(" ");
        let tool = env!("CARGO_BIN_EXE_sonde");
        let line = format!("{tool} script {} {targets} {redirect}", steps.display());
        let mut command = std::process::Command::new(&script);
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(drawn(2, ">/dev/null").contains("0/2"));
    assert_eq!(drawn(1, ">/dev/null"), "");
    let both = drawn(2, "");
    assert_eq!(both.matches("PASS").count(), 2, "{both}");
    assert!(!drawn(2, "2>/dev/null").contains("/2"));
}
