//! The engine: what its owner calls, and the way from step to step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::buffer::Buffer;
use super::compile::{CompiledScript, CompiledStep, Op};
use super::scan::Fault;
use super::steps::{Current, Progress};
use super::template::Values;
use super::text::{printable, printable_end};
use crate::script::{Capture, ScriptFailure, ScriptReport, StepKind, StepOutcome, StepRecord};

/// What the owner of a [`ScriptEngine`] is to do next.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Stop: the script passed. Bytes that come later are nobody's.
    Done,
    /// Stop: the script failed. It stays so.
    Failed(&'a ScriptFailure),
    /// Read some bytes and pass them to [`ScriptEngine::received`], or say that there are no more
    /// with [`ScriptEngine::closed`].
    Read,
    /// Start TLS without reading anything before, and say when it is done with
    /// [`ScriptEngine::tls_started`].
    StartTls,
    /// Write some of these bytes, which are never none, and say how many with
    /// [`ScriptEngine::written`].
    Write(&'a [u8]),
}

/// What a script waits for: when time runs out, this is where.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// The step, counted from 0.
    pub step: usize,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
    /// What it does.
    pub kind: StepKind,
    /// Bytes received since the script began, used or not.
    pub bytes_received: u64,
    /// Bytes received that no step has used.
    pub bytes_pending: usize,
}

/// One conversation. See the [module](super) for how to run it.
///
/// Every method that takes an instant may be given the same one as before; one that is earlier
/// counts as the latest so far. Input is worked on as soon as it is passed in, so a step ends at
/// the instant that came with the bytes that ended it.
pub struct ScriptEngine {
    pub(super) script: Arc<CompiledScript>,
    origin: Instant,
    /// The latest instant that was passed in.
    now: Instant,
    pub(super) buffer: Buffer,
    pub(super) closed: bool,
    pub(super) values: Values,
    labels: BTreeMap<String, String>,
    /// One for each step that was begun. The last is under way if it is that of `index`.
    records: Vec<StepRecord>,
    index: usize,
    pub(super) current: Current,
    ended: Option<Result<(), ScriptFailure>>,
    bytes_received: u64,
    bytes_sent: u64,
}

impl fmt::Debug for ScriptEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Buffer and captures may hold secrets: the report is what there is to see.
        f.debug_struct("ScriptEngine").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl ScriptEngine {
    /// A conversation that has not begun. Times in its report count from `origin`.
    pub fn new(script: Arc<CompiledScript>, origin: Instant) -> Self {
        Self {
            buffer: Buffer::new(script.limits.received, script.limits.evidence),
            values: Values::new(script.captures),
            script,
            origin,
            now: origin,
            closed: false,
            labels: BTreeMap::new(),
            records: Vec::new(),
            index: 0,
            current: Current::default(),
            ended: None,
            bytes_received: 0,
            bytes_sent: 0,
        }
    }

    /// Sets a variable for templates, in place of one of the same name in the script. To be called
    /// before the conversation begins. The ready dialogues want `host`: the target's name in its
    /// ASCII form, or its address.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.values.set_variable(name.to_owned(), value.as_bytes().to_vec());
        self
    }

    /// Says what to do next. Asking again before anything else happened gives the same answer.
    pub fn step(&mut self, now: Instant) -> Action<'_> {
        self.advance(now);
        match &self.ended {
            Some(Ok(())) => return Action::Done,
            Some(Err(failure)) => return Action::Failed(failure),
            None => {}
        }
        match self.script.steps.get(self.index).map(|step| &step.op) {
            Some(Op::Send(_) | Op::SendTemplate { .. }) => Action::Write(self.unwritten()),
            Some(Op::StartTls) => Action::StartTls,
            Some(Op::Bytes(_) | Op::Nothing | Op::Raw { .. } | Op::Units(_)) => Action::Read,
            None => Action::Done,
        }
    }

    /// Takes bytes that the peer sent: any number at any time. Those that come after the script
    /// ended or after [`closed`](Self::closed) are ignored and not counted.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        self.advance(now);
        if self.ended.is_none() && !self.closed {
            self.bytes_received = self.bytes_received.saturating_add(bytes.len() as u64);
            self.buffer.push(bytes);
            self.pump();
        }
    }

    /// Takes note that the first `count` of the bytes that [`Action::Write`] offered were written.
    /// More than were offered count as all of them.
    pub fn written(&mut self, count: usize, now: Instant) {
        self.advance(now);
        let count = count.min(self.unwritten().len());
        if self.ended.is_some() || count == 0 {
            return;
        }
        self.current.written = self.current.written.saturating_add(count);
        self.bytes_sent = self.bytes_sent.saturating_add(count as u64);
        if let Some(record) = self.records.last_mut() {
            record.sent_bytes = Some(self.current.written as u64);
        }
        self.pump();
    }

    /// Takes note that the handshake is done; bytes received from now on came under TLS. Ignored
    /// unless [`Action::StartTls`] asked for it.
    pub fn tls_started(&mut self, now: Instant) {
        self.advance(now);
        if self.ended.is_none() && self.is_starttls() {
            self.current.tls_started = true;
            self.pump();
        }
    }

    /// Takes note that the peer will send no more. Writing may go on.
    pub fn closed(&mut self, now: Instant) {
        self.advance(now);
        self.closed = true;
        self.pump();
    }

    /// The step that the script waits in, unless it ended.
    pub fn waiting(&self) -> Option<Waiting<'_>> {
        let step = self.script.steps.get(self.index).filter(|_| self.ended.is_none())?;
        Some(Waiting {
            step: self.index,
            name: step.name.as_deref(),
            kind: step.kind,
            bytes_received: self.bytes_received,
            bytes_pending: self.buffer.pending().len(),
        })
    }

    /// What is known so far: the whole story once the script ended, and what to keep when it is
    /// given up.
    pub fn report(&self) -> ScriptReport {
        let passed = matches!(self.ended, Some(Ok(())));
        let secret = self.script.steps.get(self.index).is_some_and(|step| step.secret);
        let tail = if passed || secret { Vec::new() } else { self.buffer.tail() };
        ScriptReport {
            steps: self.records.clone(),
            labels: self.labels.clone(),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            failure: self.ended.clone().and_then(Result::err),
            tail: (!tail.is_empty()).then(|| printable_end(&tail, self.script.limits.evidence)),
        }
    }

    /// Moves the clock on and makes what needs no input happen.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.records.is_empty() {
            self.set_variables();
        }
        self.pump();
    }

    /// The script's variables, where the prober set none of the same name.
    fn set_variables(&mut self) {
        let unset =
            self.script.variables.iter().filter(|(name, _)| !self.values.has_variable(name));
        let values = unset.filter_map(|(name, template)| {
            Some((name.clone(), template.expand(&self.values, usize::MAX)?.bytes))
        });
        for (name, value) in values.collect::<Vec<_>>() {
            self.values.set_variable(name, value);
        }
    }

    /// Goes on until something has to come from outside.
    fn pump(&mut self) {
        let script = Arc::clone(&self.script);
        while self.ended.is_none() {
            let Some(step) = script.steps.get(self.index) else {
                self.ended = Some(Ok(()));
                return;
            };
            if self.records.len() == self.index {
                self.begin(step);
            }
            match self.run(step) {
                Progress::Blocked => return,
                Progress::Completed => self.complete(step),
                Progress::Failed { fault, evidence } => self.fail(step, &fault, evidence),
            }
        }
    }

    fn begin(&mut self, step: &CompiledStep) {
        self.current = Current::default();
        let mut record = StepRecord {
            index: self.index,
            name: step.name.clone(),
            kind: step.kind,
            outcome: StepOutcome::Unfinished,
            started_ns: self.offset(),
            ended_ns: None,
            sent_bytes: (step.kind == StepKind::Send).then_some(0),
            sent: None,
            lines: matches!(step.op, Op::Units(_)).then_some(0),
            matched: None,
            captures: Vec::new(),
            secret: step.secret,
        };
        if let Op::Send(bytes) = &step.op
            && !step.secret
        {
            record.sent = Some(printable(bytes, self.script.limits.evidence));
        }
        if self.records.capacity() == 0 {
            // Many scripts never come to a second step, and a vector would begin with room for four.
            self.records.reserve_exact(1);
        }
        self.records.push(record);
    }

    fn complete(&mut self, step: &CompiledStep) {
        let ended = self.offset();
        let evidence = self.script.limits.evidence;
        let current = std::mem::take(&mut self.current);
        if let Some(record) = self.records.last_mut() {
            record.outcome = StepOutcome::Passed;
            record.ended_ns = Some(ended);
            if let Some(found) = current.matched.as_ref().filter(|_| !step.secret) {
                record.matched = found.text.as_ref().map(|text| printable(text, evidence));
                let mut room = evidence;
                for (index, (name, value)) in found.groups.iter().enumerate().skip(1) {
                    let Some(value) = value else { continue };
                    let value = printable(&value.bytes, room);
                    room = room.saturating_sub(value.len());
                    record.captures.push(Capture { index, name: name.clone(), value });
                }
            }
        }
        if let Some(found) = current.matched.filter(|found| !found.groups.is_empty()) {
            self.values.set_groups(found.groups);
        }
        for (name, template) in &step.labels {
            let Some(expanded) = template.expand(&self.values, usize::MAX) else { continue };
            let secret = expanded.secret;
            let value =
                if secret { "***".to_owned() } else { printable(&expanded.bytes, evidence) };
            self.labels.insert(name.clone(), value);
        }
        self.index = self.index.saturating_add(1);
    }

    fn fail(&mut self, step: &CompiledStep, fault: &Fault, evidence: Option<Vec<u8>>) {
        let ended = self.offset();
        if let Some(record) = self.records.last_mut() {
            record.outcome = StepOutcome::Failed;
            record.ended_ns = Some(ended);
        }
        let limit = self.script.limits.evidence;
        self.ended = Some(Err(ScriptFailure {
            kind: fault.kind,
            step: self.index,
            name: step.name.clone(),
            limit: fault.cap.map(|(limit, _)| limit as u64),
            seen: fault.cap.map(|(_, seen)| seen as u64),
            evidence: evidence.filter(|_| !step.secret).map(|bytes| printable(&bytes, limit)),
        }));
    }

    /// Records what a template came to.
    pub(super) fn record_expanded(&mut self, bytes: &[u8], secret: bool) {
        let evidence = self.script.limits.evidence;
        if let Some(record) = self.records.last_mut() {
            record.secret |= secret;
            record.sent = (!record.secret).then(|| printable(bytes, evidence));
        }
    }

    pub(super) fn record_line(&mut self) {
        self.current.lines = self.current.lines.saturating_add(1);
        if let Some(record) = self.records.last_mut() {
            record.lines = Some(self.current.lines);
        }
    }

    fn is_starttls(&self) -> bool {
        self.script.steps.get(self.index).is_some_and(|step| matches!(step.op, Op::StartTls))
    }

    /// What the step under way has still to write.
    fn unwritten(&self) -> &[u8] {
        let bytes = match self.script.steps.get(self.index).map(|step| &step.op) {
            Some(Op::Send(bytes)) => bytes.as_slice(),
            Some(Op::SendTemplate { .. }) => self.current.expanded.as_deref().unwrap_or_default(),
            _ => &[],
        };
        bytes.get(self.current.written..).unwrap_or_default()
    }

    fn offset(&self) -> u64 {
        let elapsed = self.now.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }
}
