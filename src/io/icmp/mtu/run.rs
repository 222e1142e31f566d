//! One discovery on a socket that others use as well.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::interface;
use crate::engine::echo::{EchoEvent, Filler, Outgoing};
use crate::engine::mtu::{MtuEngine, MtuSetup, MtuTicket, MtuTransmit};
use crate::icmp::mtu::{MtuConfig, MtuReport};
use crate::icmp::{EchoAnswer, EchoFate, SocketMode};
use crate::io::icmp::flow::Flow;
use crate::io::icmp::port::{Port, PortError, Wish};
use crate::timing::duration_ns;

/// Bytes of the header of an echo request.
const ECHO_HEADER: u32 = 8;

/// A discovery under way. Dropped, it frees its packets.
#[derive(Debug)]
pub(super) struct Run {
    book: Book,
    flow: Flow,
    mode: SocketMode,
    start: Instant,
    wish: Wish,
    /// Made, and not taken by the socket yet.
    pending: Option<MtuTransmit>,
    events: Vec<EchoEvent>,
}

/// What is known so far.
#[derive(Debug)]
struct Book {
    engine: MtuEngine,
    to: SocketAddr,
    config: MtuConfig,
    /// What the engine does not keep, by the number of the packet.
    facts: Vec<Fact>,
    /// The packet under way was answered by something that proves nothing: its time runs out here.
    spoilt: bool,
}

/// What is known of a packet apart from its fate.
#[derive(Clone, Copy, Debug, Default)]
struct Fact {
    size: u32,
    sent: Option<Instant>,
    late: bool,
    duplicates: u64,
}

impl Run {
    pub(super) fn new(
        port: &Arc<Port>,
        setup: MtuSetup,
        config: &MtuConfig,
        to: SocketAddr,
        wish: Wish,
    ) -> Self {
        let setup = match interface::mtu(config, to) {
            Some(mtu) => setup.with_interface_mtu(mtu),
            None => setup,
        };
        let start = crate::io::time::now();
        let engine = MtuEngine::new(setup, start);
        let config = config.clone();
        Run {
            book: Book { engine, to, config, facts: Vec::new(), spoilt: false },
            flow: Flow::open(port),
            mode: port.mode(),
            start,
            wish,
            pending: None,
            events: Vec::new(),
        }
    }

    /// Goes on until nothing is left to find out.
    ///
    /// # Errors
    /// The engine of the socket or its runtime has ended.
    pub(super) async fn run(&mut self) -> Result<(), PortError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PortError>> {
        loop {
            self.send(cx)?;
            self.flow.poll_events(cx, &mut self.events)?;
            let heard = !self.events.is_empty();
            for event in self.events.drain(..) {
                self.book.event(&event);
            }
            if self.book.engine.is_done() {
                return Poll::Ready(Ok(()));
            }
            let due = self.book.engine.poll_timeout().filter(|_| self.book.spoilt);
            let over = due.is_some_and(|due| self.flow.poll_until(cx, due).is_ready());
            if over {
                self.book.expire();
            }
            if !(heard || over) {
                return Poll::Pending;
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), PortError> {
        if self.pending.is_none() {
            self.pending = self.book.next();
        }
        let Some(MtuTransmit { ticket, size, .. }) = self.pending else { return Ok(()) };
        let Book { to, config, .. } = &self.book;
        let mut outgoing = Outgoing::new(to.ip(), config.query_timeout);
        outgoing.size = size.saturating_sub(overhead(*to));
        // Nothing on the way can make it smaller than it is.
        outgoing.filler = Filler::Random;
        // A late answer says as much as one in time.
        outgoing.keep = config.timeout;
        outgoing.tag = u64::from(ticket.number());
        if self.flow.push(cx, &outgoing, *to, &self.wish)? {
            self.pending = None;
        }
        Ok(())
    }

    /// What was found out.
    pub(super) fn finish(self) -> MtuReport {
        let Run { mut book, flow, mode, start, .. } = self;
        let suspects = flow.suspects();
        let mut rest = Vec::new();
        let undecided = flow.close(&mut rest);
        rest.iter().for_each(|event| book.event(event));
        for (tag, sent) in undecided {
            if let Some(fact) = usize::try_from(tag).ok().and_then(|tag| book.facts.get_mut(tag)) {
                fact.sent = Some(sent);
            }
        }
        let Book { engine, facts, .. } = book;
        // Not the time of now: nothing is decided by the end of the probe.
        let mut report = engine.finish(start);
        report.socket = Some(mode);
        report.forgery_suspects += suspects;
        for (step, fact) in report.steps.iter_mut().zip(facts) {
            if let Some(sent) = fact.sent {
                step.sent_ns = duration_ns(sent.saturating_duration_since(start));
            }
            (step.late, step.duplicates) = (fact.late, fact.duplicates);
        }
        report
    }
}

/// Bytes of the headers before the payload of an echo request without options.
fn overhead(to: SocketAddr) -> u32 {
    ECHO_HEADER + if to.is_ipv4() { 20 } else { 40 }
}

impl Book {
    /// What is to be sent next.
    fn next(&mut self) -> Option<MtuTransmit> {
        let made = self.engine.poll_transmit(crate::io::time::now())?;
        self.facts.push(Fact { size: made.size, ..Fact::default() });
        Some(made)
    }

    fn event(&mut self, event: &EchoEvent) {
        let (EchoEvent::Decided { tag, .. }
        | EchoEvent::Late { tag, .. }
        | EchoEvent::Duplicate { tag, .. }
        | EchoEvent::Suspects { tag, .. }
        | EchoEvent::Duplicates { tag, .. }) = event;
        let Ok(number) = u32::try_from(*tag) else { return };
        let Some(fact) = self.facts.get_mut(number as usize) else { return };
        let ticket = MtuTicket::new(number);
        match event {
            EchoEvent::Decided { fate, sent, .. } => {
                fact.sent = *sent;
                fact.late = matches!(fate, EchoFate::Late(_));
                self.decided(ticket, fate);
            }
            EchoEvent::Late { answer, .. } => {
                fact.late = true;
                self.answered(ticket, answer);
            }
            EchoEvent::Duplicate { .. } => fact.duplicates += 1,
            EchoEvent::Duplicates { count, .. } => fact.duplicates = *count,
            // The flow has counted them.
            EchoEvent::Suspects { .. } => {}
        }
    }

    fn decided(&mut self, ticket: MtuTicket, fate: &EchoFate) {
        let now = crate::io::time::now();
        match fate {
            EchoFate::Answered(answer) | EchoFate::Late(answer) => self.answered(ticket, answer),
            EchoFate::Refused(error) => self.engine.refused(ticket, (**error).clone(), now),
            EchoFate::NotSent { errno: libc::EMSGSIZE, mtu } if self.is_too_big(ticket) => {
                self.engine.too_big_here(ticket, *mtu, now);
            }
            EchoFate::NotSent { errno, .. } => self.engine.not_sent(ticket, *errno, now),
            // Long enough, but with something else in it: it may have been cut on the way and filled up.
            EchoFate::Corrupt(_) => self.spoilt = true,
            // Its time is over. That of the engine began a little earlier.
            EchoFate::Lost | EchoFate::LostLocally | EchoFate::Pending => self.expire(),
        }
    }

    /// Whether it can be the packet's own size that the system refuses: the socket may have kept an error
    /// about an earlier packet for this call.
    fn is_too_big(&self, ticket: MtuTicket) -> bool {
        let fact = self.facts.get(ticket.number() as usize);
        let mtu = interface::mtu(&self.config, self.to);
        fact.zip(mtu).is_none_or(|(fact, mtu)| fact.size > mtu)
    }

    fn answered(&mut self, ticket: MtuTicket, answer: &EchoAnswer) {
        let size = answer.payload_bytes.saturating_add(overhead(self.to));
        let rtt = Some(answer.rtt);
        self.engine.answered(ticket, answer.from, rtt, size, crate::io::time::now());
    }

    /// Ends the wait for the packet under way.
    fn expire(&mut self) {
        self.spoilt = false;
        let now = crate::io::time::now();
        let due = self.engine.poll_timeout();
        self.engine.handle_timeout(due.map_or(now, |due| due.max(now)));
    }
}
