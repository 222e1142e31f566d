//! One question to one name server, without clock and socket: what to send, which of the datagrams and
//! messages that come back is the answer, and when to give up.
//!
//! The owner asks [`QueryEngine::poll_transmit`] what to send, sends it, each attempt from a port of its
//! own, and hands over what comes back with [`received`](QueryEngine::received) or what went wrong with
//! [`refused`](QueryEngine::refused). When there is nothing to send it waits until
//! [`poll_timeout`](QueryEngine::poll_timeout) and then calls
//! [`handle_timeout`](QueryEngine::handle_timeout).
//!
//! What holds:
//!
//! - Every message leaves once. A further attempt is made only as the configuration has it: after a
//!   timeout, or over TCP after an answer that was cut short; each is an [`Attempt`] of its own.
//! - What comes back is the answer if it comes from where the query went, is a response, and has the
//!   id and the question of the query. Whatever else comes is counted by reason and passed over: the
//!   wait goes on until the answer or the time is there.
//! - What looks like the answer but cannot be read does not end the wait either; only when nothing
//!   better has come by the deadline is it what went wrong.
//!
//! ```
//! use netsonde::engine::query::{Outcome, QueryEngine, QuerySetup};
//! use netsonde::wire::dns::{Class, Composer, Flags, Message, RecordType, Section};
//! use std::net::SocketAddr;
//! use std::time::{Duration, Instant};
//!
//! let server: SocketAddr = "192.0.2.53:53".parse()?;
//! let name = "www.example.org".parse()?;
//! let setup = QuerySetup::new(server, name, RecordType::A, Class::IN);
//! let start = Instant::now();
//! let mut engine = QueryEngine::new(setup, start);
//!
//! let mut random = 7_u64; // a real one
//! let mut bytes = Vec::new();
//! let sent = engine.poll_transmit(start, &mut || { random += 1; random }, &mut bytes).unwrap();
//! let query = Message::parse(&bytes)?;
//! let question = query.questions().next().unwrap();
//!
//! let mut answer = Vec::new();
//! let mut composer = Composer::new(&mut answer, query.header().id, Flags(0x8180));
//! composer.question(question.name, question.rtype, question.class)?;
//! composer.record(Section::Answer, question.name, RecordType::A, Class::IN, 60, &[192, 0, 2, 1])?;
//! composer.finish();
//!
//! let later = start + Duration::from_millis(12);
//! engine.received(sent.attempt, server, &answer, later).unwrap();
//! assert_eq!(engine.outcome(), Some(&Outcome::Answered { attempt: 0 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod matching;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use attempt::{Attempt, AttemptFate, Protocol};
pub use matching::{Mismatch, MismatchCounts};

use crate::wire::dns::{
    Class, Composer, DnsError, DnsName, EdnsOption, EdnsRepr, Flags, Header, Message, Rcode,
    RecordType,
};
use matching::{Match, Wanted, check};

/// What one query is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuerySetup {
    /// The name server.
    pub server: SocketAddr,
    /// The name that is asked for.
    pub name: DnsName,
    /// The type.
    pub rtype: RecordType,
    /// The class.
    pub class: Class,
    /// The flags of the query. Default: RD alone.
    pub flags: Flags,
    /// EDNS; `None` for a query without. Default: version 0, 1,232 octets, no options.
    pub edns: Option<QueryEdns>,
    /// How the first attempt goes. Default: UDP.
    pub protocol: Protocol,
    /// Whether an answer that was cut short is asked for again over TCP. Default: yes.
    pub tcp_fallback: bool,
    /// Whether the letters of the name have their case at random, which the answer has to repeat (0x20
    /// bits). Default: no.
    pub mixed_case: bool,
    /// How long each attempt waits for its answer. Default 2 s.
    pub timeout: Duration,
    /// Further attempts after a timeout. Default: none.
    pub retries: u32,
    /// How long to listen on for a second answer, after the first. Default: not at all.
    pub listen: Duration,
    /// Whether octets behind the last record make an answer unreadable. Default: they are counted.
    pub strict: bool,
    /// Whether an ICMP error ends an attempt. Default: yes. If not, it is noted and the wait goes on.
    pub errors_end: bool,
    /// Whether one more attempt is made without EDNS when those with it came to nothing, or were answered
    /// by `FORMERR` (RFC 6891, 7). Default: no.
    pub without_edns: bool,
}

/// What a query says by EDNS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryEdns {
    /// The largest UDP payload that is taken, in octets.
    pub udp_payload: u16,
    /// The version.
    pub version: u8,
    /// DO: whether signatures are wanted.
    pub dnssec_ok: bool,
    /// Options as they stand in the record: code, length, data, one behind the other.
    pub options: Vec<u8>,
}

impl Default for QueryEdns {
    fn default() -> Self {
        let EdnsRepr { udp_payload, version, dnssec_ok, .. } = EdnsRepr::default();
        QueryEdns { udp_payload, version, dnssec_ok, options: Vec::new() }
    }
}

impl QueryEdns {
    /// With one more option.
    ///
    /// # Errors
    /// [`ComposeError`](crate::wire::dns::ComposeError): it is too long.
    pub fn with_option(
        mut self,
        option: &EdnsOption<'_>,
    ) -> Result<Self, crate::wire::dns::ComposeError> {
        option.write(&mut self.options)?;
        Ok(self)
    }
}

impl QuerySetup {
    /// The defaults, with this question to this server.
    #[must_use]
    pub fn new(server: SocketAddr, name: DnsName, rtype: RecordType, class: Class) -> Self {
        QuerySetup {
            server,
            name,
            rtype,
            class,
            flags: Flags::default().with_recursion_desired(true),
            edns: Some(QueryEdns::default()),
            protocol: Protocol::Udp,
            tcp_fallback: true,
            mixed_case: false,
            timeout: Duration::from_secs(2),
            retries: 0,
            listen: Duration::ZERO,
            strict: false,
            errors_end: true,
            without_edns: false,
        }
    }
}

/// A message that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// Which attempt it is, from 0.
    pub attempt: usize,
    /// How it goes. Over a stream its length stands in front of it.
    pub protocol: Protocol,
    /// Where to.
    pub to: SocketAddr,
}

/// How a query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer to this attempt is the answer.
    Answered {
        /// Which attempt.
        attempt: usize,
    },
    /// The answer was cut short, and no other way was to be tried.
    Truncated {
        /// Which attempt.
        attempt: usize,
    },
    /// Nothing came, or nothing that was believed.
    TimedOut,
    /// Something came that was the answer by its id, but could not be read or answered another
    /// question, and nothing better until the deadline.
    Unreadable {
        /// What was wrong.
        why: Mismatch,
        /// Where, if it could not be read.
        error: Option<DnsError>,
    },
    /// The last attempt was refused, by an ICMP error or by the system: the owner knows by what.
    Refused {
        /// Which attempt.
        attempt: usize,
    },
}

/// In the four bits of the header.
const FORMERR: u8 = Rcode::FORMERR.0 as u8;

/// The state machine. See the [module](self).
#[derive(Debug)]
pub struct QueryEngine {
    setup: QuerySetup,
    origin: Instant,
    attempts: Vec<Attempt>,
    /// What is to be sent next, if anything is.
    next: Option<Protocol>,
    /// Whether it speaks EDNS.
    edns: bool,
    /// Whether an attempt was made again because its connection had been closed.
    reconnected: bool,
    /// Until when the attempt under way waits.
    due: Option<Instant>,
    retries: u32,
    /// Until when a second answer is listened for.
    listening: Option<Instant>,
    outcome: Option<Outcome>,
    /// The worst that came in the answer's place.
    unreadable: Option<(Mismatch, Option<DnsError>)>,
}

impl QueryEngine {
    /// A query that begins at `origin`, from which the times of its attempts count.
    #[must_use]
    pub fn new(setup: QuerySetup, origin: Instant) -> Self {
        QueryEngine {
            next: Some(setup.protocol),
            retries: setup.retries,
            edns: setup.edns.is_some(),
            reconnected: false,
            setup,
            origin,
            attempts: Vec::new(),
            due: None,
            listening: None,
            outcome: None,
            unreadable: None,
        }
    }

    /// The next message, which is appended to `into` and counts as sent at `now`. `None` if there is
    /// nothing to send. `random` gives bits that nobody can guess, for the id and for the case of
    /// letters.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        random: &mut dyn FnMut() -> u64,
        into: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let protocol = self.next.take()?;
        let [low, high, ..] = random().to_le_bytes();
        let id = u16::from_le_bytes([low, high]);
        let name = self.cased(random);
        let mut composer = match protocol {
            Protocol::Udp => Composer::new(into, id, self.setup.flags),
            Protocol::Stream => Composer::with_prefix(into, id, self.setup.flags),
        };
        // A question alone fits into any message, and so do options that were composed before.
        let _ = composer.question(name.as_ref(), self.setup.rtype, self.setup.class);
        if let Some(edns) = self.setup.edns.as_ref().filter(|_| self.edns) {
            let _ =
                composer.raw_edns(edns.udp_payload, edns.version, edns.dnssec_ok, &edns.options);
        }
        composer.finish();
        let sent_ns = self.after(now);
        let attempt = self.attempts.len();
        if attempt == 0 {
            // Most queries have one, and a vector would begin with room for four.
            self.attempts.reserve_exact(1);
        }
        self.attempts.push(Attempt::new(protocol, id, name, self.edns, sent_ns));
        self.due = now.checked_add(self.setup.timeout);
        Some(Transmit { attempt, protocol, to: self.setup.server })
    }

    fn cased(&self, random: &mut dyn FnMut() -> u64) -> DnsName {
        if !self.setup.mixed_case {
            return self.setup.name.clone();
        }
        let (mut bits, mut left) = (0, 0);
        self.setup.name.with_case(|| {
            if left == 0 {
                (bits, left) = (random(), 64);
            }
            let upper = bits & 1 == 1;
            (bits, left) = (bits >> 1, left - 1);
            upper
        })
    }

    fn after(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.origin);
        u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A message has come in for an attempt, without the length in front of it.
    ///
    /// # Errors
    /// It was passed over: why. It is counted already.
    pub fn received(
        &mut self,
        number: usize,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Mismatch> {
        self.take(number, from, bytes, false, now)
    }

    /// The first octets of a datagram that was longer than the owner takes. Unless the server says itself
    /// that it has cut the answer short, it cannot be read: not even if the rest was nothing.
    ///
    /// # Errors
    /// As for [`received`](Self::received).
    pub fn received_part(
        &mut self,
        number: usize,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Mismatch> {
        self.take(number, from, bytes, true, now)
    }

    fn take(
        &mut self,
        number: usize,
        from: SocketAddr,
        bytes: &[u8],
        cut: bool,
        now: Instant,
    ) -> Result<(), Mismatch> {
        let at_ns = self.after(now);
        let newest = number + 1 == self.attempts.len();
        let Some(attempt) = self.attempts.get_mut(number) else { return Err(Mismatch::Late) };
        let wanted = Wanted {
            server: self.setup.server,
            id: attempt.id,
            name: attempt.name.as_ref(),
            exact: self.setup.mixed_case,
            rtype: self.setup.rtype,
            class: self.setup.class,
            strict: self.setup.strict,
            stream: attempt.protocol == Protocol::Stream,
            cut,
        };
        let found = match check(&wanted, from, bytes) {
            Ok(found) => found,
            Err((why, error)) => {
                attempt.mismatches.add(why);
                if why == Mismatch::WrongSource {
                    attempt.other_source.get_or_insert(from);
                }
                if why.is_ours() && self.outcome.is_none() {
                    self.unreadable = Some((why, error));
                }
                return Err(why);
            }
        };
        match &attempt.fate {
            AttemptFate::Waiting if newest && self.outcome.is_none() => {}
            AttemptFate::Answered { .. } | AttemptFate::Truncated { .. } => {
                return Err(attempt.again(bytes));
            }
            _ => {
                attempt.mismatches.add(Mismatch::Late);
                return Err(Mismatch::Late);
            }
        }
        attempt.end_ns = Some(at_ns);
        attempt.message = bytes.to_vec();
        self.due = None;
        match found {
            Match::Whole { left_over } => {
                attempt.fate = AttemptFate::Answered { left_over };
                let is_formerr = Header::parse(bytes)
                    .is_ok_and(|header| header.flags.rcode_low() == FORMERR && attempt.edns);
                if is_formerr && self.setup.without_edns {
                    self.edns = false;
                    self.next = Some(attempt.protocol);
                    return Ok(());
                }
                self.end(Outcome::Answered { attempt: number }, now);
            }
            Match::Truncated => {
                attempt.fate = AttemptFate::Truncated {};
                if attempt.protocol == Protocol::Udp && self.setup.tcp_fallback {
                    self.next = Some(Protocol::Stream);
                } else {
                    self.end(Outcome::Truncated { attempt: number }, now);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome, now: Instant) {
        self.outcome = Some(outcome);
        if !self.setup.listen.is_zero() {
            self.listening = now.checked_add(self.setup.listen);
        }
    }

    /// An attempt was refused, by an ICMP error or by a reset. If errors end attempts the next one is made,
    /// if there is to be one.
    pub fn refused(&mut self, number: usize, now: Instant) {
        self.refuse(number, self.setup.errors_end, now);
    }

    /// An attempt came to nothing on this host: nothing was sent, so there is nothing to wait for, whether
    /// or not errors from the network end attempts.
    pub fn failed(&mut self, number: usize, now: Instant) {
        self.refuse(number, true, now);
    }

    fn refuse(&mut self, number: usize, ends: bool, now: Instant) {
        let at_ns = self.after(now);
        let newest = number + 1 == self.attempts.len() && self.outcome.is_none();
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        attempt.errors += 1;
        let is_stream = attempt.protocol == Protocol::Stream;
        if attempt.fate != AttemptFate::Waiting || !newest || !(ends || is_stream) {
            return;
        }
        attempt.fate = AttemptFate::Refused;
        attempt.end_ns = Some(at_ns);
        self.due = None;
        self.again(Outcome::Refused { attempt: number }, now);
    }

    /// Makes a further attempt, or ends with this.
    fn again(&mut self, outcome: Outcome, now: Instant) {
        let protocol = self.attempts.last().map_or(self.setup.protocol, |last| last.protocol);
        if self.retries > 0 {
            self.retries -= 1;
            self.next = Some(protocol);
        } else if self.setup.without_edns && self.edns {
            self.edns = false;
            self.next = Some(protocol);
        } else {
            self.end(outcome, now);
            // Nothing can follow but the end.
            self.listening = None;
        }
    }

    /// How the next message goes; `None` if there is nothing to send.
    #[must_use]
    pub const fn next(&self) -> Option<Protocol> {
        self.next
    }

    /// The message of an attempt has left just now, later than it was composed: a connection had to be
    /// made first.
    pub fn left(&mut self, number: usize, now: Instant) {
        let at_ns = self.after(now);
        if let Some(attempt) = self.attempts.get_mut(number) {
            attempt.sent_ns = at_ns;
        }
    }

    /// The server has closed a connection that it had answered others on before it answered this attempt:
    /// it is made once more over a new one, which is no retry (RFC 7766, 6.2.4). False if that has been
    /// so before.
    pub fn closed(&mut self, number: usize, now: Instant) -> bool {
        let at_ns = self.after(now);
        let newest = number + 1 == self.attempts.len() && self.outcome.is_none();
        let Some(attempt) = self.attempts.get_mut(number) else { return false };
        if attempt.fate != AttemptFate::Waiting || !newest || self.reconnected {
            return false;
        }
        self.reconnected = true;
        attempt.fate = AttemptFate::Refused;
        attempt.end_ns = Some(at_ns);
        self.due = None;
        self.next = Some(attempt.protocol);
        true
    }

    /// Ends the query, whatever was still to be tried.
    pub fn give_up(&mut self, now: Instant) {
        self.retries = 0;
        self.edns = false;
        self.next = None;
        self.listening = None;
        if self.outcome.is_none() {
            self.due = Some(now);
            self.handle_timeout(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; `None` if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.or(self.listening)
    }

    /// Decides what is due. Whatever has come in must have been handed over before.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.listening.is_some_and(|until| until <= now) {
            self.listening = None;
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        let at_ns = self.after(now);
        if let Some(attempt) = self.attempts.last_mut()
            && attempt.fate == AttemptFate::Waiting
        {
            attempt.fate = AttemptFate::TimedOut;
            attempt.end_ns = Some(at_ns);
        }
        let outcome = match self.unreadable {
            Some((why, error)) => Outcome::Unreadable { why, error },
            None => Outcome::TimedOut,
        };
        self.again(outcome, now);
    }

    /// How it ended; `None` while it has not.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether nothing more is to be done: it has ended, and a second answer is not listened for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outcome.is_some() && self.listening.is_none()
    }

    /// Every attempt in its order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The message that answered, if one did, whole or cut short.
    #[must_use]
    pub fn answer(&self) -> Option<Message<'_>> {
        let Some(Outcome::Answered { attempt } | Outcome::Truncated { attempt }) = self.outcome
        else {
            return None;
        };
        Message::parse(&self.attempts.get(attempt)?.message).ok()
    }
}
