use std::time::{Duration, Instant, SystemTime};

use netsonde::tcp::TcpReport;
use netsonde::{Failure, FailureKind, Phase, PhaseClock, Report, Verdict};

use super::*;
use crate::style::ColorChoice;

fn plain() -> Style {
    Style::choose(ColorChoice::Never, None, None, false)
}

fn result(target: &str, verdict: Verdict) -> ProbeResult {
    let start = Instant::now();
    let clock = PhaseClock::start(start, Phase::Connect);
    let timing = clock.finish(start + Duration::from_millis(3));
    let report = Report::Tcp(Box::<TcpReport>::default());
    ProbeResult::new(target.parse().unwrap(), SystemTime::now(), verdict, timing, report)
}

fn refused() -> Verdict {
    Failure::new(FailureKind::Refused).in_phase(Phase::Connect).into()
}

/// What stands in the output after each result, given by its place, and at the end.
fn printed(format: Format, total: usize, places: &[usize]) -> (Vec<String>, String) {
    let mut out = Vec::new();
    let mut after = Vec::new();
    let mut printer = Printer::new(format, plain(), total, &mut out);
    for place in places {
        printer.result(*place, result(&format!("t{place}.test:1"), Verdict::Pass)).unwrap();
        after.push(String::from_utf8(printer.out.clone()).unwrap());
    }
    printer.finish().unwrap();
    (after, String::from_utf8(out).unwrap())
}

fn order(text: &str) -> Vec<usize> {
    let mut found: Vec<(usize, usize)> =
        (0..9).filter_map(|n| Some((text.find(&format!("t{n}.test"))?, n))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, n)| n).collect()
}

#[test]
fn text_comes_in_the_order_of_the_targets_and_as_soon_as_it_can() {
    let (after, whole) = printed(Format::Text, 3, &[1, 0, 2]);
    let seen: Vec<_> = after.iter().map(|text| order(text)).collect();
    assert_eq!(seen, [vec![], vec![0, 1], vec![0, 1, 2]]);
    assert_eq!(whole.matches("\n\nPASS").count(), 2, "{whole}");
}

#[test]
fn lines_come_in_the_order_of_completion() {
    let (after, whole) = printed(Format::Jsonl, 3, &[2, 0, 1]);
    assert_eq!(order(&after[0]), [2]);
    let targets: Vec<String> = whole
        .lines()
        .map(|line| serde_json::from_str::<ProbeResult>(line).unwrap().target.to_string())
        .collect();
    assert_eq!(targets, ["t2.test:1", "t0.test:1", "t1.test:1"]);
}

#[test]
fn json_is_an_object_for_one_target_and_an_array_for_several() {
    let (after, whole) = printed(Format::Json, 1, &[0]);
    assert_eq!(after, [""]);
    serde_json::from_str::<ProbeResult>(&whole).unwrap();
    let (_, whole) = printed(Format::Json, 2, &[1, 0]);
    let read: Vec<ProbeResult> = serde_json::from_str(&whole).unwrap();
    assert_eq!(
        read.iter().map(|r| r.target.to_string()).collect::<Vec<_>>(),
        ["t0.test:1", "t1.test:1"]
    );
}

#[test]
fn colour_is_on_the_status_and_its_code_alone() {
    let style = Style::choose(ColorChoice::Always, None, None, false);
    let result = result("a.test:1", refused());
    let coloured = text::render(&result, style);
    assert!(coloured.starts_with("\x1b[1;31mFAIL\x1b[0m tcp a.test:1 in 3.000 ms\n"), "{coloured}");
    assert!(coloured.contains("\n  \x1b[1;31mrefused\x1b[0m: "), "{coloured}");
    assert_eq!(coloured.matches('\x1b').count(), 4);
    let bare = coloured.replace("\x1b[1;31m", "").replace("\x1b[0m", "");
    assert_eq!(bare, text::render(&result, plain()));
    assert_eq!(bare, result.to_string());
}

#[test]
fn a_pass_has_no_code_to_colour() {
    let style = Style::choose(ColorChoice::Always, None, None, false);
    let coloured = text::render(&result("a.test:1", Verdict::Pass), style);
    assert_eq!(coloured.matches('\x1b').count(), 2);
}
