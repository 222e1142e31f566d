//! `kdig` and `dig`, and how what they show differs from what we show.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use netsonde::wire::dns::{RecordBuf, RecordType};

pub(crate) struct Tool {
    program: PathBuf,
    options: &'static [&'static str],
}

impl Tool {
    pub(crate) fn kdig(program: PathBuf) -> Self {
        let options = &["+noidn", "+time=10", "+retry=0"];
        Tool { program, options }
    }

    pub(crate) fn dig(program: PathBuf) -> Self {
        let options = &["-r", "+noidnin", "+noidnout", "+nosplit", "+time=10", "+tries=1"];
        Tool { program, options }
    }

    /// The lines of the answers to these questions, by TCP, with the blanks of [`squeeze`].
    pub(crate) fn ask(
        &self,
        server: SocketAddr,
        questions: &[(String, RecordType)],
    ) -> Vec<String> {
        // A list of arguments has an end. One connection for all of them: closed ones keep their ports for a
        // minute, and thousands would leave none to others.
        questions.chunks(500).flat_map(|some| self.run(server, &arguments(some))).collect()
    }

    pub(crate) fn transfer(&self, server: SocketAddr, zone: &str) -> Vec<String> {
        self.run(server, &[zone.to_owned(), "AXFR".to_owned()])
    }

    fn run(&self, server: SocketAddr, arguments: &[String]) -> Vec<String> {
        self.output(server, &["+noall", "+answer", "+tcp", "+keepopen"], arguments)
            .lines()
            .filter(|line| !line.starts_with(';') && !line.is_empty())
            .map(squeeze)
            .map(|line| numbers(&line))
            .collect()
    }

    /// The names of the types in the questions that come back.
    pub(crate) fn names(
        &self,
        server: SocketAddr,
        questions: &[(String, RecordType)],
    ) -> Vec<String> {
        self.output(server, &["+noall", "+question", "+tcp", "+keepopen"], &arguments(questions))
            .lines()
            .filter_map(|line| line.split("IN\t").nth(1))
            .map(|rest| rest.trim().to_owned())
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

/// Questions as both tools take them; a type by its number is known to both.
fn arguments(questions: &[(String, RecordType)]) -> Vec<String> {
    let one = |(owner, rtype): &(String, RecordType)| {
        ["-q".to_owned(), owner.clone(), "-t".to_owned(), format!("TYPE{}", rtype.0)]
    };
    questions.iter().flat_map(one).collect()
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

/// dig has names for the numbers in a CERT record, which stand in every other record as numbers.
fn numbers(line: &str) -> String {
    const KINDS: [&str; 9] =
        ["", "PKIX", "SPKI", "PGP", "IPKIX", "ISPKI", "IPGP", "ACPKIX", "IACPKIX"];
    const PRIVATE_KINDS: [(&str, u16); 2] = [("URI", 253), ("OID", 254)];
    const ALGORITHMS: [(&str, u16); 16] = [
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("NSEC3DSA", 6),
        ("NSEC3RSASHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECCGOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    let mut words = words(line);
    if words.len() != 8 || words[3] != "CERT" {
        return line.to_owned();
    }
    let find = |all: &[(&str, u16)], word: &str| {
        all.iter().find(|(name, _)| *name == word).map(|(_, number)| number.to_string())
    };
    let kind = KINDS.iter().skip(1).position(|name| *name == words[4]);
    let kind = kind.map(|at| (at + 1).to_string()).or_else(|| find(&PRIVATE_KINDS, &words[4]));
    let algorithm = find(&ALGORITHMS, &words[6]);
    words[4] = kind.unwrap_or_else(|| words[4].clone());
    words[6] = algorithm.unwrap_or_else(|| words[6].clone());
    words.join(" ")
}

fn change(line: &str, change: impl Fn(&str) -> String) -> String {
    let words = words(line);
    words.iter().map(|word| change(word)).collect::<Vec<_>>().join(" ")
}

/// kdig's line as we would write it: marks in names are escaped only where they mean something.
pub(crate) fn like_kdig(record: &RecordBuf, line: &str) -> String {
    // Of equal runs of zeros in an address, it does not always take the first.
    let line = &addresses(record, line);
    // What it works out with fractions of two looks like a fraction now and then: 7.00m.
    if record.rtype == RecordType::LOC {
        return whole_numbers(line);
    }
    change(line, |word| match word.strip_prefix("alpn=") {
        _ if word == "\\#" || word.starts_with('"') => word.to_owned(),
        Some(list) if is_service(record) => alpn(list),
        // It has no name for some types that we have one for.
        _ if word.starts_with("TYPE") => {
            word.parse().map_or(word.to_owned(), |rtype: RecordType| rtype.to_string())
        }
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

/// Each IPv6 address in the text that RFC 5952 has for it, but for those that embed an IPv4 address: of them,
/// only the mapped ones show it.
fn addresses(record: &RecordBuf, line: &str) -> String {
    let address = |text: &str| {
        let address: Option<Ipv6Addr> = text.parse().ok();
        address.map_or_else(|| text.to_owned(), |address| address.to_string())
    };
    change(line, |word| match (record.rtype, word.split_once('='), word.split_once(':')) {
        (RecordType::AAAA | RecordType::IPSECKEY, ..) => address(word),
        (RecordType::APL, _, Some((family @ ("2" | "!2"), rest))) => {
            let (prefix, length) = rest.split_once('/').unwrap();
            format!("{family}:{}/{length}", address(prefix))
        }
        (_, Some(("ipv6hint", list)), _) if is_service(record) => {
            let all: Vec<_> = list.split(',').map(address).collect();
            format!("ipv6hint={}", all.join(","))
        }
        _ => word.to_owned(),
    })
}

/// A location without fractions that are zero.
fn whole_numbers(line: &str) -> String {
    change(line, |word| {
        let (number, unit) = match word.strip_suffix('m') {
            Some(number) => (number, "m"),
            None => (word, ""),
        };
        let whole = number.strip_suffix(".000").or(number.strip_suffix(".00"));
        format!("{}{unit}", whole.unwrap_or(number))
    })
}

/// dig's line as we would write it.
pub(crate) fn like_dig(record: &RecordBuf, line: &str) -> String {
    let line = &addresses(record, line);
    match record.rtype {
        RecordType::LOC => whole_numbers(line),
        RecordType::EUI48 | RecordType::EUI64 => change(line, |word| match word.split_once('-') {
            Some(_) => word.to_ascii_uppercase(),
            None => word.to_owned(),
        }),
        RecordType::NID | RecordType::L64 => change(line, |word| match word.split_once(':') {
            Some(_) => {
                let groups = word.split(':').map(|group| format!("{:0>4}", group.to_uppercase()));
                groups.collect::<Vec<_>>().join(":")
            }
            None => word.to_owned(),
        }),
        // Hashes are shown in capitals.
        RecordType::NSEC3 => {
            let mut words = words(line);
            words[8].make_ascii_lowercase();
            words.join(" ")
        }
        _ if is_service(record) => change(line, |word| match word.split_once('=') {
            Some(("alpn", list)) => alpn(list),
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
