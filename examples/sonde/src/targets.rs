//! Where the targets come from: the command line, files, standard input.

use std::io::Read;
use std::path::Path;

use netsonde::{Endpoint, Target};

use crate::args::TargetArgs;

/// What a host without a port stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bare {
    /// A mistake.
    Refused,
    /// This port of it.
    Port(u16),
    /// The host itself.
    Host,
}

impl From<Option<u16>> for Bare {
    fn from(port: Option<u16>) -> Self {
        port.map_or(Bare::Refused, Bare::Port)
    }
}

/// Every target, in order: those of the command line, then those of the files. What a host without
/// a port stands for is said by `bare`.
///
/// # Errors
/// A message that names the file, the line and the target.
pub(crate) fn collect(
    args: &TargetArgs,
    bare: impl Into<Bare>,
    mut stdin: impl Read,
) -> Result<Vec<Target>, String> {
    let bare = bare.into();
    let mut targets = Vec::new();
    for text in &args.targets {
        if text == "-" {
            targets.extend(lines("standard input", &read(&mut stdin, "standard input")?, bare)?);
        } else {
            targets.push(target(text, bare)?);
        }
    }
    for path in &args.file {
        let name = path.display().to_string();
        let text = if path == Path::new("-") {
            read(&mut stdin, "standard input")?
        } else {
            std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?
        };
        targets.extend(lines(&name, &text, bare)?);
    }
    if targets.is_empty() { Err("no targets".to_owned()) } else { Ok(targets) }
}

fn read(input: &mut impl Read, name: &str) -> Result<String, String> {
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| format!("{name}: {error}"))?;
    Ok(text)
}

fn lines(name: &str, text: &str, bare: Bare) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // A # inside a word may be part of a socket path.
        let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        for word in words {
            let target = target(word, bare);
            targets.push(target.map_err(|error| format!("{name}:{}: {error}", index + 1))?);
        }
    }
    Ok(targets)
}

fn target(text: &str, bare: Bare) -> Result<Target, String> {
    let fault =
        |error: &dyn std::fmt::Display| format!("target `{}`: {error}", text.escape_debug());
    match (text.parse().map_err(|error| fault(&error))?, bare) {
        (Target::Host(host), Bare::Port(port)) => Ok(Endpoint::new(host, port).into()),
        (Target::Host(_), Bare::Refused) => Err(fault(&netsonde::TargetError::PortMissing)),
        (Target::Host(host), Bare::Host) => Ok(Target::Host(host)),
        (_, Bare::Host) => Err(fault(&"a host is wanted, without a port")),
        (target, _) => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(targets: &[&str], port: Option<u16>, stdin: &str) -> Result<Vec<String>, String> {
        let targets = targets.iter().map(|&text| text.to_owned()).collect();
        let found = collect(&TargetArgs { targets, file: Vec::new() }, port, stdin.as_bytes())?;
        Ok(found.iter().map(Target::to_string).collect())
    }

    #[test]
    fn targets_come_in_order_from_arguments_and_standard_input() {
        let stdin = "# hosts\n\n  b:2   c:3 # two on a line\nunix:/run/a#b\n";
        let found = shown(&["a:1", "-", "d:4"], None, stdin).unwrap();
        assert_eq!(found, ["a:1", "b:2", "c:3", "unix:/run/a#b", "d:4"]);
    }

    #[test]
    fn a_host_alone_gets_the_usual_port_or_is_refused() {
        assert_eq!(shown(&["a.test", "::1"], Some(443), "").unwrap(), ["a.test:443", "[::1]:443"]);
        let error = shown(&["a.test"], None, "").unwrap_err();
        assert_eq!(error, "target `a.test`: no port: write HOST:PORT");
    }

    #[test]
    fn a_bad_target_in_a_list_is_named_with_its_line() {
        let error = shown(&["-"], None, "a:1\nb:99999\n").unwrap_err();
        assert!(error.starts_with("standard input:2: target `b:99999`: invalid port"), "{error}");
        assert_eq!(shown(&["-"], None, "# nothing\n").unwrap_err(), "no targets");
    }
}
