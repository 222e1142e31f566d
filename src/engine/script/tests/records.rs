//! What a report holds, what a step may be, and the rules for replies of several lines.

use std::collections::BTreeMap;

use super::*;
use crate::script::{
    ByteOrder, Capture, CaptureScope, Frame, LengthField, ScriptError, StepKind, StepProblem,
};
use ScriptFailureKind as Kind;

#[test]
fn a_report_tells_what_was_sent_matched_captured_and_when() {
    let script = compile([
        Step::expect("^220 (?P<name>[^ ]+)( ESMTP)?( x)?")
            .with_name("greeting")
            .with_label("mta", "got ${name}!"),
        Step::send_expanded("EHLO ${1}\r\n"),
        Step::expect_raw("2[0-9]{2}"),
        Step::expect_bytes(" ok"),
    ]);
    let origin = Instant::now();
    let at = |ms| origin + Duration::from_millis(ms);
    let mut engine = ScriptEngine::new(script, origin);
    assert_eq!(engine.step(at(1)), Action::Read);
    engine.received(b"noise\r\n220 mx ES", at(5));
    engine.received(b"MTP\r\n", at(7));
    assert_eq!(engine.step(at(8)), Action::Write(b"EHLO mx\r\n"));
    engine.written(2, at(9));
    assert_eq!(engine.step(at(9)), Action::Write(b"LO mx\r\n"));
    engine.written(7, at(10));
    engine.received(b" 25", at(20));
    engine.received(b"0 o", at(30));
    // An instant that is too early does not turn back the clock.
    engine.received(b"k", at(25));
    assert_eq!(engine.step(at(40)), Action::Done);

    let report = engine.report();
    let times = report
        .steps
        .iter()
        .map(|step| (step.started_ns / 1_000_000, step.ended_ns.map(|ended| ended / 1_000_000)));
    let expected = [(1, Some(7)), (7, Some(10)), (10, Some(30)), (30, Some(30))];
    assert_eq!(times.collect::<Vec<_>>(), expected);
    let [greeting, hello, raw, bytes] = &report.steps[..] else { panic!("{report:?}") };
    assert_eq!((greeting.index, greeting.name.as_deref()), (0, Some("greeting")));
    assert_eq!((greeting.kind, greeting.lines), (StepKind::Expect, Some(2)));
    assert_eq!(greeting.matched.as_deref(), Some("220 mx ESMTP"));
    let name = Capture { index: 1, name: Some("name".into()), value: "mx".into() };
    let esmtp = Capture { index: 2, name: None, value: " ESMTP".into() };
    assert_eq!(greeting.captures, [name, esmtp]);
    assert_eq!((hello.sent.as_deref(), hello.sent_bytes), (Some("EHLO mx\\r\\n"), Some(9)));
    assert_eq!((raw.matched.as_deref(), raw.lines), (Some("250"), None));
    assert_eq!((bytes.matched.as_deref(), bytes.sent_bytes), (Some(" ok"), None));
    assert!(report.steps.iter().all(|step| step.outcome == StepOutcome::Passed));
    assert_eq!(report.labels, BTreeMap::from([("mta".into(), "got mx!".into())]));
    assert_eq!((report.bytes_received, report.bytes_sent), (28, 9));
    assert_eq!((report.failure.as_ref(), report.tail.as_ref()), (None, None));
    assert_eq!(report.capture("name"), Some("mx"));

    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ScriptReport>(&json).unwrap(), report);
}

#[test]
fn an_unfinished_script_tells_where_it_waits_and_what_came() {
    let mut engine = engine([Step::send("hi"), Step::expect("^ok").with_name("answer")]);
    let now = Instant::now();
    assert_eq!(engine.waiting().map(|waiting| waiting.kind), Some(StepKind::Send));
    engine.step(now);
    engine.written(2, now);
    engine.received(b"421 busy\r\nwai", now);
    assert_eq!(engine.step(now), Action::Read);
    assert_eq!(engine.step(now), Action::Read);
    let waiting = engine.waiting().unwrap();
    assert_eq!((waiting.step, waiting.name), (1, Some("answer")));
    assert_eq!((waiting.bytes_received, waiting.bytes_pending), (13, 3));
    let report = engine.report();
    assert_eq!(report.tail.as_deref(), Some("421 busy\\r\\nwai"));
    assert_eq!((report.steps[1].ended_ns, report.steps[1].lines), (None, Some(1)));
    engine.closed(now);
    assert!(engine.waiting().is_none());
    assert_eq!(engine.report().failure.unwrap().to_string(), "step 1 (answer): the peer closed");
}

#[test]
fn texts_are_bounded() {
    let limits = ScriptLimits { evidence: 10, ..ScriptLimits::default() };
    let script = Script::new([
        Step::expect("(?P<a>x+)(?P<b>y+)").with_label("l", "$a"),
        Step::send("z".repeat(100)),
        Step::expect("never"),
    ]);
    let engine = ScriptEngine::new(compile_with(&script, &limits), Instant::now());
    let played = play(engine, [&b"xxxxxxyyyyyy\nthe end of it\n"[..]], Then::Close);
    let report = &played.report;
    assert_eq!(report.steps[0].matched.as_deref(), Some("xxxxxxyyyy…"));
    let captures = report.steps[0].captures.iter().map(|capture| capture.value.as_str());
    assert_eq!(captures.collect::<Vec<_>>(), ["xxxxxx", "yyyy…"]);
    assert_eq!(report.steps[1].sent.as_deref(), Some("zzzzzzzzzz…"));
    assert_eq!(report.tail.as_deref(), Some("…nd of it\\n"));
}

#[test]
fn secrets_stay_out_of_the_report() {
    let script = Script::new([
        Step::send("PASS hunter2\r\n").with_secret(),
        Step::expect("^token=(?P<token>.*)").with_secret(),
        Step::send_expanded("AUTH ${token}\r\n"),
        Step::expect("^(ok)").with_label("token", "$1 ${token}"),
        Step::expect("^never$").with_reject("^no").with_secret(),
    ]);
    for last in ["no: hunter2 s3cret", "say hunter2 s3cret"] {
        let engine =
            ScriptEngine::new(compile_with(&script, &ScriptLimits::default()), Instant::now());
        let text = format!("token=s3cret\r\nok\r\n{last}\r\n");
        let played = play(engine, [text.as_bytes()], Then::Silence);
        assert_eq!(played.sent, b"PASS hunter2\r\nAUTH s3cret\r\n");
        let report = &played.report;
        let json = serde_json::to_string(&report).unwrap() + &format!("{report:?}");
        assert!(!json.contains("hunter2") && !json.contains("s3cret"), "{json}");
        assert_eq!(report.labels["token"], "***");
        let secret = report.steps.iter().map(|step| step.secret).collect::<Vec<_>>();
        assert_eq!(secret, [true, true, true, false, true]);
        assert_eq!(report.steps[2].sent_bytes, Some(13));
    }
}

#[test]
fn until_reads_a_reply_to_its_end() {
    let steps = || {
        let offer = Step::expect("^250[ -]STARTTLS$").with_until("^250 ").with_reject("^5");
        [offer.with_max_lines(4), Step::expect("^next")]
    };
    let matched = |text: &str| say(steps(), text.as_bytes()).matched().join(",");
    assert_eq!(matched("250-a\n250-STARTTLS\n250 b\nnext\n"), "250-STARTTLS,next");
    assert_eq!(matched("250-a\n250 STARTTLS\nnext\n"), "250 STARTTLS,next");
    assert!(say(steps(), b"250-STARTTLS\n250-b\n").waits());

    let played = say(steps(), b"250-a\n250 b\nnext\n");
    assert_eq!(played.kind(), Some(Kind::Unmatched));
    assert_eq!(played.failure().evidence.as_deref(), Some("250 b"));
    assert_eq!(say(steps(), b"250-STARTTLS\n500 no\n").kind(), Some(Kind::Rejected));
    assert_eq!(say_and_close(steps(), b"250-STARTTLS\n").kind(), Some(Kind::Eof));

    assert!(say(steps(), b"250-a\n250-b\n250-STARTTLS\n250 b\nnext\n").passed);
    let played = say(steps(), b"250-a\n250-b\n250-STARTTLS\n250-c\n");
    assert_eq!(played.kind(), Some(Kind::TooManyLines));
    assert_eq!(played.failure().limit, Some(4));
    // With `until`, the empty pattern stands for the first line.
    let whole = [Step::expect("").with_until("^250 "), Step::expect("^next")];
    assert_eq!(say(whole, b"250-a\n250 b\nnext\n").matched(), ["250-a", "next"]);
}

#[test]
fn reject_fails_at_once_and_the_expectation_comes_first() {
    let step = || [Step::expect("^ok|^both").with_reject("^no|^both")];
    assert!(say(step(), b"?\nboth\n").passed);
    let played = say(step(), b"?\nno way\nok\n");
    assert_eq!(played.kind(), Some(Kind::Rejected));
    assert_eq!(played.failure().to_string(), "step 0: the peer refused: \"no way\"");
    assert_eq!(played.report.steps[0].outcome, StepOutcome::Failed);

    let raw = || [Step::expect_raw("S|both").with_reject("N|both")];
    assert!(say(raw(), b"??both").passed);
    assert!(say(raw(), b"?SN").passed);
    assert_eq!(say(raw(), b"?NS").failure().evidence.as_deref(), Some("?N"));
}

#[test]
fn raw_takes_the_fewest_bytes_and_leaves_the_rest() {
    let played = say([Step::expect_raw("a+"), Step::expect_bytes("aab")], b"xaaab");
    assert_eq!(played.matched(), ["a", "aab"]);
    let steps = || [Step::expect_raw("(?P<n>[0-9]+);"), Step::expect("^rest$")];
    let bytes = b"-- 123;rest\r\n";
    for piece in 1..=bytes.len() {
        let played = play(engine(steps()), bytes.chunks(piece), Then::Silence);
        assert_eq!(played.matched(), ["123;", "rest"]);
        assert_eq!(played.report.capture("n"), Some("123"));
    }
}

#[test]
fn raw_looks_no_further_than_its_limit() {
    let limits = ScriptLimits { raw: 8, ..ScriptLimits::default() };
    let script = compile_with(&Script::new([Step::expect_raw("(?s)a.*b")]), &limits);
    for (bytes, expected) in [
        (&b"axxxxxxb"[..], None),
        (b"axxxxxxbyyyyyy", None),
        (b"axxxxxxxb", Some(Kind::RawTooLong)),
        (b"axxxxxxx", Some(Kind::Eof)),
    ] {
        for piece in [1, 3, 100] {
            let engine = ScriptEngine::new(Arc::clone(&script), Instant::now());
            let played = play(engine, bytes.chunks(piece), Then::Close);
            assert_eq!(played.kind(), expected, "{bytes:?} by {piece}");
        }
    }
}

#[test]
fn a_raw_step_fed_single_bytes_stays_affordable() {
    let bytes = vec![b'x'; 16 * 1024];
    let started = Instant::now();
    let played = play(
        engine([Step::expect_raw("(?s)y.*z").with_reject("q")]),
        bytes.chunks(1),
        Then::Silence,
    );
    assert!(played.waits());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn frames_are_passed_over_until_one_matches() {
    let length = LengthField { offset: 0, size: 1, order: ByteOrder::Big, add: 1 };
    let steps = || {
        [
            Step::expect("^.ok$").with_frame(Frame::Length(length)).with_max_lines(3),
            Step::expect_bytes("!"),
        ]
    };
    let bytes = b"\x01a\x00\x02ok!";
    for piece in 1..=bytes.len() {
        let played = play(engine(steps()), bytes.chunks(piece), Then::Silence);
        assert_eq!(played.matched(), ["\\u{2}ok", "!"]);
        assert_eq!(played.report.steps[0].lines, Some(3));
    }
    // A frame that is cut short by the close is none.
    let loose = Step::expect("ok").with_frame(Frame::Length(length));
    assert_eq!(say_and_close([loose], b"\x03ok").kind(), Some(Kind::Eof));
    let long = LengthField { size: 4, ..length };
    let played = say([Step::expect("x").with_frame(Frame::Length(long))], b"\0\x01\0\0");
    assert_eq!(played.failure().seen, Some(65_537));
    assert_eq!(played.kind(), Some(Kind::FrameTooLong));
}

#[test]
fn variables_come_from_the_prober_then_from_the_script() {
    let script = Script::new([Step::send_expanded("${domain}|${host}|${other}|${late}")])
        .with_variable("domain", "mx.${host}")
        .with_variable("late", "${other}")
        .with_variable("other", "o");
    let script = compile_with(&script, &ScriptLimits::default());
    let run =
        |engine: ScriptEngine| String::from_utf8(play(engine, [], Then::Silence).sent).unwrap();
    let engine = || ScriptEngine::new(Arc::clone(&script), Instant::now());
    assert_eq!(run(engine()), "mx.||o|");
    assert_eq!(run(engine().with_variable("host", "h")), "mx.h|h|o|");
    let both = engine().with_variable("host", "h").with_variable("domain", "$host");
    assert_eq!(run(both), "$host|h|o|");
}

#[test]
fn groups_outlive_their_step_by_the_scope_of_the_script() {
    let steps = [
        Step::expect("(?P<a>1)"),
        Step::expect_bytes("-"),
        Step::send_expanded("[$a$1]"),
        Step::expect("(?P<b>2)"),
        Step::send_expanded("[$a$b$1]"),
        Step::expect("3"),
        Step::send_expanded("[$a$b$0$1]"),
    ];
    for (captures, expected) in
        [(CaptureScope::Script, "[11][122][123]"), (CaptureScope::Latest, "[11][22][3]")]
    {
        let script = Script { captures, ..Script::new(steps.clone()) };
        let engine =
            ScriptEngine::new(compile_with(&script, &ScriptLimits::default()), Instant::now());
        let played = play(engine, [&b"1\n-2\n3\n"[..]], Then::Silence);
        assert_eq!(String::from_utf8(played.sent).unwrap(), expected);
    }
}

#[test]
fn a_step_does_one_thing_and_only_fields_that_apply_are_taken() {
    let misplaced = |field, needs| StepProblem::Misplaced { field, needs };
    let frame = Frame::Length(LengthField::default());
    for (step, expected) in [
        (Step::default(), StepProblem::NoKind),
        (
            Step { send: Some("x".into()), send_hex: Some("00".into()), ..Step::expect("y") },
            StepProblem::SeveralKinds { fields: vec!["expect", "send", "send_hex"] },
        ),
        (
            Step::send("x").with_reject("y"),
            misplaced("reject", "expect or expect_raw that is not empty"),
        ),
        (
            Step::expect("").with_reject("y"),
            misplaced("reject", "expect or expect_raw that is not empty"),
        ),
        (Step::expect_raw("x").with_until("y"), misplaced("until", "expect")),
        (
            Step::expect_raw("x").with_frame(Frame::Ber),
            misplaced("frame", "expect that is not empty"),
        ),
        (Step::expect("").with_max_lines(1), misplaced("max_lines", "expect that is not empty")),
        (Step::send("x").with_label("a", ""), misplaced("labels", "expect or expect_raw")),
        (
            Step::expect("x").with_label("a", "").with_secret(),
            misplaced("labels", "a step that is not secret"),
        ),
        (Step { expand: true, ..Step::expect("x") }, misplaced("expand", "send or send_hex")),
        (Step::send("x").with_line_breaks(), misplaced("allow_line_breaks", "expand")),
        (Step::starttls().with_secret(), misplaced("secret", "a step other than starttls")),
        (
            Step::expect("x").with_max_lines(0),
            StepProblem::Range { field: "max_lines", allowed: "at least 1" },
        ),
        (
            Step::expect("x").with_frame(frame),
            StepProblem::Range { field: "frame", allowed: "of a size of 1 to 8" },
        ),
        (
            Step::expect_raw("x$"),
            StepProblem::LookAhead { field: "expect_raw", assertion: "$".into() },
        ),
        (
            Step::expect_raw("x").with_reject(r"y\b"),
            StepProblem::LookAhead { field: "reject", assertion: r"\b".into() },
        ),
        (
            Step { send_hex: Some("0g".into()), ..Step::default() },
            StepProblem::Hex { field: "send_hex", offset: 1 },
        ),
        (Step::expect("x").with_label("0", ""), StepProblem::LabelName { name: "0".into() }),
        (Step::expect("x").with_label("", ""), StepProblem::LabelName { name: String::new() }),
        (
            Step::expect("x").with_label("a", "").with_label("a", ""),
            StepProblem::LabelDuplicate { name: "a".into() },
        ),
    ] {
        let script = Script::new([Step::send("first"), step]);
        let error = CompiledScript::new(&script, &ScriptLimits::default()).unwrap_err();
        assert!(error.to_string().starts_with("steps[1]"), "{error}");
        assert_eq!(error, ScriptError::Step { index: 1, problem: expected });
    }
    let script = Script::new([Step::expect("x(")]);
    let error = CompiledScript::new(&script, &ScriptLimits::default()).unwrap_err();
    assert!(error.to_string().contains("unclosed group"), "{error}");
    let error = crate::Error::from(error).under("script");
    assert!(error.to_string().starts_with("script.steps[0].expect: "), "{error}");
    for name in ["", "1", "a-b"] {
        let script = Script::default().with_variable(name, "");
        let error = CompiledScript::new(&script, &ScriptLimits::default()).unwrap_err();
        assert_eq!(error, ScriptError::VariableName { name: name.into() });
    }
}

#[test]
fn calls_out_of_turn_change_nothing() {
    let mut engine = engine([Step::expect("^a"), Step::send("b"), Step::starttls()]);
    let now = Instant::now();
    engine.written(5, now);
    engine.tls_started(now);
    engine.received(b"", now);
    assert_eq!(engine.step(now), Action::Read);
    engine.received(b"a\n", now);
    engine.tls_started(now);
    assert_eq!(engine.step(now), Action::Write(b"b"));
    engine.written(0, now);
    assert_eq!(engine.step(now), Action::Write(b"b"));
    engine.written(99, now);
    engine.written(1, now);
    assert_eq!(engine.step(now), Action::StartTls);
    assert_eq!(engine.report().bytes_sent, 1);
    engine.closed(now);
    assert!(matches!(engine.step(now), Action::Failed(failure) if failure.kind == Kind::Eof));
    engine.tls_started(now);
    assert!(matches!(engine.step(now), Action::Failed(failure) if failure.kind == Kind::Eof));
}
