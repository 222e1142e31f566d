//! Errors that come back for what was sent, and what this host does to it.

use super::*;

fn refused(fate: EchoFate) -> EchoError {
    match fate {
        EchoFate::Refused(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn i56_i57_i58_i60_i61_i62_i64_i65_i66_an_error_is_the_fate_of_the_packet_it_quotes() {
    let errors = [(3, 1), (3, 2), (3, 3), (3, 9), (3, 13), (3, 14), (11, 0), (11, 1), (12, 0)];
    for (icmp_type, code) in errors {
        let mut lab = Lab::new();
        let sent = lab.send(&Lab::packet(1), ms(0));
        let other = lab.send(&Lab::packet(2), ms(0));
        let router = "198.51.100.1".parse().ok();
        let mut error = EchoError::new(FailureKind::Timeout, icmp_type, code, router);
        error.pointer = Some(20);
        let Ticket { id, seq, .. } = sent.ticket;
        let (destination, payload) = (sent.to, &sent.payload[..]);
        let received = Received::at(lab.at(ms(2)));
        let arrival = Arrival::Error { error: error.clone(), destination, id, seq, payload };
        lab.engine.receive(arrival, &received).unwrap();
        let mut got = refused(lab.fate(1));
        assert_eq!(got.rtt.take().map(|rtt| rtt.duration()), Some(ms(2)));
        assert_eq!(got, error);
        lab.receive(&other, ms(3)).unwrap();
        lab.answer(2);
    }
}

#[test]
fn i74_a_quote_of_eight_bytes_matches_weakly() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.refuse(&sent, sent.to, &[]).unwrap();
    assert!(refused(lab.fate(1)).weak_match);
    let sent = lab.send(&Lab::packet(2), ms(0));
    lab.refuse(&sent, sent.to, &sent.payload[..16]).unwrap();
    assert!(!refused(lab.fate(2)).weak_match);
}

#[test]
fn i76_i77_i85_what_others_sent_is_not_ours() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    assert_eq!(lab.refuse(&sent, other_host(), &sent.payload), Err(Stray::Unmatched));
    let mut other = sent.clone();
    other.ticket.id = BASE - 1;
    assert_eq!(lab.refuse(&other, sent.to, &sent.payload), Err(Stray::Unmatched));
    other.ticket = Ticket { seq: 77, ..sent.ticket };
    assert_eq!(lab.refuse(&other, sent.to, &sent.payload), Err(Stray::Unmatched));
    assert_eq!(lab.refuse(&sent, sent.to, &[0; 56]), Err(Stray::BadCookie));
    // Where it came from is not asked: a NAT may have rewritten that.
    lab.refuse(&sent, sent.to, &sent.payload).unwrap();
    refused(lab.fate(1));
}

#[test]
fn i96_an_error_behind_the_reply_changes_nothing() {
    for stamps in [false, true] {
        let mut lab = if stamps { Lab::with_send_stamps() } else { Lab::new() };
        let sent = lab.send(&Lab::packet(1), ms(0));
        lab.receive(&sent, ms(1)).unwrap();
        assert_eq!(lab.refuse(&sent, sent.to, &sent.payload), Err(Stray::Afterwards));
        lab.timeout(ms(10));
        lab.answer(1);
        assert_eq!(lab.refuse(&sent, sent.to, &sent.payload), Err(Stray::Afterwards));
        assert_eq!(lab.events(), []);
    }
}

#[test]
fn i96_a_reply_behind_the_error_is_told_of() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    lab.refuse(&sent, sent.to, &sent.payload).unwrap();
    refused(lab.fate(1));
    lab.receive(&sent, ms(3)).unwrap();
    assert!(matches!(&lab.events()[..], [EchoEvent::Late { tag: 1, .. }]));
}

#[test]
fn i97_a_hundred_thousand_errors_are_one_result() {
    let mut lab = Lab::new();
    let sent = lab.send(&Lab::packet(1), ms(0));
    let believed =
        (0..100_000).filter(|_| lab.refuse(&sent, sent.to, &sent.payload).is_ok()).count();
    assert_eq!((believed, lab.engine.strays().afterwards), (1, 99_999));
    refused(lab.fate(1));
}

#[test]
fn i116_i117_what_the_system_did_not_take_never_waited() {
    let mut lab = Lab::new();
    let mut payload = Vec::new();
    let ticket = lab.engine.prepare(lab.flow, &Lab::packet(1), &mut payload).unwrap();
    assert_eq!((lab.engine.waiting(), lab.engine.remembered(lab.flow)), (0, 1));
    // It may wait for the socket as long as it likes: its time has not begun.
    lab.timeout(60 * SECOND);
    assert_eq!(lab.events(), []);
    lab.engine.not_sent(ticket, 90, Some(1400));
    assert_eq!(lab.fate(1), EchoFate::NotSent { errno: 90, mtu: Some(1400) });
    let now = lab.at(ms(0));
    lab.engine.sent(ticket, now, now.mono);
    assert_eq!((lab.engine.waiting(), lab.engine.remembered(lab.flow)), (0, 0));
    let waited = lab.engine.prepare(lab.flow, &Lab::packet(2), &mut payload).unwrap();
    let now = lab.at(60 * SECOND);
    lab.engine.sent(waited, now, now.mono);
    assert_eq!(lab.engine.poll_timeout(), Some(lab.at(61 * SECOND).mono));
}

#[test]
fn a17_as_many_are_lost_here_as_were_dropped_and_only_those_on_their_way_then() {
    let mut lab = Lab::new();
    for tag in 0..10 {
        lab.send(&Lab::packet(tag), ms(tag));
    }
    // Three answers are dropped when only the first five are out.
    lab.engine.overflowed(3, lab.at(ms(4)).mono);
    lab.timeout(2 * SECOND);
    let here = |event: &EchoEvent| match event {
        EchoEvent::Decided { tag, fate: EchoFate::LostLocally, .. } => Some(*tag),
        _ => None,
    };
    let events = lab.events();
    assert_eq!(events.len(), 10);
    assert_eq!(events.iter().filter_map(here).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a17_drops_that_hit_others_are_not_saved_for_later_losses() {
    let mut lab = Lab::new();
    let answered = lab.send(&Lab::packet(0), ms(0));
    lab.engine.overflowed(1000, lab.at(ms(1)).mono);
    lab.receive(&answered, ms(2)).unwrap();
    lab.send(&Lab::packet(1), ms(3));
    lab.engine.overflowed(1, lab.at(ms(4)).mono);
    lab.send(&Lab::packet(2), ms(5));
    lab.timeout(SECOND + ms(3));
    lab.send(&Lab::packet(3), SECOND + ms(4));
    lab.timeout(3 * SECOND);
    let fate = |event| match event {
        EchoEvent::Decided { tag, fate, .. } => (tag, fate),
        other => panic!("{other:?}"),
    };
    let lost: Vec<_> = lab.events().into_iter().skip(1).map(fate).collect();
    assert_eq!(lost, [(1, EchoFate::LostLocally), (2, EchoFate::Lost), (3, EchoFate::Lost)]);
    // Nothing waits: nobody can have been hit.
    lab.engine.overflowed(5, lab.at(3 * SECOND).mono);
    lab.send(&Lab::packet(4), 3 * SECOND);
    lab.timeout(5 * SECOND);
    assert_eq!(lab.fate(4), EchoFate::Lost);
}

#[test]
fn i53_an_mtu_that_the_packet_fits_into_is_implausible() {
    // A packet of the lab has 56 bytes of payload, and with its headers 84 in IPv4.
    for (mtu, flag) in [(83, None), (84, Some(Implausible::NotSmaller))] {
        let mut lab = Lab::new();
        let sent = lab.send(&Lab::packet(1), ms(0));
        let failure = FailureKind::FragmentationNeeded;
        let mut error = EchoError::new(failure, 3, 4, "198.51.100.1".parse().ok());
        error.mtu = Some(mtu);
        let Ticket { id, seq, .. } = sent.ticket;
        let (destination, payload) = (sent.to, &sent.payload[..]);
        let received = Received::at(lab.at(ms(2)));
        let arrival = Arrival::Error { error, destination, id, seq, payload };
        lab.engine.receive(arrival, &received).unwrap();
        assert_eq!(refused(lab.fate(1)).mtu_implausible, flag, "{mtu}");
    }
}
