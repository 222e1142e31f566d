//! The built tool against scripted servers: what a user and a script of theirs would see.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report wanted")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use netsonde::ProbeResult;
use netsonde_support::{Connection, Server};

mod calibrate;
mod demo;
mod dns;
mod doctor;
mod formats;
mod many;
mod mtu;
mod ping;
mod script;
mod stream;
mod trace;
mod usage;

/// What a run of the tool left behind.
#[derive(Debug)]
struct Run {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// The one result that was written as JSON.
    #[track_caller]
    fn result(&self) -> ProbeResult {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        self
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Run {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonde"));
    command.args(args).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn sonde(args: &[&str]) -> Run {
    command(args).output().unwrap().into()
}

/// The same with `--format json`: one target, one result.
fn json(args: &[&str]) -> (Run, ProbeResult) {
    let run = sonde(&[args, &["--format", "json"]].concat());
    let result = run.result();
    (run, result)
}

/// Waits until the server has seen so many connections: it may be behind the tool. Then there are no
/// more than that.
#[track_caller]
fn connections(server: &Server, count: usize) -> Vec<Connection> {
    let seen = |all: &[Connection]| (all.len() >= count).then(|| all.to_vec());
    let all = server.blocking_until(Duration::from_secs(5), seen);
    assert_eq!(all.len(), count);
    all
}

fn sonde_reading(args: &[&str], stdin: &str) -> Run {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}
