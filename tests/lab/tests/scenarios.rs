//! Every scenario of the folder, with the system's ping as the prober.
#![cfg(target_os = "linux")]

use netsonde_lab::ping::ping;
use netsonde_lab::scenario::{self, Scenario};
use netsonde_support::{require_command, require_root};

#[test]
fn all_end_as_their_files_say() {
    let (Some(()), Some(_)) = (require_root(), require_command("ping")) else { return };
    let mut failed = Vec::new();
    let files = scenario::files(&scenario::folder()).expect("the folder can be read");
    assert!(files.len() >= 10, "{} files", files.len());
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.about.is_empty() && !scenario.probe.is_empty(), "{name}");
        // Other work on the machine may spoil a time.
        let mut wrong = Vec::new();
        for _ in 0..3 {
            wrong.clear();
            let Some(ran) = scenario::run(&scenario, "s", "ping", &ping) else { return };
            for one in &ran {
                println!("{name}: {}: {}", one.target, one.summary());
                if !one.wrong.is_empty() {
                    wrong.push(format!(
                        "{name}: {}:\n  {}\n{}",
                        one.target,
                        one.wrong.join("\n  "),
                        one.outcome.note
                    ));
                }
            }
            if wrong.is_empty() {
                break;
            }
        }
        failed.append(&mut wrong);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
