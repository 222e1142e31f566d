#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::{Duration, Instant};

use super::super::{Composer, DnsName, Flags};
use super::*;

fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

/// A response with one question and two addresses.
fn answer() -> Vec<u8> {
    let (mut bytes, owner) = (Vec::new(), name("www.example.org"));
    let mut composer = Composer::new(&mut bytes, 7, Flags(0x8180));
    composer.question(owner.as_ref(), RecordType::A, Class::IN).unwrap();
    for last in [1, 2] {
        let data = [192, 0, 2, last];
        let add =
            composer.record(Section::Answer, owner.as_ref(), RecordType::A, Class::IN, 60, &data);
        add.unwrap();
    }
    composer.finish();
    bytes
}

fn set(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

#[test]
fn sections_come_in_their_order() {
    let (mut bytes, owner) = (Vec::new(), name("a"));
    let mut composer = Composer::new(&mut bytes, 7, Flags(0x8180));
    for (section, data) in [
        (Section::Answer, 1),
        (Section::Answer, 2),
        (Section::Authority, 3),
        (Section::Additional, 4),
    ] {
        let (rtype, class) = (RecordType(65280), Class::CH);
        composer.record(section, owner.as_ref(), rtype, class, 1, &[data]).unwrap();
    }
    composer.finish();
    let message = Message::parse(&bytes).unwrap();
    let seen: Vec<_> = message.records().map(|item| item.unwrap()).collect();
    let seen: Vec<_> =
        seen.iter().map(|(section, record)| (section.as_str(), record.data()[0])).collect();
    assert_eq!(seen, [("answer", 1), ("answer", 2), ("authority", 3), ("additional", 4)]);
    let authority: Vec<_> = message.section(Section::Authority).collect();
    assert_eq!((authority.len(), authority[0].unwrap().class), (1, Class::CH));
}

#[test]
fn d49_d50_d52_counts_that_promise_too_much_are_short_and_make_no_room() {
    let mut header = [0; HEADER];
    for place in [6, 8, 10] {
        set(&mut header, place, u16::MAX);
        let message = Message::parse(&header).unwrap();
        assert_eq!(message.check().unwrap_err().kind, DnsErrorKind::Short);
        assert_eq!(message.records().count(), 1, "one error and no more");
        set(&mut header, place, 0);
    }
    set(&mut header, 4, u16::MAX);
    assert_eq!(Message::parse(&header).unwrap_err().kind, DnsErrorKind::Short);

    let good = answer();
    for place in [6, 8, 10] {
        let mut bytes = good.clone();
        let count = u16::from_be_bytes([bytes[place], bytes[place + 1]]);
        set(&mut bytes, place, count + 1);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.check().unwrap_err().kind, DnsErrorKind::Short, "{place}");
        // What is there is read all the same.
        assert_eq!(message.records().filter(Result::is_ok).count(), 2);
    }
}

#[test]
fn d53_a_count_that_is_too_low_leaves_octets_over() {
    let mut bytes = answer();
    assert_eq!(Message::parse(&bytes).unwrap().check(), Ok(0));
    set(&mut bytes, 6, 1);
    assert_eq!(Message::parse(&bytes).unwrap().check(), Ok(16));
}

#[test]
fn every_cut_is_short() {
    let bytes = answer();
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let error = Message::parse(cut).and_then(|message| message.check()).unwrap_err();
        assert_eq!((error.kind, error.offset), (DnsErrorKind::Short, len));
    }
}

#[test]
fn d61_thousands_of_records_that_walk_long_chains_are_read_quickly() {
    // 127 pointers, each to the one before, and records that go all the way.
    let mut bytes = vec![0; HEADER];
    bytes.extend([1, b'x', 0]);
    for hop in 0..126_u16 {
        let target = if hop == 0 { 12 } else { 15 + 2 * (hop - 1) };
        bytes.extend((0xc000 | target).to_be_bytes());
    }
    let last = 0xc000 | (bytes.len() as u16 - 2);
    let chain = bytes.len();
    // The chain is the data of a record of its own, so that what follows is in place.
    let mut message = vec![0; HEADER];
    message.extend(&bytes[HEADER..chain]);
    let mut count = 0_u16;
    while message.len() < 65_500 {
        message.extend(last.to_be_bytes());
        message.extend([0, 1, 0, 1, 0, 0, 0, 1, 0, 0]);
        count += 1;
    }
    let began = Instant::now();
    let mut at = chain;
    for _ in 0..count {
        (_, at) = Record::parse(&message, at).unwrap();
    }
    let took = began.elapsed();
    assert!(count > 5_000 && at == message.len());
    // Without optimisation it takes ten times as long as with it.
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[test]
fn d98_a_time_to_live_with_the_top_bit_is_zero() {
    let mut bytes = answer();
    let at = bytes.len() - 10;
    for (raw, ttl) in [(0x7fff_ffff_u32, 0x7fff_ffff), (0x8000_0000, 0), (u32::MAX, 0)] {
        bytes[at..at + 4].copy_from_slice(&raw.to_be_bytes());
        let message = Message::parse(&bytes).unwrap();
        let record = message.section(Section::Answer).nth(1).unwrap().unwrap();
        assert_eq!((record.ttl(), record.raw_ttl), (ttl, raw));
    }
}

#[test]
fn d96_d97_a_name_in_data_ends_with_them() {
    let mut bytes = vec![0; HEADER];
    bytes.extend([0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 3, 1, b'a', 1, b'b', 0]);
    let (record, _) = Record::parse(&bytes, HEADER).unwrap();
    assert_eq!(record.reader().name().unwrap_err().kind, DnsErrorKind::DataLength);
    bytes[HEADER + 10] = 5;
    let (record, _) = Record::parse(&bytes, HEADER).unwrap();
    let mut reader = record.reader();
    assert_eq!(reader.name().unwrap().to_string(), "a.b.");
    assert!(reader.finish().is_ok() && !reader.has_compressed());
    assert_eq!(reader.u8().unwrap_err().kind, DnsErrorKind::Short);
}
