//! Whether a prober has found out what it should have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::marks::Marks;
use crate::scenario::{Expect, Outcome, PacketOutcome, Probe};

/// What is not as it should be, each as a line of text.
pub(crate) fn judge(
    probe: &Probe,
    target: IpAddr,
    outcome: &Outcome,
    marks: &Marks,
) -> Vec<String> {
    let expect = &probe.expect;
    let mut wrong = Vec::new();
    if outcome.packets.len() != probe.count as usize {
        wrong.push(format!("{} packets reported of {}", outcome.packets.len(), probe.count));
    }
    for (number, packet) in (0..).zip(&outcome.packets) {
        let mut say = |what: String| wrong.push(format!("packet {number}: {what}"));
        let fate = fate(expect, number);
        if packet.fate != fate {
            say(format!("`{}`, expected `{fate}`", packet.fate));
        }
        let extra = expect.duplicates.iter().find(|some| some.packets.contains(number));
        let extra = extra.map_or(0, |some| some.extra);
        if packet.duplicates != extra {
            say(format!("{} duplicates, expected {extra}", packet.duplicates));
        }
        let is_overtaken = overtaken(&outcome.packets, packet);
        if is_overtaken != expect.overtaken.contains(number) {
            say(format!("overtaken: {is_overtaken}"));
        }
        let of_family = |from: &&IpAddr| from.is_ipv4() == target.is_ipv4();
        let senders: Vec<_> = expect.from.iter().filter(of_family).collect();
        if let Some(from) =
            packet.from.filter(|from| !senders.is_empty() && !senders.contains(&from))
        {
            say(format!("from {from}, expected {senders:?}"));
        }
        if (packet.fate == "answered") != packet.rtt.is_some() {
            say(format!("{} with the round-trip time {:?}", packet.fate, packet.rtt));
        }
        let Some(rtt) = packet.rtt else { continue };
        for bounds in expect.rtt_us.iter().filter(|bounds| bounds.packets.contains(number)) {
            if !(bounds.from..=bounds.to).contains(&(rtt.as_micros() as u64)) {
                say(format!("took {rtt:?}, expected {} to {} us", bounds.from, bounds.to));
            }
        }
        if let Some(most) = expect.rtt_error_us {
            match captured(marks, target, packet) {
                Some(truth) if rtt.abs_diff(truth) <= Duration::from_micros(most) => {}
                truth => say(format!("took {rtt:?}, the capture says {truth:?}")),
            }
        }
    }
    wrong
}

fn fate(expect: &Expect, number: u64) -> &str {
    let listed = expect.fates.iter().find(|(_, packets)| packets.contains(number));
    listed.map(|(fate, _)| fate.as_str()).or(expect.otherwise.as_deref()).unwrap_or("answered")
}

/// Whether a packet that was sent later was answered earlier.
fn overtaken(packets: &[PacketOutcome], packet: &PacketOutcome) -> bool {
    let Some(place) = packet.place else { return false };
    let later = packets.iter().skip_while(|other| !std::ptr::eq(*other, packet)).skip(1);
    later.filter_map(|other| other.place).any(|other| other < place)
}

/// The round-trip time by the capture, if one echo alone had the sequence number.
fn captured(marks: &Marks, target: IpAddr, packet: &PacketOutcome) -> Option<Duration> {
    let seq = packet.seq?;
    let mut found =
        marks.echoes.iter().filter(|((peer, _, number), _)| (*peer, *number) == (target, seq));
    let (_, echo) = found.next()?;
    found.next().is_none().then(|| echo.rtt())?
}

/// Fates and how often, as in `7 answered, 3 lost`.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let mut counts = BTreeMap::new();
    for packet in &outcome.packets {
        *counts.entry(packet.fate.as_str()).or_insert(0) += 1;
    }
    let parts: Vec<_> = counts.iter().map(|(fate, count)| format!("{count} {fate}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    const EXPECT: &str = "[[probe]]
        count = 3
        [probe.expect]
        fates = { lost = '1' }
        duplicates = [{packets = '2', extra = 1}]
        from = ['10.0.0.1', 'fd00::1']
        rtt_us = [{packets = 'all', from = 100, to = 200}]";

    fn good() -> Outcome {
        let answered = PacketOutcome {
            fate: "answered".to_owned(),
            rtt: Some(Duration::from_micros(150)),
            from: Some("10.0.0.1".parse().unwrap()),
            place: Some(0),
            ..PacketOutcome::default()
        };
        let lost = PacketOutcome { fate: "lost".to_owned(), ..PacketOutcome::default() };
        let last = PacketOutcome { duplicates: 1, place: Some(1), ..answered.clone() };
        Outcome { packets: vec![answered, lost, last], note: String::new() }
    }

    #[test]
    fn what_is_wrong_is_found() {
        let scenario = Scenario::parse(EXPECT).unwrap();
        let verdict = |change: &dyn Fn(&mut Vec<PacketOutcome>)| {
            let mut outcome = good();
            change(&mut outcome.packets);
            let target = "10.0.0.1".parse().unwrap();
            judge(&scenario.probe[0], target, &outcome, &Marks::default())
        };
        assert_eq!(verdict(&|_| ()), Vec::<String>::new());
        for (change, part) in [
            ((|all| all.truncate(2)) as fn(&mut Vec<PacketOutcome>), "2 packets"),
            (|all| all[1].fate = "late".to_owned(), "`late`, expected `lost`"),
            (|all| all[2].duplicates = 0, "0 duplicates, expected 1"),
            (|all| all[0].place = Some(2), "overtaken: true"),
            (|all| all[0].from = Some("10.0.0.2".parse().unwrap()), "from 10.0.0.2"),
            (|all| all[0].rtt = None, "with the round-trip time None"),
            (|all| all[0].rtt = Some(Duration::from_micros(201)), "expected 100 to 200 us"),
        ] {
            let wrong = verdict(&change);
            assert!(wrong.len() == 1 && wrong[0].contains(part), "{part}: {wrong:?}");
        }
    }

    #[test]
    fn the_capture_is_asked_for_the_truth() {
        let mut scenario = Scenario::parse("[[probe]]\ncount = 1\n").unwrap();
        scenario.probe[0].expect.rtt_error_us = Some(10);
        let (target, at) = ("10.0.0.1".parse().unwrap(), std::time::SystemTime::UNIX_EPOCH);
        let mut outcome = Outcome { packets: good().packets[..1].to_vec(), note: String::new() };
        outcome.packets[0].seq = Some(7);
        let mut marks = Marks::default();
        assert_eq!(judge(&scenario.probe[0], target, &outcome, &marks).len(), 1);
        for (us, wrong) in [(145, 0), (130, 1)] {
            let echo = marks.echoes.entry((target, 1, 7)).or_default();
            (echo.requests, echo.replies) = (vec![at], vec![at + Duration::from_micros(us)]);
            assert_eq!(judge(&scenario.probe[0], target, &outcome, &marks).len(), wrong);
        }
    }
}
