//! Trains of echo requests to any number of targets, paced by one plan.
//!
//! One future serves all targets: it sends what is due in batches and takes events in batches, so that
//! thousands of targets cost little more than their packets.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::flow::Flow;
use super::port::{Port, PortError, Wish};
use crate::engine::cadence::Cadence;
use crate::engine::echo::{EchoEvent, Filler, Outgoing};
use crate::icmp::{EchoFate, EchoRecord, IcmpLimits, Responder};
use crate::timing::{NetworkTime, duration_ns};

/// What all targets of a sweep have in common.
#[derive(Clone, Debug)]
pub(in crate::io) struct SweepPlan {
    pub(in crate::io) count: u32,
    /// From one packet to the next one to the same target.
    pub(in crate::io) interval: Duration,
    /// From any packet to the next.
    pub(in crate::io) gap: Duration,
    pub(in crate::io) reply_timeout: Duration,
    pub(in crate::io) linger: Duration,
    pub(in crate::io) size: u32,
    pub(in crate::io) filler: Filler,
    pub(in crate::io) wish: Wish,
    pub(in crate::io) limits: IcmpLimits,
}

/// One target of a sweep and what is known of it.
#[derive(Debug)]
pub(in crate::io) struct Row {
    pub(in crate::io) address: SocketAddr,
    pub(in crate::io) packets: Vec<EchoRecord>,
    pub(in crate::io) responders: Vec<Responder>,
    pub(in crate::io) responders_left_out: u64,
    /// Packets that are not decided yet, sent or not.
    open: u32,
    ended: bool,
    /// When everything was decided, in nanoseconds from the start of the sweep.
    pub(in crate::io) decided_ns: u64,
    /// Packets that posed as answers.
    pub(in crate::io) suspects: u64,
}

/// What a sweep tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum SweepEvent {
    /// Something new is known of a packet: its row and number.
    Packet { row: usize, number: usize },
    /// Every packet of a row is decided. It may still hear of duplicates and late answers.
    Decided { row: usize },
    /// Nothing more is heard of a row.
    Done { row: usize },
}

/// Most packets that are made before others have their turn.
const BATCH: usize = 64;

/// A sweep under way.
#[derive(Debug)]
pub(in crate::io) struct Sweep {
    plan: SweepPlan,
    start: Instant,
    pub(in crate::io) rows: Vec<Row>,
    /// Rows in the order in which their next packets are due.
    queue: VecDeque<(Instant, u32)>,
    cadence: Cadence,
    flows: [Option<Flow>; 2],
    events: Vec<EchoEvent>,
    told: VecDeque<SweepEvent>,
    /// Rows that are decided, and until when they listen on.
    lingering: VecDeque<(Instant, u32)>,
    /// When to go on, by family.
    alarms: [Option<Instant>; 2],
    /// Rows of which more is to be heard.
    busy: usize,
}

impl Sweep {
    /// A sweep over no addresses yet. `ports` are the sockets for IPv4 and IPv6; a family without one
    /// must have no address here.
    pub(in crate::io) fn new(
        plan: SweepPlan,
        ports: [Option<&Arc<Port>>; 2],
        start: Instant,
    ) -> Self {
        Sweep {
            start,
            rows: Vec::new(),
            queue: VecDeque::new(),
            cadence: Cadence::new(start, plan.gap),
            flows: ports.map(|port| port.map(Flow::open)),
            events: Vec::new(),
            told: VecDeque::new(),
            lingering: VecDeque::new(),
            alarms: [None; 2],
            busy: 0,
            plan,
        }
    }

    /// Sets what was not known before: how packets leave and by which sockets.
    pub(in crate::io) fn begin(&mut self, wish: Wish, ports: [Option<&Arc<Port>>; 2]) {
        self.plan.wish = wish;
        self.flows = ports.map(|port| port.map(Flow::open));
        self.cadence = Cadence::new(crate::io::time::now(), self.plan.gap);
    }

    /// Adds an address, whose first packet is due at `due` or as soon as the plan allows; gives its row.
    pub(in crate::io) fn add(&mut self, address: SocketAddr, due: Instant) -> usize {
        let count = self.plan.count;
        self.rows.push(Row {
            address,
            packets: Vec::with_capacity(count.min(16) as usize),
            responders: Vec::new(),
            responders_left_out: 0,
            open: count,
            ended: false,
            decided_ns: 0,
            suspects: 0,
        });
        let row = self.rows.len() - 1;
        // The place of a packet in the table of rows is 32 bits wide, and so is that of packets.
        let place = self.queue.partition_point(|(other, _)| *other <= due);
        if let Ok(row) = u32::try_from(row) {
            self.queue.insert(place, (due, row));
            self.busy += 1;
        }
        row
    }

    /// The next event; `None` when everything is decided and the time to linger is over.
    ///
    /// # Errors
    /// The engine or its runtime has ended.
    pub(in crate::io) async fn next(&mut self) -> Result<Option<SweepEvent>, PortError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<SweepEvent>, PortError>> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Poll::Ready(Ok(Some(event)));
            }
            self.alarms = [None; 2];
            let sent = self.send_due(cx)?;
            let heard = self.take_events(cx)?;
            self.end_lingering();
            if !self.told.is_empty() {
                continue;
            }
            if self.busy == 0 {
                return Poll::Ready(Ok(None));
            }
            if sent {
                // Others have their turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !heard {
                for (flow, alarm) in self.flows.iter().zip(self.alarms) {
                    if let Some((flow, at)) = flow.as_ref().zip(alarm) {
                        flow.wake_at(cx, at);
                    }
                }
                return Poll::Pending;
            }
        }
    }

    /// Lets go of the rows that have listened long enough.
    fn end_lingering(&mut self) {
        while let Some(&(until, row)) = self.lingering.front() {
            let address = self.rows.get(row as usize).map(|row| row.address);
            let family = usize::from(address.is_some_and(|address| address.is_ipv6()));
            let flow = self.flows.get(family).and_then(Option::as_ref);
            if flow.is_some_and(|flow| !flow.has_heard(until)) {
                self.alarm(family, until);
                return;
            }
            self.lingering.pop_front();
            self.busy -= 1;
            self.told.push_back(SweepEvent::Done { row: row as usize });
        }
    }

    /// Has the task woken by the timer of this family's socket.
    fn alarm(&mut self, family: usize, at: Instant) {
        if let Some(alarm) = self.alarms.get_mut(family) {
            *alarm = Some(alarm.map_or(at, |other| other.min(at)));
        }
    }

    /// Sends a batch of what is due. True if there may be more to do at once.
    fn send_due(&mut self, cx: &mut Context<'_>) -> Result<bool, PortError> {
        let Some(&(row_due, _)) = self.queue.front() else { return Ok(false) };
        let due = row_due.max(self.cadence.due());
        let now = crate::io::time::now();
        if due > now {
            // Whichever socket there is.
            let family = self.flows.iter().position(Option::is_some).unwrap_or(0);
            self.alarm(family, due);
            return Ok(false);
        }
        let mut made = 0;
        let mut blocked = false;
        while made < BATCH && !blocked {
            let Some(&(row_due, row)) = self.queue.front() else { break };
            let planned = row_due.max(self.cadence.due());
            if planned > now {
                break;
            }
            blocked = !self.send_one(cx, row, planned)?;
            if blocked {
                break;
            }
            self.cadence.took(now);
            self.queue.pop_front();
            made += 1;
            let count = self.plan.count as usize;
            let left = self.rows.get(row as usize).is_some_and(|row| row.packets.len() < count);
            if left {
                // After a stall the row's own plan starts anew as well.
                let late = now.saturating_duration_since(row_due);
                let from = if late > self.plan.interval { now } else { row_due };
                self.queue.push_back((from + self.plan.interval, row));
            }
        }
        Ok(made > 0)
    }

    /// Hands one packet to the socket of its family; false if that takes none at the moment.
    fn send_one(
        &mut self,
        cx: &mut Context<'_>,
        row: u32,
        planned: Instant,
    ) -> Result<bool, PortError> {
        let Some(entry) = self.rows.get_mut(row as usize) else { return Ok(true) };
        let family = usize::from(entry.address.is_ipv6());
        let Some(flow) = self.flows.get_mut(family).and_then(Option::as_mut) else {
            return Ok(true);
        };
        let number = entry.packets.len() as u64;
        let mut outgoing = Outgoing::new(entry.address.ip(), self.plan.reply_timeout);
        outgoing.size = self.plan.size;
        outgoing.filler = self.plan.filler.clone();
        outgoing.keep = self.plan.linger;
        outgoing.many = self.plan.wish.broadcast && is_many(entry.address.ip());
        outgoing.tag = u64::from(row) << 32 | number;
        if !flow.push(cx, &outgoing, entry.address, &self.plan.wish)? {
            return Ok(false);
        }
        let planned_ns = duration_ns(planned.saturating_duration_since(self.start));
        entry.packets.push(EchoRecord::new(number, planned_ns));
        Ok(true)
    }

    fn take_events(&mut self, cx: &mut Context<'_>) -> Result<bool, PortError> {
        let mut events = std::mem::take(&mut self.events);
        let mut heard = false;
        for family in 0..self.flows.len() {
            let Some(flow) = self.flows.get_mut(family).and_then(Option::as_mut) else { continue };
            flow.poll_events(cx, &mut events)?;
            heard |= !events.is_empty();
            for event in events.drain(..) {
                self.event(event);
            }
        }
        self.events = events;
        Ok(heard)
    }

    fn event(&mut self, event: EchoEvent) {
        let tag = match &event {
            EchoEvent::Decided { tag, .. }
            | EchoEvent::Late { tag, .. }
            | EchoEvent::Duplicate { tag, .. }
            | EchoEvent::Suspects { tag, .. }
            | EchoEvent::Duplicates { tag, .. } => *tag,
        };
        let (row_number, number) = place(tag);
        let Some(row) = self.rows.get_mut(row_number) else { return };
        let Some(packet) = row.packets.get_mut(number) else { return };
        let most = self.plan.limits.responders;
        match event {
            EchoEvent::Decided { fate, sent, .. } => {
                let after = |at: Instant| duration_ns(at.saturating_duration_since(self.start));
                packet.sent_ns = sent.map(after);
                if let EchoFate::Answered(answer) = &fate
                    && self.plan.wish.broadcast
                {
                    note(
                        &mut row.responders,
                        &mut row.responders_left_out,
                        answer.from,
                        answer.rtt,
                        most,
                    );
                }
                packet.fate = fate;
                row.open -= 1;
            }
            EchoEvent::Late { answer, .. } => packet.fate = EchoFate::Late(answer),
            EchoEvent::Duplicate { from, rtt, .. } => {
                packet.duplicates += 1;
                if self.plan.wish.broadcast {
                    note(&mut row.responders, &mut row.responders_left_out, from, rtt, most);
                }
            }
            EchoEvent::Suspects { count, .. } => {
                row.suspects += count;
                return;
            }
            EchoEvent::Duplicates { count, .. } => packet.duplicates = count,
        }
        self.told.push_back(SweepEvent::Packet { row: row_number, number });
        if row.open == 0 && !row.ended {
            row.ended = true;
            let now = crate::io::time::now();
            row.decided_ns = duration_ns(now.saturating_duration_since(self.start));
            self.told.push_back(SweepEvent::Decided { row: row_number });
            if self.plan.linger.is_zero() {
                self.busy -= 1;
                self.told.push_back(SweepEvent::Done { row: row_number });
            } else if let Ok(row) = u32::try_from(row_number) {
                let until = now.checked_add(self.plan.linger).unwrap_or(now);
                self.lingering.push_back((until, row));
            }
        }
    }

    /// Forgets what is still remembered; its duplicates are the last thing to be heard of.
    pub(in crate::io) fn close(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for family in 0..self.flows.len() {
            if let Some(flow) = self.flows.get_mut(family).and_then(Option::take) {
                let undecided = flow.close(&mut events);
                for event in events.drain(..) {
                    self.event(event);
                }
                for (tag, sent) in undecided {
                    let sent_ns = duration_ns(sent.saturating_duration_since(self.start));
                    let (row, number) = place(tag);
                    let packet = self.rows.get_mut(row).and_then(|row| row.packets.get_mut(number));
                    if let Some(packet) = packet {
                        packet.sent_ns = Some(sent_ns);
                    }
                }
            }
        }
    }
}

impl Row {
    /// Whether its packets were taken away.
    pub(in crate::io) fn is_taken(&self) -> bool {
        self.ended && self.packets.is_empty()
    }

    /// An address to which nothing was sent.
    pub(in crate::io) fn nothing(address: SocketAddr) -> Self {
        Row {
            address,
            packets: Vec::new(),
            responders: Vec::new(),
            responders_left_out: 0,
            open: 0,
            ended: true,
            decided_ns: 0,
            suspects: 0,
        }
    }
}

/// Notes who answered a packet that many may answer.
fn note(
    responders: &mut Vec<Responder>,
    left_out: &mut u64,
    from: IpAddr,
    rtt: NetworkTime,
    most: usize,
) {
    if let Some(known) = responders.iter_mut().find(|known| known.address == from) {
        known.answers += 1;
    } else if responders.len() < most {
        responders.push(Responder::new(from, Some(rtt)));
    } else {
        *left_out += 1;
    }
}

/// The row and the number of the packet with this tag.
fn place(tag: u64) -> (usize, usize) {
    ((tag >> 32) as usize, (tag & u64::from(u32::MAX)) as usize)
}

/// Whether an address may stand for several hosts, as far as it tells by itself: the broadcast address
/// of a network looks like any other.
fn is_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_multicast(),
    }
}
