//! The clauses on what several servers say to the same question.

use super::super::{DnsExchange, Question};
use super::DnsExpect;
use super::answer::{serial, usable};
use super::record::set_of;
use crate::expect::Clause;
use crate::wire::dns::RecordType;

pub(super) fn evaluate(expect: &DnsExpect, exchanges: &[&DnsExchange], clauses: &mut Vec<Clause>) {
    let mut questions: Vec<&Question> = Vec::new();
    for question in exchanges.iter().filter_map(|exchange| exchange.question.as_ref()) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    let asked = |question: &Question| {
        let same = |exchange: &&&DnsExchange| exchange.question.as_ref() == Some(question);
        exchanges.iter().filter(same).copied().collect::<Vec<_>>()
    };
    let several = questions.len() > 1;
    let path = |question: &Question, key: &str| {
        if several { format!("questions[{question}].{key}") } else { key.to_owned() }
    };
    let mut push = |path: String, expected: &str, seen: Result<(String, bool), &'static str>| {
        clauses.push(match seen {
            Ok((actual, met)) => Clause::check(path, expected, actual, met),
            Err(reason) => Clause::not_evaluable(path, expected, reason),
        });
    };
    if expect.soa.serial_equal {
        let (key, expected) = ("soa.serial_equal", "the same serial number everywhere");
        let with_soa = |question: &&&Question| {
            let has_serial = |exchange: &DnsExchange| serial(exchange).is_some();
            question.rtype == RecordType::SOA || asked(question).into_iter().any(has_serial)
        };
        let about: Vec<&&Question> = questions.iter().filter(with_soa).collect();
        for question in &about {
            push(path(question, key), expected, serials(&asked(question), expect));
        }
        if about.is_empty() {
            push(key.to_owned(), expected, Err("no answer has a SOA record"));
        }
    }
    if expect.same_answers {
        for question in &questions {
            let seen = answers(&asked(question), expect);
            push(path(question, "same_answers"), "the same answer everywhere", seen);
        }
        if questions.is_empty() {
            push("same_answers".into(), "the same answer everywhere", Err("nothing was asked"));
        }
    }
}

const TOO_FEW: &str = "fewer than two servers have answered";

fn at(exchange: &DnsExchange) -> String {
    exchange.server.map_or_else(|| "?".to_owned(), |server| server.to_string())
}

fn serials(exchanges: &[&DnsExchange], expect: &DnsExpect) -> Result<(String, bool), &'static str> {
    if exchanges.len() < 2 {
        return Err(TOO_FEW);
    }
    let mut seen: Vec<(Option<u32>, String)> = Vec::new();
    for exchange in exchanges {
        usable(exchange, expect.on(exchange).partial)?;
        group(&mut seen, serial(exchange), at(exchange));
    }
    let text = |serial: &Option<u32>| serial.map_or_else(|| "none".into(), |s| s.to_string());
    let met = matches!(seen.as_slice(), [(Some(_), _)]);
    Ok((shown(&seen, met, text), met))
}

fn answers(exchanges: &[&DnsExchange], expect: &DnsExpect) -> Result<(String, bool), &'static str> {
    if exchanges.len() < 2 {
        return Err(TOO_FEW);
    }
    let mut seen = Vec::new();
    for exchange in exchanges {
        let header = usable(exchange, expect.on(exchange).partial)?;
        group(&mut seen, (header.rcode, set_of(&exchange.answer)), at(exchange));
    }
    let met = seen.len() == 1;
    Ok((shown(&seen, met, |(rcode, set)| format!("{rcode} with {} records", set.len())), met))
}

/// Puts together who says the same.
fn group<T: PartialEq>(seen: &mut Vec<(T, String)>, what: T, who: String) {
    match seen.iter_mut().find(|(known, _)| *known == what) {
        Some((_, by)) => {
            by.push_str(", ");
            by.push_str(&who);
        }
        None => seen.push((what, who)),
    }
}

fn shown<T>(seen: &[(T, String)], met: bool, text: impl Fn(&T) -> String) -> String {
    let all: Vec<String> = seen
        .iter()
        .map(|(what, who)| if met { text(what) } else { format!("{} ({who})", text(what)) })
        .collect();
    all.join("; ")
}
