//! `kdig` and `dig`, and how what they show differs from what we show.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use netsonde::wire::dns::{RecordBuf, RecordType};

pub(crate) struct Tool {
    program: PathBuf,
    options: &'static [&'static str],
    /// What comes before a name and a type.
    keys: [&'static str; 2],
}

impl Tool {
    pub(crate) fn kdig(program: PathBuf) -> Self {
        let options = &["+noidn", "+time=10", "+retry=0"];
        Tool { program, options, keys: ["-q", "-t"] }
    }

    pub(crate) fn dig(program: PathBuf) -> Self {
        let options = &["-r", "+noidnin", "+noidnout", "+nosplit", "+time=10", "+tries=1"];
        Tool { program, options, keys: ["-q", "-t"] }
    }

    /// The lines of the answers to these questions, by TCP, with the blanks of [`squeeze`].
    pub(crate) fn ask(
        &self,
        server: SocketAddr,
        questions: &[(String, RecordType)],
    ) -> Vec<String> {
        let mut lines = Vec::new();
        // An argument list has an end.
        for questions in questions.chunks(500) {
            let mut arguments = Vec::new();
            for (owner, rtype) in questions {
                let [name, kind] = self.keys.map(str::to_owned);
                arguments.extend([name, owner.clone(), kind, format!("TYPE{}", rtype.0)]);
            }
            lines.extend(self.run(server, &arguments));
        }
        lines
    }

    pub(crate) fn transfer(&self, server: SocketAddr, zone: &str) -> Vec<String> {
        self.run(server, &[zone.to_owned(), "AXFR".to_owned()])
    }

    fn run(&self, server: SocketAddr, arguments: &[String]) -> Vec<String> {
        self.output(server, &["+noall", "+answer", "+tcp"], arguments)
            .lines()
            .filter(|line| !line.starts_with(';') && !line.is_empty())
            .map(squeeze)
            .collect()
    }

    /// All that it prints.
    pub(crate) fn output(
        &self,
        server: SocketAddr,
        options: &[&str],
        arguments: &[String],
    ) -> String {
        let mut command = Command::new(&self.program);
        command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
        command.args(self.options).args(options).args(arguments);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Makes one blank of many, but not within quotation marks; none is left at the end.
fn squeeze(line: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for letter in line.chars() {
        let blank = !inside && !escaped && letter.is_ascii_whitespace();
        if letter == '"' && !escaped {
            inside = !inside;
        }
        escaped = letter == '\\' && !escaped;
        if !blank {
            out.push(letter);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    out
}

/// The words of a line; blanks within quotation marks divide none.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut inside, mut escaped) = (vec![String::new()], false, false);
    for letter in line.chars() {
        if letter == '"' && !escaped {
            inside = !inside;
        }
        escaped = letter == '\\' && !escaped;
        match words.last_mut() {
            Some(word) if letter != ' ' || inside => word.push(letter),
            _ => words.push(String::new()),
        }
    }
    words
}

fn change(line: &str, change: impl Fn(&str) -> String) -> String {
    let words = words(line);
    words.iter().map(|word| change(word)).collect::<Vec<_>>().join(" ")
}

/// kdig's line as we would write it: marks in names are escaped only where they mean something.
pub(crate) fn like_kdig(record: &RecordBuf, line: &str) -> String {
    change(line, |word| match word.strip_prefix("alpn=") {
        _ if word == "\\#" || word.starts_with('"') => word.to_owned(),
        Some(list) if is_service(record) => alpn(list),
        _ => plain_marks(word),
    })
}

fn plain_marks(word: &str) -> String {
    let (mut out, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (len, plain) = match escape.chars().nth(1).unwrap() {
            '0'..='9' => (4, escape.starts_with("\\035").then_some('#')),
            '"' | '(' | ')' | '.' | ';' | '\\' | '@' | '$' => (2, None),
            other => (2, Some(other)),
        };
        match plain {
            Some(plain) => out.push(plain),
            None => out.push_str(&escape[..len]),
        }
        rest = &escape[len..];
    }
    out + rest
}

fn is_service(record: &RecordBuf) -> bool {
    matches!(record.rtype, RecordType::SVCB | RecordType::HTTPS)
}

/// dig's line as we would write it.
pub(crate) fn like_dig(record: &RecordBuf, line: &str) -> String {
    let address = |text: &str| {
        let address: Option<Ipv6Addr> = text.parse().ok();
        address.map_or_else(|| text.to_owned(), |address| address.to_string())
    };
    match record.rtype {
        RecordType::AAAA => change(line, address),
        // Fractions that are zero are not shown.
        RecordType::LOC => change(line, |word| {
            let (number, unit) = match word.strip_suffix('m') {
                Some(number) => (number, "m"),
                None => (word, ""),
            };
            let whole = number.strip_suffix(".000").or(number.strip_suffix(".00"));
            format!("{}{unit}", whole.unwrap_or(number))
        }),
        // Hashes are shown in capitals.
        RecordType::NSEC3 => {
            let mut words = words(line);
            words[8].make_ascii_lowercase();
            words.join(" ")
        }
        _ if is_service(record) => change(line, |word| match word.split_once('=') {
            Some(("alpn", list)) => alpn(list),
            Some(("ipv6hint", list)) => {
                let all: Vec<_> = list.split(',').map(address).collect();
                format!("ipv6hint={}", all.join(","))
            }
            _ => word.to_owned(),
        }),
        _ => line.to_owned(),
    }
}

/// A list of protocols, of which kdig quotes those with a blank in them, and dig the list.
fn alpn(list: &str) -> String {
    let (mut out, mut escaped) = ("alpn=".to_owned(), false);
    for letter in list.chars() {
        match letter {
            '"' if !escaped => {}
            ' ' => out.push_str("\\032"),
            ';' | '(' | ')' => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
        escaped = letter == '\\' && !escaped;
    }
    out
}
