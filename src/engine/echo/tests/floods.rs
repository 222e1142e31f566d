//! Guesses and forgeries, by the hundred thousand.

use super::*;

#[test]
fn i10_every_identifier_and_sequence_number_guessed() {
    let mut lab = Lab::new();
    let waiting: Vec<_> = (0..16).map(|tag| lab.send(&Lab::packet(tag), ms(0))).collect();
    let (mut guesses, to) = (0, waiting[0].to);
    let payload = [0x55; 56];
    for id in 0..=u16::MAX {
        for seq in 0..16 {
            let received = Received::at(lab.at(ms(1)));
            let payload = &payload[..];
            let (ttl, tos) = (None, None);
            let guess = Arrival::Reply { from: to, id, seq, payload, ttl, tos };
            guesses += u64::from(lab.engine.receive(guess, &received).is_err());
        }
        if id == 0x8000 {
            lab.receive(&waiting[3], ms(2)).unwrap();
            lab.answer(3);
        }
    }
    assert_eq!((guesses, lab.engine.strays().total()), (65_536 * 16, 65_536 * 16));
    assert_eq!((lab.engine.strays().bad_cookie, lab.engine.suspects(lab.flow)), (16, 16));
    assert_eq!((lab.events(), lab.engine.waiting()), (vec![], 15));
}

/// Forgeries of all kinds against a thousand that wait, by someone who sees everything but the key and
/// the payload.
fn forge(count: u64) {
    let mut lab = Lab::new();
    let waiting: Vec<_> = (0..1000)
        .map(|tag| {
            let mut outgoing = Lab::packet(tag);
            outgoing.destination = IpAddr::from([192, 0, 2, (tag % 250) as u8]);
            outgoing.size = [8, 16, 56, 300][tag as usize % 4];
            lab.send(&outgoing, ms(0))
        })
        .collect();
    let mut state = 99;
    let mut payload = Vec::new();
    for _ in 0..count {
        let random = cookie::next(&mut state);
        let target = &waiting[(random % 1000) as usize];
        payload.clear();
        match (random >> 16) % 4 {
            // The right size and random bytes, the nonce right, and the filler as well.
            0 => payload.extend((0..target.payload.len()).map(|_| cookie::next(&mut state) as u8)),
            1 if target.payload.len() > 8 => {
                payload.extend_from_slice(&target.payload);
                payload[8..16].copy_from_slice(&cookie::next(&mut state).to_be_bytes());
            }
            // The cookie of another packet.
            2 => payload.extend_from_slice(&waiting[((random >> 32) % 1000) as usize].payload),
            _ => {
                let nonce = u64::from(target.ticket.slot).to_be_bytes();
                payload.extend_from_slice(&nonce);
                payload.resize(target.payload.len().max(8), 0);
            }
        }
        if payload == target.payload {
            continue;
        }
        let error = EchoError::new(FailureKind::Timeout, 3, 1, None);
        let Ticket { id, seq, .. } = target.ticket;
        let (from, payload, received) = (target.to, &payload[..], Received::at(lab.at(ms(1))));
        let forged = if random >> 60 == 0 {
            Arrival::Error { error, destination: from, id, seq, payload }
        } else {
            Arrival::Reply { from, id, seq, payload, ttl: None, tos: None }
        };
        assert!(lab.engine.receive(forged, &received).is_err(), "{:?} {payload:?}", target.ticket);
    }
    assert_eq!((lab.engine.waiting(), lab.events().len()), (1000, 0));
    assert!(lab.engine.strays().total() > count / 10 * 9);
    for (sent, tag) in waiting.iter().zip(0..) {
        lab.receive(sent, ms(2)).unwrap();
        lab.answer(tag);
    }
}

/// Ten million with `NETSONDE_FORGERIES=10000000`, which takes a minute without optimisation.
#[test]
fn i5_forgeries_against_1_000_that_wait() {
    let wanted = std::env::var("NETSONDE_FORGERIES").ok();
    forge(wanted.map_or(200_000, |count| count.parse().expect("a number")));
}
