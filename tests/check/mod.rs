//! What holds for every result, whatever the row of the fault list that it belongs to.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod alone;
pub(crate) mod lab;
mod stall;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use netsonde::script::{Script, ScriptReport, Step};
use netsonde::tcp::{PeerEnd, TcpConfig, TcpProber, TcpReport, UnixReport};
use netsonde::{
    Attempt, Event, FailureKind, Observer, Phase, ProbeContext, ProbeResult, Prober, Report,
    ReportBody, Target, Verdict,
};

pub(crate) use alone::{in_own_process, run_own_process};
pub(crate) use stall::Stalls;

/// How late a probe may end on an idle machine.
pub(crate) const LATE: Duration = Duration::from_millis(20);

/// The prober's timeout where neither the context nor the configuration says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A context that gives a probe so many milliseconds.
pub(crate) fn within_ms(ms: u64) -> ProbeContext {
    ProbeContext::new().with_timeout(Duration::from_millis(ms))
}

/// A prober that connects, and does no more.
pub(crate) fn connecting() -> TcpProber {
    TcpProber::new(TcpConfig::default()).unwrap()
}

/// A prober that runs these steps.
pub(crate) fn saying(steps: impl IntoIterator<Item = Step>) -> TcpProber {
    TcpProber::new(TcpConfig { script: Script::new(steps), ..TcpConfig::default() }).unwrap()
}

/// Probes, and checks what every result has to keep.
pub(crate) async fn checked<P>(
    prober: &P,
    cx: &ProbeContext,
    target: impl Into<Target>,
) -> ProbeResult<P::Report>
where
    P: Prober,
    P::Report: Checkable,
{
    checked_with(prober, cx, target, |_| {}).await
}

/// As [`checked`], with a function that is told of every event while it happens.
pub(crate) async fn checked_with<P>(
    prober: &P,
    cx: &ProbeContext,
    target: impl Into<Target>,
    hook: impl Fn(&Event<'_>) + Send + Sync + 'static,
) -> ProbeResult<P::Report>
where
    P: Prober,
    P::Report: Checkable,
{
    let target = target.into();
    let diary = Arc::new(Diary { hook: Box::new(hook), entries: Mutex::default() });
    let cx = cx.clone().with_observer(diary.clone());
    let stalls = Stalls::watch();
    let result = prober.probe_with(&cx, &target).await;
    let late = LATE + stalls.total();

    assert_eq!(result.target, target);
    let timeout = cx.timeout().unwrap_or(DEFAULT_TIMEOUT);
    let total = result.timing.total();
    assert!(total <= timeout + late, "ended after {total:?} of {timeout:?}\n{result}");
    if result.outcome.failure().is_some_and(|f| f.kind == FailureKind::Timeout) {
        assert!(total >= timeout, "timed out after {total:?} of {timeout:?}\n{result}");
    }
    check(&result);
    diary.check(&result);
    result
}

/// What a single result shows by itself.
pub(crate) fn check<R: Checkable>(result: &ProbeResult<R>) {
    timing(result);
    verdicts(result);
    json(result);
    text(result);
    result.attempts.iter().for_each(|attempt| self::attempt(attempt, result.timing.total_ns));
    R::check(result);
}

/// A report that can be looked into.
pub(crate) trait Checkable: ReportBody + Clone + PartialEq + fmt::Debug {
    fn check(result: &ProbeResult<Self>);
}

fn timing<R: Checkable>(result: &ProbeResult<R>) {
    let timing = &result.timing;
    assert!(timing.is_tiled(), "{timing:?}");
    let sum: u64 = timing.spans.iter().map(|span| span.end_ns - span.start_ns).sum();
    assert_eq!(sum, timing.total_ns);
    for pair in timing.spans.windows(2) {
        assert_ne!(pair[0].phase, pair[1].phase, "one phase is one span: {timing:?}");
    }
}

fn verdicts<R: Checkable>(result: &ProbeResult<R>) {
    let timing = &result.timing;
    for verdict in [&result.verdict, &result.outcome] {
        let Some(code) = verdict.code() else { continue };
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(code.len() <= 40 && code.chars().all(fine), "{code}");
        assert!(verdict.to_string().len() <= 1024, "{verdict}");
    }
    match &result.outcome {
        Verdict::Fail(failure) => {
            let open = timing.spans.iter().rev().map(|span| span.phase);
            let open = open.into_iter().find(|p| !matches!(p, Phase::Close | Phase::Gather));
            assert_eq!(failure.phase, open, "it fails in the last phase of its own\n{result}");
            // rustls has caps of its own, and does not say by how much one was missed.
            let capped = failure.kind.code().starts_with("limit_");
            let may_be_capped = capped || failure.kind == FailureKind::TlsLimit;
            assert!(if failure.limit.is_some() { may_be_capped } else { !capped }, "{result}");
        }
        Verdict::Unknown(fault) => assert!(fault.phase.is_some(), "{result}"),
        _ => {}
    }
}

fn attempt(attempt: &Attempt, total_ns: u64) {
    assert!(attempt.start_ns <= attempt.end_ns, "{attempt:?}");
    assert!(attempt.end_ns <= total_ns, "{attempt:?}");
    assert!(!attempt.selected || attempt.verdict == Some(Verdict::Pass), "{attempt:?}");
}

/// The longest text that evidence may make: the cap, and the mark of a text that was cut.
const TEXT_BYTES: usize = 4096 + "…".len();

fn json<R: Checkable>(result: &ProbeResult<R>) {
    let json = serde_json::to_value(result).unwrap();
    let text = json.to_string();
    assert_eq!(&serde_json::from_str::<ProbeResult<R>>(&text).unwrap(), result);
    let erased = result.clone().map(ReportBody::into_report);
    assert_eq!(serde_json::to_value(&erased).unwrap(), json);
    assert_eq!(serde_json::from_str::<ProbeResult<Report>>(&text).unwrap(), erased);

    assert_eq!(json["schema"], netsonde::SCHEMA);
    assert_eq!(json["kind"], R::KIND);
    let verdict = &json["verdict"];
    assert_eq!(verdict["status"], result.verdict.status());
    assert_eq!(verdict["code"].as_str(), result.verdict.code());
    assert_eq!(verdict["phase"].as_str(), result.verdict.phase().map(Phase::as_str));
    assert_eq!(verdict["message"].is_string(), !result.verdict.is_pass());
    strings(&json, &mut |text| assert!(text.len() <= TEXT_BYTES, "{} bytes", text.len()));
}

fn strings(json: &serde_json::Value, each: &mut impl FnMut(&str)) {
    match json {
        serde_json::Value::String(text) => each(text),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
            each(key);
            strings(value, each);
        }),
        _ => {}
    }
}

fn text<R: Checkable>(result: &ProbeResult<R>) {
    let status = result.verdict.status().to_uppercase();
    for text in [format!("{result}"), format!("{result:#}")] {
        assert!(text.starts_with(&format!("{status} {} {}", R::KIND, result.target)), "{text}");
        assert!(text.len() <= 64 * 1024, "{} bytes", text.len());
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let code = result.verdict.code().unwrap_or_default();
        assert!(text.contains(code), "{text}");
    }
}

fn script(report: Option<&ScriptReport>, total_ns: u64) {
    let Some(report) = report else { return };
    for step in &report.steps {
        let end = step.ended_ns.unwrap_or(total_ns);
        assert!(step.started_ns <= end && end <= total_ns, "{step:?}");
    }
}

impl Checkable for TcpReport {
    fn check(result: &ProbeResult<Self>) {
        let report = &result.report;
        script(report.script.as_ref(), result.timing.total_ns);
        let selected = result.attempts.iter().filter(|attempt| attempt.selected).count();
        match &report.connection {
            Some(connection) => {
                assert_eq!(selected, 1 + others_connected(report), "{result}");
                let retransmits = connection.syn_retransmits.unwrap_or(0);
                assert!(connection.rtt.is_none() || retransmits == 0, "{connection:?}");
                assert_eq!(result.quality.stamp, connection.rtt.map(|rtt| rtt.source));
                assert!(connection.at_connect.is_some() && connection.at_end.is_some());
            }
            None => {
                assert_eq!(selected, others_connected(report), "{result}");
                assert_eq!((&report.tls, &report.script), (&None, &None));
                assert_eq!(result.quality.stamp, None);
            }
        }
    }
}

fn others_connected(report: &TcpReport) -> usize {
    report.others.iter().filter(|other| other.connection.is_some()).count()
}

impl Checkable for UnixReport {
    fn check(result: &ProbeResult<Self>) {
        let report = &result.report;
        script(report.script.as_ref(), result.timing.total_ns);
        let selected = result.attempts.iter().filter(|attempt| attempt.selected).count();
        assert_eq!(selected, usize::from(report.connection.is_some()), "{result}");
    }
}

/// The code and the phase of a verdict, as the fault list writes them.
pub(crate) fn code<R>(result: &ProbeResult<R>) -> (&'static str, Option<Phase>) {
    (result.verdict.code().unwrap_or("pass"), result.verdict.phase())
}

/// Code, phase and step.
pub(crate) fn stuck<R>(result: &ProbeResult<R>) -> (&'static str, Option<Phase>, Option<u32>) {
    let (code, phase) = code(result);
    (code, phase, result.verdict.failure().and_then(|failure| failure.step))
}

/// Whether the policy refused all that there was, and nothing was dialled.
pub(crate) fn none_dialled(result: &ProbeResult<TcpReport>) -> bool {
    result.attempts.is_empty() && !result.report.refused.is_empty()
}

/// The script's report.
#[track_caller]
pub(crate) fn script_of(result: &ProbeResult<TcpReport>) -> &ScriptReport {
    result.report.script.as_ref().unwrap()
}

/// How the peer ended the connection.
pub(crate) fn peer_end(result: &ProbeResult<TcpReport>) -> Option<PeerEnd> {
    result.report.peer_end
}

type Hook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// An observer that notes what it is told.
struct Diary {
    hook: Hook,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug, PartialEq)]
enum Entry {
    Started,
    Entered(Phase, u64),
    Resolved(u64),
    Dialling(Target, u64),
    Dialled(Target, u64),
    Finished(Verdict, u64),
}

impl fmt::Debug for Diary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Diary")
    }
}

impl Observer for Diary {
    fn event(&self, event: &Event<'_>) {
        (self.hook)(event);
        let entry = match *event {
            Event::Started { .. } => Entry::Started,
            Event::Entered { phase, at_ns } => Entry::Entered(phase, at_ns),
            Event::Resolved { at_ns, .. } => Entry::Resolved(at_ns),
            Event::Dialling { address, at_ns } => Entry::Dialling(address.clone(), at_ns),
            Event::Dialled { address, at_ns, .. } => Entry::Dialled(address.clone(), at_ns),
            Event::Finished { verdict, at_ns } => Entry::Finished(verdict.clone(), at_ns),
            _ => return,
        };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

impl Diary {
    /// One beginning, one end, and in between what the result tells too.
    fn check<R: Checkable>(&self, result: &ProbeResult<R>) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let total_ns = result.timing.total_ns;
        assert_eq!(entries.first(), Some(&Entry::Started));
        assert_eq!(entries.last(), Some(&Entry::Finished(result.outcome.clone(), total_ns)));
        let edges = |entry: &&Entry| matches!(entry, Entry::Started | Entry::Finished(..));
        assert_eq!(entries.iter().filter(edges).count(), 2, "{entries:?}");
        let count = |kind: fn(&Entry) -> bool| entries.iter().filter(|entry| kind(entry)).count();
        assert_eq!(count(|e| matches!(e, Entry::Dialling(..))), result.attempts.len());
        let decided = result.attempts.iter().filter(|attempt| attempt.verdict.is_some()).count();
        assert!(count(|e| matches!(e, Entry::Dialled(..))) <= decided, "{entries:?}");
        if !has_others(result) {
            let entered = entries.iter().filter_map(|entry| match entry {
                Entry::Entered(phase, at_ns) => Some((*phase, *at_ns)),
                _ => None,
            });
            let spans = result.timing.spans.iter().map(|span| (span.phase, span.start_ns));
            assert!(entered.eq(spans), "{entries:?}\n{:?}", result.timing);
        }
    }
}

/// Several addresses probed side by side have a time line each.
fn has_others<R: Checkable>(result: &ProbeResult<R>) -> bool {
    let json = serde_json::to_value(result).unwrap();
    json["report"]["others"].is_array()
}

/// Waits until something holds; real time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < end, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The lowest of so many ports in a row that nobody uses, outside of the range that the system takes
/// its own from.
pub(crate) fn free_ports(count: u16) -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 15;
    let free = |low: &u16| {
        (*low..*low + count).all(|port| std::net::TcpListener::bind(("0.0.0.0", port)).is_ok())
    };
    (first..30_000).step_by(usize::from(count)).find(free).unwrap()
}
