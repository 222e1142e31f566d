use std::time::Instant;

use super::*;
use crate::tcp::{TcpReport, UnixReport};
use crate::timing::{Phase, PhaseClock};
use crate::verdict::{Failure, FailureKind, RawCode};

fn sample() -> ProbeResult<TcpReport> {
    let start = Instant::now();
    let mut clock = PhaseClock::start(start, Phase::Resolve);
    clock.enter(Phase::Connect, start + Duration::from_micros(250));
    let timing = clock.finish(start + Duration::from_micros(1000));
    let failure = Failure::new(FailureKind::Refused)
        .in_phase(Phase::Connect)
        .with_raw(RawCode::Errno { value: 111 });
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_790_000_000_123_456_789);
    let target = "a.example:25".parse().unwrap();
    let mut result =
        ProbeResult::new(target, started_at, failure.into(), timing, TcpReport::default());
    let mut attempt = Attempt::new("192.0.2.1:25".parse().unwrap(), 250_000);
    attempt.end_ns = 1_000_000;
    attempt.verdict = Some(result.outcome.clone());
    result.attempts.push(attempt);
    result
}

#[test]
fn the_json_form_is_stable() {
    let json = serde_json::to_value(sample()).unwrap();
    let expected = serde_json::json!({
        "schema": 1,
        "kind": "tcp",
        "target": "a.example:25",
        "started_at": "2026-09-21T14:13:20.123456789Z",
        "verdict": {
            "status": "fail", "code": "refused", "phase": "connect", "side": "target",
            "message": "connection refused (connect, errno 111)",
            "raw": {"kind": "errno", "value": 111},
        },
        "outcome": json["verdict"],
        "clauses": [],
        "timing": {
            "total_ns": 1_000_000,
            "spans": [
                {"phase": "resolve", "hop": 0, "start_ns": 0, "end_ns": 250_000},
                {"phase": "connect", "hop": 0, "start_ns": 250_000, "end_ns": 1_000_000},
            ],
        },
        "attempts": [{
            "address": "192.0.2.1:25", "start_ns": 250_000, "end_ns": 1_000_000,
            "verdict": json["verdict"], "selected": false,
        }],
        "quality": json["quality"],
        "report": json["report"],
    });
    assert_eq!(json, expected);
}

#[test]
fn a_result_reads_back_as_the_same_value_typed_and_erased() {
    let result = sample();
    let json = serde_json::to_string(&result).unwrap();
    assert_eq!(serde_json::from_str::<ProbeResult<TcpReport>>(&json).unwrap(), result);
    let erased: ProbeResult = serde_json::from_str(&json).unwrap();
    assert_eq!(erased, result.map(ReportBody::into_report));
    assert_eq!(serde_json::to_string(&erased).unwrap(), json);
    let wrong = serde_json::from_str::<ProbeResult<UnixReport>>(&json).unwrap_err();
    assert!(wrong.to_string().contains("kind `tcp`, expected `unix`"), "{wrong}");
}

#[test]
fn another_schema_is_refused_by_name() {
    let mut json = serde_json::to_value(sample()).unwrap();
    json["schema"] = 2.into();
    let error = serde_json::from_value::<ProbeResult>(json).unwrap_err().to_string();
    assert!(error.contains("schema 2"), "{error}");
}

#[test]
fn the_waterfall_is_short_and_to_scale() {
    let shown = sample().to_string();
    let bar = |blank: usize, full: usize| {
        format!("|{}{}{}|", " ".repeat(blank), "█".repeat(full), " ".repeat(40 - blank - full))
    };
    let expected = format!(
        "FAIL tcp a.example:25 in 1.000 ms\n  refused: connection refused (connect, errno 111)\n  \
         resolve        0.250 ms  {}\n  connect        0.750 ms  {}\n  \
         tried 192.0.2.1:25 at 0.250 ms, 0.750 ms: refused\n",
        bar(0, 10),
        bar(10, 30),
    );
    assert_eq!(shown, expected);
}

#[test]
fn a_stored_result_can_be_judged_again() {
    let strict = crate::Common { max_total: Some(Duration::ZERO), ..Default::default() };
    let closed = crate::Common { failure: Some(FailureKind::Refused), ..Default::default() };
    let result = sample();
    assert_eq!(crate::judge(&result, &strict).verdict.code(), Some("refused"));
    assert!(result.clone().judged(&closed).verdict.is_pass());
    let both = crate::Common { failure: Some(FailureKind::Refused), ..strict };
    let judged = result.judged(&both);
    assert_eq!(judged.verdict.code(), Some("expectation_failed"));
    assert_eq!(judged.clauses[0].actual.as_deref(), Some("1.000 ms"));
    assert_eq!(judged.outcome.code(), Some("refused"), "the outcome stays as measured");
}
