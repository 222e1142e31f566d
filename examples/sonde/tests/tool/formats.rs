//! Formats, colour, and where the output goes.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use netsonde::ProbeResult;
use netsonde_support::{ClosedPort, Script, Server};

use crate::{Run, command, json, sonde};

#[test]
fn json_reads_back_as_a_result() {
    let server = Server::tcp(Script::new().hang());
    let (run, result) = json(&["tcp", &server.addr().to_string()]);
    assert!(result.verdict.is_pass() && result.timing.is_tiled());
    let again: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(serde_json::to_value(&result).unwrap(), again);
    assert_eq!((again["schema"].as_u64(), again["kind"].as_str()), (Some(1), Some("tcp")));
    run.ended(0);
}

#[test]
fn several_targets_make_an_array_in_their_order() {
    let slow = Server::tcp(Script::new().pause(Duration::from_millis(200)).send("x\n"));
    let closed = ClosedPort::v4();
    let folder = netsonde_support::TempDir::new("tool");
    let script = folder.join("x.yml");
    std::fs::write(&script, "steps: [{expect: x}]").unwrap();
    let targets = [slow.addr().to_string(), closed.addr().to_string()];
    let args = ["script", &script.display().to_string(), &targets[0], &targets[1], "--format"];

    let run = sonde(&[&args[..], &["json"]].concat()).ended(1);
    let results: Vec<ProbeResult> = serde_json::from_str(&run.out).unwrap();
    assert_eq!(results.iter().map(|r| r.target.to_string()).collect::<Vec<_>>(), targets);
    assert_eq!(results.iter().map(|r| r.verdict.status()).collect::<Vec<_>>(), ["pass", "fail"]);

    // The refusal is there first.
    let run = sonde(&[&args[..], &["jsonl"]].concat()).ended(1);
    let lines: Vec<ProbeResult> =
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|r| r.verdict.status()).collect::<Vec<_>>(), ["fail", "pass"]);

    let run = sonde(&[&args[..], &["text"]].concat()).ended(1);
    let places = targets.each_ref().map(|target| run.out.find(target.as_str()).unwrap());
    assert!(places[0] < places[1], "{run:?}");
}

#[test]
fn lines_stream_while_others_are_probed() {
    let silent = Server::tcp(Script::new().hang());
    let open = Server::tcp(Script::new().send("x\n"));
    let folder = netsonde_support::TempDir::new("tool");
    let script = folder.join("x.yml");
    std::fs::write(&script, "steps: [{expect: x}]").unwrap();
    let mut child = command(&["script", &script.display().to_string()])
        .args([silent.addr().to_string(), open.addr().to_string()])
        .args(["--format", "jsonl", "--timeout", "20s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    let first: ProbeResult = serde_json::from_str(&line).unwrap();
    assert_eq!(first.target.to_string(), open.addr().to_string());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn prometheus_has_each_family_once() {
    let server = Server::tcp(Script::new().hang());
    let closed = ClosedPort::v4();
    let targets = [server.addr().to_string(), closed.addr().to_string()];
    let run = sonde(&["tcp", &targets[0], &targets[1], "--format", "prometheus"]).ended(1);
    for (index, target) in targets.iter().enumerate() {
        let value = 1 - index;
        let line = format!("netsonde_probe_success{{kind=\"tcp\",target=\"{target}\"}} {value}\n");
        assert!(run.out.contains(&line), "{run:?}");
    }
    assert!(run.out.contains("code=\"refused\",phase=\"connect\"} 1\n"), "{run:?}");
    let families: Vec<&str> = run.out.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let mut distinct = families.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(families.len(), distinct.len());
    assert!(families.len() >= 5, "{families:?}");
}

#[test]
fn quiet_leaves_the_status_alone() {
    let run = sonde(&["tcp", &ClosedPort::v4().addr().to_string(), "--quiet"]);
    assert!(matches!(run.status, Some(0 | 1)) && run.out.is_empty() && run.err.is_empty());
    let closed = ClosedPort::v4();
    let run = sonde(&["tcp", &closed.addr().to_string(), "-q", "--format", "json"]).ended(1);
    assert!(run.out.is_empty() && run.err.is_empty(), "{run:?}");
}

#[test]
fn colour_is_for_terminals() {
    let closed = ClosedPort::v4();
    let target = closed.addr().to_string();
    let escapes = |run: &Run| run.out.contains('\x1b');
    assert!(!escapes(&sonde(&["tcp", &target])));
    assert!(escapes(&sonde(&["tcp", &target, "--color", "always"])));

    // script(1) gives it a terminal.
    let Some(script) = netsonde_support::require_command("script") else { return };
    let on_terminal = |args: &str, no_color: Option<&str>| -> Run {
        let line = format!("{} tcp {target} {args}", env!("CARGO_BIN_EXE_sonde"));
        let mut command = std::process::Command::new(&script);
        command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        command.stdin(Stdio::null()).output().unwrap().into()
    };
    assert!(escapes(&on_terminal("", None).ended(1)));
    assert!(escapes(&on_terminal("", Some("")).ended(1)));
    assert!(!escapes(&on_terminal("", Some("1")).ended(1)));
    assert!(!escapes(&on_terminal("--color never", None).ended(1)));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let server = Server::tcp(Script::new().hang());
    let target = server.addr().to_string();
    for format in ["text", "json", "jsonl", "prometheus"] {
        let mut child = command(&["tcp", "--format", format])
            .args(std::iter::repeat_n(&target, 300))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), err.as_str()), (Some(2), ""), "{format}");
    }
}
