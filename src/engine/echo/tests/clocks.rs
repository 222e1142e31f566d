//! Stamps that are missing, late or wrong, and clocks that are set.

use proptest::prelude::*;

use super::*;

fn wall(time: Duration) -> i64 {
    START_NS + i64::try_from(time.as_nanos()).unwrap()
}

fn stamped(lab: &Lab, at: Duration, read: Duration) -> Received {
    Received { stamp: Some(Stamp::new(wall(at))), now: lab.at(read) }
}

#[test]
fn i101_i104_without_a_stamp_the_source_says_so() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let received = stamped(&lab, ms(3), ms(4));
    lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
    let rtt = lab.answer(1).rtt;
    assert_eq!((rtt.duration(), rtt.source), (ms(3), StampSource::UserSend));
    assert_eq!(rtt.uncertainty_ns, 6_000);
    let sent = lab.send(&Lab::packet(2), ms(0));
    lab.receive(&sent, ms(4)).unwrap();
    let rtt = lab.answer(2).rtt;
    assert_eq!((rtt.duration(), rtt.source), (ms(4), StampSource::User));
}

#[test]
fn i102_a_send_stamp_that_comes_after_the_reply_is_waited_for_5_ms() {
    for stamp_at in [None, Some(us(4_999))] {
        let mut lab = Lab::with_send_stamps();
        let sent = lab.send(&Lab::packet(1), ms(0));
        let received = stamped(&lab, ms(3), ms(4));
        lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
        assert_eq!((lab.events(), lab.engine.waiting()), (vec![], 1));
        assert_eq!(lab.engine.poll_timeout(), Some(lab.at(ms(9)).mono));
        if let Some(at) = stamp_at {
            lab.timeout(ms(4) + at);
            assert_eq!(lab.events(), []);
            lab.engine.transmit_stamp(sent.ticket.slot, Stamp::new(wall(us(8))), None);
            let rtt = lab.answer(1).rtt;
            assert_eq!((rtt.duration(), rtt.source), (us(2_992), StampSource::Kernel));
        } else {
            lab.timeout(ms(9));
            let rtt = lab.answer(1).rtt;
            assert_eq!((rtt.duration(), rtt.source), (ms(3), StampSource::UserSend));
        }
        assert_eq!(lab.engine.waiting(), 0);
    }
}

#[test]
fn i102_a_reply_that_waits_for_a_stamp_is_neither_lost_nor_answered_twice() {
    let mut lab = Lab::with_send_stamps();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let received = stamped(&lab, ms(999), ms(999));
    lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
    lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
    // Its timeout passes meanwhile, but it was there before.
    lab.timeout(SECOND);
    lab.timeout(2 * SECOND);
    let events = lab.events();
    assert!(
        matches!(&events[..], [EchoEvent::Duplicate { .. }, EchoEvent::Decided { fate, .. }]
            if matches!(fate, EchoFate::Answered(_))),
        "{events:?}"
    );
    // A flow that is closed meanwhile hears nothing.
    let sent = lab.send(&Lab::packet(2), 2 * SECOND);
    lab.receive(&sent, 2 * SECOND + ms(1)).unwrap();
    lab.engine.close(lab.flow);
    lab.engine.transmit_stamp(sent.ticket.slot, Stamp::new(wall(2 * SECOND)), None);
    lab.timeout(3 * SECOND);
    assert!(!lab.events().iter().any(|event| matches!(event, EchoEvent::Decided { .. })));
}

#[test]
fn i110_an_hour_overflows_nothing_and_eternity_neither() {
    let mut lab = Lab::with_send_stamps();
    let hour = 3600 * SECOND;
    let mut outgoing = Lab::packet(1);
    outgoing.timeout = hour;
    let sent = lab.send(&outgoing, ms(0));
    lab.engine.transmit_stamp(sent.ticket.slot, Stamp::new(wall(us(8))), None);
    lab.timeout(hour - us(1));
    let received = stamped(&lab, hour - ms(1), hour - us(1));
    lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
    let rtt = lab.answer(1).rtt;
    assert_eq!((rtt.duration(), rtt.source), (hour - ms(1) - us(8), StampSource::Kernel));
    for timeout in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
        outgoing.timeout = timeout;
        let sent = lab.send(&outgoing, ms(0));
        lab.timeout(100 * hour);
        assert_eq!(lab.events(), []);
        lab.engine.cancel(sent.ticket);
    }
    // Nor do clocks that show nonsense.
    for (before, stamp, now) in [
        (i64::MIN, i64::MAX, i64::MIN),
        (i64::MAX, i64::MIN, i64::MIN),
        (0, i64::MIN, i64::MAX),
        (i64::MIN, i64::MIN, i64::MAX),
    ] {
        let mut payload = Vec::new();
        let ticket = lab.engine.prepare(lab.flow, &Lab::packet(3), &mut payload).unwrap();
        let sent = Sent { ticket, to: outgoing.destination, payload };
        let left = Reading { wall_ns: before, ..lab.start };
        lab.engine.sent(ticket, left, left.mono);
        lab.engine.transmit_stamp(ticket.slot, Stamp::new(stamp).with_card(i64::MIN), Some(stamp));
        let mut received = Received::at(Reading { wall_ns: now, ..lab.at(ms(1)) });
        received.stamp = Some(Stamp::new(stamp).with_card(i64::MAX));
        lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
        lab.timeout(ms(10));
        let answer = lab.answer(3);
        assert!(answer.clock_step && answer.rtt.ns <= 1_000_000, "{answer:?}");
    }
}

/// True times of one exchange, in nanoseconds after the reading before the call.
#[derive(Clone, Debug)]
struct Truth {
    departure: u64,
    stamp_after: u64,
    flight: u64,
    read_after: u64,
    call: u64,
    width: u32,
    stamps: [bool; 2],
}

impl Truth {
    fn read(&self) -> u64 {
        self.departure + self.flight + self.read_after
    }

    /// What is reported if the wall clock is set by `step` at a time.
    fn answer(&self, step: i64, step_at: u64) -> EchoAnswer {
        let ns = Duration::from_nanos;
        let wall = |at: u64| wall(ns(at)) + if at >= step_at { step } else { 0 };
        let mut lab = Lab::new();
        let mut payload = Vec::new();
        let mut outgoing = Lab::packet(1);
        outgoing.timeout = 100 * SECOND;
        let ticket = lab.engine.prepare(lab.flow, &outgoing, &mut payload).unwrap();
        // The wall clock is read first, the monotonic one within the width.
        let mut before = lab.at(ns(0)).with_width(self.width);
        before.wall_ns -= i64::from(self.width);
        lab.engine.sent(ticket, before, before.mono + ns(self.departure.max(self.call)));
        if self.stamps[0] {
            let stamp = Stamp::new(wall(self.departure + self.stamp_after));
            lab.engine.transmit_stamp(ticket.slot, stamp, None);
        }
        let mut now = lab.at(ns(self.read())).with_width(self.width);
        now.wall_ns = wall(self.read()) - i64::from(self.width);
        let mut received = Received::at(now);
        if self.stamps[1] {
            received.stamp = Some(Stamp::new(wall(self.departure + self.flight)));
        }
        let sent = Sent { ticket, to: outgoing.destination, payload };
        lab.receive_at(&sent, sent.to, &sent.payload, &received).unwrap();
        lab.answer(1)
    }
}

fn truth() -> impl Strategy<Value = Truth> {
    let flight = prop_oneof![1u64..200_000, 1u64..20_000_000, 1u64..20_000_000_000];
    let read_after = prop_oneof![0u64..100_000, 0u64..50_000_000];
    (0u64..60_000, 0u64..30_000, flight, read_after, 0u64..100_000, 0u32..2_000, any::<[bool; 2]>())
        .prop_map(|(departure, stamp_after, flight, read_after, call, width, stamps)| Truth {
            departure,
            // Its stamp is made before the answer can be there.
            stamp_after: stamp_after.min(flight),
            flight,
            read_after,
            call,
            width,
            stamps,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a11_the_true_time_lies_within_the_bound(truth in truth()) {
        let answer = truth.answer(0, 0);
        let off = answer.rtt.ns.abs_diff(truth.flight);
        prop_assert!(off <= answer.rtt.uncertainty_ns, "{off} {answer:?}");
        prop_assert!(!answer.clock_step);
        let source = match truth.stamps {
            [true, true] => StampSource::Kernel,
            [false, true] => StampSource::UserSend,
            _ => StampSource::User,
        };
        prop_assert_eq!(answer.rtt.source, source);
    }

    #[test]
    fn a11_also_if_the_wall_clock_is_set_on_the_way(
        truth in truth(),
        step in prop_oneof![-2_000_000_000i64..2_000_000_000, -100_000i64..100_000],
        at in 0.0f64..1.0,
    ) {
        let step_at = (at * truth.read() as f64) as u64;
        let answer = truth.answer(step, step_at.max(1));
        let off = answer.rtt.ns.abs_diff(truth.flight);
        prop_assert!(off <= answer.rtt.uncertainty_ns, "{off} {answer:?}");
        let tolerance = 30_000 + truth.read() / 1000 + 4 * u64::from(truth.width);
        prop_assert!(answer.clock_step || step.unsigned_abs() < tolerance);
    }
}

#[test]
fn a12_i106_a_wall_clock_that_is_set_with_a_thousand_in_flight_harms_none() {
    for step in [1_000_000_000, -1_000_000_000] {
        for flight in [ms(20), ms(5_000)] {
            // 1,000 packets at 10 us, 1 us apart; the clock is set when half of them are out, when all
            // are, when half have come in, and between the arrival and the reading.
            let flight_ns = duration(flight);
            for set in [505, 8_000, flight_ns / 2_000, flight_ns / 1_000 + 505] {
                let set_ns = set * 1_000;
                for number in 0..1000 {
                    let sent = number * 1_000;
                    let truth = Truth {
                        departure: 8_000,
                        stamp_after: 1_000,
                        flight: flight_ns,
                        read_after: 40_000 + number * 50,
                        call: 12_000,
                        width: 80,
                        stamps: [true, true],
                    };
                    // Not set while it was under way, or so near to an end that no reading shows it.
                    if set_ns <= sent || set_ns - sent > truth.read() {
                        continue;
                    }
                    let answer = truth.answer(step, set_ns - sent);
                    let off = answer.rtt.ns.abs_diff(flight_ns);
                    assert!(answer.clock_step, "{step} {set} {number}");
                    assert!(off <= 100_000, "{step} {set} {number}: {off} {answer:?}");
                }
            }
        }
    }
}

fn duration(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

#[test]
fn i112_a_reader_that_is_late_does_not_lengthen_the_way() {
    for read_after in [0, 1_000_000, 800_000_000] {
        let (departure, stamp_after, flight) = (5_000, 2_000, 20_000_000);
        let stamps = [true, true];
        let truth =
            Truth { departure, stamp_after, flight, read_after, call: 9_000, width: 0, stamps };
        let answer = truth.answer(0, 0);
        assert_eq!((answer.rtt.ns, answer.rtt.uncertainty_ns), (flight - 2_000, 8_000));
        assert_eq!(answer.elapsed_ns, truth.read());
    }
}
