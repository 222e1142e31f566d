//! Random operations on the echo engine, against a slow model that keeps every packet for ever.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netsonde::engine::echo::{
    Arrival, EchoEngine, EchoEvent, Filler, FlowId, Outgoing, PrepareError, Reading, Received,
    Setup, Stamp, Stray, Ticket,
};
use netsonde::icmp::{EchoError, EchoFate};
use netsonde::{FailureKind, StampSource};

const MS: Duration = Duration::from_millis(1);
const MERGE: Duration = Duration::from_millis(5);
const START_NS: i64 = 1_790_000_000_000_000_000;

/// Runs one sequence.
pub fn check(data: &[u8]) {
    let mut data = Data(data);
    let mut run = Run::new(data.byte());
    while !data.0.is_empty() {
        run.operate(&mut data);
        run.compare();
    }
    run.finish();
}

struct Data<'a>(&'a [u8]);

impl Data<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Prepared,
    Waiting,
    Held { corrupt: bool, from: IpAddr, came: Came },
    Answered,
    Unanswered,
    Gone,
}

/// When an answer came: its stamp and when it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Came {
    stamp: Option<Duration>,
    read: Duration,
}

struct Packet {
    ticket: Ticket,
    flow: usize,
    outgoing: Outgoing,
    payload: Vec<u8>,
    state: State,
    sent: Duration,
    stamp: Option<Duration>,
    due: Option<Duration>,
    duplicates: u64,
    /// Told of to the engine, not yet told of by it.
    suspects: u64,
}

struct Flow {
    id: FlowId,
    open: bool,
    suspects: u64,
}

/// What an event says, without what the model does not know.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Told {
    Answered { from: IpAddr, rtt: u128, source: StampSource },
    LateThen { from: IpAddr, rtt: u128 },
    Corrupt { from: IpAddr },
    Refused { weak: bool },
    NotSent,
    Lost,
    Late { from: IpAddr },
    Duplicate { from: IpAddr },
    Duplicates(u64),
}

struct Run {
    engine: EchoEngine,
    stamps: bool,
    origin: Instant,
    now: Duration,
    flows: Vec<Flow>,
    packets: Vec<Packet>,
    told: Vec<(u64, Told)>,
    drops: Vec<(Duration, u64)>,
    local: u64,
    strays: u64,
    bulks: usize,
    decided: HashSet<u64>,
}

impl Run {
    fn new(options: u8) -> Self {
        let stamps = options & 1 == 1;
        let mut setup = Setup::new([9; 16], if options & 2 == 2 { 0xffff } else { 7 });
        (setup.send_stamps, setup.ids, setup.merge) = (stamps, 2, MERGE);
        Run {
            engine: EchoEngine::new(setup),
            stamps,
            origin: Instant::now() + Duration::from_secs(100),
            now: Duration::ZERO,
            flows: Vec::new(),
            packets: Vec::new(),
            told: Vec::new(),
            drops: Vec::new(),
            local: 0,
            strays: 0,
            bulks: 0,
            decided: HashSet::new(),
        }
    }

    fn reading(&self) -> Reading {
        Reading::new(self.origin, START_NS).later(self.now)
    }

    fn wall(at: Duration) -> i64 {
        START_NS + i64::try_from(at.as_nanos()).expect("short")
    }

    fn operate(&mut self, data: &mut Data<'_>) {
        match data.byte() % 32 {
            0 => self.open(),
            1 => self.close(data.below(self.flows.len())),
            2..=8 => self.prepare(data),
            9..=13 => self.sent(data),
            14 => self.not_sent(data),
            15 => self.cancel(data),
            16 | 17 => self.stamp(data),
            18..=22 => self.reply(data),
            23..=25 => self.error(data),
            26 => self.overflow(u64::from(data.byte() % 4)),
            27 | 28 => self.now += MS * u32::from(data.byte()) / 8,
            29 | 30 => self.timeout(),
            _ => self.bulk(data),
        }
    }

    fn open(&mut self) {
        let id = self.engine.open();
        assert!(self.flows.iter().all(|flow| flow.id != id), "a flow comes twice");
        self.flows.push(Flow { id, open: true, suspects: 0 });
    }

    fn close(&mut self, flow: usize) {
        let Some(Flow { id, open, .. }) = self.flows.get_mut(flow) else { return };
        self.engine.close(*id);
        if std::mem::replace(open, false) {
            for packet in 0..self.packets.len() {
                if self.packets[packet].flow == flow {
                    self.forget(packet);
                }
            }
        }
    }

    fn prepare(&mut self, data: &mut Data<'_>) {
        let flow = data.below(self.flows.len());
        let Some(Flow { id, open, .. }) = self.flows.get(flow) else { return };
        let shape = data.byte();
        let to = ["192.0.2.1", "192.0.2.2", "2001:db8::1"][usize::from(shape % 3)];
        let timeout = MS * [10, 10, 11, 30, 0][data.below(5)];
        let mut outgoing = Outgoing::new(to.parse().expect("an address"), timeout);
        outgoing.size = [0, 4, 8, 15, 16, 56, 300][data.below(7)];
        outgoing.keep = MS * [0, 20, 7][data.below(3)];
        outgoing.many = shape & 0xc0 == 0xc0;
        outgoing.filler = if shape & 8 == 8 { Filler::Random } else { Filler::Rising };
        outgoing.tag = self.packets.len() as u64;
        let mut payload = Vec::new();
        match self.engine.prepare(*id, &outgoing, &mut payload) {
            Ok(ticket) => {
                assert!(open);
                let taken = |other: &Packet| other.state != State::Gone && same(other, ticket);
                assert!(!self.packets.iter().any(taken), "a place is taken twice");
                let again = |other: &Packet| {
                    (other.ticket.slot, other.ticket.generation) == (ticket.slot, ticket.generation)
                };
                assert!(!self.packets.iter().any(again), "a nonce comes twice");
                self.packets.push(Packet {
                    ticket,
                    flow,
                    outgoing,
                    payload,
                    state: State::Prepared,
                    sent: Duration::ZERO,
                    stamp: None,
                    due: None,
                    duplicates: 0,
                    suspects: 0,
                });
            }
            Err(error) => assert!(!open && error == PrepareError::Closed && payload.is_empty()),
        }
    }

    /// A packet that may be any, and most often a late one.
    fn pick(&self, data: &mut Data<'_>) -> Option<usize> {
        let back = data.below(self.packets.len().min(12));
        self.packets.len().checked_sub(1 + back)
    }

    fn sent(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        let (reading, now) = (self.reading(), self.now);
        let packet = &mut self.packets[index];
        self.engine.sent(packet.ticket, reading, reading.mono);
        if packet.state == State::Prepared {
            packet.state = State::Waiting;
            packet.sent = now;
            packet.due = Some(now + packet.outgoing.timeout);
        }
    }

    fn not_sent(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        self.engine.not_sent(self.packets[index].ticket, 105, None);
        if self.packets[index].state == State::Prepared {
            self.tell(index, Told::NotSent);
            self.forget(index);
        }
    }

    fn cancel(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        self.engine.cancel(self.packets[index].ticket);
        let packet = &mut self.packets[index];
        if packet.state != State::Gone {
            // What is given up says nothing any more.
            packet.suspects = 0;
        }
        packet.state = State::Gone;
    }

    fn stamp(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        let after = Duration::from_micros(u64::from(data.byte()));
        let (slot, at) = (self.packets[index].ticket.slot, self.packets[index].sent + after);
        // Only the place is named, and a packet that is gone may have left it to another.
        let owner = self
            .packets
            .iter()
            .position(|packet| packet.ticket.slot == slot && packet.state != State::Gone);
        let mut at = at;
        if let Some(owner) = owner {
            let owner = &self.packets[owner];
            // A second stamp, or one from long before, would be a fault of the driver.
            if matches!(owner.state, State::Prepared) {
                self.engine.transmit_stamp(slot, Stamp::new(Self::wall(at)), None);
                return;
            }
            at = at.max(owner.sent);
        }
        self.engine.transmit_stamp(slot, Stamp::new(Self::wall(at)), None);
        let Some(owner) = owner else { return };
        let packet = &mut self.packets[owner];
        if packet.stamp.is_none() {
            packet.stamp = Some(at);
            self.release(owner);
        }
    }

    fn release(&mut self, index: usize) {
        if let State::Held { corrupt, from, came } = self.packets[index].state {
            self.answered(index, corrupt, from, came);
        }
    }

    /// Round trip and source, if the clocks run alike.
    fn measured(&self, index: usize, came: Came) -> (u128, StampSource, Duration) {
        let packet = &self.packets[index];
        // Clocks may contradict each other a little; stamps in the wrong order are not believed.
        let elapsed = came.read - packet.sent;
        let slack = Duration::from_micros(20) + MS * 6 / 10_000 * (elapsed.as_millis() as u32);
        let stamp = packet.stamp.filter(|stamp| *stamp <= came.read + slack);
        let order = stamp.zip(came.stamp).is_none_or(|(stamp, came)| stamp <= came + slack);
        let (stamp, arrived) = if order { (stamp, came.stamp) } else { (None, None) };
        let since = |from: Duration, to: Duration| to.saturating_sub(from).as_nanos();
        let (rtt, source) = match (stamp, arrived) {
            (Some(stamp), Some(arrived)) => (since(stamp, arrived), StampSource::Kernel),
            (None, Some(arrived)) => (since(packet.sent, arrived), StampSource::UserSend),
            (Some(stamp), None) => (since(stamp, came.read), StampSource::User),
            (None, None) => (since(packet.sent, came.read), StampSource::User),
        };
        (rtt, source, arrived.unwrap_or(came.read))
    }

    fn answered(&mut self, index: usize, corrupt: bool, from: IpAddr, came: Came) {
        let (rtt, source, arrived) = self.measured(index, came);
        let packet = &self.packets[index];
        let late = arrived - packet.sent > packet.outgoing.timeout;
        self.tell(
            index,
            match (corrupt, late) {
                (true, _) => Told::Corrupt { from },
                (false, true) => Told::LateThen { from, rtt },
                (false, false) => Told::Answered { from, rtt, source },
            },
        );
        self.packets[index].state = State::Answered;
        self.keep(index, came.read);
    }

    fn keep(&mut self, index: usize, from: Duration) {
        let packet = &mut self.packets[index];
        packet.due = Some(from + packet.outgoing.keep);
        if packet.outgoing.keep.is_zero() {
            self.forget(index);
        }
    }

    fn forget(&mut self, index: usize) {
        let packet = &mut self.packets[index];
        if packet.state != State::Gone {
            packet.state = State::Gone;
            packet.due = None;
            if packet.duplicates > 0 {
                let told = Told::Duplicates(packet.duplicates);
                self.tell(index, told);
            }
        }
    }

    fn tell(&mut self, index: usize, told: Told) {
        self.told.push((index as u64, told));
    }

    /// The packet that holds the place of this one.
    fn owner(&self, like: Ticket) -> Option<usize> {
        let live = |packet: &Packet| packet.state != State::Gone && same(packet, like);
        self.packets.iter().position(live)
    }

    /// What the model makes of bytes that no packet of the present accounts for.
    fn foreign(&self, from: IpAddr, like: Ticket, bytes: &[u8]) -> Option<Stray> {
        let ours = |packet: &Packet| {
            let cookie = packet.payload.get(..16);
            cookie.is_some_and(|cookie| bytes.starts_with(cookie))
                && packet.outgoing.destination == from
                && same(packet, like)
        };
        self.packets.iter().any(ours).then_some(Stray::StaleCookie)
    }

    /// Bytes of a packet, changed in some way.
    fn bytes(&self, index: usize, data: &mut Data<'_>) -> Vec<u8> {
        let mut bytes = self.packets[index].payload.clone();
        match data.byte() % 12 {
            0 => bytes.clear(),
            1 => bytes.push(1),
            2 => bytes.truncate(data.below(bytes.len())),
            3 | 4 => {
                let at = data.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (data.byte() % 8);
                }
            }
            _ => {}
        }
        bytes
    }

    fn came(&self, owner: Option<usize>, data: &mut Data<'_>) -> Came {
        let sent = owner.map_or(self.now, |owner| self.packets[owner].sent);
        let stamped = data.byte() % 4 < 2;
        let stamp = self.now.saturating_sub(Duration::from_micros(u64::from(data.byte()) * 16));
        Came { stamp: stamped.then_some(stamp.max(sent).min(self.now)), read: self.now }
    }

    fn received(&self, came: Came) -> Received {
        let mut received = Received::at(self.reading());
        received.stamp = came.stamp.map(|at| Stamp::new(Self::wall(at)));
        received
    }

    fn reply(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        let like = self.packets[index].ticket;
        let mut from = self.packets[index].outgoing.destination;
        if data.byte().is_multiple_of(8) {
            from = "198.51.100.7".parse().expect("an address");
        }
        let bytes = self.bytes(index, data);
        let owner = self.owner(like);
        let came = self.came(owner, data);
        let (id, seq) = (like.id, like.seq);
        let reply = Arrival::Reply { from, id, seq, payload: &bytes, ttl: None, tos: None };
        let result = self.engine.receive(reply, &self.received(came));
        assert_eq!(result, self.reply_result(owner, like, from, &bytes, came));
        self.strays += u64::from(result.is_err());
    }

    fn reply_result(
        &mut self,
        owner: Option<usize>,
        like: Ticket,
        from: IpAddr,
        bytes: &[u8],
        came: Came,
    ) -> Result<(), Stray> {
        let owner = owner.filter(|owner| self.packets[*owner].state != State::Prepared);
        let foreign = self.foreign(from, like, bytes);
        let Some(index) = owner else { return Err(foreign.unwrap_or(Stray::Unmatched)) };
        let packet = &self.packets[index];
        let cookie = match packet.payload.len() {
            16.. => 16,
            len => len.min(8),
        };
        let suspect = if from != packet.outgoing.destination && !packet.outgoing.many {
            Some(Stray::WrongSource)
        } else if bytes.len() < packet.payload.len() {
            Some(Stray::Short)
        } else if bytes.len() > packet.payload.len() {
            Some(Stray::Payload)
        } else if bytes[..cookie] != packet.payload[..cookie] {
            let stale = self.foreign(packet.outgoing.destination, like, bytes);
            if stale.is_some() {
                return Err(Stray::StaleCookie);
            }
            Some(Stray::BadCookie)
        } else {
            None
        };
        if let Some(why) = suspect {
            self.flows[packet.flow].suspects += 1;
            self.packets[index].suspects += 1;
            return Err(why);
        }
        let corrupt = bytes != packet.payload;
        match packet.state {
            State::Waiting if self.stamps && packet.stamp.is_none() => {
                self.packets[index].state = State::Held { corrupt, from, came };
                self.packets[index].due = Some(self.now + MERGE);
            }
            State::Waiting => self.answered(index, corrupt, from, came),
            State::Unanswered if corrupt => return Err(Stray::Corrupt),
            State::Unanswered => {
                self.packets[index].state = State::Answered;
                self.tell(index, Told::Late { from });
            }
            _ => {
                self.packets[index].duplicates += 1;
                if self.packets[index].duplicates == 1 || self.packets[index].outgoing.many {
                    self.tell(index, Told::Duplicate { from });
                }
            }
        }
        Ok(())
    }

    fn error(&mut self, data: &mut Data<'_>) {
        let Some(index) = self.pick(data) else { return };
        let like = self.packets[index].ticket;
        let mut to = self.packets[index].outgoing.destination;
        if data.byte().is_multiple_of(8) {
            to = "198.51.100.7".parse().expect("an address");
        }
        let bytes = self.bytes(index, data);
        let owner = self.owner(like);
        let came = self.came(owner, data);
        let arrival = Arrival::Error {
            error: EchoError::new(FailureKind::Timeout, 3, 1, None),
            destination: to,
            id: like.id,
            seq: like.seq,
            payload: &bytes,
        };
        let result = self.engine.receive(arrival, &self.received(came));
        assert_eq!(result, self.error_result(owner, like, to, &bytes));
        self.strays += u64::from(result.is_err());
    }

    fn error_result(
        &mut self,
        owner: Option<usize>,
        like: Ticket,
        to: IpAddr,
        bytes: &[u8],
    ) -> Result<(), Stray> {
        let ours = |owner: &usize| {
            let packet = &self.packets[*owner];
            packet.state != State::Prepared && packet.outgoing.destination == to
        };
        let foreign = self.foreign(to, like, bytes);
        let Some(index) = owner.filter(ours) else {
            return Err(foreign.unwrap_or(Stray::Unmatched));
        };
        let packet = &self.packets[index];
        let cookie = match packet.payload.len() {
            16.. => 16,
            len => len.min(8),
        };
        let seen = bytes.len().min(cookie);
        if bytes[..seen] != packet.payload[..seen] {
            if foreign.is_some() {
                return Err(Stray::StaleCookie);
            }
            self.flows[packet.flow].suspects += 1;
            self.packets[index].suspects += 1;
            return Err(Stray::BadCookie);
        }
        if packet.state != State::Waiting || packet.outgoing.many {
            return Err(Stray::Afterwards);
        }
        self.tell(index, Told::Refused { weak: seen < cookie || cookie < 8 });
        self.packets[index].state = State::Unanswered;
        self.keep(index, self.now);
        Ok(())
    }

    fn waiting(&self) -> usize {
        let waits = |state| matches!(state, State::Waiting | State::Held { .. });
        self.packets.iter().filter(|packet| waits(packet.state)).count()
    }

    fn overflow(&mut self, count: u64) {
        if self.drops.len() == 60 {
            return;
        }
        self.engine.overflowed(count, self.reading().mono);
        if count > 0 && self.waiting() > 0 {
            self.drops.push((self.now, count));
        }
    }

    fn timeout(&mut self) {
        self.engine.handle_timeout(self.reading().mono);
        loop {
            let due = |packet: &Packet| packet.due.filter(|_| packet.state != State::Gone);
            let next = (0..self.packets.len())
                .filter_map(|index| Some((due(&self.packets[index])?, index)))
                .min();
            let Some((_, index)) = next.filter(|(due, _)| *due <= self.now) else { break };
            match self.packets[index].state {
                State::Waiting => {
                    let sent = self.packets[index].sent;
                    let blamed = self.drops.iter_mut().find(|(at, left)| sent <= *at && *left > 0);
                    if let Some((_, left)) = blamed {
                        *left -= 1;
                        self.local += 1;
                    }
                    self.tell(index, Told::Lost);
                    self.packets[index].state = State::Unanswered;
                    self.keep(index, self.now);
                }
                State::Held { .. } => self.release(index),
                _ => self.forget(index),
            }
        }
        if self.waiting() == 0 {
            self.drops.clear();
        }
    }

    /// Many packets at once, so that places are used again, or the table is given back.
    fn bulk(&mut self, data: &mut Data<'_>) {
        let count = if data.byte().is_multiple_of(2) { 4_200 } else { 9_000 };
        self.bulks += 1;
        if self.bulks > 2 {
            return;
        }
        let flow = self.engine.open();
        let to = Outgoing::new("192.0.2.9".parse().expect("an address"), MS);
        let mut payload = Vec::new();
        for _ in 0..count {
            payload.clear();
            self.engine.prepare(flow, &to, &mut payload).expect("there is room");
        }
        assert_eq!(self.engine.remembered(flow), count);
        self.engine.close(flow);
    }

    fn compare(&mut self) {
        let mut told = Vec::new();
        let mut local = 0;
        while let Some((flow, event)) = self.engine.poll_event() {
            let (tag, event) = match event {
                EchoEvent::Decided { tag, fate, .. } => {
                    assert!(self.decided.insert(tag), "decided twice");
                    local += u64::from(fate == EchoFate::LostLocally);
                    (tag, fate_told(&fate))
                }
                EchoEvent::Late { tag, answer } => (tag, Told::Late { from: answer.from }),
                EchoEvent::Duplicate { tag, from, .. } => (tag, Told::Duplicate { from }),
                EchoEvent::Duplicates { tag, count } => (tag, Told::Duplicates(count)),
                EchoEvent::Suspects { tag, count } => {
                    let packet = &mut self.packets[usize::try_from(tag).expect("small")];
                    assert_eq!(self.flows[packet.flow].id, flow);
                    packet.suspects = packet.suspects.checked_sub(count).expect("not so many");
                    continue;
                }
                _ => panic!("an unknown event"),
            };
            let packet = &self.packets[usize::try_from(tag).expect("small")];
            assert_eq!(self.flows[packet.flow].id, flow);
            told.push((tag, event));
        }
        told.sort_by_key(|(tag, _)| *tag);
        self.told.sort_by_key(|(tag, _)| *tag);
        assert_eq!(told, std::mem::take(&mut self.told));
        assert_eq!(local, std::mem::take(&mut self.local));
        assert_eq!(self.engine.waiting(), self.waiting());
        assert_eq!(self.engine.strays().total(), self.strays);
        for (index, flow) in self.flows.iter().enumerate() {
            let live = |packet: &&Packet| packet.flow == index && packet.state != State::Gone;
            let live = self.packets.iter().filter(live).count();
            assert_eq!(self.engine.remembered(flow.id), live);
            let suspects = if flow.open { flow.suspects } else { 0 };
            assert_eq!(self.engine.suspects(flow.id), suspects);
        }
        // What is forgotten has told all that there was.
        let gone = |packet: &&Packet| packet.state == State::Gone;
        assert!(self.packets.iter().filter(gone).all(|packet| packet.suspects == 0));
        let live = self.packets.iter().filter(|packet| packet.state != State::Gone);
        let due = live.filter_map(|packet| packet.due).min();
        assert_eq!(self.engine.poll_timeout(), due.map(|due| self.origin + due));
    }

    /// Everything ends, and each packet that left had its one fate unless it was taken back.
    fn finish(mut self) {
        for _ in 0..3 {
            self.now += Duration::from_secs(1);
            self.timeout();
            self.compare();
        }
        assert_eq!((self.engine.waiting(), self.engine.poll_timeout()), (0, None));
        for flow in 0..self.flows.len() {
            self.close(flow);
            self.compare();
        }
    }
}

fn same(packet: &Packet, ticket: Ticket) -> bool {
    (packet.ticket.id, packet.ticket.seq) == (ticket.id, ticket.seq)
}

fn fate_told(fate: &EchoFate) -> Told {
    match fate {
        EchoFate::Answered(answer) => Told::Answered {
            from: answer.from,
            rtt: answer.rtt.duration().as_nanos(),
            source: answer.rtt.source,
        },
        EchoFate::Late(answer) => {
            Told::LateThen { from: answer.from, rtt: answer.rtt.duration().as_nanos() }
        }
        EchoFate::Corrupt(answer) => Told::Corrupt { from: answer.from },
        EchoFate::Refused(error) => Told::Refused { weak: error.weak_match },
        EchoFate::NotSent { .. } => Told::NotSent,
        EchoFate::Lost | EchoFate::LostLocally => Told::Lost,
        _ => panic!("decided as nothing"),
    }
}
