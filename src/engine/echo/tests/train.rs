//! Many packets at once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// All in flight to one target, answered in another order, each after a time of its own.
fn in_flight(count: u64) {
    let mut lab = Lab::new();
    let mut outgoing = Lab::packet(0);
    (outgoing.timeout, outgoing.keep) = (1000 * SECOND, Duration::ZERO);
    let mut sent: Vec<_> = (0..count)
        .map(|tag| {
            outgoing.tag = tag;
            (tag, lab.send(&outgoing, us(tag)))
        })
        .collect();
    let ways: BTreeSet<_> =
        sent.iter().map(|(_, sent)| (sent.ticket.id, sent.ticket.seq)).collect();
    assert_eq!((ways.len() as u64, lab.engine.waiting() as u64), (count, count));
    shuffled(&mut sent);
    for ((tag, sent), order) in sent.iter().zip(0..) {
        let at = SECOND + us(3 * order);
        lab.receive(sent, at).unwrap();
        assert_eq!(lab.answer(*tag).rtt.duration(), at - us(*tag));
    }
    assert_eq!((lab.engine.waiting(), lab.engine.poll_timeout()), (0, None));
    assert_eq!(lab.engine.strays().total(), 0);
}

#[test]
fn i13_70_000_in_flight_to_one_target() {
    in_flight(70_000);
}

#[test]
fn i13_200_000_in_flight_to_one_target() {
    in_flight(200_000);
}

#[test]
fn i21_replies_in_reverse_order() {
    let mut lab = Lab::new();
    let sent: Vec<_> = (0..1000).map(|tag| lab.send(&Lab::packet(tag), us(tag))).collect();
    for (tag, sent) in sent.iter().enumerate().rev() {
        let at = ms(20) - us(tag as u64);
        lab.receive(sent, at).unwrap();
        assert_eq!(lab.answer(tag as u64).rtt.duration(), ms(20) - us(2 * tag as u64));
    }
}

#[test]
fn i124_ten_thousand_all_answered() {
    let mut lab = Lab::new();
    let sent: Vec<_> = (0..10_000).map(|tag| lab.send(&Lab::packet(tag), us(tag))).collect();
    sent.iter().for_each(|sent| lab.receive(sent, ms(900)).unwrap());
    lab.timeout(5 * SECOND);
    let answered =
        |event: &EchoEvent| matches!(event, EchoEvent::Decided { fate: EchoFate::Answered(_), .. });
    let events = lab.events();
    assert_eq!(
        (events.len(), events.iter().filter(|event| answered(event)).count()),
        (10_000, 10_000)
    );
}

#[test]
fn i125_ten_thousand_none_answered_and_nothing_remains() {
    let mut lab = Lab::new();
    let mut outgoing = Lab::packet(0);
    outgoing.keep = Duration::ZERO;
    for tag in 0..10_000 {
        outgoing.tag = tag;
        lab.send(&outgoing, us(tag));
    }
    // Each in its microsecond, none before.
    for tag in 0..10_000 {
        let due = SECOND + us(tag);
        assert_eq!(lab.engine.poll_timeout(), Some(lab.at(due).mono));
        lab.timeout(due - Duration::from_nanos(1));
        assert_eq!(lab.events(), []);
        lab.timeout(due);
        assert_eq!(lab.fate(tag), EchoFate::Lost);
    }
    assert_eq!((lab.engine.waiting(), lab.engine.remembered(lab.flow)), (0, 0));
    assert_eq!((lab.engine.slots.bytes(), lab.engine.poll_timeout()), (0, None));
}

#[test]
fn i126_ten_thousand_flows_closed_under_way() {
    let mut lab = Lab::new();
    let mut open = Vec::new();
    for tag in 0..10_000 {
        let flow = lab.engine.open();
        let mut payload = Vec::new();
        let ticket = lab.engine.prepare(flow, &Lab::packet(tag), &mut payload).unwrap();
        let now = lab.at(us(tag));
        lab.engine.sent(ticket, now, now.mono);
        open.push((flow, Sent { ticket, to: Lab::packet(0).destination, payload }));
    }
    open.iter().for_each(|(flow, _)| lab.engine.close(*flow));
    assert_eq!((lab.engine.waiting(), lab.engine.poll_timeout()), (0, None));
    assert_eq!(lab.engine.slots.bytes(), 0);
    for (_, sent) in &open {
        assert_eq!(lab.receive(sent, SECOND / 2), Err(Stray::StaleCookie));
    }
    assert_eq!((lab.engine.poll_event(), lab.engine.strays().stale_cookie), (None, 10_000));
}

#[test]
fn a_hundred_thousand_that_wait_take_less_than_40_mb() {
    let mut lab = Lab::new();
    for tag in 0..100_000 {
        lab.send(&Lab::packet(tag), us(tag));
    }
    let bytes = lab.engine.slots.bytes();
    println!("{} bytes per place, {bytes} in all", size_of::<Slot>());
    assert!(bytes < 40_000_000, "{bytes}");
    // And all of their events at once another 40 at most, only as long as they are there.
    lab.timeout(2 * SECOND);
    let event = size_of::<(FlowId, EchoEvent)>();
    println!("{event} bytes per event");
    assert!(lab.engine.events.capacity() * event < 40_000_000);
    assert_eq!(lab.events().len(), 100_000);
    assert!(lab.engine.events.capacity() <= EVENTS_KEPT);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Answer,
    Lose,
    Late,
    Twice,
    Refuse,
    Corrupt,
}

#[test]
fn a15_a_script_of_100_000_is_told_bit_for_bit() {
    const COUNT: u64 = 100_000;
    let mut state = 15;
    let script: Vec<_> = (0..COUNT)
        .map(|_| match cookie::next(&mut state) % 100 {
            0..=6 => Script::Lose,
            7..=9 => Script::Late,
            10..=13 => Script::Twice,
            14 => Script::Refuse,
            15 => Script::Corrupt,
            _ => Script::Answer,
        })
        .collect();
    let mut lab = Lab::new();
    let mut outgoing = Lab::packet(0);
    outgoing.timeout = ms(100);
    // What happens when: every packet leaves 10 us after the one before and is under way for up to 1 ms,
    // so that the answers come in another order.
    let mut happenings = BTreeMap::new();
    for (number, what) in (0..COUNT).zip(&script) {
        let flight = us(20 + cookie::next(&mut state) % 1000);
        let sent = us(10 * number);
        happenings.insert((sent, number, 0), None);
        let mut back = |after| happenings.insert((sent + after, number, 1), Some(*what));
        match what {
            Script::Lose => {}
            Script::Late => drop(back(ms(101))),
            Script::Twice => {
                back(flight);
                back(flight + us(400));
            }
            _ => drop(back(flight)),
        }
    }
    let mut sent = Vec::new();
    let mut events = Vec::new();
    for ((at, number, _), what) in happenings {
        lab.timeout(at);
        let Some(what) = what else {
            outgoing.tag = number;
            sent.push(lab.send(&outgoing, at));
            continue;
        };
        let mut packet = sent[usize::try_from(number).unwrap()].clone();
        match what {
            Script::Refuse => lab.refuse(&packet, packet.to, &packet.payload).unwrap(),
            Script::Corrupt => {
                packet.payload[40] ^= 8;
                lab.receive(&packet, at).unwrap();
            }
            _ => lab.receive(&packet, at).unwrap(),
        }
        events.append(&mut lab.events());
    }
    lab.timeout(100 * SECOND);
    events.append(&mut lab.events());

    let mut told = BTreeMap::<u64, Vec<&str>>::new();
    for event in &events {
        let (tag, what) = match event {
            EchoEvent::Decided { tag, fate, .. } => (tag, fate.as_str()),
            EchoEvent::Late { tag, .. } => (tag, "came"),
            EchoEvent::Duplicate { tag, .. } => (tag, "twice"),
            EchoEvent::Duplicates { tag, count: 1 } => (tag, "one more"),
            EchoEvent::Duplicates { .. } | EchoEvent::Suspects { .. } => panic!("{event:?}"),
        };
        told.entry(*tag).or_default().push(what);
    }
    for (number, what) in (0..COUNT).zip(&script) {
        let expected: &[&str] = match what {
            Script::Answer => &["answered"],
            Script::Lose => &["lost"],
            Script::Late => &["lost", "came"],
            Script::Twice => &["answered", "twice", "one more"],
            Script::Refuse => &["refused"],
            Script::Corrupt => &["corrupt"],
        };
        assert_eq!(told[&number], expected, "{number} {what:?}");
    }
    assert_eq!(lab.engine.strays().total(), 0);
}
