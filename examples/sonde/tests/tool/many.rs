//! Many targets: where they come from, and how many are probed at once.

use std::time::{Duration, Instant};

use netsonde_support::{Script, Server, TempDir};

use crate::{sonde, sonde_reading};

/// The most connections that were open at the same time.
fn peak(server: &Server) -> usize {
    let mut marks: Vec<(Instant, i32)> = Vec::new();
    for (index, one) in server.connections().iter().enumerate() {
        marks.push((one.accepted_at, 1));
        marks.push((server.blocking_closed(index, Duration::from_secs(5)).at, -1));
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
        let args = [&["script", &script, "--concurrency", limit], &targets[..]].concat();
        sonde(&args).ended(0);
        assert_eq!(server.count(), 12);
        let peak = peak(&server);
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
    assert_eq!(server.count(), 2);
    sonde_reading(&["tcp", "-", &target], &format!("{target}\n")).ended(0);
    assert_eq!(server.count(), 4);
    sonde_reading(&["tcp", "--file", "-"], &format!("{target}\n")).ended(0);
    assert_eq!(server.count(), 5);

    std::fs::write(&file, format!("{target}\nhost:port\n")).unwrap();
    let run = sonde(&["tcp", "--file", &file]).ended(2);
    assert!(run.err.contains(&format!("{file}:2: target `host:port`: ")), "{run:?}");
    assert_eq!(server.count(), 5, "nothing is probed when a target is bad");
    sonde_reading(&["tcp", "-"], "\n").ended(2);
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
