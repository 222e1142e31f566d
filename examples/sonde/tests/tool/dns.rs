//! `sonde dns` against a name server of a few lines.

#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::{SocketAddr, UdpSocket};

use netsonde::wire::dns::{Composer, Flags, Message, Rcode, RecordBuf, Section};
use netsonde::{Report, Verdict};

use crate::{json, sonde};

/// Answers every question from these records, with their names; `NXDOMAIN` where there is none. It ends
/// with the tests.
fn server(records: &'static [&'static str]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            let message = Message::parse(&query[..len]).unwrap();
            let question = message.questions().next().unwrap();
            let records = records.iter().map(|text| text.parse::<RecordBuf>().unwrap());
            let found: Vec<RecordBuf> =
                records.filter(|record| record.owner.as_ref() == question.name).collect();
            let rcode = if found.is_empty() { Rcode::NXDOMAIN } else { Rcode::NOERROR };
            let desired =
                Flags::default().with_recursion_desired(message.header().flags.recursion_desired());
            let flags = Flags(0x8400 | desired.0 | rcode.0);
            let mut out = Vec::new();
            let mut composer = Composer::new(&mut out, message.header().id, flags);
            composer.question(question.name, question.rtype, question.class).unwrap();
            for record in found.iter().filter(|record| record.rtype == question.rtype) {
                record.compose(&mut composer, Section::Answer).unwrap();
            }
            composer.finish();
            socket.send_to(&out, from).unwrap();
        }
    });
    address
}

const ZONE: &[&str] = &[
    "www.example. 300 IN A 192.0.2.1",
    "www.example. 300 IN TXT \"a b\" \"c\"",
    "1.2.0.192.in-addr.arpa. 60 IN PTR www.example.",
];

#[test]
fn records_are_listed_as_text_and_as_fields() {
    let at = format!("@{}", server(ZONE));
    let run = sonde(&["dns", "www.example", "TXT", &at]).ended(0);
    for part in ["NOERROR", "www.example. 300 IN TXT \"a b\" \"c\""] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    let (run, result) = json(&["dns", &at, "www.example"]);
    let run = run.ended(0);
    let Report::Dns(report) = &result.report else { panic!("{result}") };
    assert_eq!(report.exchange.answer[0].data, "192.0.2.1");
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let record = &json["report"]["answer"][0];
    for (key, value) in [
        ("owner", "www.example."),
        ("class", "IN"),
        ("type", "A"),
        ("data", "192.0.2.1"),
        ("presentation", "www.example. 300 IN A 192.0.2.1"),
    ] {
        assert_eq!(record[key], value, "{key}: {record}");
    }
    assert_eq!(record["ttl"], 300);
    assert!(json["report"]["authority"].as_array().unwrap().is_empty());
}

#[test]
fn codes_are_expected_and_addresses_have_names() {
    let at = format!("@{}", server(ZONE));
    let (run, result) = json(&["dns", "nowhere.example", &at]);
    run.ended(1);
    assert_eq!(result.verdict.code(), Some("expectation_failed"), "{result}");
    let (run, result) =
        json(&["dns", "nowhere.example", &at, "--expect-rcode", "noerror,nxdomain"]);
    run.ended(0);
    assert_eq!(result.verdict, Verdict::Pass);
    sonde(&["dns", "nowhere.example", &at, "--expect-rcode", "any"]).ended(0);
    let run = sonde(&["dns", "-x", "192.0.2.1", &at]).ended(0);
    assert!(run.out.contains("PTR www.example."), "{}", run.out);
}

#[test]
fn every_server_is_asked_and_one_that_is_not_there_is_told() {
    let (one, other) = (server(ZONE), server(ZONE));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = |address: SocketAddr| format!("@{address}");
    let run = sonde(&["dns", "www.example", &at(one), &at(other), "--format", "jsonl"]).ended(0);
    assert_eq!(run.out.lines().count(), 2);
    let run = sonde(&["dns", "www.example", &at(one), &at(closed)]).ended(1);
    assert!(run.out.contains("refused"), "{}", run.out);
}

#[test]
fn options_reach_the_query() {
    let at = format!("@{}", server(ZONE));
    let options = ["--no-recurse", "--mixed-case", "--dnssec", "--nsid", "--padding", "128"];
    let (run, result) = json(&[&["dns", "www.example", &at], options.as_slice()].concat());
    run.ended(0);
    let Report::Dns(report) = &result.report else { panic!("{result}") };
    let exchange = &report.exchange;
    assert!(!exchange.header.as_ref().unwrap().recursion_desired);
    assert_eq!(exchange.attempts[0].sent_bytes, 128);
    let (run, result) = json(&["dns", "www.example", &at, "--no-edns"]);
    run.ended(0);
    let Report::Dns(report) = &result.report else { panic!("{result}") };
    assert!(!report.exchange.attempts[0].edns);
}

#[test]
fn what_cannot_be_asked_is_a_wrong_usage() {
    for args in [
        &["dns", "a..example", "@127.0.0.1"][..],
        &["dns", "a.example", "FROG", "@127.0.0.1"],
        &["dns", "a.example", "@"],
        &["dns", "a.example", "@127.0.0.1", "--no-edns", "--nsid"],
        &["dns", "a.example", "@127.0.0.1", "--insecure"],
        &["dns", "@127.0.0.1"],
    ] {
        let run = sonde(args);
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        assert!(run.out.is_empty() && !run.err.is_empty(), "{run:?}");
    }
}
