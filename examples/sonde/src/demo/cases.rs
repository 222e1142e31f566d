//! The probes of the demo, each a command line of this tool: what is shown is what is run.

use std::net::SocketAddr;

use clap::Parser;
use netsonde::ProbeResult;

use super::servers::Servers;
use crate::args::{Cli, Command};
use crate::job::Job;

/// One probe of the demo.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What there is to see, in a line.
    pub(crate) shows: &'static str,
    /// `pass`, or the code of the verdict that it is meant to end with.
    pub(crate) meant: &'static str,
    arguments: Vec<String>,
}

impl Case {
    /// Runs the command line and returns the result of its target.
    ///
    /// # Errors
    /// The command line is not one of a single probe.
    pub(crate) async fn probe(&self) -> Result<ProbeResult, String> {
        let cli = Cli::try_parse_from(&self.arguments).map_err(|error| error.to_string())?;
        let Command::Probe(command) = cli.command else {
            return Err(format!("{} does not probe", self.name));
        };
        let job = Job::new(*command, std::io::empty())?;
        let probe = job.probes.first().ok_or_else(|| format!("{} has no target", self.name))?;
        Ok(probe.run(&job.cx).await)
    }

    /// Whether it ended as it was meant to.
    pub(crate) fn is_as_meant(&self, result: &ProbeResult) -> bool {
        result.verdict.code().unwrap_or("pass") == self.meant
    }

    /// The command line for a shell.
    pub(crate) fn command(&self) -> String {
        self.arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,%+[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `HOST:PORT` and the option that leads the name to the server.
struct At {
    target: String,
    resolve: String,
}

fn at(name: &str, server: SocketAddr) -> At {
    let target = format!("{name}.demo.test:{}", server.port());
    At { target, resolve: format!("{name}.demo.test:{}", server.ip()) }
}

/// All probes, in the order of telling.
pub(crate) fn all(servers: &Servers) -> Vec<Case> {
    let ca = servers.ca().display().to_string();
    let greeting = servers.greeting().display().to_string();
    let case = |name, meant, shows, words: &[&str]| Case {
        name,
        shows,
        meant,
        arguments: std::iter::once("sonde")
            .chain(words.iter().copied())
            .map(str::to_owned)
            .collect(),
    };
    let ssh = at("ssh", servers.banner.addr());
    let mail = at("mail", servers.smtp.addr());
    let www = at("www", servers.tls.addr());
    let api = at("api", servers.tls.addr());
    let old = at("old", servers.expired.addr());
    let wrong = at("wrong", servers.wrong_name.addr());
    let odd = at("odd", servers.untrusted.addr());
    let slow = at("slow", servers.slow.addr());
    let silent = at("silent", servers.silent.addr());
    let broken = at("broken", servers.resetting.addr());
    let closed = at("closed", servers.refusing.addr());
    let firewall = at("firewall", servers.refusing.addr());
    let twin = at("twin", servers.banner.addr());
    vec![
        case(
            "banner",
            "pass",
            "the ready dialogue `ssh` reads a version line and exports its parts as labels",
            &["script", "ssh", &ssh.target, "--resolve", &ssh.resolve],
        ),
        case(
            "starttls",
            "pass",
            "SMTP in the clear up to STARTTLS, then the handshake, each with its own time",
            &["tls", &mail.target, "--starttls", "smtp", "--resolve", &mail.resolve, "--ca", &ca],
        ),
        case(
            "tls",
            "pass",
            "a full handshake and a certificate that verifies",
            &["tls", &www.target, "--resolve", &www.resolve, "--ca", &ca],
        ),
        case(
            "days-left",
            "expectation_failed",
            "the same server passes every check, yet not the wish for 400 days of validity",
            &["tls", &api.target, "--resolve", &api.resolve, "--ca", &ca, "--min-days-left", "400"],
        ),
        case(
            "expired",
            "tls_expired",
            "a certificate of last week: the handshake fails, and its data are there all the same",
            &["tls", &old.target, "--resolve", &old.resolve, "--ca", &ca],
        ),
        case(
            "wrong-name",
            "tls_name_mismatch",
            "a certificate for another host",
            &["tls", &wrong.target, "--resolve", &wrong.resolve, "--ca", &ca],
        ),
        case(
            "untrusted",
            "tls_unknown_issuer",
            "a certificate from an authority that nobody here trusts",
            &["tls", &odd.target, "--resolve", &odd.resolve, "--ca", &ca],
        ),
        case(
            "slow",
            "pass",
            "a server that takes 300 ms to greet: the bar shows that the network is not to blame",
            &["script", &greeting, &slow.target, "--resolve", &slow.resolve],
        ),
        case(
            "silent",
            "timeout",
            "a server that accepts and says nothing: the timeout names the phase it fell into",
            &[
                "script",
                &greeting,
                &silent.target,
                "--resolve",
                &silent.resolve,
                "--timeout",
                "500ms",
            ],
        ),
        case(
            "resetting",
            "reset",
            "a server that resets the connection in the middle of the handshake",
            &["tls", &broken.target, "--resolve", &broken.resolve],
        ),
        case(
            "refusing",
            "refused",
            "a port where nobody listens",
            &["tcp", &closed.target, "--resolve", &closed.resolve],
        ),
        case(
            "closed-port",
            "pass",
            "the same port, where to be refused is what is wanted: such a probe passes",
            &[
                "tcp",
                &firewall.target,
                "--resolve",
                &firewall.resolve,
                "--expect-failure",
                "refused",
            ],
        ),
        case(
            "two-addresses",
            "pass",
            "a name with two addresses, one of them dead: every attempt is kept",
            &[
                "tcp",
                &twin.target,
                "--resolve",
                "twin.demo.test:127.0.0.2",
                "--resolve",
                &twin.resolve,
            ],
        ),
        case(
            "unix",
            "pass",
            "PING to a Redis on a Unix socket",
            &["script", "redis", &servers.unix_target],
        ),
        case(
            "guarded",
            "policy",
            "a name that leads to a cloud's metadata service: no packet is sent, so it stays unknown",
            &["tcp", "meta.demo.test:80", "--resolve", "meta.demo.test:169.254.169.254", "--guard"],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--ca"), "--ca");
        assert_eq!(quoted("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
