#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::{Duration, SystemTime};

use super::*;
use crate::dns::{
    DnsAlias, DnsAttempt, DnsChain, DnsConfig, DnsFate, DnsHeader, DnsRecord, EdnsOptionReport,
    EdnsReport,
};
use crate::expect::{ClauseStatus, judge};
use crate::probe::ProbeResult;
use crate::target::Target;
use crate::timing::{NetworkTime, Phase, PhaseClock, StampSource};
use crate::verdict::Failure;
use crate::verdict::Verdict;
use crate::wire::dns::{Opcode, RecordBuf, RecordType};

/// Started at 2026-11-23 00:00 UTC.
const START: u64 = 1_795_392_000;

fn records(texts: &[&str]) -> Vec<DnsRecord> {
    let record = |text: &&str| DnsRecord::of(text.parse::<RecordBuf>().unwrap());
    texts.iter().map(record).collect()
}

fn header(rcode: Rcode) -> DnsHeader {
    DnsHeader {
        id: 7,
        opcode: Opcode::QUERY,
        rcode,
        authoritative: true,
        truncated: false,
        recursion_desired: true,
        recursion_available: false,
        authentic_data: false,
        checking_disabled: false,
        questions: 1,
        answers: 0,
        authorities: 0,
        additionals: 0,
    }
}

fn attempt(transport: DnsTransport, fate: DnsFate) -> DnsAttempt {
    let time = Duration::from_millis(12);
    DnsAttempt {
        transport,
        server: "192.0.2.53:53".parse().unwrap(),
        port: Some(40_000),
        id: 7,
        name: "www.example".parse().unwrap(),
        edns: true,
        start_ns: 0,
        sent_ns: Some(1),
        end_ns: Some(12_000_000),
        network: Some(NetworkTime::new(time, Duration::ZERO, StampSource::Kernel)),
        sent_bytes: 40,
        fate,
        verdict: None,
        mismatches: Default::default(),
        other_source: None,
        duplicates: 0,
        conflicts: 0,
        errors: 0,
    }
}

fn exchange(question: &str, answer: &[&str]) -> DnsExchange {
    DnsExchange {
        question: Some(question.parse().unwrap()),
        server: Some("192.0.2.53:53".parse().unwrap()),
        outcome: Some(Verdict::Pass),
        attempts: vec![attempt(DnsTransport::Udp, DnsFate::Answered)],
        header: Some(header(Rcode::NOERROR)),
        answer: records(answer),
        size: Some(120),
        ..DnsExchange::default()
    }
    .chained()
}

impl DnsExchange {
    fn chained(mut self) -> Self {
        self.chain = DnsChain::of(&self);
        self
    }
}

fn result(exchanges: Vec<DnsExchange>) -> ProbeResult<DnsReport> {
    let mut exchanges = exchanges.into_iter();
    let exchange = exchanges.next().unwrap();
    let outcome = exchange.outcome.clone().unwrap();
    let report = DnsReport { exchange, others: exchanges.collect(), ..DnsReport::default() };
    let now = std::time::Instant::now();
    let timing = PhaseClock::start(now, Phase::Rtt).finish(now + Duration::from_millis(20));
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(START);
    let target: Target = "192.0.2.53".parse().unwrap();
    let result = ProbeResult::new(target, start, outcome, timing, report);
    // What is judged is what was stored.
    let json = serde_json::to_string(&result).unwrap();
    let stored: ProbeResult<DnsReport> = serde_json::from_str(&json).unwrap();
    assert_eq!(stored, result);
    stored
}

fn expect(yaml: &str) -> DnsExpect {
    let expect: DnsExpect = serde_saphyr::from_str(yaml).unwrap();
    let json = serde_json::to_string(&expect).unwrap();
    assert_eq!(serde_json::from_str::<DnsExpect>(&json).unwrap(), expect);
    expect
}

/// The clauses but for that on the response code.
fn clauses(yaml: &str, result: &ProbeResult<DnsReport>) -> Vec<Clause> {
    let clauses = judge(result, &expect(yaml)).clauses;
    clauses.into_iter().filter(|clause| !clause.path.ends_with("rcodes")).collect()
}

fn status(yaml: &str, exchange: &DnsExchange) -> ClauseStatus {
    let clauses = clauses(yaml, &result(vec![exchange.clone()]));
    assert_eq!(clauses.len(), 1, "{yaml}: {clauses:?}");
    clauses[0].status
}

fn code(yaml: &str, exchange: &DnsExchange) -> Option<&'static str> {
    judge(&result(vec![exchange.clone()]), &expect(yaml)).verdict.code()
}

use ClauseStatus::{Fail, NotEvaluable, Pass};

const WWW: &[&str] = &["www.example. 60 IN A 192.0.2.1", "www.example. 90 IN A 192.0.2.2"];

#[test]
fn d33_d34_d36_d37_d38_d40_d41_d106_other_codes_fail_unless_they_are_fine() {
    for number in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 23, 4095] {
        let mut other = exchange("www.example", &[]);
        other.header = Some(header(Rcode(number)));
        assert_eq!(code("{}", &other), Some("expectation_failed"), "{number}");
        assert_eq!(code(&format!("rcodes: [RCODE{number}]"), &other), None, "{number}");
        assert_eq!(code("rcodes: []", &other), None);
        let judged = judge(&result(vec![other]), &expect("{}"));
        let text = Rcode(number).to_string();
        assert_eq!(judged.clauses[0].actual.as_deref(), Some(text.as_str()));
    }
    assert_eq!(
        code("rcodes: [NXDOMAIN]", &exchange("www.example", WWW)),
        Some("expectation_failed")
    );
    let silent = DnsExchange { header: None, chain: None, ..exchange("www.example", &[]) };
    assert_eq!(code("{}", &silent), Some("not_evaluable"));
}

#[test]
fn d32_no_records_are_fine_unless_some_are_wanted() {
    let empty = exchange("www.example", &[]);
    assert!(empty.chain.as_ref().unwrap().no_data && empty.is_no_data());
    assert_eq!(code("{}", &empty), None);
    assert_eq!(status("min_answers: 1", &empty), Fail);
    assert_eq!(status("min_answers: 0", &empty), Pass);
    assert_eq!(status("min_answers: 2", &exchange("www.example", WWW)), Pass);
    // An alias alone does not answer.
    let alias = exchange("www.example", &["www.example. 60 IN CNAME web.example."]);
    assert!(alias.chain.as_ref().unwrap().no_data);
    assert_eq!(status("min_answers: 1", &alias), Fail);
}

#[test]
fn flags_are_wanted_set_or_clear() {
    let www = exchange("www.example", WWW);
    for (yaml, wanted) in [
        ("flags: {authoritative: true}", Pass),
        ("flags: {aa: false}", Fail),
        ("flags: {tc: false}", Pass),
        ("flags: {rd: true}", Pass),
        ("flags: {ra: true}", Fail),
        ("flags: {authentic_data: true}", Fail),
        ("flags: {cd: false}", Pass),
    ] {
        assert_eq!(status(yaml, &www), wanted, "{yaml}");
    }
    let silent = DnsExchange { header: None, chain: None, ..www };
    assert_eq!(status("flags: {aa: true}", &silent), NotEvaluable);
}

#[cfg(feature = "script")]
#[test]
fn d122_the_four_kinds_of_pattern_are_those_of_blackbox_exporter() {
    let www = exchange("www.example", WWW);
    let empty = exchange("www.example", &[]);
    for (key, pattern, with, without) in [
        ("fail_if_matches_regexp", r"'192\.0\.2\.2$'", Fail, Pass),
        ("fail_if_matches_regexp", r"'192\.0\.2\.3$'", Pass, Pass),
        // Turned round: it fails if not all match.
        ("fail_if_all_match_regexp", r"'192\.0\.2\.2$'", Fail, Pass),
        ("fail_if_all_match_regexp", r"'192\.0\.2\.'", Pass, Pass),
        ("fail_if_all_match_regexp", r"'192\.0\.2\.', IN, '60'", Fail, Pass),
        ("fail_if_not_matches_regexp", r"'^www\.example\. \d+ IN A '", Pass, Fail),
        ("fail_if_not_matches_regexp", r"'192\.0\.2\.2$'", Fail, Fail),
        ("fail_if_not_matches_regexp", r"'^www', '\s60\s'", Fail, Fail),
        ("fail_if_none_matches_regexp", r"'192\.0\.2\.2$'", Pass, Fail),
        ("fail_if_none_matches_regexp", r"'^never$', 'IN AAAA'", Fail, Fail),
    ] {
        let yaml = format!("answer: {{{key}: [{pattern}]}}");
        assert_eq!((status(&yaml, &www), status(&yaml, &empty)), (with, without), "{yaml}");
        let silent = DnsExchange { header: None, ..www.clone() };
        assert_eq!(status(&yaml, &silent), NotEvaluable);
    }
    let mut authority = www.clone();
    authority.authority = records(&["example. 60 IN NS ns1.isp.net."]);
    authority.additional = records(&["ns1.isp.net. 60 IN AAAA ::1"]);
    assert_eq!(status(r"authority: {fail_if_not_matches_regexp: ['ns.*\.isp']}", &authority), Pass);
    assert_eq!(status(r"additional: {fail_if_matches_regexp: ['^ns.*\.isp']}", &authority), Fail);
    assert_eq!(
        code("answer: {fail_if_none_matches_regexp: [never]}", &www),
        Some("expectation_failed")
    );
}

#[test]
fn d124_patterns_that_are_too_large_are_errors_of_the_configuration() {
    let key = |pattern: &str| {
        let mut config = DnsConfig::ask("www.example".parse().unwrap());
        config.expect.answer.fail_if_matches_regexp = vec![Pattern::new("a"), pattern.into()];
        config.check().unwrap_err().to_string()
    };
    if cfg!(feature = "script") {
        for pattern in [&*"a".repeat(100 * 1024), "((((a{1,99}){1,99}){1,99}){1,99}){1,99}", "("] {
            let text = key(pattern);
            assert!(text.starts_with("expect.answer.fail_if_matches_regexp[1]: "), "{text}");
        }
        let nested = "(".repeat(5000) + &")".repeat(5000);
        assert!(Pattern::new(nested).check("x").is_err());
        assert!(Pattern::new("a".repeat(Pattern::TEXT_BYTES)).check("x").is_ok());
        // One that nobody has checked makes nothing pass.
        let unchecked = "answer: {fail_if_matches_regexp: ['(']}";
        assert_eq!(status(unchecked, &exchange("www.example", WWW)), NotEvaluable);
    } else {
        assert!(key("a").contains("script"));
    }
}

#[test]
fn records_are_present_or_absent_in_whatever_case() {
    let mx = exchange(
        "example MX",
        &["example. 60 IN MX 10 Mail.Example.", "example. 60 IN MX 20 mx2.example."],
    );
    for (record, wanted) in [
        ("{type: MX, data: 10 mail.EXAMPLE.}", true),
        ("{owner: EXAMPLE, type: MX}", true),
        ("EXAMPLE. 999 IN MX 20 MX2.example.", true),
        ("{type: MX, data: 11 mail.example.}", false),
        ("{owner: other.example}", false),
        ("{class: CH, type: MX}", false),
        ("{type: A}", false),
    ] {
        let (present, absent) = if wanted { (Pass, Fail) } else { (Fail, Pass) };
        assert_eq!(status(&format!("answer: {{present: [{record}]}}"), &mx), present, "{record}");
        assert_eq!(status(&format!("answer: {{absent: [{record}]}}"), &mx), absent, "{record}");
    }
}

#[test]
fn d94_records_of_another_class_do_not_count_as_in() {
    let odd = exchange("www.example TXT", &["www.example. 60 CH TXT \"a\""]);
    assert_eq!(odd.chain.as_ref().unwrap().other_class, 1);
    assert_eq!(status("min_answers: 1", &odd), Fail);
    assert_eq!(status("answer: {present: [{type: TXT, data: a}]}", &odd), Fail);
    assert_eq!(status("answer: {present: [{class: CH, type: TXT, data: a}]}", &odd), Pass);
    let version = exchange("version.bind CH TXT", &["version.bind. 0 CH TXT \"9\""]);
    assert_eq!(status("min_answers: 1", &version), Pass);
}

#[test]
fn the_exact_set_has_neither_order_nor_duplicates_nor_signatures() {
    let rrsig = "www.example. 60 IN RRSIG A 13 2 60 20261201000000 20261101000000 1 example. AAAA";
    let mut www = exchange("www.example", &[WWW[1], WWW[0], WWW[0], rrsig]);
    let two = "{type: A, data: 192.0.2.2}, WWW.example. 1 IN A 192.0.2.1";
    assert_eq!(status(&format!("answer: {{exact: [{two}]}}"), &www), Pass);
    assert_eq!(
        status(&format!("answer: {{exact: [{two}, {{type: A, data: 192.0.2.3}}]}}"), &www),
        Fail
    );
    assert_eq!(status("answer: {exact: [{type: A, data: 192.0.2.2}]}", &www), Fail);
    assert_eq!(status("answer: {exact: []}", &www), Fail);
    assert_eq!(status(&format!("answer: {{exact: [{two}, '{rrsig}']}}"), &www), Pass);
    let wrong = rrsig.replace("AAAA", "BBBB");
    assert_eq!(status(&format!("answer: {{exact: [{two}, '{wrong}']}}"), &www), Fail);
    www.answer.clear();
    assert_eq!(status("answer: {exact: []}", &www), Pass);
}

#[test]
fn counts_times_to_live_and_sizes_have_bounds() {
    let www = exchange("www.example", WWW);
    for (yaml, wanted) in [
        ("answer: {count: {min: 2, max: 2}}", Pass),
        ("answer: {count: {min: 3}}", Fail),
        ("additional: {count: {max: 0}}", Pass),
        ("answer: {ttl: {min: 60, max: 90}}", Pass),
        ("answer: {ttl: {min: 61}}", Fail),
        ("answer: {ttl: {max: 89}}", Fail),
        ("authority: {ttl: {max: 89}}", NotEvaluable),
        ("max_size: 120", Pass),
        ("max_size: 119", Fail),
        ("max_network: 12ms", Pass),
        ("max_network: 11ms", Fail),
        ("max_attempts: 1", Pass),
        ("max_attempts: 0", Fail),
        ("transports: [udp]", Pass),
        ("transports: [tcp, tls]", Fail),
        ("no_conflict: true", Pass),
    ] {
        assert_eq!(status(yaml, &www), wanted, "{yaml}");
    }
    let mut other = www.clone();
    other.attempts.insert(0, attempt(DnsTransport::Udp, DnsFate::Truncated));
    other.attempts[1].transport = DnsTransport::Tcp;
    other.attempts[1].network = None;
    other.conflict = vec![0; 12];
    assert_eq!(status("transports: [udp]", &other), Fail);
    assert_eq!(status("max_attempts: 1", &other), Fail);
    assert_eq!(status("max_network: 1s", &other), NotEvaluable);
    assert_eq!(status("no_conflict: true", &other), Fail);
    let silent = DnsExchange { header: None, attempts: Vec::new(), size: None, ..www };
    for yaml in ["max_size: 9", "max_attempts: 1", "transports: [udp]", "no_conflict: true"] {
        assert_eq!(status(yaml, &silent), NotEvaluable, "{yaml}");
    }
}

fn zone(serial: u32, server: &str) -> DnsExchange {
    let soa = format!("example. 60 IN SOA ns.example. root.example. {serial} 1 2 3 4");
    let server = Some(server.parse().unwrap());
    DnsExchange { server, ..exchange("example SOA", &[soa.as_str()]) }
}

#[test]
fn serials_are_exact_at_least_or_equal_everywhere() {
    let one = zone(u32::MAX, "192.0.2.1:53");
    assert_eq!(status("soa: {serial: 4294967295}", &one), Pass);
    assert_eq!(status("soa: {serial: 0}", &one), Fail);
    assert_eq!(status("soa: {min_serial: 4294967290}", &one), Pass);
    assert_eq!(status("soa: {min_serial: 3}", &one), Fail);
    assert_eq!(status("soa: {min_serial: 4294967290}", &zone(3, "192.0.2.1:53")), Pass);
    assert_eq!(status("soa: {serial: 1}", &exchange("www.example", WWW)), NotEvaluable);
    assert_eq!(status("soa: {serial_equal: true}", &one), NotEvaluable);
    let yaml = "soa: {serial_equal: true}";
    let same = result(vec![one.clone(), zone(u32::MAX, "192.0.2.2:53")]);
    assert_eq!(clauses(yaml, &same)[0].status, Pass);
    let other = clauses(yaml, &result(vec![one.clone(), zone(5, "192.0.2.2:53")]));
    assert_eq!(other[0].status, Fail);
    let seen = other[0].actual.as_deref().unwrap();
    assert_eq!(seen, "4294967295 (192.0.2.1:53); 5 (192.0.2.2:53)");
    let without = result(vec![one, exchange("example SOA", &[])]);
    assert_eq!(clauses(yaml, &without)[0].status, Fail);
}

#[test]
fn signatures_last_in_serial_arithmetic() {
    let signed = |end: &str| {
        let rrsig =
            format!("www.example. 60 IN RRSIG A 13 2 60 {end} 20261101000000 1 example. AAAA");
        exchange("www.example", &[WWW[0], rrsig.as_str()])
    };
    assert_eq!(status("min_rrsig_left: 48h", &signed("20261125000000")), Pass);
    assert_eq!(status("min_rrsig_left: 48h", &signed("20261124235959")), Fail);
    assert_eq!(status("min_rrsig_left: 0s", &signed("20261122235959")), Fail);
    assert_eq!(status("min_rrsig_left: 48h", &exchange("www.example", WWW)), NotEvaluable);
    // The earliest counts, also that of a proof in the authority section.
    let mut denied = signed("20270101000000");
    denied.authority = signed("20261124000000").answer;
    assert_eq!(status("min_rrsig_left: 48h", &denied), Fail);
}

#[test]
fn edns_tells_errors_and_who_the_server_is() {
    let mut www = exchange("www.example", WWW);
    assert_eq!(status("extended_errors: {none: true}", &www), Pass);
    assert_eq!(status("extended_errors: {any_of: [EDE6]}", &www), Fail);
    assert_eq!(status("nsid: {is: fra1}", &www), NotEvaluable);
    let code = ExtendedErrorCode(6);
    let text = "fra1".to_owned();
    let options = vec![
        EdnsOptionReport::Nsid { data: b"fra1".to_vec(), text },
        EdnsOptionReport::ExtendedError { code, number: 6, text: String::new() },
    ];
    www.edns = Some(EdnsReport { udp_payload: 1232, version: 0, dnssec_ok: true, options });
    for (yaml, wanted) in [
        ("extended_errors: {none: true}", Fail),
        ("extended_errors: {any_of: [EDE6, EDE7]}", Pass),
        ("extended_errors: {any_of: [EDE7]}", Fail),
        ("extended_errors: {none_of: [EDE7]}", Pass),
        ("extended_errors: {none_of: [DNSSEC Bogus]}", Fail),
        ("nsid: {is: fra1}", Pass),
        ("nsid: {is: FRA1}", Fail),
    ] {
        assert_eq!(status(yaml, &www), wanted, "{yaml}");
    }
    if cfg!(feature = "script") {
        assert_eq!(status(r"nsid: {matches: '^fra\d$'}", &www), Pass);
        assert_eq!(status("nsid: {matches: ams}", &www), Fail);
    }
}

#[test]
fn d46_records_of_an_answer_that_was_cut_short_are_not_judged_unless_asked() {
    let mut cut = exchange("www.example", WWW);
    cut.header.as_mut().unwrap().truncated = true;
    cut.outcome = Some(Failure::new(FailureKind::DnsTruncated).into());
    let wanted = "answer: {count: {min: 2}}";
    assert_eq!(status(wanted, &cut), NotEvaluable);
    assert_eq!(status(&format!("{wanted}\npartial: true"), &cut), Pass);
    assert_eq!(status("flags: {truncated: true}", &cut), Pass);
    assert_eq!(code(wanted, &cut), Some("dns_truncated"));
    assert_eq!(code(&format!("{wanted}\ncommon: {{failure: dns_truncated}}"), &cut), None);
}

#[test]
fn d114_a_ring_of_aliases_ends_and_is_told() {
    let ring = exchange(
        "a.example",
        &["a.example. 1 IN CNAME b.example.", "b.example. 1 IN CNAME A.example."],
    );
    let chain = ring.chain.as_ref().unwrap();
    assert!(chain.ring && chain.answers == 0 && chain.aliases.len() == 2);
    assert_eq!(status("cname_target: a.example", &ring), Fail);
    let own = exchange("a.example", &["a.example. 1 IN CNAME a.example."]);
    assert!(own.chain.unwrap().ring);
    let long: Vec<String> =
        (0..100).map(|n| format!("n{n}.example. 1 IN CNAME n{}.example.", n + 1)).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let chain = exchange("n0.example", &long).chain.unwrap();
    assert!(chain.too_long && !chain.ring);
    assert_eq!(chain.aliases.len(), DnsChain::MAX_ALIASES);
}

#[test]
fn aliases_are_followed_to_the_end() {
    let web = exchange(
        "www.example",
        &["www.example. 1 IN CNAME WEB.example.", "web.example. 1 IN A 192.0.2.1"],
    );
    for (yaml, wanted) in [
        ("cname_target: Web.Example", Pass),
        ("cname_target: www.example", Fail),
        ("min_answers: 1", Pass),
    ] {
        assert_eq!(status(yaml, &web), wanted, "{yaml}");
    }
    // A question for the alias itself is not about its target.
    let asked = exchange("www.example CNAME", &["www.example. 1 IN CNAME web.example."]);
    assert_eq!((asked.chain.unwrap().answers, asked.answer.len()), (1, 1));
    let moved = exchange(
        "a.b.old.example",
        &["old.example. 1 IN DNAME new.example.", "a.b.new.example. 1 IN A 192.0.2.1"],
    );
    let chain = moved.chain.unwrap();
    let alias = DnsAlias {
        name: "a.b.old.example".parse().unwrap(),
        rtype: RecordType::DNAME,
        target: "a.b.new.example".parse().unwrap(),
    };
    assert_eq!((chain.aliases, chain.answers, chain.unrelated), (vec![alias], 1, 0));
    let endless = exchange("x.d.example", &["d.example. 1 IN DNAME x.d.example."]);
    assert!(endless.chain.unwrap().too_long);
}

#[test]
fn d116_what_a_server_says_of_other_zones_is_no_answer() {
    let out = exchange(
        "www.example",
        &["www.example. 1 IN CNAME www.other.", "www.other. 1 IN A 192.0.2.66"],
    );
    // Nothing says that it is out of its zone, and a resolver may well ask others.
    assert_eq!(out.chain.as_ref().unwrap().answers, 1);
    let mut out = out;
    out.authority = records(&["example. 1 IN NS ns.example."]);
    let chain = DnsChain::of(&out).unwrap();
    assert_eq!((chain.answers, chain.out_of_zone), (0, 1));
    assert_eq!(status("min_answers: 1", &out.clone().chained()), Fail);
    out.header.as_mut().unwrap().recursion_available = true;
    assert_eq!(DnsChain::of(&out).unwrap().answers, 1);
    let mut glue = exchange("www.example", &["www.example. 1 IN CNAME www.other."]);
    glue.additional = records(&["www.other. 1 IN A 192.0.2.66"]);
    assert_eq!(status("min_answers: 1", &glue.chained()), Fail);
}

#[test]
fn d100_d117_odd_records_are_kept_and_told() {
    let odd = exchange(
        "www.example",
        &[
            "www.example. 1 IN A 0.0.0.0",
            "www.example. 1 IN A 127.0.0.1",
            "www.example. 1 IN A 169.254.1.1",
            "www.example. 1 IN A 192.0.2.1",
            "bank.example. 1 IN A 192.0.2.66",
        ],
    );
    let chain = odd.chain.as_ref().unwrap();
    assert_eq!((chain.answers, chain.unrelated, chain.special_addresses), (4, 1, 3));
    assert_eq!(status("answer: {count: {min: 5}}", &odd), Pass);
    assert_eq!(status("answer: {present: [{owner: bank.example}]}", &odd), Pass);
    let text = result(vec![odd]).to_string();
    assert!(text.contains("1 in the answer section about names that nobody asked for"), "{text}");
    assert!(text.contains("3 in the answer section with an address of no use from afar"), "{text}");
}

#[test]
fn exchanges_are_told_apart_in_the_paths() {
    let gone =
        DnsExchange { header: Some(header(Rcode::NXDOMAIN)), ..exchange("gone.example", &[]) };
    let both = result(vec![exchange("www.example", WWW), gone]);
    let judged = judge(&both, &expect("{}"));
    let paths: Vec<_> = judged.clauses.iter().map(|clause| clause.path.as_str()).collect();
    assert_eq!(
        paths,
        ["questions[www.example. IN A].rcodes", "questions[gone.example. IN A].rcodes"]
    );
    assert_eq!(judged.verdict.code(), Some("expectation_failed"));
    let own = "questions: [{question: {name: gone.example}, expect: {rcodes: [NXDOMAIN]}}]";
    assert_eq!(judge(&both, &expect(own)).verdict, Verdict::Pass);
    let servers = vec![zone(1, "192.0.2.1:53"), zone(1, "[2001:db8::1]:53")];
    let judged = judge(&result(servers), &expect("{}"));
    assert_eq!(judged.clauses[1].path, "servers[[2001:db8::1]:53].rcodes");
}

#[test]
fn servers_give_the_same_answers() {
    let at = |server: &str, answer: &[&str]| {
        let server = Some(server.parse().unwrap());
        DnsExchange { server, ..exchange("www.example", answer) }
    };
    let first = at("192.0.2.1:53", WWW);
    let turned = at("192.0.2.2:53", &["WWW.example. 5 IN A 192.0.2.2", WWW[0]]);
    let less = at("192.0.2.3:53", &WWW[..1]);
    let yaml = "same_answers: true";
    let clause = |exchanges| clauses(yaml, &result(exchanges)).pop().unwrap();
    assert_eq!(clause(vec![first.clone(), turned]).status, Pass);
    let differs = clause(vec![first.clone(), less]);
    assert_eq!(differs.status, Fail);
    assert!(differs.actual.unwrap().contains("NOERROR with 1 records (192.0.2.3:53)"));
    assert_eq!(clause(vec![first.clone()]).status, NotEvaluable);
    // A server that was passed over is no part of it.
    let dead = DnsExchange {
        header: None,
        outcome: Some(Failure::new(FailureKind::Timeout).into()),
        ..at("192.0.2.9:53", &[])
    };
    assert_eq!(judge(&result(vec![first, dead]), &expect("{}")).verdict, Verdict::Pass);
}

#[test]
fn tls_and_the_whole_probe_are_judged_too() {
    let www = exchange("www.example", WWW);
    assert_eq!(status("tls: {min_days_left: 14}", &www), NotEvaluable);
    assert_eq!(status("common: {max_total: 20ms}", &www), Pass);
    assert_eq!(status("common: {max_total: 19ms}", &www), Fail);
}

#[test]
fn what_can_never_work_is_an_error_that_names_its_key() {
    for (yaml, key) in [
        ("answer: {count: {min: 2, max: 1}}", "answer.count"),
        ("authority: {ttl: {min: 2, max: 1}}", "authority.ttl"),
        ("answer: {present: [{data: 192.0.2.1}]}", "answer.present[0]"),
        ("answer: {absent: [{class: IN}]}", "answer.absent[0]"),
        ("answer: {exact: [{type: A}]}", "answer.exact[0]"),
        ("answer: {exact: [{type: A, data: x}]}", "answer.exact[0].data"),
        (
            "questions: [{question: {name: a}, expect: {same_answers: true}}]",
            "questions[0].expect.same_answers",
        ),
        (
            "questions: [{question: {name: a}, expect: {}}, {question: {name: A}, expect: {}}]",
            "questions[1]",
        ),
        (
            "questions: [{question: {name: a}, expect: {answer: {count: {min: 1, max: 0}}}}]",
            "questions[0].expect.answer.count",
        ),
    ] {
        let error = expect(yaml).check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}: ")), "{error}");
    }
    for unknown in [
        "rcode: NOERROR",
        "answer: {fail_if_matches: [a]}",
        "answer: {present: [{name: a}]}",
        "answer: {present: ['no record']}",
        "flags: {qr: true}",
        "nsid: {like: x}",
        "soa: {serials: 1}",
    ] {
        assert!(serde_saphyr::from_str::<DnsExpect>(unknown).is_err(), "{unknown}");
    }
}

#[test]
fn d150_control_characters_are_escaped_in_the_text() {
    let mut www = exchange("www.example TXT", &[r#"www.example. 60 IN TXT "a\027[31m\010b""#]);
    let evil = "\u{1b}[2J\u{9b}\n".to_owned();
    www.answer[0].presentation.push_str(&evil);
    let options = vec![
        EdnsOptionReport::Nsid { data: Vec::new(), text: evil.clone() },
        EdnsOptionReport::ClientSubnet { source: evil.clone(), scope: 0 },
        EdnsOptionReport::ExtendedError {
            code: ExtendedErrorCode(6),
            number: 6,
            text: evil.clone(),
        },
    ];
    www.edns = Some(EdnsReport { udp_payload: 1232, version: 0, dnssec_ok: true, options });
    www.edns_error = Some(evil.clone());
    www.attempts[0].mismatches.insert(evil, 1);
    let result = result(vec![www]);
    let text = result.to_string();
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
    let judged = judge(&result, &expect("answer: {absent: [{type: TXT}]}\nnsid: {is: x}"));
    assert!(judged.clauses.iter().all(|clause| !clause.to_string().contains('\u{1b}')));
}

#[test]
fn a_result_is_shown_as_dig_would() {
    let mut www = exchange("www.example", WWW);
    www.attempts.insert(0, attempt(DnsTransport::Udp, DnsFate::TimedOut));
    www.attempts[0].network = None;
    www.conflict = vec![0; 12];
    www.trailing_bytes = 3;
    let options = vec![EdnsOptionReport::Nsid { data: b"fra1".to_vec(), text: "fra1".to_owned() }];
    www.edns = Some(EdnsReport { udp_payload: 1232, version: 0, dnssec_ok: true, options });
    let text = result(vec![www.clone()]).to_string();
    for line in [
        "  www.example. IN A @192.0.2.53:53\n",
        "    NOERROR, id 7, flags: qr aa rd, answer 0, authority 0, additional 0, 120 octets\n",
        "    edns version 0, udp 1232, do, nsid \"fra1\"\n",
        "      www.example. 60 IN A 192.0.2.1\n",
        "    3 octets follow the last record\n",
        "    a second answer differs, of 12 octets\n",
        "    attempt 1: udp to 192.0.2.53:53 from port 40000, id 7: no answer after 12.000 ms\n",
        "    attempt 2: udp to 192.0.2.53:53 from port 40000, id 7: answered in 12.000 ms (kernel)\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    www.answer = vec![www.answer[0].clone(); 5000];
    let text = result(vec![www]).to_string();
    assert!(text.contains("and 4900 more\n") && text.lines().count() < 200);
}
