//! What each kind of step does with the bytes at hand.

use regex::bytes::Regex;

use super::compile::{CompiledStep, Op, Units};
use super::run::ScriptEngine;
use super::scan::{Fault, next_frame, next_line, shortest_match};
use super::template::{Groups, Template, Value};
use crate::script::ScriptFailureKind;

/// The state of the step under way.
#[derive(Debug, Default)]
pub(super) struct Current {
    /// How many pending bytes need no second look: without LF for a line, searched for a raw
    /// pattern, equal for exact bytes.
    searched: Option<usize>,
    pub(super) lines: u64,
    pub(super) matched: Option<Match>,
    /// What a template came to.
    pub(super) expanded: Option<Vec<u8>>,
    pub(super) written: usize,
    pub(super) tls_started: bool,
}

/// What matched.
#[derive(Debug)]
pub(super) struct Match {
    /// `None` if nothing was looked at.
    pub(super) text: Option<Vec<u8>>,
    /// The groups of the pattern, if there is one.
    pub(super) groups: Groups,
}

/// How far the step under way came.
pub(super) enum Progress {
    Blocked,
    Completed,
    Failed { fault: Fault, evidence: Option<Vec<u8>> },
}

impl Progress {
    fn failed(kind: ScriptFailureKind, evidence: &[u8]) -> Self {
        Self::Failed { fault: Fault::plain(kind), evidence: Some(evidence.to_vec()) }
    }

    fn fault(fault: Fault) -> Self {
        Self::Failed { fault, evidence: None }
    }
}

impl ScriptEngine {
    pub(super) fn run(&mut self, step: &CompiledStep) -> Progress {
        match &step.op {
            Op::Bytes(bytes) => self.run_bytes(step, bytes),
            Op::Nothing => {
                let whole = Value { bytes: Vec::new(), secret: step.secret };
                self.current.matched =
                    Some(Match { text: None, groups: vec![(None, Some(whole))] });
                Progress::Completed
            }
            Op::Raw { expect, reject } => self.run_raw(step, expect, reject.as_ref()),
            Op::Send(bytes) if self.current.written < bytes.len() => Progress::Blocked,
            Op::Send(_) => Progress::Completed,
            Op::SendTemplate { template, allow_line_breaks } => {
                self.run_template(step, template, *allow_line_breaks)
            }
            Op::StartTls => self.run_starttls(),
            Op::Units(units) => self.run_units(step, units),
        }
    }

    fn run_units(&mut self, step: &CompiledStep, units: &Units) -> Progress {
        loop {
            let limit = self.script.limits.line;
            let closed = self.closed && !self.buffer.overflowed();
            let pending = self.buffer.pending();
            let unit = match units.frame {
                Some(frame) => next_frame(pending, frame, limit),
                None => {
                    let searched = self.current.searched.get_or_insert(0);
                    next_line(pending, closed, searched, limit)
                }
            };
            let unit = match unit {
                Ok(Some(unit)) => unit,
                Ok(None) => return self.blocked(),
                Err(fault) => {
                    let evidence = pending.get(..limit).unwrap_or(pending).to_vec();
                    return Progress::Failed { fault, evidence: Some(evidence) };
                }
            };
            let content = pending.get(unit.content).unwrap_or_default();
            let mut hit = None;
            if self.current.matched.is_none() {
                hit = self.groups(&units.expect, content, step.secret);
            }
            if hit.is_none() && units.reject.as_ref().is_some_and(|reject| reject.is_match(content))
            {
                return Progress::failed(ScriptFailureKind::Rejected, content);
            }
            let last = units.until.as_ref().map_or(hit.is_some(), |until| until.is_match(content));
            if let Some(groups) = hit {
                self.current.matched = Some(Match { text: Some(content.to_vec()), groups });
            }
            if last && self.current.matched.is_none() {
                return Progress::failed(ScriptFailureKind::Unmatched, content);
            }
            self.buffer.consume(unit.length, step.secret);
            self.record_line();
            if last {
                return Progress::Completed;
            }
            if let Some(max) = units.max
                && self.current.lines >= u64::from(max)
            {
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                return Progress::fault(Fault::over(ScriptFailureKind::TooManyLines, max));
            }
        }
    }

    fn run_raw(&mut self, step: &CompiledStep, expect: &Regex, reject: Option<&Regex>) -> Progress {
        let limit = self.script.limits.raw;
        let pending = self.buffer.pending();
        let window = pending.get(..limit).unwrap_or(pending);
        let tried = self.current.searched.replace(window.len());
        if tried != Some(window.len()) {
            let found = shortest_match(expect, window, tried);
            let refused = reject.and_then(|reject| shortest_match(reject, window, tried));
            if let Some(end) = refused.filter(|&refused| found.is_none_or(|found| refused < found))
            {
                let evidence = window.get(..end).unwrap_or_default();
                return Progress::failed(ScriptFailureKind::Rejected, evidence);
            }
            let taken = found.and_then(|end| window.get(..end));
            if let Some(taken) = taken
                && let Some(groups) = self.groups(expect, taken, step.secret)
            {
                let whole = expect.find(taken).map(|found| found.as_bytes().to_vec());
                let length = taken.len();
                self.current.matched = Some(Match { text: whole, groups });
                self.buffer.consume(length, step.secret);
                return Progress::Completed;
            }
        }
        if pending.len() > limit {
            let fault = Fault::over(ScriptFailureKind::RawTooLong, limit);
            return Progress::Failed { fault, evidence: Some(window.to_vec()) };
        }
        self.blocked()
    }

    fn run_bytes(&mut self, step: &CompiledStep, expected: &[u8]) -> Progress {
        let pending = self.buffer.pending();
        let here = pending.get(..expected.len()).unwrap_or(pending);
        let equal = self.current.searched.replace(here.len()).unwrap_or(0);
        if here.get(equal..) != expected.get(equal..here.len()) {
            return Progress::failed(ScriptFailureKind::Mismatch, here);
        }
        if here.len() < expected.len() {
            return self.blocked();
        }
        self.current.matched = Some(Match { text: Some(here.to_vec()), groups: Groups::new() });
        self.buffer.consume(expected.len(), step.secret);
        Progress::Completed
    }

    fn run_template(
        &mut self,
        step: &CompiledStep,
        template: &Template,
        allow_line_breaks: bool,
    ) -> Progress {
        if let Some(bytes) = &self.current.expanded {
            let done = self.current.written >= bytes.len();
            return if done { Progress::Completed } else { Progress::Blocked };
        }
        let limit = self.script.limits.send;
        let Some(expanded) = template.expand(&self.values, limit) else {
            return Progress::fault(Fault::over(ScriptFailureKind::SendTooLong, limit));
        };
        if let Some(value) = expanded.line_break.filter(|_| !allow_line_breaks) {
            let fault = Fault::plain(ScriptFailureKind::UnsafeExpansion);
            return Progress::Failed { fault, evidence: (!expanded.secret).then_some(value) };
        }
        let done = expanded.bytes.is_empty();
        self.record_expanded(&expanded.bytes, step.secret || expanded.secret);
        self.current.expanded = Some(expanded.bytes);
        if done { Progress::Completed } else { Progress::Blocked }
    }

    fn run_starttls(&self) -> Progress {
        let pending = self.buffer.pending();
        if !pending.is_empty() || self.buffer.overflowed() {
            return Progress::failed(ScriptFailureKind::InjectedPlaintext, pending);
        }
        if self.current.tls_started {
            return Progress::Completed;
        }
        if self.closed {
            return Progress::fault(Fault::plain(ScriptFailureKind::Eof));
        }
        Progress::Blocked
    }

    /// The step needs more bytes: may there be any?
    fn blocked(&self) -> Progress {
        if self.buffer.overflowed() {
            let limit = self.script.limits.received;
            return Progress::fault(Fault::over(ScriptFailureKind::TooManyBytes, limit));
        }
        if self.closed {
            return Progress::fault(Fault::plain(ScriptFailureKind::Eof));
        }
        Progress::Blocked
    }

    /// The groups of the leftmost match, if there is one. Each keeps as much as can ever be used.
    fn groups(&self, regex: &Regex, content: &[u8], secret: bool) -> Option<Groups> {
        if !regex.is_match(content) {
            return None;
        }
        let limits = &self.script.limits;
        let keep = limits.send.max(limits.evidence).saturating_add(1);
        let captures = regex.captures(content)?;
        let groups = regex.capture_names().zip(captures.iter()).map(|(name, group)| {
            let value = group.map(|group| {
                let bytes = group.as_bytes();
                Value { bytes: bytes.get(..keep).unwrap_or(bytes).to_vec(), secret }
            });
            (name.map(str::to_owned), value)
        });
        Some(groups.collect())
    }
}
