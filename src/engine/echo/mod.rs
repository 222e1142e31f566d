//! Echo requests of one socket that wait for their answers, without clock and socket.
//!
//! The driver asks for packets to send ([`EchoEngine::prepare`]), tells when they left, hands over
//! what came in with the time at which it came, and takes events. What matches nothing that was sent
//! is a [`Stray`]: counted, never believed.
//!
//! Identifier and sequence number are the place of the packet in a table: a match is one look, and
//! thousands of packets to one target are told apart as well as those to thousands of targets. A keyed
//! cookie in the payload says whether an answer is to a packet that we really sent ([`cookie`]). No
//! time is ever read from a payload.
//!
//! ```
//! use netsonde::engine::echo::{Arrival, EchoEngine, EchoEvent, Outgoing, Reading, Received, Setup};
//! use netsonde::icmp::EchoFate;
//! use std::time::{Duration, Instant};
//!
//! let mut engine = EchoEngine::new(Setup::new([7; 16], 0x4000));
//! let flow = engine.open();
//! let to = "192.0.2.1".parse()?;
//! let start = Reading::new(Instant::now(), 1_790_000_000_000_000_000);
//!
//! let outgoing = Outgoing::new(to, Duration::from_secs(1));
//! let mut packet = Vec::new();
//! let ticket = engine.prepare(flow, &outgoing, &mut packet).unwrap();
//! engine.sent(ticket, start, start.mono);
//!
//! // 3 ms later the same bytes come back.
//! let now = start.later(Duration::from_millis(3));
//! let (id, seq) = (ticket.id, ticket.seq);
//! let reply = Arrival::Reply { from: to, id, seq, payload: &packet, ttl: Some(60), tos: None };
//! engine.receive(reply, &Received::at(now)).unwrap();
//! let (_, event) = engine.poll_event().unwrap();
//! let EchoEvent::Decided { fate: EchoFate::Answered(answer), .. } = event else { panic!() };
//! assert_eq!(answer.rtt.duration(), Duration::from_millis(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cookie;
mod overflow;
mod slots;
mod stray;
mod timers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use super::measure::{Departure, arrival_ns, measure};
pub use super::measure::{Reading, Received, Stamp};
pub use cookie::Filler;
pub use slots::Ticket;
pub use stray::{Stray, StrayCounts};

use crate::icmp::{EchoAnswer, EchoError, EchoFate, Implausible};
use crate::timing::NetworkTime;
use cookie::{Check, Cookie, Key};
use overflow::Overflow;
use slots::{Flow, Slot, Slots, State};

/// What an engine is made with.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Setup {
    /// Key of the cookies: random, secret, new for each engine.
    pub key: [u8; 16],
    /// Identifier of the first 65,536 packets.
    pub id_base: u16,
    /// How many identifiers there are from there on, at least 1. Default 64: four million packets may
    /// wait at a time.
    pub ids: u16,
    /// Whether send stamps are to be expected; if not, answers do not wait for one.
    pub send_stamps: bool,
    /// How long an answer waits for the send stamp of its request, which may be reported later.
    /// Default 5 ms.
    pub merge: Duration,
}

impl Setup {
    /// The defaults, with this key and first identifier.
    #[must_use]
    pub fn new(key: [u8; 16], id_base: u16) -> Self {
        Setup { key, id_base, ids: 64, send_stamps: false, merge: Duration::from_millis(5) }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Setup { key: _, id_base, ids, send_stamps, merge } = self;
        f.debug_struct("Setup")
            .field("id_base", id_base)
            .field("ids", ids)
            .field("send_stamps", send_stamps)
            .field("merge", merge)
            .finish_non_exhaustive()
    }
}

/// An echo request that is to be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where to.
    pub destination: IpAddr,
    /// Bytes of payload behind the eight bytes of the echo header.
    pub size: u32,
    /// What fills the payload behind the cookie.
    pub filler: Filler,
    /// How long it waits for its answer.
    pub timeout: Duration,
    /// How long it is remembered after it is decided, for duplicates and late answers.
    pub keep: Duration,
    /// Whether several hosts may answer: a broadcast or multicast.
    pub many: bool,
    /// Comes back in the events.
    pub tag: u64,
}

impl Outgoing {
    /// A packet with 56 bytes of payload.
    #[must_use]
    pub fn new(destination: IpAddr, timeout: Duration) -> Self {
        Outgoing {
            destination,
            size: 56,
            filler: Filler::default(),
            timeout,
            keep: Duration::ZERO,
            many: false,
            tag: 0,
        }
    }
}

/// Packets that belong together and end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId(u32, u32);

impl FlowId {
    /// Its place among the flows of the engine: small numbers, used again when a flow is closed.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that came in and may be an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arrival<'a> {
    /// An echo reply.
    Reply {
        /// Who sent it.
        from: IpAddr,
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
        /// What is behind the echo header.
        payload: &'a [u8],
        /// Time to live or hop limit that was left.
        ttl: Option<u8>,
        /// Type of service or traffic class.
        tos: Option<u8>,
    },
    /// An ICMP error about an echo request.
    Error {
        /// What it says.
        error: EchoError,
        /// Where the quoted request went.
        destination: IpAddr,
        /// Its identifier.
        id: u16,
        /// Its sequence number.
        seq: u16,
        /// As much of its payload as is quoted.
        payload: &'a [u8],
    },
}

/// What became known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EchoEvent {
    /// The fate of a packet. Each has exactly one such event, unless its flow is closed before.
    Decided {
        /// The packet's.
        tag: u64,
        /// What became of it.
        fate: EchoFate,
        /// When it was handed to the system; `None` if it never was.
        sent: Option<Instant>,
    },
    /// The answer to a packet that was decided without one: it was late, or behind an error. At most
    /// one for each packet.
    Late {
        /// The packet's.
        tag: u64,
        /// The answer.
        answer: EchoAnswer,
    },
    /// One more answer to a packet. Only the first one makes an event, except where many may answer. It
    /// comes before the packet is decided if the first answer still waits for the send stamp.
    Duplicate {
        /// The packet's.
        tag: u64,
        /// Who sent it.
        from: IpAddr,
        /// How long it took.
        rtt: NetworkTime,
    },
    /// So many packets came as answers to a packet and were not believed, since the last such event.
    /// Comes before the packet is decided and when it is forgotten, if there were any. Many are a sign
    /// of forgery.
    Suspects {
        /// The packet's.
        tag: u64,
        /// How many.
        count: u64,
    },
    /// How many answers beyond the first a packet had, when it is forgotten. Only if there were any.
    Duplicates {
        /// The packet's.
        tag: u64,
        /// How many.
        count: u64,
    },
}

/// Why no packet was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrepareError {
    /// Every identifier and sequence number is taken by a packet that waits.
    Full,
    /// The flow is closed.
    Closed,
}

impl std::fmt::Display for PrepareError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PrepareError::Full => "every identifier and sequence number is in use",
            PrepareError::Closed => "the flow is closed",
        })
    }
}

impl std::error::Error for PrepareError {}

/// A queue of events that has room for more is given back when it is empty.
const EVENTS_KEPT: usize = 1024;

/// The state machine. See the [module](self).
#[derive(Debug)]
pub struct EchoEngine {
    setup: Setup,
    key: Key,
    slots: Slots,
    events: VecDeque<(FlowId, EchoEvent)>,
    strays: StrayCounts,
    overflow: Overflow,
}

impl EchoEngine {
    /// An engine without any packets.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let capacity = u32::from(setup.ids.max(1)) << 16;
        EchoEngine {
            key: Key::new(setup.key),
            slots: Slots::new(capacity),
            events: VecDeque::new(),
            strays: StrayCounts::default(),
            overflow: Overflow::default(),
            // The key is needed, and shown, nowhere else.
            setup: Setup { key: [0; 16], ..setup },
        }
    }

    /// Opens a flow.
    pub fn open(&mut self) -> FlowId {
        let (index, generation) = self.slots.open();
        FlowId(index, generation)
    }

    /// Decides the packets of a flow whose answers wait for a send stamp, without it.
    pub fn settle(&mut self, flow: FlowId) {
        for index in self.indices(flow) {
            if self.slots.get(index).is_some_and(|slot| slot.state == State::Held) {
                self.release(index);
            }
        }
    }

    /// The packets of a flow that have left and are not decided: their tags and when they left.
    #[must_use]
    pub fn undecided(&self, flow: FlowId) -> Vec<(u64, Instant)> {
        let slots = self.indices(flow).into_iter().filter_map(|index| self.slots.get(index));
        let waiting = slots.filter(|slot| slot.state == State::Waiting);
        waiting.filter_map(|slot| Some((slot.tag, slot.departure.as_ref()?.before.mono))).collect()
    }

    fn indices(&self, flow: FlowId) -> Vec<u32> {
        let first = self.slots.flow(flow.0, flow.1).map_or(timers::NONE, |flow| flow.first);
        let slot = |index: &u32| self.slots.get(*index).map(|slot| slot.flow_next);
        let known = |index: &u32| self.slots.get(*index).is_some();
        std::iter::successors(Some(first), slot).take_while(known).collect()
    }

    /// Ends a flow: its packets are forgotten, also those that wait. The last thing it tells of each is
    /// the number of duplicates. Events that are there already still come.
    pub fn close(&mut self, flow: FlowId) {
        let Some(state) = self.slots.flow(flow.0, flow.1) else { return };
        let mut next = state.first;
        while let Some(slot) = self.slots.get(next) {
            let index = next;
            next = slot.flow_next;
            self.forget(index);
        }
        self.slots.close(flow.0);
    }

    /// Packets of a flow that are still remembered, waiting or not.
    #[must_use]
    pub fn remembered(&self, flow: FlowId) -> usize {
        self.slots.flow(flow.0, flow.1).map_or(0, |flow| flow.count)
    }

    /// Packets that came for one of the flow's and were not believed. Many are a sign of forgery.
    #[must_use]
    pub fn suspects(&self, flow: FlowId) -> u64 {
        self.slots.flow(flow.0, flow.1).map_or(0, |flow| flow.suspects)
    }

    /// Packets that wait for an answer, over all flows.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.slots.waiting()
    }

    /// What came in and was not believed.
    #[must_use]
    pub fn strays(&self) -> &StrayCounts {
        &self.strays
    }

    /// Counts something that was recognised as foreign before it came here.
    pub fn count_stray(&mut self, why: Stray) {
        self.strays.add(why);
    }

    /// Takes a place for a packet and appends its payload, cookie first, to `payload`. The packet must
    /// then be told of with [`sent`](Self::sent) or [`not_sent`](Self::not_sent).
    ///
    /// # Errors
    /// [`PrepareError`]: nothing was changed.
    pub fn prepare(
        &mut self,
        flow: FlowId,
        outgoing: &Outgoing,
        payload: &mut Vec<u8>,
    ) -> Result<Ticket, PrepareError> {
        if self.slots.flow(flow.0, flow.1).is_none() {
            return Err(PrepareError::Closed);
        }
        let (index, generation) = self.slots.take(flow.0).ok_or(PrepareError::Full)?;
        let ticket = self.ticket(index, generation);
        if let Some(slot) = self.slots.at_mut(index) {
            slot.destination = outgoing.destination;
            slot.size = outgoing.size;
            slot.filler = outgoing.filler.clone();
            slot.timeout = outgoing.timeout;
            slot.keep = outgoing.keep;
            slot.many = outgoing.many;
            slot.tag = outgoing.tag;
            slot.state = State::Prepared;
        }
        let cookie = self.cookie(ticket, outgoing.destination);
        cookie.write(&outgoing.filler, outgoing.size as usize, payload);
        Ok(ticket)
    }

    /// The packet has left: the clocks just before it was handed to the system, and the monotonic clock
    /// when the system had taken it.
    pub fn sent(&mut self, ticket: Ticket, before: Reading, after: Instant) {
        let Some(slot) = self.slots.of(ticket) else { return };
        if slot.state != State::Prepared {
            return;
        }
        slot.departure = Some(Departure { before, after, stamp: None, not_before_ns: None });
        slot.state = State::Waiting;
        let timeout = slot.timeout;
        self.overflow.longest = self.overflow.longest.max(timeout);
        self.slots.waits(ticket.slot);
        self.slots.arm(ticket.slot, timeout, before.mono);
    }

    /// The system did not take the packet.
    pub fn not_sent(&mut self, ticket: Ticket, errno: i32, mtu: Option<u32>) {
        if self.slots.of(ticket).is_some_and(|slot| slot.state == State::Prepared) {
            self.decided(ticket.slot, EchoFate::NotSent { errno, mtu });
            self.forget(ticket.slot);
        }
    }

    /// Gives a packet up: it is forgotten and makes no event any more.
    pub fn cancel(&mut self, ticket: Ticket) {
        if self.slots.of(ticket).is_some() {
            self.slots.free(ticket.slot);
        }
    }

    /// The send stamp of a packet. `not_before_ns` is the stamp of the packet that was sent just before
    /// it in the same call, if there is one: this one left after it.
    pub fn transmit_stamp(&mut self, slot: u32, stamp: Stamp, not_before_ns: Option<i64>) {
        let held = match self.slots.at_mut(slot) {
            Some(slot) => {
                let Some(departure) = &mut slot.departure else { return };
                if departure.stamp.is_some() || !departure.admits(stamp) {
                    return;
                }
                departure.stamp = Some(stamp);
                departure.not_before_ns = not_before_ns;
                slot.state == State::Held
            }
            None => false,
        };
        if held {
            self.release(slot);
        }
    }

    /// Something came in.
    ///
    /// # Errors
    /// It was not believed: why. It is counted already.
    pub fn receive(&mut self, arrival: Arrival<'_>, received: &Received) -> Result<(), Stray> {
        let outcome = match arrival {
            Arrival::Reply { from, id, seq, payload, ttl, tos } => {
                self.reply(Reply { from, payload, ttl, tos }, id, seq, received)
            }
            Arrival::Error { error, destination, id, seq, payload } => {
                self.error(error, destination, id, seq, payload, received)
            }
        };
        outcome.inspect_err(|why| self.strays.add(*why))
    }

    /// The receive queue of the socket was full: so many packets were dropped on this host.
    pub fn overflowed(&mut self, count: u64, now: Instant) {
        if count > 0 && self.slots.waiting() > 0 {
            self.overflow.add(count, now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; `None` if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.next_due()
    }

    /// Decides what is due. Whatever has come in must have been handed over before.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.slots.due(now) {
            let Some(slot) = self.slots.at_mut(index) else { continue };
            match slot.state {
                State::Waiting => {
                    let sent = slot.departure.as_ref().map(|departure| departure.before.mono);
                    let keep = slot.keep;
                    let fate = self.unanswered(sent);
                    self.decided(index, fate);
                    self.keep(index, keep, now);
                }
                State::Held => self.release(index),
                _ => self.forget(index),
            }
        }
        self.overflow.expire(now, self.slots.waiting());
    }

    /// The next event, and whose it is.
    pub fn poll_event(&mut self) -> Option<(FlowId, EchoEvent)> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > EVENTS_KEPT {
            self.events = VecDeque::new();
        }
        event
    }

    fn ticket(&self, slot: u32, generation: u32) -> Ticket {
        let [id_high, id_low, seq_high, seq_low] = slot.to_be_bytes();
        Ticket {
            slot,
            generation,
            id: self.setup.id_base.wrapping_add(u16::from_be_bytes([id_high, id_low])),
            seq: u16::from_be_bytes([seq_high, seq_low]),
        }
    }

    fn cookie(&self, ticket: Ticket, destination: IpAddr) -> Cookie {
        self.key.cookie(destination, ticket.id, ticket.seq, ticket.generation, ticket.slot)
    }

    /// The slot behind an identifier and a sequence number.
    fn slot_of(&self, id: u16, seq: u16) -> Option<u32> {
        let high = id.wrapping_sub(self.setup.id_base);
        (high < self.setup.ids.max(1)).then(|| u32::from(high) << 16 | u32::from(seq))
    }

    fn reply(
        &mut self,
        reply: Reply<'_>,
        id: u16,
        seq: u16,
        received: &Received,
    ) -> Result<(), Stray> {
        let index = self.slot_of(id, seq).ok_or(Stray::Unmatched)?;
        let slot = self.slots.get(index).filter(|slot| slot.state.has_left());
        let Some(slot) = slot else {
            return Err(self.foreign(reply.from, id, seq, reply.payload));
        };
        if reply.from != slot.destination && !slot.many {
            return Err(self.suspect(index, Stray::WrongSource));
        }
        let cookie = self.cookie(self.ticket(index, slot.generation), slot.destination);
        let check = cookie.check(&slot.filler, slot.size as usize, reply.payload);
        let (corrupt, weak) = match check {
            Check::Ours { weak } => (false, weak),
            Check::Corrupt => (true, false),
            Check::Short => return Err(self.suspect(index, Stray::Short)),
            Check::Long => return Err(self.suspect(index, Stray::Payload)),
            Check::Foreign => {
                let stale = self.key.is_stale(slot.destination, id, seq, reply.payload);
                let why = if stale { Stray::StaleCookie } else { Stray::BadCookie };
                return Err(if stale { why } else { self.suspect(index, why) });
            }
        };
        let Some(slot) = self.slots.at_mut(index) else { return Err(Stray::Unmatched) };
        let answer = reply.answer(weak);
        match slot.state {
            State::Waiting if self.setup.send_stamps && slot.lacks_stamp() => {
                // The send stamp comes by another queue and may come later.
                slot.held =
                    Some(Box::new(slots::HeldReply { answer, corrupt, received: *received }));
                slot.state = State::Held;
                let merge = self.setup.merge;
                self.slots.arm(index, merge, received.now.mono);
            }
            State::Waiting => self.answered(index, answer, corrupt, received),
            // Neither lost nor late but twice, even if the first is not through yet.
            State::Held | State::Answered => self.again(index, reply.from, received),
            State::Unanswered if corrupt => return Err(Stray::Corrupt),
            State::Unanswered => {
                let answer = self.timed(index, answer, received);
                let Some(slot) = self.slots.at_mut(index) else { return Ok(()) };
                slot.state = State::Answered;
                let (tag, flow) = (slot.tag, slot.flow);
                self.tell(flow, EchoEvent::Late { tag, answer });
            }
            State::Free | State::Prepared => {}
        }
        Ok(())
    }

    /// What comes for a packet that is not remembered any more, or for none at all.
    fn foreign(&self, destination: IpAddr, id: u16, seq: u16, payload: &[u8]) -> Stray {
        if self.key.is_stale(destination, id, seq, payload) {
            Stray::StaleCookie
        } else {
            Stray::Unmatched
        }
    }

    fn error(
        &mut self,
        mut error: EchoError,
        destination: IpAddr,
        id: u16,
        seq: u16,
        payload: &[u8],
        received: &Received,
    ) -> Result<(), Stray> {
        let index = self.slot_of(id, seq).ok_or(Stray::Unmatched)?;
        let slot = self.slots.get(index).filter(|slot| slot.state.has_left());
        let Some(slot) = slot.filter(|slot| slot.destination == destination) else {
            return Err(self.foreign(destination, id, seq, payload));
        };
        let cookie = self.cookie(self.ticket(index, slot.generation), destination);
        match cookie.check_quote(slot.size as usize, payload) {
            Check::Ours { weak } => error.weak_match = weak,
            _ if self.key.is_stale(destination, id, seq, payload) => {
                return Err(Stray::StaleCookie);
            }
            _ => return Err(self.suspect(index, Stray::BadCookie)),
        }
        // Others may still answer a broadcast, and an error behind an answer changes nothing.
        if slot.state != State::Waiting || slot.many {
            return Err(Stray::Afterwards);
        }
        let keep = slot.keep;
        // What is quoted may be cut, so that only we know how long the packet was.
        let packet = slot.size.saturating_add(if destination.is_ipv6() { 48 } else { 28 });
        if error.mtu_implausible.is_none() && error.mtu.is_some_and(|mtu| mtu >= packet) {
            error.mtu_implausible = Some(Implausible::NotSmaller);
        }
        error.rtt = slot.departure.as_ref().map(|departure| measure(departure, received).rtt);
        self.decided(index, EchoFate::Refused(Box::new(error)));
        self.keep(index, keep, received.now.mono);
        Ok(())
    }

    /// Decides a packet that has been answered.
    fn answered(&mut self, index: u32, answer: EchoAnswer, corrupt: bool, received: &Received) {
        let answer = self.timed(index, answer, received);
        let Some(slot) = self.slots.get(index) else { return };
        let keep = slot.keep;
        let late = slot.departure.as_ref().is_some_and(|departure| {
            arrival_ns(departure, received) > crate::timing::duration_ns(slot.timeout)
        });
        let fate = match (corrupt, late) {
            (true, _) => EchoFate::Corrupt(answer),
            (false, true) => EchoFate::Late(answer),
            (false, false) => EchoFate::Answered(answer),
        };
        self.decided(index, fate);
        if let Some(slot) = self.slots.at_mut(index) {
            slot.state = State::Answered;
        }
        self.keep(index, keep, received.now.mono);
    }

    /// Decides a packet whose answer has waited for the send stamp.
    fn release(&mut self, index: u32) {
        let held = self.slots.at_mut(index).and_then(|slot| slot.held.take());
        if let Some(held) = held {
            self.answered(index, held.answer, held.corrupt, &held.received);
        }
    }

    /// One more answer.
    fn again(&mut self, index: u32, from: IpAddr, received: &Received) {
        let Some(slot) = self.slots.at_mut(index) else { return };
        slot.duplicates += 1;
        if slot.duplicates == 1 || slot.many {
            let (flow, tag) = (slot.flow, slot.tag);
            let rtt = slot.departure.as_ref().map(|departure| measure(departure, received).rtt);
            if let Some(rtt) = rtt {
                self.tell(flow, EchoEvent::Duplicate { tag, from, rtt });
            }
        }
    }

    fn timed(&self, index: u32, mut answer: EchoAnswer, received: &Received) -> EchoAnswer {
        let departure = self.slots.get(index).and_then(|slot| slot.departure.as_ref());
        if let Some(departure) = departure {
            let measured = measure(departure, received);
            answer.rtt = measured.rtt;
            answer.elapsed_ns = measured.elapsed_ns;
            answer.arrival_ns = measured.arrival_ns;
            answer.clock_step = measured.clock_step;
        }
        answer
    }

    /// The fate of a packet that nothing has come back for.
    fn unanswered(&mut self, sent: Option<Instant>) -> EchoFate {
        let dropped_here = sent.is_some_and(|sent| self.overflow.blame(sent));
        if dropped_here { EchoFate::LostLocally } else { EchoFate::Lost }
    }

    fn decided(&mut self, index: u32, fate: EchoFate) {
        let Some(slot) = self.slots.at_mut(index) else { return };
        let (flow, tag) = (slot.flow, slot.tag);
        let sent = slot.departure.as_ref().map(|departure| departure.before.mono);
        slot.state = State::Unanswered;
        self.tell_suspects(index);
        self.slots.waits_no_more(index);
        self.tell(flow, EchoEvent::Decided { tag, fate, sent });
    }

    /// Remembers a decided packet for a while.
    fn keep(&mut self, index: u32, keep: Duration, now: Instant) {
        if keep.is_zero() {
            self.forget(index);
        } else {
            self.slots.arm(index, keep, now);
        }
    }

    fn forget(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index) else { return };
        let (flow, tag, count) = (slot.flow, slot.tag, slot.duplicates);
        self.tell_suspects(index);
        if count > 0 {
            self.tell(flow, EchoEvent::Duplicates { tag, count });
        }
        self.slots.free(index);
    }

    fn suspect(&mut self, index: u32, why: Stray) -> Stray {
        let slot = self.slots.at_mut(index);
        let flow = slot.map(|slot| {
            slot.suspects += 1;
            slot.flow
        });
        if let Some(Flow { suspects, .. }) = flow.and_then(|flow| self.slots.flow_at(flow)) {
            *suspects += 1;
        }
        why
    }

    fn tell_suspects(&mut self, index: u32) {
        let Some(slot) = self.slots.at_mut(index).filter(|slot| slot.suspects > 0) else { return };
        let (flow, tag, count) = (slot.flow, slot.tag, std::mem::take(&mut slot.suspects));
        self.tell(flow, EchoEvent::Suspects { tag, count });
    }

    fn tell(&mut self, flow: u32, event: EchoEvent) {
        if let Some(state) = self.slots.flow_at(flow) {
            let id = FlowId(flow, state.generation);
            self.events.push_back((id, event));
        }
    }
}

/// The parts of an echo reply.
#[derive(Clone, Copy)]
struct Reply<'a> {
    from: IpAddr,
    payload: &'a [u8],
    ttl: Option<u8>,
    tos: Option<u8>,
}

impl Reply<'_> {
    /// Without its times yet.
    fn answer(&self, weak: bool) -> EchoAnswer {
        let nothing = NetworkTime::new(Duration::ZERO, Duration::ZERO, crate::StampSource::User);
        let bytes = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut answer = EchoAnswer::new(self.from, nothing, 0, bytes);
        (answer.ttl, answer.tos, answer.weak_match) = (self.ttl, self.tos, weak);
        answer
    }
}

impl Slot {
    fn lacks_stamp(&self) -> bool {
        self.departure.as_ref().is_some_and(|departure| departure.stamp.is_none())
    }
}

#[cfg(test)]
mod tests;
