//! The table of packets. The place of a packet is its identifier and sequence number.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::Departure;
use super::cookie::Filler;
use super::timers::{Items, NONE, Place, Timers};
use super::{EchoAnswer, Received};

/// A packet that was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ticket {
    /// Its place in the table, which also names its send stamp.
    pub slot: u32,
    /// How often the place had been used before.
    pub generation: u32,
    /// The identifier to send it with.
    pub id: u16,
    /// The sequence number to send it with.
    pub seq: u16,
}

/// What a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Free,
    /// A packet that may or may not leave.
    Prepared,
    /// One that waits for its answer.
    Waiting,
    /// One whose answer waits for the send stamp.
    Held,
    /// One that was answered; kept for duplicates.
    Answered,
    /// One that was decided without an answer; kept for a late one.
    Unanswered,
}

impl State {
    /// Whether something may come back for it.
    pub(super) fn has_left(self) -> bool {
        !matches!(self, State::Free | State::Prepared)
    }
}

#[derive(Debug)]
pub(super) struct HeldReply {
    pub(super) answer: EchoAnswer,
    pub(super) corrupt: bool,
    pub(super) received: Received,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) many: bool,
    /// Whether it has been counted as one that waits no more.
    counted_out: bool,
    pub(super) flow: u32,
    pub(super) flow_prev: u32,
    pub(super) flow_next: u32,
    pub(super) destination: IpAddr,
    pub(super) size: u32,
    pub(super) filler: Filler,
    pub(super) timeout: Duration,
    pub(super) keep: Duration,
    pub(super) tag: u64,
    pub(super) duplicates: u64,
    /// Since they were last told of.
    pub(super) suspects: u64,
    pub(super) departure: Option<Departure>,
    pub(super) held: Option<Box<HeldReply>>,
    place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) generation: u32,
    pub(super) open: bool,
    pub(super) first: u32,
    pub(super) count: usize,
    pub(super) suspects: u64,
}

/// Places that are free are taken in turn once there are so many of them, so that a place is not used
/// again right after it was left.
const REUSE: usize = 4096;

/// A table with more places than this is given back when nothing is in it.
const KEPT: usize = 2 * REUSE;

#[derive(Debug)]
pub(super) struct Slots {
    table: Table,
    capacity: u32,
    free: VecDeque<u32>,
    flows: Vec<Flow>,
    free_flows: Vec<u32>,
    timers: Timers,
    waiting: usize,
    /// Places that hold a packet.
    taken: usize,
    /// Generation of a new place. Above that of every place of the tables that were given back, so that
    /// place and generation together never come twice.
    first_generation: u32,
}

/// Places are made so many at a time: a table that grows copies none of them.
const CHUNK: usize = 1024;

#[derive(Debug, Default)]
struct Table {
    chunks: Vec<Vec<Slot>>,
    len: usize,
}

impl Items for Table {
    fn place(&mut self, index: u32) -> Option<&mut Place> {
        Some(&mut self.at_mut(index)?.place)
    }

    fn due(&self, index: u32) -> Option<Instant> {
        self.get(index)?.place.due
    }
}

impl Table {
    fn get(&self, index: u32) -> Option<&Slot> {
        let index = usize::try_from(index).ok()?;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn at_mut(&mut self, index: u32) -> Option<&mut Slot> {
        let index = usize::try_from(index).ok()?;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    fn push(&mut self, slot: Slot) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(slot);
            self.len += 1;
        }
    }
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        Slots {
            table: Table::default(),
            capacity,
            free: VecDeque::new(),
            flows: Vec::new(),
            free_flows: Vec::new(),
            timers: Timers::default(),
            waiting: 0,
            taken: 0,
            first_generation: 0,
        }
    }

    /// Opens a flow: its place, and how often that had been used before.
    pub(super) fn open(&mut self) -> (u32, u32) {
        let index = self.free_flows.pop().unwrap_or_else(|| {
            self.flows.push(Flow::default());
            u32::try_from(self.flows.len() - 1).unwrap_or(NONE)
        });
        let Some(flow) = self.flow_slot(index) else { return (NONE, 0) };
        let generation = flow.generation;
        *flow = Flow { generation, open: true, first: NONE, count: 0, suspects: 0 };
        (index, generation)
    }

    /// Ends a flow without packets.
    pub(super) fn close(&mut self, index: u32) {
        if let Some(flow) = self.flow_slot(index).filter(|flow| flow.open) {
            flow.open = false;
            flow.generation = flow.generation.wrapping_add(1);
            self.free_flows.push(index);
        }
    }

    pub(super) fn flow(&self, index: u32, generation: u32) -> Option<&Flow> {
        let flow = self.flows.get(usize::try_from(index).ok()?)?;
        (flow.open && flow.generation == generation).then_some(flow)
    }

    pub(super) fn flow_at(&mut self, index: u32) -> Option<&mut Flow> {
        self.flow_slot(index).filter(|flow| flow.open)
    }

    fn flow_slot(&mut self, index: u32) -> Option<&mut Flow> {
        self.flows.get_mut(usize::try_from(index).ok()?)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        self.table.get(index)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.table.at_mut(index)
    }

    pub(super) fn of(&mut self, ticket: Ticket) -> Option<&mut Slot> {
        let slot = self.table.at_mut(ticket.slot)?;
        (slot.generation == ticket.generation && slot.state != State::Free).then_some(slot)
    }

    /// Takes a place for a packet of a flow.
    pub(super) fn take(&mut self, flow: u32) -> Option<(u32, u32)> {
        let grown = u32::try_from(self.table.len).ok().filter(|len| *len < self.capacity);
        let index = match grown {
            Some(new) if self.free.len() < REUSE => {
                self.table.push(Slot::free(self.first_generation));
                new
            }
            _ => self.free.pop_front()?,
        };
        let first = self.flow_at(flow).map_or(NONE, |flow| flow.first);
        if let Some(next) = self.table.at_mut(first) {
            next.flow_prev = index;
        }
        let slot = self.table.at_mut(index)?;
        (slot.flow, slot.flow_prev, slot.flow_next) = (flow, NONE, first);
        slot.state = State::Prepared;
        let generation = slot.generation;
        if let Some(flow) = self.flow_at(flow) {
            flow.first = index;
            flow.count += 1;
        }
        self.taken += 1;
        Some((index, generation))
    }

    /// Leaves a place.
    pub(super) fn free(&mut self, index: u32) {
        self.timers.disarm(&mut self.table, index);
        self.waits_no_more(index);
        let Some(slot) = self.table.at_mut(index).filter(|slot| slot.state != State::Free) else {
            return;
        };
        let (flow, prev, next) = (slot.flow, slot.flow_prev, slot.flow_next);
        let next_generation = slot.generation.checked_add(1);
        *slot = Slot::free(next_generation.unwrap_or(u32::MAX));
        if let Some(before) = self.table.at_mut(prev) {
            before.flow_next = next;
        }
        if let Some(behind) = self.table.at_mut(next) {
            behind.flow_prev = prev;
        }
        if let Some(flow) = self.flow_at(flow) {
            flow.count -= 1;
            if flow.first == index {
                flow.first = next;
            }
        }
        self.taken -= 1;
        // A place that was used as often as can be counted is never used again.
        if next_generation.is_some() {
            self.free.push_back(index);
        }
        if self.taken == 0 && self.table.len > KEPT {
            self.give_back();
        }
    }

    /// Drops a table in which nothing is left.
    fn give_back(&mut self) {
        let all = self.table.chunks.iter().flatten().map(|slot| slot.generation);
        let Some(first) = all.max().filter(|max| *max < u32::MAX) else { return };
        self.first_generation = first;
        self.table = Table::default();
        self.free = VecDeque::new();
    }

    /// Counts a packet that waits from now on.
    pub(super) fn waits(&mut self, index: u32) {
        if self.table.get(index).is_some() {
            self.waiting += 1;
        }
    }

    /// Counts one that does not wait any more, if it did.
    pub(super) fn waits_no_more(&mut self, index: u32) {
        let Some(slot) = self.table.at_mut(index) else { return };
        if slot.departure.is_some() && !slot.counted_out {
            slot.counted_out = true;
            self.waiting -= 1;
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lets a packet come due `length` after `from`, and not when it would have before.
    pub(super) fn arm(&mut self, index: u32, length: Duration, from: Instant) {
        self.timers.disarm(&mut self.table, index);
        self.timers.arm(&mut self.table, index, length, from);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first(&self.table).map(|(due, _)| due)
    }

    /// What the table takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let places: usize = self.table.chunks.iter().map(Vec::capacity).sum();
        places * size_of::<Slot>() + self.free.capacity() * size_of::<u32>()
    }

    /// Takes a packet that is due out of the timers.
    pub(super) fn due(&mut self, now: Instant) -> Option<u32> {
        let (_, index) = self.timers.first(&self.table).filter(|(due, _)| *due <= now)?;
        self.timers.disarm(&mut self.table, index);
        Some(index)
    }
}

impl Slot {
    fn free(generation: u32) -> Self {
        Slot {
            generation,
            state: State::Free,
            many: false,
            counted_out: false,
            flow: NONE,
            flow_prev: NONE,
            flow_next: NONE,
            destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            size: 0,
            filler: Filler::default(),
            timeout: Duration::ZERO,
            keep: Duration::ZERO,
            tag: 0,
            duplicates: 0,
            suspects: 0,
            departure: None,
            held: None,
            place: Place::default(),
        }
    }
}
