//! Reports of traces and MTU discoveries as JSON, as text and as judged.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;
use crate::icmp::mtu::{Evidence, MtuAnswer, MtuEnd, MtuExpect, MtuFate, MtuReport, MtuStep};
use crate::icmp::{EchoError, Implausible, MplsLabel, SocketMode};
use crate::timing::{NetworkTime, StampSource};
use crate::{AnyReport, FailureKind, ProbeResult, Report, ReportBody, Timing, Verdict};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn rtt(ms: u64) -> NetworkTime {
    NetworkTime::new(Duration::from_millis(ms), Duration::from_micros(5), StampSource::Kernel)
}

fn exceeded(last: u8, ms: u64) -> TraceAnswer {
    let mut error = EchoError::new(FailureKind::TtlExceeded, 11, 0, Some(ip(last)));
    error.rtt = Some(rtt(ms));
    TraceAnswer::error(error)
}

fn hop(ttl: u8, fates: Vec<TraceFate>) -> TraceHop {
    let mut hop = TraceHop::new(ttl);
    hop.queries = fates
        .into_iter()
        .zip(0..)
        .map(|(fate, number)| TraceQuery { fate, ..TraceQuery::new(number, 1_000) })
        .collect();
    hop
}

/// A report with everything in it.
fn trace() -> TraceReport {
    let mut labelled = exceeded(1, 1);
    labelled.mpls = vec![MplsLabel::new(16_001, 3, true, 1)];
    labelled.extensions = vec![ExtensionObject::new(2, 15, vec![0x00, 0xaf, 0x10])];
    labelled.quoted = Some(Quoted {
        ttl: Some(1),
        tos: Some(0),
        source: Some(ip(77)),
        checksum: Some(0xbeef),
        length: Some(60),
    });
    labelled.rewritten = vec![Rewritten::Source, Rewritten::Checksum, Rewritten::Length];
    let answered = |answer| TraceFate::Answered(Box::new(answer));
    let first = vec![
        answered(labelled),
        TraceFate::Late(Box::new(exceeded(1, 1_200))),
        answered(exceeded(2, 2)),
        TraceFate::Lost,
        TraceFate::NotSent { errno: 105, mtu: Some(1400) },
        TraceFate::Pending,
    ];
    let mut path = TracePath::new(0);
    path.end = PathEnd::Reached { ttl: 2 };
    path.hops =
        vec![hop(1, first), hop(2, vec![answered(TraceAnswer::reply(ip(9), Some(rtt(7))))])];
    path.hops[1].queries[0].duplicates = 2;
    path.loops = vec![Loop::new(ip(1), 1, 3)];
    (path.nat_ttl, path.mtu, path.beyond_end) = (Some(1), Some(1480), 4);
    let mut refused = TracePath::new(1);
    let mut big = EchoError::new(FailureKind::FragmentationNeeded, 3, 4, Some(ip(3)));
    (big.mtu, big.mtu_implausible) = (Some(7), Some(Implausible::TooSmall));
    refused.hops = vec![hop(1, vec![answered(TraceAnswer::error(big))])];
    let failure = FailureKind::FragmentationNeeded;
    refused.end = PathEnd::Refused { ttl: 1, failure, from: Some(ip(3)) };
    TraceReport {
        address: Some(ip(9)),
        socket: Some(SocketMode::Raw),
        method: Some(TraceMethod::Udp),
        port: Some(33_434),
        payload_bytes: Some(32),
        paths: vec![path, refused],
        balancing: vec![Balancing::new(1, BalancingKind::Packet, vec![ip(1), ip(2)])],
        names: [(ip(1), "gw.\u{7}example".to_owned())].into(),
        forgery_suspects: 3,
        ..TraceReport::default()
    }
}

fn mtu() -> MtuReport {
    let mut error = EchoError::new(FailureKind::FragmentationNeeded, 3, 4, Some(ip(3)));
    error.mtu = Some(1400);
    let refusal = EchoError::new(FailureKind::Prohibited, 3, 10, Some(ip(4)));
    let fates = [
        (65_535, MtuFate::TooBigHere { mtu: Some(1500), mtu_implausible: None }),
        (1500, MtuFate::TooBig(error)),
        (1400, MtuFate::Answered(MtuAnswer::new(ip(9), Some(rtt(3)), 1400))),
        (1401, MtuFate::Lost),
        (1401, MtuFate::NotSent { errno: 105 }),
        (1401, MtuFate::Refused(refusal)),
        (1401, MtuFate::Pending),
    ];
    let step = |((size, fate), number): ((u32, MtuFate), u32)| MtuStep {
        fate,
        ..MtuStep::new(number, size, u64::from(number))
    };
    MtuReport {
        address: Some(ip(9)),
        mtu: Some(1400),
        evidence: Some(Evidence::Silence),
        refused_size: Some(1401),
        reported_by: Some(ip(3)),
        black_hole: true,
        contradictory: true,
        end: MtuEnd::Found,
        steps: fates.into_iter().zip(0..).map(step).collect(),
        forgery_suspects: 1,
        ..MtuReport::default()
    }
}

fn result<R>(report: R) -> ProbeResult<R> {
    let target = "10.0.0.9".parse().unwrap();
    let at = SystemTime::UNIX_EPOCH;
    ProbeResult::new(target, at, Verdict::Pass, Timing::default(), report)
}

fn round_trips<R: ReportBody + PartialEq + std::fmt::Debug + Clone>(report: R) {
    let typed = result(report);
    let text = serde_json::to_string(&typed).unwrap();
    assert_eq!(serde_json::from_str::<ProbeResult<R>>(&text).unwrap(), typed);
    let erased: ProbeResult<Report> = serde_json::from_str(&text).unwrap();
    assert_eq!(AnyReport::kind(&erased.report), R::KIND);
    assert_eq!(serde_json::to_string(&erased).unwrap(), text);
    assert_eq!(erased, typed.map(R::into_report));
}

#[test]
fn reports_round_trip_typed_and_erased() {
    round_trips(trace());
    round_trips(TraceReport::default());
    round_trips(mtu());
    round_trips(MtuReport::default());
    for end in [
        PathEnd::Gap { ttl: 3 },
        PathEnd::MaxHops,
        PathEnd::NotSent { ttl: 1, errno: 1 },
        PathEnd::Unfinished,
    ] {
        let mut report = trace();
        report.paths[0].end = end;
        round_trips(report);
    }
}

#[test]
fn every_key_and_word_is_explained_in_the_document() {
    fn words(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    if key.parse::<IpAddr>().is_err() {
                        found.insert(key.clone());
                    }
                    if ["kind", "by", "answer", "evidence", "method"].contains(&key.as_str()) {
                        found.extend(value.as_str().map(str::to_owned));
                    }
                    words(value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| words(value, found)),
            _ => {}
        }
    }
    let document = include_str!("../../../docs/json.md");
    let mut found = BTreeSet::new();
    words(&serde_json::to_value(trace()).unwrap(), &mut found);
    words(&serde_json::to_value(mtu()).unwrap(), &mut found);
    assert!(found.len() > 70, "{}", found.len());
    let explained = |word: &String| document.contains(&format!("`{word}`"));
    let missing: Vec<_> = found.into_iter().filter(|word| !explained(word)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn extension_objects_are_hexadecimal() {
    let object = ExtensionObject::new(2, 15, vec![0x00, 0xaf, 0x10]);
    let text = serde_json::to_string(&object).unwrap();
    assert_eq!(text, r#"{"class":2,"c_type":15,"data":"00af10"}"#);
    for bad in ["0", "0g", "+1"] {
        let text = format!(r#"{{"class":2,"c_type":15,"data":"{bad}"}}"#);
        assert!(serde_json::from_str::<ExtensionObject>(&text).is_err(), "{bad}");
    }
}

#[test]
fn a_trace_looks_like_traceroute() {
    let text = result(trace()).to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let wanted = [
        "  path to 10.0.0.9 by udp port 33434",
        "  flow 0",
        "   1  gw.\\u{7}example (10.0.0.1) 1.000 ms [MPLS 16001 tc 3 ttl 1] [source rewritten] \
         [checksum rewritten] [length rewritten] 1200.000 ms late 10.0.0.2 2.000 ms * not sent \
         (errno 105) ...",
        "   2  10.0.0.9 7.000 ms (+2 duplicates)",
        "  10.0.0.1 answers at hops 1 and 3: a loop",
        "  packets are rewritten before hop 1: address translation",
        "  told mtu 1480",
        "  flow 1",
        "   1  10.0.0.3 ? !F-7",
        "  packet too big for the path at hop 1, says 10.0.0.3",
        "  hop 1: shared out by packet among 10.0.0.1, 10.0.0.2",
        "  3 packets posed as answers",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn a_discovery_tells_its_steps_and_its_doubts() {
    let text = result(mtu()).to_string();
    let shown = |wanted: &str| assert!(text.contains(wanted), "{wanted}\n{text}");
    shown("  65535 bytes: too big for this host, mtu 1500\n");
    shown("  1500 bytes: packet too big for the path, says 10.0.0.3, mtu 1400\n");
    shown("  1400 bytes: passes, 3.000 ms\n");
    shown("  1401 bytes: no answer\n");
    shown("  path mtu at least 1400, not confirmed: larger packets vanish\n");
    shown("a black hole");
    let sure = MtuReport { confirmed: true, evidence: Some(Evidence::Router), ..mtu() };
    assert!(result(sure).to_string().contains("  path mtu 1400: limited by 10.0.0.3\n"));
    let nothing = MtuReport { end: MtuEnd::NoAnswer, steps: mtu().steps, ..MtuReport::default() };
    assert!(result(nothing).to_string().contains("  no answer to packets of any size\n"));
    // Where nothing was sent, the verdict says why.
    assert!(!result(MtuReport::default()).to_string().contains("not finished"));
}

#[test]
fn expectations_on_the_path() {
    let code =
        |expect: &TraceExpect, report: TraceReport| result(report).judged(expect).verdict.code();
    let mut reached = trace();
    reached.paths.truncate(1);
    let base = TraceExpect::default;
    let net = |text: &str| vec![text.parse().unwrap()];
    assert_eq!(code(&base(), reached.clone()), None);
    assert_eq!(code(&base(), trace()), Some("expectation_failed"));
    assert_eq!(code(&TraceExpect { reached: false, ..base() }, trace()), None);
    assert_eq!(code(&base(), TraceReport::default()), Some("not_evaluable"));
    for (expect, met) in [
        (TraceExpect { max_hops: Some(2), ..base() }, true),
        (TraceExpect { max_hops: Some(1), ..base() }, false),
        (TraceExpect { required: net("10.0.0.2/32"), ..base() }, true),
        (TraceExpect { required: net("10.9.0.0/16"), ..base() }, false),
        (TraceExpect { forbidden: net("10.9.0.0/16"), ..base() }, true),
        (TraceExpect { forbidden: net("10.0.0.2/32"), ..base() }, false),
        (TraceExpect { max_rtt: Some(Duration::from_millis(7)), ..base() }, true),
        (TraceExpect { max_rtt: Some(Duration::from_millis(6)), ..base() }, false),
    ] {
        let wanted = (!met).then_some("expectation_failed");
        assert_eq!(code(&expect, reached.clone()), wanted, "{expect:?}");
    }
    assert!(TraceExpect { max_hops: Some(0), ..base() }.check().is_err());
    assert!(TraceExpect { max_hops: Some(256), ..base() }.check().is_err());
}

#[test]
fn expectations_on_the_mtu() {
    let code = |expect: &MtuExpect, report: MtuReport| result(report).judged(expect).verdict.code();
    let least = |min_mtu| MtuExpect { min_mtu: Some(min_mtu), ..MtuExpect::default() };
    assert_eq!(code(&least(1400), mtu()), None);
    assert_eq!(code(&least(1401), mtu()), Some("expectation_failed"));
    // What was not refused may still pass.
    let open = MtuReport { refused_size: Some(1500), evidence: None, ..mtu() };
    assert_eq!(code(&least(1450), open.clone()), Some("not_evaluable"));
    assert_eq!(code(&least(1500), open), Some("expectation_failed"));
    let strict = MtuExpect { confirmed: true, ..MtuExpect::default() };
    assert_eq!(code(&strict, mtu()), Some("expectation_failed"));
    assert_eq!(code(&strict, MtuReport { confirmed: true, ..mtu() }), None);
    let wary = MtuExpect { no_black_hole: true, ..MtuExpect::default() };
    assert_eq!(code(&wary, mtu()), Some("expectation_failed"));
    assert_eq!(code(&wary, MtuReport { black_hole: false, ..mtu() }), None);
    let unfinished = MtuReport { black_hole: false, end: MtuEnd::Packets, ..mtu() };
    assert_eq!(code(&wary, unfinished), Some("not_evaluable"));
    assert_eq!(code(&least(1400), MtuReport::default()), Some("not_evaluable"));
}
