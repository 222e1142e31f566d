use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use netsonde::tcp::TcpReport;
use netsonde::tls::TlsVersion;
use netsonde::{Failure, FailureKind, LocalFault, LocalFaultKind, Phase, Timing};

use super::*;

/// One line of a page, read back.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a page by the rules of the format: HELP and TYPE before the samples, families in one piece,
/// no series twice, names and label values well formed.
fn read(page: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut finished = BTreeSet::new();
    let mut family: Option<String> = None;
    let mut series = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(!text.is_empty());
            assert!(finished.insert(name.to_owned()), "family {name} twice");
            assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
            family = Some(name.to_owned());
            assert!(lines.peek().is_some_and(|line| line.starts_with(name)), "{name} is empty");
            continue;
        }
        let sample = sample(line);
        assert_eq!(Some(&sample.name), family.as_ref(), "{line}");
        assert!(
            series.insert((sample.name.clone(), sample.labels.clone())),
            "series twice: {line}"
        );
        samples.push(sample);
    }
    assert!(page.ends_with('\n'));
    samples
}

fn sample(line: &str) -> Sample {
    let (name, rest) = line.split_once('{').unwrap();
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'), "{line}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("bad escape {c} in {line}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "label twice: {line}");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").unwrap().parse().unwrap();
    Sample { name: name.to_owned(), labels, value }
}

fn timing() -> Timing {
    let start = std::time::Instant::now();
    let mut clock = netsonde::PhaseClock::start(start, Phase::Resolve);
    clock.enter(Phase::Connect, start + Duration::from_nanos(1_500_000));
    clock.enter(Phase::Script, start + Duration::from_nanos(2_000_000));
    clock.enter(Phase::Tls, start + Duration::from_nanos(3_000_000));
    clock.enter(Phase::Script, start + Duration::from_nanos(4_000_000));
    clock.finish(start + Duration::from_nanos(5_000_001))
}

fn result(target: &str, verdict: Verdict, report: TcpReport) -> ProbeResult {
    let target = target.parse().unwrap();
    ProbeResult::new(target, SystemTime::now(), verdict, timing(), Report::Tcp(Box::new(report)))
}

fn find<'a>(samples: &'a [Sample], name: &str, labels: &[(&str, &str)]) -> Vec<&'a Sample> {
    let holds = |sample: &Sample| {
        labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
    };
    samples.iter().filter(|sample| sample.name == name && holds(sample)).collect()
}

#[test]
fn several_targets_make_one_page() {
    let fail = Failure::new(FailureKind::TlsExpired).in_phase(Phase::Tls);
    let unknown = LocalFault::new(LocalFaultKind::Descriptors);
    let page = page(&[
        result("a.test:1", Verdict::Pass, TcpReport::default()),
        result("[::1]:2", fail.into(), TcpReport::default()),
        result("c.test:3", unknown.into(), TcpReport::default()),
    ]);
    let samples = read(&page);
    let success = find(&samples, "netsonde_probe_success", &[("kind", "tcp")]);
    let values: Vec<_> = success.iter().map(|s| (s.labels["target"].as_str(), s.value)).collect();
    assert_eq!(values, [("a.test:1", 1.0), ("[::1]:2", 0.0)]);
    assert_eq!(find(&samples, "netsonde_probe_unknown", &[("target", "c.test:3")])[0].value, 1.0);
    assert_eq!(find(&samples, "netsonde_probe_unknown", &[("target", "a.test:1")])[0].value, 0.0);
    let failures = find(&samples, "netsonde_probe_failure", &[]);
    let codes: Vec<_> =
        failures.iter().map(|s| (&*s.labels["code"], &*s.labels["phase"])).collect();
    assert_eq!(codes, [("tls_expired", "tls"), ("local_descriptors", "")]);
}

#[test]
fn times_are_exact_seconds_and_phases_are_summed_within_a_hop() {
    let samples = read(&page(&[result("a.test:1", Verdict::Pass, TcpReport::default())]));
    assert_eq!(find(&samples, "netsonde_probe_duration_seconds", &[])[0].value, 0.005_000_001);
    let phase = |name| {
        let found =
            find(&samples, "netsonde_probe_phase_seconds", &[("phase", name), ("hop", "0")]);
        found.iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    assert_eq!(phase("resolve"), [0.0015]);
    assert_eq!(phase("script"), [0.002_000_001]);
    assert_eq!(phase("transfer"), [] as [f64; 0]);
}

#[test]
fn seconds_keep_every_nanosecond() {
    assert_eq!(seconds(0), "0");
    assert_eq!(seconds(1), "0.000000001");
    assert_eq!(seconds(20_000_000_000), "20");
    assert_eq!(seconds(1_234_500_000), "1.2345");
}

#[test]
fn label_values_are_escaped() {
    let mut report = TcpReport::default();
    let mut script = ScriptReport::default();
    let nasty = "a\"b\\c\nd\\n} 5";
    script.labels.insert("target".to_owned(), nasty.to_owned());
    report.script = Some(script);
    let samples = read(&page(&[result("unix:/run/\"x\\y", Verdict::Pass, report)]));
    let labels = &find(&samples, "netsonde_script_labels", &[])[0].labels;
    assert_eq!(labels["label_target"], nasty);
    assert_eq!(labels["target"], "unix:/run/\"x\\y");
}

#[test]
fn a_target_that_was_probed_twice_has_its_last_result() {
    let fail = Failure::new(FailureKind::Refused);
    let page = page(&[
        result("a.test:1", fail.into(), TcpReport::default()),
        result("b.test:1", Verdict::Pass, TcpReport::default()),
        result("a.test:1", Verdict::Pass, TcpReport::default()),
    ]);
    let samples = read(&page);
    let success = find(&samples, "netsonde_probe_success", &[]);
    let values: Vec<_> = success.iter().map(|s| (s.labels["target"].as_str(), s.value)).collect();
    assert_eq!(values, [("b.test:1", 1.0), ("a.test:1", 1.0)]);
}

#[test]
fn expiry_is_a_timestamp_and_absent_if_unknown() {
    let mut tls = TlsReport::default();
    tls.version = Some(TlsVersion::Tls13);
    tls.cipher_suite = Some("TLS13_AES_128_GCM_SHA256".into());
    tls.earliest_expiry = Some(1_800_000_000);
    let mut report = TcpReport::default();
    report.tls = Some(tls);
    let samples = read(&page(&[
        result("a.test:1", Verdict::Pass, report),
        result("b.test:1", Verdict::Pass, TcpReport::default()),
    ]));
    let expiry = find(&samples, "netsonde_tls_earliest_expiry_timestamp_seconds", &[]);
    assert_eq!(expiry.len(), 1);
    assert_eq!((expiry[0].labels["target"].as_str(), expiry[0].value), ("a.test:1", 1.8e9));
    assert!(find(&samples, "netsonde_tls_chain_expiry_timestamp_seconds", &[]).is_empty());
    assert_eq!(find(&samples, "netsonde_tls_info", &[("version", "TLS 1.3")]).len(), 1);
}
