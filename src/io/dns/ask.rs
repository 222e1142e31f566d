//! A question under way.

use std::net::SocketAddr;
use std::time::Instant;

use super::Way;
use crate::dns::DnsTransport;
use crate::engine::query::{QueryEngine, QuerySetup, Transmit};
use crate::io::record::Record;
use crate::tcp::TcpConnection;
use crate::timing::{NetworkTime, Phase};
use crate::tls::TlsReport;
use crate::verdict::{Failure, FailureKind, Verdict};

/// A question with all that is known of it. It outlives the futures that drive it, so that what is cut by a
/// deadline keeps its evidence.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) engine: QueryEngine,
    /// One for each attempt of the engine.
    pub(crate) notes: Vec<Note>,
    /// Where its time goes; `None` if nobody asks.
    pub(crate) record: Option<Record<'a>>,
    pub(crate) connection: Option<Box<TcpConnection>>,
    pub(crate) tls: Option<Box<TlsReport>>,
    pub(crate) http_status: Option<u16>,
    /// The time between an answer arriving and it being read, in nanoseconds.
    pub(crate) lag_ns: Option<u64>,
}

/// What the engine does not know of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) transport: DnsTransport,
    pub(crate) server: SocketAddr,
    pub(crate) port: Option<u16>,
    pub(crate) start: Instant,
    pub(crate) sent: bool,
    pub(crate) bytes: u32,
    pub(crate) network: Option<NetworkTime>,
    pub(crate) verdict: Option<Verdict>,
    /// The phase in which it was last.
    pub(crate) phase: Phase,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(setup: QuerySetup, origin: Instant, record: Option<Record<'a>>) -> Self {
        Ask {
            engine: QueryEngine::new(setup, origin),
            notes: Vec::new(),
            record,
            connection: None,
            tls: None,
            http_status: None,
            lag_ns: None,
        }
    }

    /// Composes what is to be sent next, appended to `into`, and notes the attempt.
    pub(super) fn begin(&mut self, way: &Way<'_>, into: &mut Vec<u8>) -> Option<Transmit> {
        let start = crate::io::time::now();
        let before = into.len();
        let transmit = self.engine.poll_transmit(start, &mut || way.random.next(), into)?;
        if self.notes.capacity() == 0 {
            // Most questions have one attempt, and a vector would begin with room for four.
            self.notes.reserve_exact(1);
        }
        self.notes.push(Note {
            transport: way.transport,
            server: way.server,
            port: None,
            start,
            sent: false,
            bytes: u32::try_from(into.len() - before).unwrap_or(u32::MAX),
            network: None,
            verdict: None,
            phase: Phase::Setup,
        });
        Some(transmit)
    }

    pub(super) fn note(&mut self, number: usize) -> Option<&mut Note> {
        self.notes.get_mut(number)
    }

    /// The last attempt has come to this phase.
    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        if let Some(note) = self.notes.last_mut() {
            note.phase = phase;
        }
        if let Some(record) = &mut self.record {
            record.enter(phase, now);
        }
    }

    /// An attempt came to nothing for this reason.
    pub(super) fn refused(&mut self, number: usize, why: Verdict, now: Instant) {
        if let Some(note) = self.notes.get_mut(number) {
            note.verdict.get_or_insert(why);
        }
        self.engine.refused(number, now);
    }

    /// Decides what is due by now.
    pub(super) fn expire(&mut self, now: Instant) {
        let waiting = self.engine.attempts().len();
        let due = self.engine.poll_timeout().is_some_and(|due| due <= now);
        self.engine.handle_timeout(now);
        if due && !self.engine.attempts().is_empty() {
            self.timed_out(waiting);
        }
    }

    fn timed_out(&mut self, waiting: usize) {
        use crate::engine::query::AttemptFate;
        let Some(number) = waiting.checked_sub(1) else { return };
        let is_over = |fate| matches!(fate, AttemptFate::TimedOut | AttemptFate::Waiting);
        if !self.engine.attempts().get(number).is_some_and(|attempt| is_over(attempt.fate)) {
            return;
        }
        if let Some(note) = self.notes.get_mut(number) {
            let failure = Failure::new(FailureKind::Timeout).in_phase(note.phase);
            note.verdict.get_or_insert(failure.into());
        }
    }

    /// Ends the question, whatever was still to be tried.
    pub(crate) fn give_up(&mut self, now: Instant) {
        let waiting = self.engine.attempts().len();
        if !self.engine.is_done() {
            self.timed_out(waiting);
        }
        self.engine.give_up(now);
    }
}
