//! Expect and send: the rows of the fault list, over real sockets.
#![cfg(all(feature = "tcp", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

mod check;

use std::time::{Duration, Instant};

use check::{checked, code, peer_end, saying, script_of, stuck, until, within_ms};
use netsonde::script::{Script as Steps, Step};
use netsonde::tcp::{PeerEnd, TcpConfig, TcpProber, TcpReport};
use netsonde::{LimitHit, Phase, ProbeResult};
use netsonde_support::{Script, Server};

const SCRIPT: Option<Phase> = Some(Phase::Script);
const PASS: (&str, Option<Phase>, Option<u32>) = ("pass", None, None);

async fn run(steps: impl IntoIterator<Item = Step>, server: &Server) -> ProbeResult<TcpReport> {
    checked(&saying(steps), &within_ms(2000), server.addr()).await
}

fn matched(result: &ProbeResult<TcpReport>) -> Vec<&str> {
    script_of(result).steps.iter().filter_map(|step| step.matched.as_deref()).collect()
}

fn limit(result: &ProbeResult<TcpReport>) -> Option<LimitHit> {
    result.verdict.failure().and_then(|failure| failure.limit)
}

#[tokio::test]
async fn t49_banner_one_byte_per_segment() {
    let banner = "220 mail.test ESMTP ready\r\n";
    let server = Server::tcp(Script::new().send_each(banner, Duration::from_millis(2)).hang());
    let result = run([Step::expect("^220 (?P<name>[^ ]+) ESMTP ready$")], &server).await;
    assert_eq!(stuck(&result), PASS);
    assert_eq!(script_of(&result).capture("name"), Some("mail.test"));
}

#[tokio::test]
async fn t50_expected_bytes_split_over_segments() {
    let text = b"hello\0world";
    for cut in 1..text.len() {
        let (head, tail) = text.split_at(cut);
        let script = Script::new().send(head).pause(Duration::from_millis(5)).send(tail).hang();
        let server = Server::tcp(script);
        let result = run([Step::expect_hex(text)], &server).await;
        assert_eq!(stuck(&result), PASS, "cut at {cut}");
    }
    // Several steps out of one segment, and a mixture of kinds.
    let server = Server::tcp(Script::new().send("one\r\ntwo\nTHREEfour;").hang());
    let steps = [
        Step::expect("^one$"),
        Step::expect("^two$"),
        Step::expect_hex("THREE"),
        Step::expect_raw("[a-z]+;"),
    ];
    let result = run(steps, &server).await;
    assert_eq!(matched(&result), ["one", "two", "THREE", "four;"]);
}

#[tokio::test]
async fn t52_banner_without_newline_then_fin() {
    let server = Server::tcp(Script::new().send("SSH-2.0-test"));
    let result = run([Step::expect("^SSH-2.0-(.*)$")], &server).await;
    assert_eq!(stuck(&result), PASS);
    assert_eq!(matched(&result), ["SSH-2.0-test"]);
    let result = run([Step::expect("^SSH-1")], &server).await;
    assert_eq!(stuck(&result), ("closed", SCRIPT, Some(0)));
}

#[tokio::test]
async fn t53_line_at_the_limit() {
    for end in ["\n", "\r\n"] {
        for (length, fits) in [(65_535, true), (65_536, true), (65_537, false)] {
            let server = Server::tcp(Script::new().send("x".repeat(length) + end).hang());
            let result = run([Step::expect("^x+$")], &server).await;
            if fits {
                assert_eq!(stuck(&result), PASS, "{length}");
            } else {
                assert_eq!(stuck(&result), ("limit_line", SCRIPT, Some(0)), "{length}");
                assert_eq!(limit(&result), Some(LimitHit::new(65_536, 65_537)));
            }
        }
    }
}

#[tokio::test]
async fn t54_endless_line() {
    let server = Server::tcp(Script::new().send_forever("x"));
    let result = run([Step::expect("^y")], &server).await;
    assert_eq!(stuck(&result), ("limit_line", SCRIPT, Some(0)));
    assert_eq!(limit(&result), Some(LimitHit::new(65_536, 65_537)));
    let received = script_of(&result).bytes_received;
    assert!(received <= 65_537 + 16 * 1024, "read on to {received}");
}

#[tokio::test]
async fn t56_a_flood_of_lines() {
    let server = Server::tcp(Script::new().send_forever("some line of a server\r\n"));
    let before = thread_cpu();
    let result = run([Step::expect("^never$")], &server).await;
    let cpu = thread_cpu() - before;
    assert_eq!(stuck(&result), ("limit_bytes", SCRIPT, Some(0)));
    assert_eq!(limit(&result), Some(LimitHit::new(1 << 20, (1 << 20) + 1)));
    assert!(script_of(&result).bytes_received <= (1 << 20) + 16 * 1024);
    assert!(cpu < Duration::from_secs(1), "{cpu:?} of CPU");
}

/// Processor time of this thread, which runs the probe: a test has a runtime of its own (proc(5)).
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn t57_nul_and_invalid_utf8() {
    let server = Server::tcp(Script::new().send(b"a\0b \xff\xfe\xc3(\n").hang());
    let result = run([Step::expect(r"^a\x00b (?P<rest>.+)$")], &server).await;
    assert_eq!(stuck(&result), PASS);
    assert_eq!(script_of(&result).capture("rest"), Some("\\xff\\xfe\\xc3("));
    let result = run([Step::expect_raw(r"\xff\xfe")], &server).await;
    assert_eq!(stuck(&result), PASS);
}

#[tokio::test]
async fn t58_line_ends() {
    // LF ends a line, one CR before it is not part of it, a CR alone ends nothing.
    let server = Server::tcp(Script::new().send("a\rb\nc\r\nd\r\r\n\n").hang());
    let all = || (0..4).map(|_| Step::expect("^(?s:.*)$"));
    let result = run(all(), &server).await;
    assert_eq!(matched(&result), ["a\\rb", "c", "d\\r", ""]);
    let result = run([Step::expect("^b$")], &server);
    let timeout = ("timeout", SCRIPT, Some(0));
    assert_eq!(stuck(&result.await), timeout);
}

#[tokio::test]
async fn t60_pattern_meant_to_span_lines() {
    let server = Server::tcp(Script::new().send("one\r\ntwo\r\n"));
    let result = run([Step::expect(r"one\r?\ntwo")], &server).await;
    assert_eq!(stuck(&result), ("closed", SCRIPT, Some(0)), "it sees one line at a time");
    assert!(result.timing.total() < Duration::from_secs(1), "no stall");
    let result = run([Step::expect_raw(r"one\r?\ntwo")], &server).await;
    assert_eq!(stuck(&result), PASS);
}

#[tokio::test]
async fn t61_line_break_in_an_expanded_send() {
    let server = Server::tcp(Script::new().send("name=x\r\nQUIT;").read_line());
    let name = || Step::expect_raw(r"(?s)^name=(?P<name>[^;]*);");
    let steps = [name(), Step::send_expanded("HELLO ${name}\r\n")];
    let result = run(steps, &server).await;
    assert_eq!(stuck(&result), ("unsafe_expansion", SCRIPT, Some(1)));
    assert_eq!(server.closed(0, Duration::from_secs(1)).await.end, netsonde_support::End::Fin);
    assert_eq!(server.connection(0).received_count, 0);

    let verbatim = Step::send_expanded("HELLO ${name}\r\n").with_line_breaks();
    let result = run([name(), verbatim], &server).await;
    assert_eq!(stuck(&result), PASS);
    until("all of it", || server.connection(1).received == b"HELLO x\r\nQUIT\r\n").await;
}

#[tokio::test]
async fn t62_expanded_send_over_the_limit() {
    for (length, fits) in [(4094, true), (4095, false), (60_000, false)] {
        let server = Server::tcp(Script::new().send("x".repeat(length) + "\n").read_to_end());
        let steps = [Step::expect("^x+$"), Step::send_expanded("$0\r\n")];
        let result = run(steps, &server).await;
        server.closed(0, Duration::from_secs(1)).await;
        if fits {
            assert_eq!(stuck(&result), PASS, "{length}");
            until("all of it", || server.connection(0).received_count == 4096).await;
        } else {
            assert_eq!(stuck(&result), ("limit_send", SCRIPT, Some(1)), "{length}");
            assert_eq!(limit(&result).unwrap().cap, 4096);
            assert_eq!(server.connection(0).received_count, 0, "nothing was sent");
        }
    }
}

#[tokio::test]
async fn t64_dollars_and_percents() {
    let text = "$1 ${host} $$ $ %s %n 100%\r\n";
    let server = Server::tcp(Script::new().send("(x)\n").read_line());
    let result = run([Step::expect("(x)"), Step::send(text)], &server).await;
    assert_eq!(stuck(&result), PASS);
    let seen = server.finished(0, Duration::from_secs(1)).await;
    assert_eq!(seen.text(), text);

    let result = run([Step::expect("(x)"), Step::send_expanded(text)], &server).await;
    assert_eq!(stuck(&result), PASS);
    let seen = server.finished(1, Duration::from_secs(1)).await;
    assert_eq!(seen.text(), "x 127.0.0.1 $ $ %s %n 100%\r\n");
}

#[tokio::test]
async fn t65_catastrophic_looking_pattern() {
    let server = Server::tcp(Script::new().send("a".repeat(60_000) + "\n"));
    for pattern in ["^(a+)+$", "^(a|aa)+$", "^((a*)*)*$"] {
        let result = run([Step::expect(pattern)], &server).await;
        assert_eq!(stuck(&result), PASS, "{pattern}");
    }
    for pattern in ["^(a+)+b$", "(x+x+)+y", "^(a|a?)+b$"] {
        let result = run([Step::expect(pattern)], &server).await;
        assert_eq!(stuck(&result), ("closed", SCRIPT, Some(0)), "{pattern}");
    }
}

fn refused(steps: impl IntoIterator<Item = Step>) -> String {
    let config = TcpConfig { script: Steps::new(steps), ..TcpConfig::default() };
    TcpProber::new(config).unwrap_err().to_string()
}

#[test]
fn t66_nested_repeat_pattern() {
    let nested = "(a{1000}){1000}";
    for step in [
        Step::expect(nested),
        Step::expect_raw(nested),
        Step::expect("a").with_reject(nested),
        Step::expect("a").with_until(nested),
    ] {
        let error = refused([Step::send("x"), step]);
        assert!(error.starts_with("script.steps[1]."), "{error}");
        assert!(error.contains("exceeds 1048576 bytes"), "{error}");
    }
}

#[test]
fn t68_too_many_steps() {
    let steps = |count| std::iter::repeat_n(Step::send("x"), count);
    assert!(
        TcpProber::new(TcpConfig { script: Steps::new(steps(64)), ..Default::default() }).is_ok()
    );
    for count in [65, 10_000] {
        let error = refused(steps(count));
        assert!(error.starts_with("script") && error.contains("limit of 64"), "{error}");
    }
}

#[tokio::test]
async fn t69_send_that_is_never_read() {
    let server = Server::builder().receive_buffer(4096).script(Script::new().never_read()).tcp();
    let size = 10_000_000;
    let prober = saying([Step::send("x".repeat(size)).with_name("big")]);
    let result = checked(&prober, &within_ms(200), server.addr()).await;
    assert_eq!(stuck(&result), ("timeout", SCRIPT, Some(0)));
    let report = script_of(&result);
    assert!((1..size as u64).contains(&report.bytes_sent), "{}", report.bytes_sent);
    assert_eq!(report.steps[0].sent_bytes, Some(report.bytes_sent));
}

#[tokio::test]
async fn t70_reset_in_mid_send() {
    let script = Script::new().read(100_000).rst();
    let server = Server::builder().receive_buffer(4096).script(script).tcp();
    let prober = saying([Step::send("x".repeat(10_000_000)), Step::expect("^ok")]);
    let result = checked(&prober, &within_ms(2000), server.addr()).await;
    assert_eq!(stuck(&result), ("reset", SCRIPT, Some(0)));
    assert!(script_of(&result).bytes_sent < 10_000_000);
}

#[tokio::test]
async fn t72_more_data_after_the_last_step() {
    let more = "more\r\n".repeat(1000);
    // Left open or closed: that is told, and it does not change the verdict.
    for (script, ends) in [
        (Script::new().send("ok\r\n").send(&more).hang(), &[None][..]),
        (Script::new().send("ok\r\n").send(&more), &[None, Some(PeerEnd::Closed)]),
        (Script::new().send("ok\r\n"), &[None, Some(PeerEnd::Closed)]),
    ] {
        let server = Server::tcp(script);
        let result = run([Step::expect("^ok$")], &server).await;
        assert_eq!(stuck(&result), PASS);
        assert_eq!(matched(&result), ["ok"]);
        assert!(ends.contains(&peer_end(&result)), "{result}");
    }
    let server = Server::tcp(Script::new().send("ok\r\n").read_line().rst());
    let steps = [Step::expect("^ok$"), Step::send("bye\r\n"), Step::expect("^never$")];
    let result = run(steps, &server).await;
    assert_eq!(stuck(&result), ("reset", SCRIPT, Some(2)));
    assert_eq!(peer_end(&result), Some(PeerEnd::Reset));
}

#[tokio::test]
async fn t73_expect_after_the_close() {
    let server = Server::tcp(Script::new().send("ok\nleft over\n").fin().read_to_end());
    for step in [Step::expect("^x"), Step::expect_raw("x"), Step::expect_hex("x")] {
        let wanted_all = step.expect_hex.is_none();
        let steps = [Step::expect("^ok$"), Step::send("still here\n"), step];
        let result = run(steps, &server).await;
        let expected = if wanted_all { "closed" } else { "script_unmatched" };
        assert_eq!(stuck(&result), (expected, SCRIPT, Some(2)));
    }
    // What came before the close is still there for the steps that want it.
    let steps = [Step::expect("^ok$"), Step::send("still here\n"), Step::expect("^left over$")];
    assert_eq!(stuck(&run(steps, &server).await), PASS);
}

#[tokio::test]
async fn t74_empty_pattern() {
    let server = Server::tcp(Script::new().hang());
    for step in [Step::expect(""), Step::expect_raw(""), Step::expect_hex("")] {
        let started = Instant::now();
        let result = run([step], &server).await;
        assert_eq!(code(&result), ("pass", None));
        assert!(started.elapsed() < Duration::from_secs(1), "it does not wait");
    }
}
