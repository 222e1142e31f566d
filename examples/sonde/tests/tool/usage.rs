//! Help, usage errors, completions, exit status.

use netsonde_support::{ClosedPort, Script, Server};

use crate::sonde;

#[test]
fn wrong_usage_ends_with_2_and_says_why() {
    for (args, wanted) in [
        (&["tcp", "a:1", "--nonsense"][..], "--nonsense"),
        (&["tcp"], "TARGET"),
        (&["nonsense"], "nonsense"),
        (&["tcp", "a.test"], "no port"),
        (&["tcp", "a:1", "--timeout", "5"], "`5` is not a duration"),
        (&["tcp", "a:1", "--concurrency", "0"], "--concurrency"),
        (&["tcp", "a:1", "-4", "-6"], "cannot be used with"),
        (&["tcp", "a:1", "--dscp", "64"], "--dscp"),
        (&["tcp", "a:1", "--resolve", "a"], "HOST:ADDR"),
        (&["tls", "a:1", "--starttls", "http"], "one of ftp, imap"),
        (&["tls", "a:1", "--key", "k.pem"], "--cert"),
        (&["tls", "a:1", "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        (&["tls", "a:1", "--sni", "x", "--no-sni"], "cannot be used with"),
        (&["tls", "a:1", "--min-tls", "1.3", "--max-tls", "1.2"], "version"),
        (&["tcp", "--file", "/nowhere/targets"], "/nowhere/targets"),
        (&["tcp", "a:1", "--expect-failure", "bogus"], "--expect-failure"),
        (&["doctor", "--format", "prometheus"], "--format"),
    ] {
        let run = sonde(args).ended(2);
        assert!(run.err.contains(wanted) && run.out.is_empty(), "{args:?}: {run:?}");
    }
}

#[test]
fn the_worst_verdict_decides_and_a_failure_is_worse_than_not_knowing() {
    let server = Server::tcp(Script::new().hang());
    let closed = ClosedPort::v4();
    let (good, bad) = (server.addr().to_string(), closed.addr().to_string());
    let source = ["--source", "127.0.0.1"];
    // An IPv6 target cannot be dialled from an IPv4 address: nothing is learnt about it.
    let local = "[::1]:1";
    let of = |targets: &[&str]| sonde(&[&["tcp"], targets, &source[..]].concat()).status;
    assert_eq!(of(&[&good, &good]), Some(0));
    assert_eq!(of(&[&good, &bad]), Some(1));
    assert_eq!(of(&[&good, local]), Some(2));
    assert_eq!(of(&[local, &bad]), Some(1));
}

#[test]
fn help_has_examples_and_the_exit_status() {
    let whole = sonde(&["--help"]).ended(0);
    for word in ["tcp", "tls", "script", "demo", "doctor", "completions", "Exit status:"] {
        assert!(whole.out.contains(word), "{word}");
    }
    for command in ["tcp", "tls", "ping", "trace", "mtu", "script", "calibrate", "demo", "doctor"] {
        let run = sonde(&[command, "--help"]).ended(0);
        for word in ["Examples:", &format!("sonde {command} "), "Exit status:"] {
            assert!(run.out.contains(word), "{command}: {word}");
        }
    }
    assert!(sonde(&["tls", "--help"]).out.contains("postgres"));
    assert!(sonde(&["--version"]).ended(0).out.starts_with("sonde 0."));
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = sonde(&["completions", shell]).ended(0);
        assert!(run.out.contains("min-days-left"), "{shell}");
    }
}
