//! The rows of the fault list that the engine answers for.

use super::*;
use crate::script::{ScriptError, StepProblem};
use ScriptFailureKind as Kind;

#[test]
fn t34_close_while_a_step_waits() {
    let played = say_and_close([Step::expect("^220")], b"");
    assert_eq!(played.kind(), Some(Kind::Eof));
    assert_eq!(played.failure().step, 0);
    assert!(say_and_close([], b"").passed);
}

#[test]
fn t50_expected_bytes_split_over_segments() {
    let steps = || [Step::expect_bytes("hello, wörld"), Step::expect_hex([0, 0xff, 10])];
    let bytes = b"hello, w\xc3\xb6rld\x00\xff\n";
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let played = play(engine(steps()), [head, tail], Then::Silence);
        assert!(played.passed, "cut at {cut}");
        assert_eq!(played.matched(), ["hello, wörld", "\\u{0}\\xff\\n"]);
    }
    let played = say(steps(), b"hello, World");
    assert_eq!(played.kind(), Some(Kind::Mismatch));
    assert_eq!(played.failure().evidence.as_deref(), Some("hello, World"));
    assert!(say(steps(), b"hello, w").waits());
    assert_eq!(say_and_close(steps(), b"hello, w").kind(), Some(Kind::Eof));
}

#[test]
fn t52_a_line_without_end_counts_when_the_peer_closes() {
    let steps = || [Step::expect("^SSH-2.0$")];
    assert!(say(steps(), b"SSH-2.0").waits());
    assert_eq!(say_and_close(steps(), b"SSH-2.0").matched(), ["SSH-2.0"]);
    assert_eq!(say_and_close(steps(), b"motd\nSSH-2.0\r").matched(), ["SSH-2.0"]);
    assert_eq!(say_and_close(steps(), b"SSH-1.0").kind(), Some(Kind::Eof));
}

#[test]
fn t53_line_limits() {
    for end in ["\n", "\r\n"] {
        for (length, fits) in [(65_535, true), (65_536, true), (65_537, false)] {
            let line = "x".repeat(length) + end;
            let played = say([Step::expect("^x+$")], line.as_bytes());
            assert_eq!(played.passed, fits, "{length} {end:?}");
            if !fits {
                let failure = played.failure();
                assert_eq!(failure.kind, Kind::LineTooLong);
                assert_eq!((failure.limit, failure.seen), (Some(65_536), Some(65_537)));
                assert_eq!(failure.evidence.as_ref().unwrap().len(), 4096 + "…".len());
            }
        }
    }
    let longest = "x".repeat(65_536);
    assert!(say_and_close([Step::expect("x")], longest.as_bytes()).passed);
    // With a CR after it, it may still be a line of the longest length.
    assert!(say([Step::expect("y")], (longest.clone() + "\r").as_bytes()).waits());
    assert_eq!(
        say([Step::expect("y")], (longest + "\rx").as_bytes()).kind(),
        Some(Kind::LineTooLong)
    );
}

#[test]
fn t54_endless_line() {
    let piece = [b'x'; 1000];
    let endless = std::iter::repeat_n(&piece[..], 1000);
    let played = play(engine([Step::expect("^y")]), endless, Then::Silence);
    assert_eq!(played.kind(), Some(Kind::LineTooLong));
    assert_eq!(played.report.bytes_received, 66_000);
}

#[test]
fn t56_endless_lines() {
    for line in ["x\n", "some longer text of a server that goes on and on\r\n"] {
        let piece = line.repeat(300);
        let endless = std::iter::repeat_n(piece.as_bytes(), 10_000);
        let played = play(engine([Step::expect("^y")]), endless, Then::Silence);
        let failure = played.failure();
        assert_eq!(failure.kind, Kind::TooManyBytes);
        assert_eq!((failure.limit, failure.seen), (Some(1 << 20), Some((1 << 20) + 1)));
        assert!(played.report.bytes_received < (1 << 20) + 20_000);
    }
}

#[test]
fn t56_the_last_byte_allowed_still_counts() {
    let limits = ScriptLimits { received: 4, ..ScriptLimits::default() };
    let script = compile_with(&Script::new([Step::expect("^abc$")]), &limits);
    for (bytes, expected) in [
        (&b"abc\n"[..], None),
        // What comes after the match is nobody's, even if there is no room for it.
        (b"abc\nmore", None),
        (b"abcd\n", Some(Kind::TooManyBytes)),
        (b"abc\r\n", Some(Kind::TooManyBytes)),
    ] {
        for piece in [1, 3, 100] {
            let engine = ScriptEngine::new(Arc::clone(&script), Instant::now());
            let played = play(engine, bytes.chunks(piece), Then::Close);
            assert_eq!(played.kind(), expected, "{bytes:?} by {piece}");
        }
    }
}

#[test]
fn t57_nul_and_invalid_utf8() {
    let line = b"a\0b \xff\xfe\xc3( \xe9t\xe9\n";
    let played = say([Step::expect(r"^a\x00b (?P<rest>.+) .t\xe9$")], line);
    assert!(played.passed);
    assert_eq!(played.matched(), ["a\\u{0}b \\xff\\xfe\\xc3( \\xe9t\\xe9"]);
    assert_eq!(played.report.capture("rest"), Some("\\xff\\xfe\\xc3("));
    // Text in a pattern is its UTF-8 bytes; classes are Unicode's only when asked.
    assert!(say([Step::expect("^é$")], "é\n".as_bytes()).passed);
    assert!(say([Step::expect("^..$")], "é\n".as_bytes()).passed);
    assert!(say([Step::expect(r"(?u)^\w$")], "é\n".as_bytes()).passed);
    assert!(say([Step::expect(r"^\w$")], "é\n".as_bytes()).waits());
    assert!(say([Step::expect(r"^\d$")], "٣\n".as_bytes()).waits());
}

#[test]
fn t58_line_ends() {
    let step = || [Step::expect("^b(?s:.)*$")];
    for (bytes, expected) in [
        ("a\nb\n", Some("b")),
        ("a\r\nb\r\n", Some("b")),
        ("a\r\nb\n", Some("b")),
        ("a\nb\r\r\n", Some("b\\r")),
        ("\n\r\n\nb\n", Some("b")),
        // A CR alone ends nothing.
        ("a\rb\r", None),
        ("a\rb\r\n", None),
        ("a\nb\r", None),
        ("b\rc\n", Some("b\\rc")),
    ] {
        let played = say(step(), bytes.as_bytes());
        assert_eq!(played.matched(), expected.as_slice(), "{bytes:?}");
    }
}

#[test]
fn t60_a_pattern_sees_one_line() {
    let across = r"one\r?\ntwo";
    assert!(say([Step::expect(across)], b"one\ntwo\none\r\ntwo\r\n").waits());
    assert_eq!(say_and_close([Step::expect(across)], b"one\ntwo\n").kind(), Some(Kind::Eof));
    assert!(say([Step::expect("(?s)one.*two")], b"one\ntwo\n").waits());
    assert!(say([Step::expect_raw(across)], b"zero\none\r\ntwo").passed);
}

#[test]
fn t61_line_breaks_in_an_expanded_send() {
    let steps = |last: Step| [Step::expect_raw(r"(?s)^name=(?P<name>[^;]*);"), last];
    let template = "HELLO ${name}\r\n";
    for value in ["x\nQUIT", "x\rQUIT", "\r\n"] {
        let text = format!("name={value};");
        let played = say(steps(Step::send_expanded(template)), text.as_bytes());
        assert_eq!(played.kind(), Some(Kind::UnsafeExpansion));
        assert_eq!(played.failure().evidence.as_deref(), Some(&*value.escape_debug().to_string()));
        assert!(played.sent.is_empty());

        let allowed = Step::send_expanded(template).with_line_breaks();
        let played = say(steps(allowed), text.as_bytes());
        assert!(played.passed);
        assert_eq!(played.sent, format!("HELLO {value}\r\n").into_bytes());
    }
    let played = say(steps(Step::send_expanded(template)), b"name=x;");
    assert_eq!(played.sent, b"HELLO x\r\n");
}

#[test]
fn t61_line_breaks_in_a_variable() {
    let script = compile([Step::send_expanded("EHLO $host\r\n")]);
    let engine = ScriptEngine::new(script, Instant::now()).with_variable("host", "a\r\nDATA");
    assert_eq!(play(engine, [], Then::Silence).kind(), Some(Kind::UnsafeExpansion));
}

#[test]
fn t62_expanded_send_over_the_limit() {
    for (length, sent) in [(4091, Some(4096)), (4092, None), (60_000, None)] {
        let line = "x".repeat(length) + "\n";
        let played =
            say([Step::expect("x+"), Step::send_expanded("<${0}>\r\n\n")], line.as_bytes());
        assert_eq!(played.passed, sent.is_some(), "{length}");
        match sent {
            Some(sent) => assert_eq!(played.sent.len(), sent),
            None => {
                let failure = played.failure();
                assert_eq!((failure.kind, failure.limit), (Kind::SendTooLong, Some(4096)));
                assert_eq!(failure.seen, Some(4097));
                assert!(played.sent.is_empty());
            }
        }
    }
    // A send that is no template has no limit.
    assert_eq!(say([Step::send("x".repeat(10_000_000))], b"").sent.len(), 10_000_000);
}

#[test]
fn t64_dollars_and_percents_are_verbatim() {
    let text = "$1 ${host} $$ %s %n 100% $\r\n";
    let played = say([Step::expect("(x)"), Step::send(text)], b"x\n");
    assert_eq!(played.sent, text.as_bytes());
    let played = say([Step::expect("(x)"), Step::send_expanded(text)], b"x\n");
    assert_eq!(played.sent, b"x  $ %s %n 100% $\r\n");
}

#[test]
fn t65_catastrophic_looking_pattern_is_linear() {
    let line = "a".repeat(60_000) + "\n";
    let started = Instant::now();
    assert!(say([Step::expect("^(a+)+$|^(a|aa)+b$")], line.as_bytes()).passed);
    assert!(say([Step::expect("^(a+)+b$"), Step::expect("(x+x+)+y")], line.as_bytes()).waits());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn t66_nested_repeats_are_too_large() {
    let nested = "(a{1000}){1000}";
    let limits = ScriptLimits::default();
    for (step, field) in [
        (Step::expect(nested), "expect"),
        (Step::expect_raw(nested), "expect_raw"),
        (Step::expect("a").with_reject(nested), "reject"),
        (Step::expect("a").with_until(nested), "until"),
    ] {
        let error = CompiledScript::new(&Script::new([Step::send(""), step]), &limits).unwrap_err();
        let problem = StepProblem::PatternSize { field, limit: limits.pattern };
        assert_eq!(error, ScriptError::Step { index: 1, problem });
    }
    let wide = ScriptLimits { pattern: 200 << 20, ..limits };
    assert!(CompiledScript::new(&Script::new([Step::expect("(a{1000}){100}")]), &wide).is_ok());
}

#[test]
fn t68_too_many_steps() {
    let limits = ScriptLimits::default();
    let script = |steps| Script::new(std::iter::repeat_n(Step::send("x"), steps));
    assert!(CompiledScript::new(&script(64), &limits).is_ok());
    for steps in [65, 10_000] {
        let error = CompiledScript::new(&script(steps), &limits).unwrap_err();
        assert_eq!(error, ScriptError::TooManySteps { limit: 64, steps });
    }
    let wide = ScriptLimits { steps: 10_000, ..limits };
    assert!(CompiledScript::new(&script(10_000), &wide).is_ok());
}

#[test]
fn t69_a_send_that_is_never_taken_waits() {
    let mut engine = engine([Step::send("x".repeat(1000)).with_name("big")]);
    let now = Instant::now();
    engine.written(400, now);
    engine.received(b"bytes meanwhile", now);
    assert_eq!(engine.step(now), Action::Write(&[b'x'; 600]));
    let waiting = engine.waiting().unwrap();
    assert_eq!((waiting.name, waiting.bytes_pending), (Some("big"), 15));
    let report = engine.report();
    assert_eq!(report.steps[0].sent_bytes, Some(400));
    assert_eq!(report.steps[0].outcome, StepOutcome::Unfinished);
}

#[test]
fn t72_bytes_after_the_last_step_are_ignored() {
    let mut engine = engine([Step::expect("^ok")]);
    let now = Instant::now();
    engine.received(b"ok\nmore\n", now);
    assert_eq!(engine.step(now), Action::Done);
    let report = engine.report();
    assert_eq!((report.bytes_received, report.tail.as_ref()), (8, None));
    engine.received(&[b'x'; 100_000], now);
    engine.closed(now);
    assert_eq!(engine.step(now), Action::Done);
    assert_eq!(engine.report(), report);
}

#[test]
fn t73_expect_after_the_close() {
    for step in [Step::expect("x"), Step::expect_raw("x"), Step::expect_bytes("x")] {
        let steps = [Step::expect("^ok"), Step::send("bye"), step];
        let played = say_and_close(steps, b"ok\n");
        assert_eq!(played.kind(), Some(Kind::Eof));
        assert_eq!((played.failure().step, played.sent.as_slice()), (2, &b"bye"[..]));
    }
    // Lines that came before the close are still there.
    let mut engine = engine([Step::send("hello"), Step::expect("^b$")]);
    let now = Instant::now();
    engine.received(b"a\nb", now);
    engine.closed(now);
    assert_eq!(engine.step(now), Action::Write(b"hello"));
    engine.written(5, now);
    assert_eq!(engine.step(now), Action::Done);
}

#[test]
fn t74_empty_pattern_matches_at_once() {
    for step in [Step::expect(""), Step::expect_raw(""), Step::expect_bytes(""), Step::send("")] {
        assert!(play(engine([step]), [], Then::Silence).passed);
    }
    // It takes nothing, either.
    let played = say([Step::expect(""), Step::expect("^a")], b"a\n");
    assert_eq!(played.matched(), ["a"]);
    assert!(say([Step::expect("(?:)")], b"").waits());
    assert_eq!(say([Step::expect("(?:)")], b"any\n").matched(), ["any"]);
}

#[test]
fn s109_plain_text_left_over_when_tls_starts() {
    let steps = || [Step::expect("^220"), Step::starttls(), Step::expect("^250")];
    for bytes in [&b"220 go\r\n250 evil\r\n"[..], b"220 go\n\x16", b"220 go\r\n\r\n"] {
        let played = say(steps(), bytes);
        assert_eq!(played.kind(), Some(Kind::InjectedPlaintext));
        assert_eq!(played.failure().step, 1);
        assert!(!played.tls);
    }
    // It may also come between the go-ahead and the handshake.
    let mut engine = engine(steps());
    let now = Instant::now();
    engine.received(b"220 go\r\n", now);
    assert_eq!(engine.step(now), Action::StartTls);
    engine.received(b"2", now);
    engine.tls_started(now);
    assert!(matches!(engine.step(now), Action::Failed(f) if f.kind == Kind::InjectedPlaintext));
    assert_eq!(engine.report().failure.unwrap().evidence.as_deref(), Some("2"));
}

#[test]
fn s109_bytes_under_tls_are_not_mistaken_for_it() {
    let mut engine = engine([Step::expect("^220"), Step::starttls(), Step::expect("^250")]);
    let now = Instant::now();
    engine.received(b"220 go\r\n", now);
    engine.tls_started(now);
    engine.received(b"250 ok\r\n", now);
    assert_eq!(engine.step(now), Action::Done);
}

#[test]
fn s109_bytes_beyond_the_cap_are_left_over_too() {
    let script = Script::new([Step::expect("^220"), Step::starttls()]);
    let limits = ScriptLimits { received: 4, ..ScriptLimits::default() };
    let engine = ScriptEngine::new(compile_with(&script, &limits), Instant::now());
    let played = play(engine, [&b"220\nevil"[..]], Then::Silence);
    assert_eq!(played.kind(), Some(Kind::InjectedPlaintext));
}

#[test]
fn s116_starttls_twice() {
    let script = Script::new([Step::starttls(), Step::send("x"), Step::starttls()]);
    let error = CompiledScript::new(&script, &ScriptLimits::default()).unwrap_err();
    let problem = StepProblem::SecondStartTls { first: 0 };
    assert_eq!(error, ScriptError::Step { index: 2, problem });
    assert_eq!(error.to_string(), "steps[2].starttls: TLS starts in step 0 already");
}
