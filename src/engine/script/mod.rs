//! The expect/send engine: runs a [`Script`](crate::script::Script) over bytes that somebody else
//! reads and writes.
//!
//! A script is checked once, by [`CompiledScript::new`]; each conversation is a [`ScriptEngine`].
//! Its owner asks [`ScriptEngine::step`] what to do, does it, and says what came of it:
//!
//! | [`Action`] | do | then say |
//! |---|---|---|
//! | `Read` | read some bytes | [`received`](ScriptEngine::received) or [`closed`](ScriptEngine::closed) |
//! | `Write(bytes)` | write some of them | [`written`](ScriptEngine::written) |
//! | `StartTls` | shake hands, reading nothing before | [`tls_started`](ScriptEngine::tls_started) |
//! | `Done`, `Failed` | stop | |
//!
//! Bytes may also be said to have been received at any other time, for instance while a write
//! blocks. Deadlines are the owner's: [`ScriptEngine::waiting`] tells what a late script waits for,
//! and [`ScriptEngine::report`] what is known so far.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use netsonde::engine::script::{Action, CompiledScript, ScriptEngine};
//! use netsonde::script::{Script, ScriptLimits, Step};
//!
//! let script = Script::new([
//!     Step::expect("^SSH-2.0-(?P<software>.*)").with_label("software", "${software}"),
//!     Step::send("SSH-2.0-probe\r\n"),
//! ]);
//! let compiled = Arc::new(CompiledScript::new(&script, &ScriptLimits::default())?);
//!
//! let origin = Instant::now();
//! let mut engine = ScriptEngine::new(compiled, origin);
//! assert_eq!(engine.step(origin), Action::Read);
//! let later = origin + Duration::from_millis(3);
//! engine.received(b"SSH-2.0-Open", later);
//! assert_eq!(engine.step(later), Action::Read);
//! engine.received(b"SSH\r\n", later);
//! assert_eq!(engine.step(later), Action::Write(b"SSH-2.0-probe\r\n"));
//! engine.written(15, later);
//! assert_eq!(engine.step(later), Action::Done);
//!
//! let report = engine.report();
//! assert_eq!(report.labels["software"], "OpenSSH");
//! assert_eq!(report.steps[0].ended_ns, Some(3_000_000));
//! # Ok::<(), netsonde::script::ScriptError>(())
//! ```

mod buffer;
mod compile;
mod run;
mod scan;
mod steps;
mod template;
mod text;

pub use compile::CompiledScript;
pub use run::{Action, ScriptEngine, Waiting};

#[cfg(test)]
mod tests;
