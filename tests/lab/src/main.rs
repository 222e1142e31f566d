//! Runs the lab by hand.
#![allow(clippy::exhaustive_structs, reason = "a program, not a library")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use netsonde_lab::ping::ping;
use netsonde_lab::scenario::{self, Scenario};
use netsonde_support::netns;

const USAGE: &str = "usage: netsonde-lab run SCENARIO.toml...
       netsonde-lab list [FOLDER]
       netsonde-lab clean

run    runs scenarios with the system's ping; exit status 1 if one does not end as it should
list   shows the scenarios of a folder; those that come with the lab if none is given
clean  removes what labs that were killed have left behind

Networks need root.";

/// Prints text; whoever reads it may have seen enough.
fn print(text: &str) {
    _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["run", files @ ..] if !files.is_empty() => {
            files.iter().try_fold(true, |all, file| Ok(run(Path::new(file))? && all))
        }
        ["list"] => list(&scenario::folder()),
        ["list", folder] => list(&PathBuf::from(folder)),
        ["clean"] => {
            netns::remove_leftovers().iter().for_each(|name| print(&format!("removed {name}")));
            Ok(true)
        }
        ["help" | "-h" | "--help"] => {
            print(USAGE);
            Ok(true)
        }
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn list(folder: &Path) -> Result<bool, String> {
    let files =
        scenario::files(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut text = String::new();
    for path in files {
        let scenario = Scenario::load(&path)?;
        let rows = scenario.rows.join(" ");
        _ = writeln!(text, "{}\n    {} {rows}", path.display(), scenario.about);
    }
    print(&text);
    Ok(true)
}

fn run(path: &Path) -> Result<bool, String> {
    let scenario = Scenario::load(path)?;
    let ran =
        scenario::run(&scenario, "run", "ping", &ping).ok_or("no network can be made here")?;
    let mut text = format!("{}: {}\n", path.display(), scenario.about);
    for one in &ran {
        _ = writeln!(text, "  {}: {}", one.target, one.summary());
        for (number, packet) in one.outcome.packets.iter().enumerate() {
            let rtt = packet.rtt.map_or(String::new(), |rtt| format!(" {rtt:?}"));
            let from = packet.from.map_or(String::new(), |from| format!(" from {from}"));
            _ = writeln!(text, "    {number}: {}{rtt}{from}", packet.fate);
        }
        for wrong in &one.wrong {
            _ = writeln!(text, "  WRONG: {wrong}");
        }
    }
    print(&text);
    Ok(ran.iter().all(|one| one.wrong.is_empty()))
}
