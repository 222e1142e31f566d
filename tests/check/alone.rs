//! Tests that need a process of their own, because they use up what all tests of one share.

use std::process::{Command, Stdio};

const INSIDE: &str = "NETSONDE_TEST_ALONE";

/// `true` in a process that runs this test alone; elsewhere starts that process, behind some words
/// of shell that end in `&&`, and checks that the test passed there.
pub(crate) fn in_own_process(test: &str, before: &str) -> bool {
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        return true;
    }
    let output = run_own_process(test, before).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{test}: {}", output.status);
    false
}

/// The command that runs this test alone.
pub(crate) fn run_own_process(test: &str, before: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{before} exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .stdin(Stdio::null());
    command
}
