//! sonde: probe network endpoints from a terminal.
//!
//! The tool is a thin shell around the library: options become configurations ([`config`]), results
//! are shown by the library's own `Display` and JSON ([`output`]).

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use netsonde::Verdict;

use crate::args::{Cli, Command, OutputArgs};
use crate::job::Job;
use crate::output::Printer;
use crate::progress::Progress;
use crate::style::Style;

mod args;
mod calibrate;
mod config;
mod demo;
mod doctor;
mod job;
mod output;
mod ping;
mod progress;
mod resolve;
mod run;
mod script_file;
mod style;
mod targets;

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(status) => status.into(),
        Err(Stop::Message(message)) => {
            // Nobody is left to tell if this cannot be written.
            let _ = writeln!(io::stderr(), "error: {message}");
            Status::Unknown.into()
        }
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Status::Unknown.into()
        }
        Err(Stop::Output(error)) => {
            let _ = writeln!(io::stderr(), "error: standard output: {error}");
            Status::Unknown.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Status, Stop> {
    match command {
        Command::Probe(command) => probe(Job::new(*command, io::stdin().lock())?),
        Command::Ping(args) => ping::run(&args, io::stdin().lock()),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sonde", &mut script);
            io::stdout().write_all(&script)?;
            Ok(Status::Pass)
        }
    }
}

fn probe(job: Job) -> Result<Status, Stop> {
    let total = job.probes.len();
    let output = &job.output;
    let mut printer =
        Printer::new(output.format, style(output), total, BufWriter::new(io::stdout().lock()));
    let mut progress = Progress::new(total, output.quiet);
    let mut status = Status::Pass;
    block_on(run::run(job.probes, &job.cx, job.concurrency, |place, result| {
        status = status.and(&result.verdict);
        progress.ended(&result.verdict);
        if output.quiet {
            return Ok(());
        }
        progress.aside(|| printer.result(place, result)).map_err(Stop::Output)
    }))??;
    drop(progress);
    if !output.quiet {
        printer.finish()?;
    }
    Ok(status)
}

/// One thread is enough for thousands of probes, and ready at once.
fn block_on<F: Future>(work: F) -> Result<F::Output, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Message(format!("cannot start: {error}")))?;
    let output = runtime.block_on(work);
    // A getaddrinfo call that outlives its probe is not waited for.
    runtime.shutdown_background();
    Ok(output)
}

fn style(output: &OutputArgs) -> Style {
    let variable = |name| std::env::var_os(name);
    Style::choose(
        output.color,
        variable("NO_COLOR").as_deref(),
        variable("TERM").as_deref(),
        io::stdout().is_terminal(),
    )
}

/// Why the tool ends without a status of its probes.
#[derive(Debug)]
enum Stop {
    /// Something for the user to mend.
    Message(String),
    /// The results cannot be written.
    Output(io::Error),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Message(message)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Output(error)
    }
}

/// The exit status, as in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Pass,
    Fail,
    Unknown,
}

impl Status {
    /// With one more verdict: a failure weighs most, since it is known.
    fn and(self, verdict: &Verdict) -> Self {
        match (self, verdict) {
            (Status::Fail, _) | (_, Verdict::Fail(_)) => Status::Fail,
            (status, Verdict::Pass) => status,
            _ => Status::Unknown,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Pass => ExitCode::SUCCESS,
            Status::Fail => ExitCode::from(1),
            Status::Unknown => ExitCode::from(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use netsonde::{Failure, FailureKind, LocalFault, LocalFaultKind};

    use super::*;

    #[test]
    fn a_failure_outweighs_what_is_unknown() {
        let fail: Verdict = Failure::new(FailureKind::Refused).into();
        let unknown: Verdict = LocalFault::new(LocalFaultKind::Policy).into();
        let of = |verdicts: &[&Verdict]| verdicts.iter().fold(Status::Pass, |s, v| s.and(v));
        assert_eq!(of(&[&Verdict::Pass, &Verdict::Pass]), Status::Pass);
        assert_eq!(of(&[&unknown, &Verdict::Pass]), Status::Unknown);
        assert_eq!(of(&[&unknown, &fail, &Verdict::Pass]), Status::Fail);
        assert_eq!(of(&[&fail, &unknown]), Status::Fail);
    }
}
