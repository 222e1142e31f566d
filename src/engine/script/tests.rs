use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, CompiledScript, ScriptEngine};
use crate::script::{
    Script, ScriptFailure, ScriptFailureKind, ScriptLimits, ScriptReport, Step, StepOutcome,
};

mod dialogues;
mod model;
mod records;
mod rows;

fn compile_with(script: &Script, limits: &ScriptLimits) -> Arc<CompiledScript> {
    Arc::new(CompiledScript::new(script, limits).unwrap())
}

fn compile(steps: impl IntoIterator<Item = Step>) -> Arc<CompiledScript> {
    compile_with(&Script::new(steps), &ScriptLimits::default())
}

fn engine(steps: impl IntoIterator<Item = Step>) -> ScriptEngine {
    ScriptEngine::new(compile(steps), Instant::now())
}

/// What happens once the peer's bytes are used up.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Silence,
}

struct Played {
    report: ScriptReport,
    sent: Vec<u8>,
    passed: bool,
    tls: bool,
}

impl Played {
    fn failure(&self) -> &ScriptFailure {
        self.report.failure.as_ref().unwrap()
    }

    fn kind(&self) -> Option<ScriptFailureKind> {
        self.report.failure.as_ref().map(|failure| failure.kind)
    }

    fn matched(&self) -> Vec<&str> {
        self.report.steps.iter().filter_map(|step| step.matched.as_deref()).collect()
    }

    /// Neither passed nor failed.
    fn waits(&self) -> bool {
        !self.passed && self.report.failure.is_none()
    }
}

/// Runs an engine against a peer that says these pieces, each when it is asked for more.
fn play<'a>(
    mut engine: ScriptEngine,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    then: Then,
) -> Played {
    let now = engine_origin();
    let mut pieces = pieces.into_iter();
    let mut sent = Vec::new();
    let mut tls = false;
    let mut passed = false;
    loop {
        match engine.step(now) {
            Action::Read => match pieces.next() {
                Some(piece) => engine.received(piece, now),
                None if then == Then::Close => engine.closed(now),
                None => break,
            },
            Action::Write(bytes) => {
                let count = bytes.len().div_ceil(2);
                sent.extend_from_slice(&bytes[..count]);
                engine.written(count, now);
            }
            Action::StartTls => {
                tls = true;
                engine.tls_started(now);
            }
            Action::Done => {
                passed = true;
                break;
            }
            Action::Failed(_) => break,
        }
    }
    Played { report: engine.report(), sent, passed, tls }
}

fn engine_origin() -> Instant {
    Instant::now()
}

fn say(steps: impl IntoIterator<Item = Step>, bytes: &[u8]) -> Played {
    play(engine(steps), [bytes], Then::Silence)
}

fn say_and_close(steps: impl IntoIterator<Item = Step>, bytes: &[u8]) -> Played {
    play(engine(steps), [bytes], Then::Close)
}
