//! A line that holds every packet for a known time.
//!
//! The truth for a test is the [log](DelayLine::log) or a capture, never the delay that was asked for:
//! a machine that is busy holds packets longer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use netsonde_support::netns::Device;
use netsonde_support::packet::Seen;

use crate::program::{Program, echo_of};
use crate::pump::{Handler, Health, Outbox, Pump};

/// Joins two devices of one namespace as a bridge would, with a [`Program`] for each direction. A
/// thread of its own carries the frames, before all ordinary threads where the system allows it; it
/// ends with this handle.
///
/// The devices need no addresses. They hold nothing back for checksums that hardware is to fill in:
/// [`Lab::link`](netsonde_support::Lab::link) switches that off.
#[derive(Debug)]
pub struct DelayLine {
    pump: Pump,
    log: Arc<Mutex<Vec<Held>>>,
}

/// What became of a packet, or of a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It was sent after so long, counted from its stamp to just before the system call.
    Sent(Duration),
    /// The program lost it.
    Lost,
    /// The device did not take it.
    Refused,
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whether it was on its way from the first device to the second.
    pub forth: bool,
    /// Its number, if it had one.
    pub number: Option<u64>,
    /// 0 for the packet itself, then its copies.
    pub copy: u32,
    /// Identifier and sequence number of the echo, or of that which the ICMP error is about.
    pub echo: Option<(u16, u16)>,
    /// When it came in, by the kernel's stamp.
    pub arrived: SystemTime,
    /// How long it was to be held.
    pub asked: Duration,
    /// What became of it.
    pub carried: Carried,
}

impl Held {
    /// How long it was held; `None` if it was not sent.
    pub fn held(&self) -> Option<Duration> {
        match self.carried {
            Carried::Sent(held) => Some(held),
            Carried::Lost | Carried::Refused => None,
        }
    }

    /// When it was sent.
    pub fn sent(&self) -> Option<SystemTime> {
        Some(self.arrived + self.held()?)
    }

    /// How much longer it was held than asked for.
    pub fn lateness(&self) -> Option<Duration> {
        Some(self.held()?.saturating_sub(self.asked))
    }
}

impl DelayLine {
    /// Joins them: `forth` for what comes from `near`, `back` for what comes from `far`.
    pub fn join(near: &Device, far: &Device, forth: Program, back: Program) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let line = Line { programs: [forth, back], noted: Vec::new(), log: Arc::clone(&log) };
        Self { pump: Pump::start("lab-line", &[near, far], line), log }
    }

    /// What was carried since the last call, in the order in which it was decided or sent.
    pub fn log(&self) -> Vec<Held> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it keeps up, and whether it lost anything that it should not have.
    pub fn health(&self) -> Health {
        self.pump.health()
    }
}

/// What the thread knows.
struct Line {
    programs: [Program; 2],
    noted: Vec<Held>,
    log: Arc<Mutex<Vec<Held>>>,
}

impl Handler for Line {
    type Tag = (Held, Instant);

    fn frame(&mut self, leg: usize, seen: Seen<'_>, out: &mut Outbox<Self::Tag>) {
        let (number, passage) = self.programs[leg].judge(seen.at, seen.bytes);
        let arrived = out.instant(seen.at);
        let mut held = Held {
            forth: leg == 0,
            number,
            copy: 0,
            echo: echo_of(seen.bytes),
            arrived: seen.at,
            asked: passage.hold,
            carried: Carried::Lost,
        };
        if passage.is_lost {
            self.noted.push(held);
            return;
        }
        let bytes = passage.frame.as_deref().unwrap_or(seen.bytes);
        for hold in std::iter::once(passage.hold).chain(passage.copies) {
            held.asked = hold;
            let copy = out.copy(bytes);
            out.send(1 - leg, arrived + hold, copy, (held, arrived));
            held.copy += 1;
        }
    }

    fn sent(&mut self, (mut held, arrived): Self::Tag, at: Instant, taken: bool) {
        held.carried = if taken {
            Carried::Sent(at.saturating_duration_since(arrived))
        } else {
            Carried::Refused
        };
        self.noted.push(held);
    }

    fn turn(&mut self) {
        // Whoever reads the log must never hold this thread up.
        if !self.noted.is_empty()
            && let Ok(mut log) = self.log.try_lock()
        {
            log.append(&mut self.noted);
        }
    }
}
