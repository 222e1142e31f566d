//! Runs the lab by hand.
#![allow(clippy::exhaustive_structs, reason = "a program, not a library")]

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
            netns::remove_leftovers().iter().for_each(|name| println!("removed {name}"));
            Ok(true)
        }
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
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
    for path in files {
        let scenario = Scenario::load(&path)?;
        let rows = scenario.rows.join(" ");
        println!("{}\n    {} {rows}", path.display(), scenario.about);
    }
    Ok(true)
}

fn run(path: &Path) -> Result<bool, String> {
    let scenario = Scenario::load(path)?;
    println!("{}: {}", path.display(), scenario.about);
    let ran =
        scenario::run(&scenario, "run", "ping", &ping).ok_or("no network can be made here")?;
    for one in &ran {
        println!("  {}: {}", one.target, one.summary());
        for (number, packet) in one.outcome.packets.iter().enumerate() {
            let rtt = packet.rtt.map_or(String::new(), |rtt| format!(" {rtt:?}"));
            let from = packet.from.map_or(String::new(), |from| format!(" from {from}"));
            println!("    {number}: {}{rtt}{from}", packet.fate);
        }
        one.wrong.iter().for_each(|wrong| println!("  WRONG: {wrong}"));
    }
    Ok(ran.iter().all(|one| one.wrong.is_empty()))
}
