//! The rows of the fault list that the engine decides, with clocks that only the test moves.

use super::*;
use crate::timing::StampSource;
use crate::verdict::FailureKind;

mod clocks;
mod errors;
mod floods;
mod train;

const START_NS: i64 = 1_790_000_000_000_000_000;
const SECOND: Duration = Duration::from_secs(1);
const BASE: u16 = 0x4000;

pub(super) fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A packet that left, as the wire shows it.
#[derive(Clone)]
pub(super) struct Sent {
    ticket: Ticket,
    to: IpAddr,
    payload: Vec<u8>,
}

/// An engine and the clocks it is told of.
pub(super) struct Lab {
    engine: EchoEngine,
    flow: FlowId,
    start: Reading,
}

impl Lab {
    fn new() -> Self {
        Lab::of(Setup::new([7; 16], BASE))
    }

    fn with_send_stamps() -> Self {
        Lab::of(Setup { send_stamps: true, ..Setup::new([7; 16], BASE) })
    }

    fn of(setup: Setup) -> Self {
        let mut engine = EchoEngine::new(setup);
        let flow = engine.open();
        let start = Reading::new(Instant::now() + 10 * SECOND, START_NS);
        Lab { engine, flow, start }
    }

    fn at(&self, time: Duration) -> Reading {
        self.start.later(time)
    }

    fn packet(tag: u64) -> Outgoing {
        let mut outgoing = Outgoing::new("192.0.2.1".parse().unwrap(), SECOND);
        (outgoing.tag, outgoing.keep) = (tag, 10 * SECOND);
        outgoing
    }

    fn send(&mut self, outgoing: &Outgoing, time: Duration) -> Sent {
        let mut payload = Vec::new();
        let ticket = self.engine.prepare(self.flow, outgoing, &mut payload).unwrap();
        let before = self.at(time);
        self.engine.sent(ticket, before, before.mono + us(5));
        Sent { ticket, to: outgoing.destination, payload }
    }

    fn receive(&mut self, sent: &Sent, time: Duration) -> Result<(), Stray> {
        self.receive_as(sent, sent.to, &sent.payload, time)
    }

    fn receive_as(
        &mut self,
        like: &Sent,
        from: IpAddr,
        payload: &[u8],
        time: Duration,
    ) -> Result<(), Stray> {
        self.receive_at(like, from, payload, &Received::at(self.at(time)))
    }

    fn receive_at(
        &mut self,
        like: &Sent,
        from: IpAddr,
        payload: &[u8],
        received: &Received,
    ) -> Result<(), Stray> {
        let Ticket { id, seq, .. } = like.ticket;
        let reply = Arrival::Reply { from, id, seq, payload, ttl: Some(60), tos: Some(4) };
        self.engine.receive(reply, received)
    }

    fn refuse(&mut self, like: &Sent, to: IpAddr, quote: &[u8]) -> Result<(), Stray> {
        let router = "198.51.100.1".parse().ok();
        let error = EchoError::new(FailureKind::Timeout, 3, 1, router);
        let Ticket { id, seq, .. } = like.ticket;
        let error = Arrival::Error { error, destination: to, id, seq, payload: quote };
        self.engine.receive(error, &Received::at(self.at(ms(2))))
    }

    fn timeout(&mut self, time: Duration) {
        let now = self.at(time).mono;
        self.engine.handle_timeout(now);
    }

    fn events(&mut self) -> Vec<EchoEvent> {
        let flow = self.flow;
        let mut events = Vec::new();
        while let Some((of, event)) = self.engine.poll_event() {
            assert_eq!(of, flow);
            events.push(event);
        }
        events
    }

    /// The one thing that was told: what became of this packet, behind what posed as an answer to it.
    fn fate(&mut self, of: u64) -> EchoFate {
        let mut events = self.events();
        events.retain(|event| !matches!(event, EchoEvent::Suspects { tag, .. } if *tag == of));
        match events.as_slice() {
            [EchoEvent::Decided { tag, fate, .. }] if *tag == of => fate.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, of: u64) -> EchoAnswer {
        match self.fate(of) {
            EchoFate::Answered(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// What is not answered within its second is lost.
    fn is_lost(&mut self, of: u64) {
        assert_eq!(self.events(), []);
        self.timeout(SECOND - us(1));
        assert_eq!(self.events(), []);
        self.timeout(SECOND);
        assert_eq!(self.fate(of), EchoFate::Lost);
    }
}

fn other_host() -> IpAddr {
    "198.51.100.9".parse().unwrap()
}

/// The same numbers on every run.
pub(super) fn shuffled<T>(items: &mut [T]) {
    let mut state = 5;
    for at in (1..items.len()).rev() {
        let other = cookie::next(&mut state) % (at as u64 + 1);
        items.swap(at, usize::try_from(other).unwrap());
    }
}

#[test]
fn i1_a_genuine_reply_is_the_answer() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    assert_eq!((lab.engine.waiting(), sent.payload.len()), (1, 56));
    lab.receive(&sent, ms(3)).unwrap();
    let answer = lab.answer(1);
    assert_eq!((answer.rtt.duration(), answer.rtt.source), (ms(3), StampSource::User));
    assert_eq!((answer.from, answer.ttl, answer.tos), (sent.to, Some(60), Some(4)));
    assert_eq!((answer.payload_bytes, answer.elapsed_ns), (56, 3_000_000));
    assert!(!answer.weak_match && !answer.clock_step);
    assert_eq!((lab.engine.waiting(), lab.engine.strays().total()), (0, 0));
}

#[test]
fn i2_a_reply_from_another_host_is_none() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let result = lab.receive_as(&sent, other_host(), &sent.payload, ms(3));
    assert_eq!(result, Err(Stray::WrongSource));
    assert_eq!(lab.engine.suspects(lab.flow), 1);
    lab.is_lost(1);
}

#[test]
fn what_posed_as_an_answer_is_told_before_the_fate_and_the_rest_at_the_end() {
    let mut lab = Lab::new();
    let mut packet = Lab::packet(1);
    packet.keep = ms(50);
    let sent = lab.send(&packet, ms(0));
    for _ in 0..3 {
        lab.receive_as(&sent, other_host(), &sent.payload, ms(3)).unwrap_err();
    }
    lab.receive(&sent, ms(4)).unwrap();
    let events = lab.events();
    assert_eq!(events[0], EchoEvent::Suspects { tag: 1, count: 3 });
    assert!(matches!(events[1], EchoEvent::Decided { tag: 1, .. }), "{events:?}");
    lab.receive_as(&sent, other_host(), &sent.payload, ms(5)).unwrap_err();
    lab.timeout(ms(100));
    assert_eq!(lab.events(), [EchoEvent::Suspects { tag: 1, count: 1 }]);
    assert_eq!(lab.engine.suspects(lab.flow), 4);
}

#[test]
fn i4_i16_i24_another_identifier_is_another_program() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    for id in (0..=u16::MAX).filter(|id| *id != sent.ticket.id) {
        let mut other = sent.clone();
        other.ticket.id = id;
        assert_eq!(lab.receive(&other, ms(1)), Err(Stray::Unmatched), "{id}");
    }
    // The same identifier, and the payload of the other ping: a time and rising bytes.
    let mut payload = vec![0; 16];
    payload.extend(16..56);
    assert_eq!(lab.receive_as(&sent, sent.to, &payload, ms(1)), Err(Stray::BadCookie));
    lab.is_lost(1);
}

#[test]
fn i5_one_bit_of_the_cookie_is_enough() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    for bit in 0..128 {
        let mut payload = sent.payload.clone();
        payload[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(lab.receive_as(&sent, sent.to, &payload, ms(1)), Err(Stray::BadCookie));
    }
    assert_eq!((lab.engine.suspects(lab.flow), lab.engine.strays().bad_cookie), (128, 128));
    lab.is_lost(1);
}

#[test]
fn i5_a_bit_behind_the_cookie_is_corruption_and_no_answer() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let mut payload = sent.payload.clone();
    payload[55] ^= 1;
    lab.receive_as(&sent, sent.to, &payload, ms(1)).unwrap();
    assert!(matches!(lab.fate(1), EchoFate::Corrupt(answer) if answer.rtt.duration() == ms(1)));
    // Corrupt and after the end it is nothing at all.
    let sent = lab.send(&Lab::packet(2), ms(0));
    lab.timeout(SECOND);
    assert_eq!(lab.fate(2), EchoFate::Lost);
    let mut payload = sent.payload.clone();
    payload[55] ^= 1;
    assert_eq!(lab.receive_as(&sent, sent.to, &payload, ms(1)), Err(Stray::Corrupt));
    assert_eq!(lab.events(), []);
}

#[test]
fn i6_i8_shorter_and_longer_replies_are_none() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    for len in 0..56 {
        let result = lab.receive_as(&sent, sent.to, &sent.payload[..len], ms(1));
        assert_eq!(result, Err(Stray::Short));
    }
    let longer = [&sent.payload[..], &[0]].concat();
    assert_eq!(lab.receive_as(&sent, sent.to, &longer, ms(1)), Err(Stray::Payload));
    assert_eq!((lab.engine.strays().short, lab.engine.strays().payload), (56, 1));
    lab.is_lost(1);
}

#[test]
fn i12_a_replay_from_an_earlier_packet_of_the_same_numbers_is_none() {
    let mut lab = Lab::new();
    let mut outgoing = Lab::packet(0);
    outgoing.keep = Duration::ZERO;
    let old = lab.send(&outgoing, ms(0));
    lab.receive(&old, ms(1)).unwrap();
    lab.answer(0);
    assert_eq!(lab.receive(&old, ms(1)), Err(Stray::StaleCookie));
    let new = loop {
        let sent = lab.send(&outgoing, ms(0));
        if sent.ticket.slot == old.ticket.slot {
            break sent;
        }
        lab.receive(&sent, ms(1)).unwrap();
        lab.answer(0);
    };
    assert_eq!((new.ticket.id, new.ticket.seq), (old.ticket.id, old.ticket.seq));
    assert_eq!(lab.receive_as(&new, old.to, &old.payload, ms(1)), Err(Stray::StaleCookie));
    assert_eq!(lab.engine.suspects(lab.flow), 0);
    // Nor does what was said about the earlier packet touch the later one.
    lab.engine.cancel(old.ticket);
    lab.engine.not_sent(old.ticket, 1, None);
    assert_eq!(lab.refuse(&new, old.to, &old.payload), Err(Stray::StaleCookie));
    lab.receive(&new, ms(1)).unwrap();
    lab.answer(0);
}

#[test]
fn i14_two_engines_see_each_its_own() {
    let (mut one, mut two) = (Lab::new(), Lab::of(Setup::new([8; 16], BASE)));
    let (first, second) = (one.send(&Lab::packet(1), ms(0)), two.send(&Lab::packet(2), ms(0)));
    assert_eq!((first.ticket.id, first.ticket.seq), (second.ticket.id, second.ticket.seq));
    assert_eq!(one.receive(&second, ms(1)), Err(Stray::BadCookie));
    assert_eq!(two.receive(&first, ms(1)), Err(Stray::BadCookie));
    one.receive(&first, ms(2)).unwrap();
    two.receive(&second, ms(3)).unwrap();
    assert_eq!(one.answer(1).rtt.duration(), ms(2));
    assert_eq!(two.answer(2).rtt.duration(), ms(3));
}

#[test]
fn i17_a_reply_that_comes_twice_is_one_answer_and_one_duplicate() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.receive(&sent, ms(3)).unwrap();
    lab.answer(1);
    lab.receive(&sent, ms(4)).unwrap();
    let duplicate = lab.events();
    assert!(
        matches!(&duplicate[..], [EchoEvent::Duplicate { tag: 1, from, rtt }]
            if *from == sent.to && rtt.duration() == ms(4)),
        "{duplicate:?}"
    );
    lab.timeout(20 * SECOND);
    assert_eq!(lab.events(), [EchoEvent::Duplicates { tag: 1, count: 1 }]);
    assert_eq!(lab.engine.remembered(lab.flow), 0);
}

#[test]
fn i18_a_thousand_duplicates_are_a_number() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let mut most = 0;
    for _ in 0..1000 {
        lab.receive(&sent, ms(3)).unwrap();
        most = most.max(lab.engine.events.len());
    }
    assert_eq!((most, lab.engine.remembered(lab.flow)), (2, 1));
    lab.events();
    lab.engine.close(lab.flow);
    assert_eq!(lab.engine.poll_event().unwrap().1, EchoEvent::Duplicates { tag: 1, count: 999 });
    assert_eq!(lab.engine.poll_event(), None);
}

#[test]
fn i20_a_late_reply_is_late_once_and_never_credited_to_the_next() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.is_lost(1);
    let next = lab.send(&Lab::packet(2), SECOND);
    lab.receive(&sent, SECOND + ms(5)).unwrap();
    let late = lab.events();
    assert!(
        matches!(&late[..], [EchoEvent::Late { tag: 1, answer }]
            if answer.rtt.duration() == SECOND + ms(5)),
        "{late:?}"
    );
    lab.receive(&sent, SECOND + ms(6)).unwrap();
    assert!(matches!(&lab.events()[..], [EchoEvent::Duplicate { tag: 1, .. }]));
    assert_eq!(lab.engine.waiting(), 1);
    lab.receive(&next, SECOND + ms(7)).unwrap();
    assert_eq!(lab.answer(2).rtt.duration(), ms(7));
}

#[test]
fn i20_what_came_late_is_late_even_before_the_timeout_is_handled() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.receive(&sent, SECOND + us(1)).unwrap();
    assert!(matches!(lab.fate(1), EchoFate::Late(_)));
    // And what came in time is in time, however late it is read.
    let sent = lab.send(&Lab::packet(2), ms(0));
    let mut received = Received::at(lab.at(3 * SECOND));
    received.stamp = Some(Stamp::new(START_NS + 999_000_000));
    lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
    assert_eq!(lab.answer(2).rtt.duration(), ms(999));
}

#[test]
fn i22_many_may_answer_a_broadcast() {
    let mut lab = Lab::new();
    let mut outgoing = Lab::packet(1);
    (outgoing.many, outgoing.destination) = (true, "192.0.2.255".parse().unwrap());
    let sent = lab.send(&outgoing, ms(0));
    let hosts: Vec<IpAddr> = (1..=64).map(|host| IpAddr::from([192, 0, 2, host])).collect();
    for (host, time) in hosts.iter().zip(1..) {
        lab.receive_as(&sent, *host, &sent.payload, ms(time)).unwrap();
    }
    // Without the cookie it is nobody's.
    let guess = lab.receive_as(&sent, hosts[0], &[0; 56], ms(70));
    assert_eq!(guess, Err(Stray::BadCookie));
    let events = lab.events();
    let EchoEvent::Decided { fate: EchoFate::Answered(first), .. } = &events[0] else { panic!() };
    assert_eq!((first.from, first.rtt.duration()), (hosts[0], ms(1)));
    for ((event, host), time) in events[1..].iter().zip(&hosts[1..]).zip(2..) {
        let EchoEvent::Duplicate { tag: 1, from, rtt } = event else { panic!("{event:?}") };
        assert_eq!((from, rtt.duration()), (host, ms(time)));
    }
    assert_eq!(events.len(), 64);
}

#[test]
fn i48_a_payload_without_room_for_the_cookie_matches_weakly() {
    for size in 0..20 {
        let mut lab = Lab::new();
        let mut outgoing = Lab::packet(1);
        outgoing.size = size;
        let sent = lab.send(&outgoing, ms(0));
        assert_eq!(sent.payload.len(), size as usize);
        lab.receive(&sent, ms(1)).unwrap();
        let answer = lab.answer(1);
        assert_eq!((answer.weak_match, answer.payload_bytes), (size < 8, size), "{size}");
    }
}

#[test]
fn a_closed_flow_takes_and_tells_nothing() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.engine.close(lab.flow);
    assert_eq!((lab.engine.waiting(), lab.engine.poll_timeout()), (0, None));
    assert_eq!(lab.receive(&sent, ms(1)), Err(Stray::StaleCookie));
    lab.timeout(5 * SECOND);
    assert_eq!(lab.events(), []);
    let mut payload = Vec::new();
    let again = lab.engine.prepare(lab.flow, &Lab::packet(2), &mut payload);
    assert_eq!((again, payload.len()), (Err(PrepareError::Closed), 0));
    let next = lab.engine.open();
    assert_ne!(next, lab.flow);
    lab.engine.close(lab.flow);
    assert!(lab.engine.prepare(next, &Lab::packet(3), &mut payload).is_ok());
}

#[test]
fn every_identifier_names_its_place_and_wraps() {
    // Not made one by one: the numbers are those of the table's places.
    let lab = Lab::of(Setup { ids: u16::MAX, ..Setup::new([1; 16], 0xff00) });
    for id in (0..u32::from(u16::MAX)).step_by(7) {
        for seq in [0, 1, 0x8000, 0xffff] {
            let slot = id << 16 | seq;
            let ticket = lab.engine.ticket(slot, 3);
            assert_eq!(u32::from(ticket.id.wrapping_sub(0xff00)), id);
            assert_eq!(lab.engine.slot_of(ticket.id, ticket.seq), Some(slot));
        }
    }
    assert_eq!(lab.engine.slot_of(0xfeff, 0), None);
}

#[test]
fn a_full_table_says_so() {
    let mut lab = Lab::of(Setup { ids: 1, ..Setup::new([1; 16], 0) });
    let mut payload = Vec::new();
    let mut prepare = |lab: &mut Lab| {
        payload.clear();
        lab.engine.prepare(lab.flow, &Lab::packet(0), &mut payload)
    };
    let tickets: Vec<_> = (0..65_536).map(|_| prepare(&mut lab).unwrap()).collect();
    assert_eq!(prepare(&mut lab), Err(PrepareError::Full));
    lab.engine.cancel(tickets[77]);
    let again = prepare(&mut lab).unwrap();
    assert_eq!((again.slot, again.generation), (77, 1));
    assert_eq!(prepare(&mut lab), Err(PrepareError::Full));
}

#[test]
fn a_table_that_was_given_back_repeats_no_nonce() {
    let mut lab = Lab::new();
    let mut seen = std::collections::HashSet::new();
    for round in 0..4 {
        let flow = lab.engine.open();
        let mut payload = Vec::new();
        for _ in 0..10_000 {
            payload.clear();
            lab.engine.prepare(flow, &Lab::packet(0), &mut payload).unwrap();
            assert!(seen.insert(payload[..8].to_vec()), "round {round}");
        }
        lab.engine.close(flow);
    }
    let mut last = lab.send(&Lab::packet(1), ms(0));
    assert_eq!((last.ticket.slot, last.ticket.generation), (0, 4));
    last.ticket.generation = 3;
    lab.engine.cancel(last.ticket);
    assert_eq!(lab.engine.waiting(), 1);
}

#[test]
fn i109_a_secret_is_not_shown_and_a_time_in_a_payload_is_not_read() {
    let mut lab = Lab::of(Setup::new([0xd7; 16], BASE));
    let shown = format!("{:?} {:?}", lab.engine, Setup::new([0xd7; 16], BASE));
    assert!(!shown.contains("215") && !shown.to_lowercase().contains("d7"), "{shown}");
    let sent = lab.send(&Lab::packet(1), ms(0));
    for time in [[0; 16], [0xff; 16], [0x80; 16], [0x7f; 16]] {
        let payload = [&time[..], &sent.payload[16..]].concat();
        assert_eq!(lab.receive_as(&sent, sent.to, &payload, ms(1)), Err(Stray::BadCookie));
    }
    lab.receive(&sent, ms(2)).unwrap();
    assert_eq!(lab.answer(1).rtt.duration(), ms(2));
}
