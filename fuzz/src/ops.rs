//! Random conversations: a script, caps and calls made up from bytes.
//!
//! Whatever the order of the calls, the engine must not panic, must keep its bounds, and must come
//! to what it comes to when the same bytes arrive all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use netsonde::engine::script::{Action, CompiledScript, ScriptEngine};
use netsonde::script::{
    ByteOrder, CaptureScope, Frame, LengthField, Script, ScriptLimits, ScriptReport, Step,
};

/// Runs one conversation.
pub fn check(data: &[u8]) {
    let mut data = Data(data);
    let steps = usize::from(data.byte() % 7);
    let mut script = Script::new((0..steps).map(|_| step(data.byte())));
    if data.byte() % 2 == 1 {
        script.captures = CaptureScope::Latest;
    }
    let limits = ScriptLimits {
        line: 12,
        raw: 12,
        received: usize::from(data.byte() % 96),
        send: 8,
        evidence: 6,
        ..ScriptLimits::default()
    };
    // The scripts made up here are all sound, but for TLS that starts twice.
    let Ok(compiled) = CompiledScript::new(&script, &limits) else { return };
    let run = Run::new(Arc::new(compiled), script, limits);
    run.play(data);
}

fn step(choice: u8) -> Step {
    let tlv = LengthField { offset: 1, size: 1, order: ByteOrder::Big, add: 2 };
    match choice % 20 {
        0 => Step::expect("^a(?P<x>.*)b").with_label("x", "[${x}]"),
        1 => Step::expect("b$").with_reject("^a"),
        2 => Step::expect("a").with_until("^b").with_max_lines(3),
        3 => Step::expect(""),
        4 => Step::expect("(?:)"),
        5 => Step::expect("a").with_frame(Frame::Length(tlv)).with_reject("bb"),
        6 => Step::expect("(?s)^0.(.)").with_frame(Frame::Ber),
        7 => Step::expect_raw("a\n?(b)"),
        8 => Step::expect_raw("(?s)(?P<x>b.*)a").with_reject("\r"),
        9 => Step::expect_raw("b*"),
        10 => Step::expect_bytes("a"),
        11 => Step::expect_bytes("ab\n"),
        12 => Step::send("hello"),
        13 => Step::send(""),
        14 => Step::send_expanded("<$x$1>"),
        15 => Step::send_expanded("${x}").with_line_breaks(),
        16 => Step::send_expanded("$0").with_secret(),
        17 => Step::expect("(?P<x>b)").with_secret(),
        _ => Step::starttls(),
    }
}

struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// What went in, apart from when: that must not matter. Before and after TLS started.
#[derive(Default)]
struct Input {
    bytes: [Vec<u8>; 2],
    closed: [bool; 2],
    tls: bool,
    written: Vec<u8>,
}

struct Run {
    script: Script,
    limits: ScriptLimits,
    compiled: Arc<CompiledScript>,
    engine: ScriptEngine,
    origin: Instant,
    now: Instant,
    input: Input,
}

impl Run {
    fn new(compiled: Arc<CompiledScript>, script: Script, limits: ScriptLimits) -> Self {
        let origin = Instant::now();
        let engine = ScriptEngine::new(Arc::clone(&compiled), origin);
        Self { script, limits, compiled, engine, origin, now: origin, input: Input::default() }
    }

    fn play(mut self, mut data: Data<'_>) {
        while !data.0.is_empty() {
            self.now += Duration::from_nanos(u64::from(data.byte() % 8));
            let operation = data.byte();
            match operation % 8 {
                0..=3 => {
                    let count = usize::from(operation / 8);
                    self.receive(data.bytes(count));
                }
                4 | 5 => self.write(usize::from(operation / 8)),
                6 => self.start_tls(),
                _ if operation > 0xc0 => self.close(),
                _ => {}
            }
            self.check_bounds();
        }
        self.check_against_one_read();
    }

    fn side(&self) -> usize {
        usize::from(self.input.tls)
    }

    fn is_closed(&self) -> bool {
        self.input.closed.contains(&true)
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.engine.step(self.now);
        if self.engine.waiting().is_some() && !self.is_closed() {
            let side = self.side();
            self.input.bytes[side].extend_from_slice(bytes);
        }
        self.engine.received(bytes, self.now);
    }

    fn write(&mut self, count: usize) {
        if let Action::Write(bytes) = self.engine.step(self.now) {
            let count = count.min(bytes.len());
            self.input.written.extend_from_slice(&bytes[..count]);
        }
        self.engine.written(count, self.now);
    }

    fn start_tls(&mut self) {
        self.input.tls |= self.engine.step(self.now) == Action::StartTls;
        self.engine.tls_started(self.now);
    }

    fn close(&mut self) {
        let side = self.side();
        if !self.is_closed() {
            self.input.closed[side] = true;
        }
        self.engine.closed(self.now);
    }

    fn check_bounds(&mut self) {
        let closed = self.is_closed();
        match self.engine.step(self.now) {
            Action::Read => assert!(!closed, "reads after the end"),
            Action::Write(bytes) => assert!(!bytes.is_empty(), "writes nothing"),
            _ => {}
        }
        let starts_tls = self.engine.step(self.now) == Action::StartTls;
        let ended = matches!(self.engine.step(self.now), Action::Done | Action::Failed(_));
        let report = self.engine.report();
        assert_eq!(ended, self.engine.waiting().is_none());
        if let Some(waiting) = self.engine.waiting() {
            assert!(waiting.bytes_pending <= self.limits.received);
            assert!(waiting.bytes_pending as u64 <= report.bytes_received);
            assert!(!starts_tls || waiting.bytes_pending == 0, "plain text left over");
            assert_eq!(waiting.step + 1, report.steps.len());
        }
        let sent = report.steps.iter().filter_map(|step| step.sent_bytes).sum::<u64>();
        assert_eq!(sent, report.bytes_sent);
        assert_eq!(sent, self.input.written.len() as u64);
        let mut clock = 0;
        for record in &report.steps {
            let ended = record.ended_ns.unwrap_or(u64::MAX);
            assert!(clock <= record.started_ns && record.started_ns <= ended);
            clock = ended;
            let texts = [&record.sent, &record.matched].into_iter().flatten();
            assert!(texts.map(String::len).all(|length| length <= self.limits.evidence + 3));
        }
    }

    /// The same bytes in one read, as far as the writes went.
    fn check_against_one_read(mut self) {
        let mut engine = ScriptEngine::new(Arc::clone(&self.compiled), self.origin);
        let now = self.origin;
        let feed = |engine: &mut ScriptEngine, input: &Input, side: usize| {
            engine.received(&input.bytes[side], now);
            if input.closed[side] {
                engine.closed(now);
            }
        };
        feed(&mut engine, &self.input, 0);
        let mut written = Vec::new();
        loop {
            match engine.step(now) {
                Action::Write(bytes) if written.len() < self.input.written.len() => {
                    let count = bytes.len().min(self.input.written.len() - written.len());
                    written.extend_from_slice(&bytes[..count]);
                    engine.written(count, now);
                }
                Action::StartTls if self.input.tls => {
                    engine.tls_started(now);
                    feed(&mut engine, &self.input, 1);
                }
                _ => break,
            }
        }
        self.engine.step(self.now);
        assert_eq!(written, self.input.written);
        assert_eq!(timeless(engine.report()), timeless(self.engine.report()), "{:?}", self.script);
    }
}

/// A report without what may depend on when bytes came: the times, and the texts of a failure.
fn timeless(mut report: ScriptReport) -> ScriptReport {
    for step in &mut report.steps {
        step.started_ns = 0;
        step.ended_ns = step.ended_ns.map(|_| 0);
    }
    if let Some(failure) = &mut report.failure {
        failure.evidence = None;
    }
    report.tail = None;
    report
}
