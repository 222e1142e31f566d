//! A trace under way: the engine, its sockets and its clock.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use super::line::{Entry, Leaving, Role};
use super::open::{Sockets, mtu_to};
use crate::engine::echo::{Departure, Reading, Received, Stamp, arrival_ns, measure};
use crate::engine::trace::{Codec, Match, NoMatch, TraceEngine, TraceTicket, TraceTransmit};
use crate::icmp::SocketMode;
use crate::icmp::trace::{ExtensionObject, TraceAnswer, TraceReport};
use crate::io::errno;
use crate::io::icmp::arrival::{told, told_by_queue};
use crate::io::icmp::socket::IcmpSocket;
use crate::io::socket::{BATCH, ExtendedError, HiResTimer, Message, ReceiveBatch, clock_pair};
use crate::timing::Quality;
use crate::wire::icmp::{self, Icmp, IcmpType};
use crate::wire::ip::Ipv4;
use crate::wire::tcp::Tcp;

/// Batches that are read from one socket before others have their turn.
const TURNS: usize = 16;

/// How often a send is tried again because the socket reported an error that belongs to another packet.
const FOREIGN_ERRORS: usize = 16;

/// The same where the queue no longer says so.
const UNEXPLAINED_ERRORS: usize = 4;

/// Bytes that are kept of an entry of an error queue: the header, the number, the hash.
const QUOTED: usize = 64;

/// See the [module](self). Dropped, it closes its sockets.
pub(super) struct Run {
    sockets: Sockets,
    timer: HiResTimer,
    packets: ReceiveBatch,
    queue: ReceiveBatch,
    /// A query that the system had no room for, yet.
    blocked: Option<TraceTransmit>,
    to: SocketAddr,
    interface: Option<(u32, IpAddr)>,
    state: State,
}

/// What answers are held against.
struct State {
    engine: TraceEngine,
    codec: Codec,
    sent: HashMap<u16, Departure>,
    /// The last send stamp, of any query.
    last_stamp: Option<i64>,
    quality: Quality,
}

/// What came in, and belongs to this query.
struct Answer {
    query: Match,
    answer: TraceAnswer,
}

impl Run {
    pub(super) fn new(
        sockets: Sockets,
        engine: TraceEngine,
        codec: Codec,
        to: SocketAddr,
        interface: Option<(u32, IpAddr)>,
        payload: u32,
    ) -> io::Result<Self> {
        Ok(Run {
            sockets,
            timer: HiResTimer::new()?,
            // Errors quote as much as they like.
            packets: IcmpSocket::receive_batch(payload.max(1400)),
            queue: ReceiveBatch::new(BATCH, QUOTED),
            blocked: None,
            to,
            interface,
            state: State {
                engine,
                codec,
                sent: HashMap::new(),
                last_stamp: None,
                quality: Quality::default(),
            },
        })
    }

    /// What is known so far, and how good the figures are.
    pub(super) fn finish(self) -> (TraceReport, Quality) {
        let mode = self.sockets.mode;
        let State { engine, quality, .. } = self.state;
        let mut report = engine.finish(crate::io::time::now());
        report.socket = Some(mode);
        (report, quality)
    }

    pub(super) fn is_done(&self) -> bool {
        self.state.engine.is_done()
    }

    /// Goes on until every path has come to its end.
    pub(super) async fn run(&mut self) {
        loop {
            if self.listen() {
                // What came in time is heard by now.
                self.state.engine.handle_timeout(crate::io::time::now());
            }
            self.send();
            if self.is_done() {
                return;
            }
            poll_fn(|cx| self.poll_ready(cx)).await;
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Raw sockets have the errors as packets, and stamps are looked for when an answer comes.
        let queue = self.sockets.mode == SocketMode::Datagram;
        let mut ready = false;
        for line in &mut self.sockets.lines {
            ready |= line.poll_ready(cx, queue);
        }
        if let Some(query) = &self.blocked {
            let place = self.sockets.sender(query.flow);
            let line = self.sockets.lines.get(place);
            ready |= line.is_some_and(|line| line.poll_writable(cx).is_ready());
        }
        if let Some(due) = self.state.engine.poll_timeout() {
            ready |= self.timer.poll_until(cx, due).is_ready();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Hears what has come in. True if there is nothing more for now.
    fn listen(&mut self) -> bool {
        let raw = self.sockets.mode == SocketMode::Raw;
        let mut drained = true;
        for place in 0..self.sockets.lines.len() {
            drained &= self.state.take_queue(&mut self.sockets, place, &mut self.queue).0;
            drained &= self.take_packets(place, raw);
        }
        drained
    }

    fn take_packets(&mut self, place: usize, raw: bool) -> bool {
        for _ in 0..TURNS {
            let Some(line) = self.sockets.lines.get(place) else { return true };
            match line.receive(&mut self.packets) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // An error of the path in place of data, which the error queue has as well.
                Err(_) => continue,
            }
            let now = clock_pair();
            let (role, v6) = (line.role(), line.is_v6());
            // First the stamps of what these are answers to, whichever socket that left by.
            for sender in 0..self.sockets.lines.len() {
                self.state.take_queue(&mut self.sockets, sender, &mut self.queue);
            }
            for message in self.packets.messages() {
                let received = received(now, &message);
                match self.state.answer_in(&message, role, v6, raw) {
                    Ok(answer) => self.state.take(answer, &received),
                    Err(NoMatch::Suspect) => self.state.engine.suspect(),
                    Err(NoMatch::Foreign) => {}
                }
            }
        }
        false
    }

    /// Sends what is to be sent now.
    fn send(&mut self) {
        let mut packet = Vec::new();
        loop {
            let now = crate::io::time::now();
            let next = self.blocked.take().or_else(|| self.state.engine.poll_transmit(now));
            let Some(query) = next else { return };
            packet.clear();
            let sent_as = self.state.codec.emit(&query, &mut packet);
            let leaving = Leaving { ttl: query.ttl, by: self.interface };
            let place = self.sockets.sender(query.flow);
            let (mut foreign, mut unexplained) = (0, 0);
            loop {
                let Some(line) = self.sockets.lines.get_mut(place) else { return };
                let before = clock_pair();
                let result = line.send(query.ticket, self.to, &packet, leaving);
                let after = crate::io::time::now();
                let Err(error) = result else {
                    let departure = Departure { before, after, stamp: None, not_before_ns: None };
                    self.state.sent.insert(query.ticket.number(), departure);
                    self.state.engine.sent(query.ticket, sent_as);
                    break;
                };
                match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        self.blocked = Some(query);
                        return;
                    }
                    // The error may be another packet's, which the socket has kept for the next caller.
                    _ if foreign < FOREIGN_ERRORS
                        && self.state.take_queue(&mut self.sockets, place, &mut self.queue).1 =>
                    {
                        foreign += 1;
                    }
                    _ if unexplained < UNEXPLAINED_ERRORS && may_be_foreign(&error) => {
                        unexplained += 1;
                    }
                    _ => {
                        let number = error.raw_os_error();
                        let mtu = match number {
                            Some(libc::EMSGSIZE) => mtu_to(self.to),
                            _ => None,
                        };
                        let number = number.unwrap_or(0);
                        self.state.engine.not_sent(query.ticket, number, mtu, after);
                        break;
                    }
                }
            }
        }
    }
}

/// Whether an error can be of the path. The kernel queues such a one first and sets it on the socket after
/// that: between the two the queue may have been emptied already. It says so once, nothing has left, and
/// what is wrong with the packet itself will be said again.
fn may_be_foreign(error: &io::Error) -> bool {
    error.raw_os_error().and_then(errno::remote).is_some()
}

fn received(now: Reading, message: &Message<'_>) -> Received {
    let mut received = Received::at(now);
    received.stamp = message.receive_stamp();
    received
}

impl State {
    /// Empties an error queue: whether nothing is left, and whether there was an error of the path, which
    /// the socket may have held against another packet as well.
    fn take_queue(
        &mut self,
        sockets: &mut Sockets,
        place: usize,
        batch: &mut ReceiveBatch,
    ) -> (bool, bool) {
        let datagram = sockets.mode == SocketMode::Datagram;
        let Some(line) = sockets.lines.get_mut(place) else { return (true, false) };
        let role = line.role();
        let mut errors = false;
        for _ in 0..TURNS {
            let now = clock_pair();
            let mut told = Vec::new();
            let queued = line.take_queue(batch, |entry| match entry {
                Entry::Stamp(query, stamp) => self.stamped(query, stamp),
                // Raw sockets have the error as a packet, whole.
                Entry::Error(message, error) if datagram => {
                    told.push((self.answer_told(message, error, role), received(now, message)));
                }
                Entry::Error(..) => {}
            });
            for (answer, received) in told {
                match answer {
                    Ok(answer) => self.take(answer, &received),
                    Err(NoMatch::Suspect) => self.engine.suspect(),
                    Err(NoMatch::Foreign) => {}
                }
            }
            errors |= queued.error;
            if queued.drained {
                return (true, errors);
            }
        }
        (false, errors)
    }

    fn stamped(&mut self, query: u16, stamp: Stamp) {
        let before = self.last_stamp.replace(stamp.wall_ns);
        if let Some(departure) = self.sent.get_mut(&query)
            && departure.admits(stamp)
        {
            departure.stamp = Some(stamp);
            departure.not_before_ns = before;
        }
    }

    /// Passes an answer to the engine, with its times.
    fn take(&mut self, Answer { query, mut answer }: Answer, received: &Received) {
        let Some(departure) = self.sent.get(&query.ticket.number()) else {
            self.engine.suspect();
            return;
        };
        let measured = measure(departure, received);
        let at = departure.before.mono + Duration::from_nanos(arrival_ns(departure, received));
        let worst = |old: Option<u64>, new: u64| Some(old.map_or(new, |old| old.max(new)));
        let rtt = measured.rtt;
        let quality = &mut self.quality;
        quality.stamp = Some(quality.stamp.map_or(rtt.source, |old| old.max(rtt.source)));
        quality.uncertainty_ns = worst(quality.uncertainty_ns, rtt.uncertainty_ns);
        quality.lag_ns = worst(quality.lag_ns, measured.elapsed_ns.saturating_sub(rtt.ns));
        answer.rtt = Some(rtt);
        answer.weak_match = query.weak;
        self.engine.received(query.ticket, answer, at);
    }

    /// What a packet says.
    fn answer_in(
        &self,
        message: &Message<'_>,
        role: Role,
        v6: bool,
        raw: bool,
    ) -> Result<Answer, NoMatch> {
        let from = message.from.ok_or(NoMatch::Foreign)?;
        let (mut ttl, _) = message.hops();
        let mut body = message.bytes;
        if raw && !v6 && matches!(role, Role::Icmp | Role::Tcp) {
            // The IP header comes with it.
            let packet = Ipv4::parse(body).map_err(|_| NoMatch::Foreign)?;
            (body, ttl) = (packet.payload(), Some(packet.ttl()));
        }
        let (query, mut answer) = match role {
            Role::Icmp | Role::Ping => self.icmp(body, from.ip(), v6, raw)?,
            Role::Tcp => {
                // Its checksum may not be there yet, if the segment never left this host: the number that
                // it acknowledges says enough.
                let segment = Tcp::parse(body).map_err(|_| NoMatch::Foreign)?;
                (self.codec.of_segment(&segment, from.ip())?, TraceAnswer::reply(from.ip(), None))
            }
            Role::Udp { flow } => {
                let query = self.datagram(flow, from, body)?;
                (query, TraceAnswer::reply(from.ip(), None))
            }
        };
        answer.ttl = ttl;
        Ok(Answer { query, answer })
    }

    fn icmp(
        &self,
        body: &[u8],
        from: IpAddr,
        v6: bool,
        raw: bool,
    ) -> Result<(Match, TraceAnswer), NoMatch> {
        let parsed = if v6 { Icmp::parse_v6(body) } else { Icmp::parse(body) };
        // Raw sockets of IPv4 get what comes, whatever its checksum is.
        if raw && !v6 && !icmp::checksum_ok(body) {
            return Err(NoMatch::Foreign);
        }
        match parsed.map_err(|_| NoMatch::Foreign)? {
            Icmp::EchoReply(echo) => {
                Ok((self.codec.of_reply(&echo, from)?, TraceAnswer::reply(from, None)))
            }
            Icmp::Error(error) => {
                let kind = IcmpType(error.icmp_type());
                if !v6 && matches!(kind, IcmpType::REDIRECT | IcmpType::SOURCE_QUENCH) {
                    // Advice: the packet goes on.
                    return Err(NoMatch::Foreign);
                }
                let (query, quoted) = self.codec.of_error(&error)?;
                // The engine knows how many labels are wanted.
                let mut answer = TraceAnswer::error(told(&error, from, usize::MAX));
                answer.quoted = Some(quoted);
                let others = error
                    .extensions()
                    .objects()
                    .filter(|object| (object.class, object.c_type) != (1, 1));
                let kept =
                    others.map(|o| ExtensionObject::new(o.class, o.c_type, o.payload.to_vec()));
                answer.extensions = kept.collect();
                Ok((query, answer))
            }
            _ => Err(NoMatch::Foreign),
        }
    }

    /// The query that a datagram of the target answers: the one that it brings back, or the only one of the
    /// flow that waits.
    fn datagram(&self, flow: u32, from: SocketAddr, body: &[u8]) -> Result<Match, NoMatch> {
        if from.ip() != self.codec.destination() || from.port() != self.codec.port() {
            return Err(NoMatch::Foreign);
        }
        if let Ok(Some(query)) = self.codec.of_datagram(flow, body) {
            return Ok(query);
        }
        self.only(flow).ok_or(NoMatch::Suspect)
    }

    /// The only query of a flow that waits.
    fn only(&self, flow: u32) -> Option<Match> {
        let of_flow = |number: &u16| {
            let ticket = TraceTicket::new(*number);
            (self.codec.flow(ticket) == flow && self.engine.is_waiting(ticket)).then_some(ticket)
        };
        let mut waiting = self.sent.keys().filter_map(of_flow);
        let ticket = waiting.next()?;
        waiting.next().is_none().then_some(Match { ticket, weak: true })
    }

    /// What an entry of an error queue says.
    fn answer_told(
        &self,
        message: &Message<'_>,
        error: &ExtendedError,
        role: Role,
    ) -> Result<Answer, NoMatch> {
        let to = message.from.ok_or(NoMatch::Foreign)?;
        if to.ip().to_canonical() != self.codec.destination() {
            return Err(NoMatch::Foreign);
        }
        let v6 = error.origin == ExtendedError::ICMPV6;
        let query = match role {
            Role::Udp { flow } => match self.codec.of_datagram(flow, message.bytes)? {
                Some(query) => query,
                // Too little is quoted.
                None => self.only(flow).ok_or(NoMatch::Suspect)?,
            },
            _ => {
                let request =
                    if v6 { Icmp::parse_v6(message.bytes) } else { Icmp::parse(message.bytes) };
                let Ok(Icmp::EchoRequest(echo)) = request else { return Err(NoMatch::Foreign) };
                self.codec.of_request(&echo)?
            }
        };
        Ok(Answer { query, answer: TraceAnswer::error(told_by_queue(error)) })
    }
}
