#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// A message with nothing but a header and these octets.
fn message(octets: &[u8]) -> Vec<u8> {
    [&[0; HEADER], octets].concat()
}

fn kind(octets: &[u8], at: usize) -> DnsErrorKind {
    NameRef::parse(&message(octets), HEADER + at).unwrap_err().kind
}

fn shown(octets: &[u8], at: usize) -> String {
    NameRef::parse(&message(octets), HEADER + at).unwrap().0.to_string()
}

#[test]
fn d54_d56_d57_d58_pointers_point_back_to_names_or_are_errors() {
    assert_eq!(kind(&[0xc0, 12], 0), DnsErrorKind::Pointer, "to itself");
    assert_eq!(kind(&[0xc0, 14, 0], 0), DnsErrorKind::Pointer, "forward");
    assert_eq!(kind(&[0xff, 0xff], 0), DnsErrorKind::Pointer, "past the end");
    for header in 0..12 {
        assert_eq!(kind(&[0, 0xc0, header], 1), DnsErrorKind::Pointer, "into the header");
    }
    // Into the labels of the same name, which would go round in circles.
    assert_eq!(kind(&[1, b'a', 0xc0, 12], 0), DnsErrorKind::Pointer);
    assert_eq!(shown(&[1, b'a', 0, 1, b'b', 0xc0, 12], 3), "b.a.");
}

#[test]
fn d60_a_long_chain_is_cut_at_once() {
    // 8,186 pointers, each to the one before.
    let mut octets = vec![1, b'x', 0];
    for hop in 0..8186_u16 {
        let target = if hop == 0 { 12 } else { 15 + 2 * (hop - 1) };
        octets.extend((0xc000 | target).to_be_bytes());
    }
    let bytes = message(&octets);
    let began = Instant::now();
    let error = NameRef::parse(&bytes, bytes.len() - 2).unwrap_err();
    assert_eq!(error.kind, DnsErrorKind::PointerLimit);
    assert!(began.elapsed() < Duration::from_millis(1), "{:?}", began.elapsed());
    // So many are followed, and not one more.
    let at = |hops: usize| HEADER + 3 + 2 * (hops - 1);
    assert!(NameRef::parse(&bytes, at(MAX_POINTERS)).is_ok());
    assert!(NameRef::parse(&bytes, at(MAX_POINTERS + 1)).is_err());
}

#[test]
fn d62_labels_of_other_kinds_are_errors() {
    for octet in 0x40..0xc0 {
        assert_eq!(kind(&[octet, 0, 0], 0), DnsErrorKind::Label, "{octet:#x}");
    }
}

/// Labels of 63, 63, 63 and this many octets.
fn long(last: u8) -> Vec<u8> {
    let mut octets = Vec::new();
    for len in [63, 63, 63, last] {
        octets.push(len);
        octets.extend(std::iter::repeat_n(b'a', len.into()));
    }
    octets.push(0);
    octets
}

#[test]
fn d64_d65_d66_the_longest_name_has_255_octets_and_labels_63() {
    assert_eq!(long(61).len(), 255);
    let bytes = message(&long(61));
    let (name, end) = NameRef::parse(&bytes, HEADER).unwrap();
    assert_eq!((name.wire_len(), end), (255, bytes.len()));
    assert_eq!(name.labels().next().unwrap().len(), 63);
    assert_eq!(kind(&long(62), 0), DnsErrorKind::NameLength);
    // Also if the length comes by a pointer.
    let mut octets = long(61);
    octets.extend([1, b'b', 0xc0, 12]);
    assert_eq!(kind(&octets, 255), DnsErrorKind::NameLength);
}

#[test]
fn d68_a_name_without_an_end_is_short() {
    let octets = [3, b'a', b'b', b'c', 2, b'd', b'e', 0];
    for len in 0..octets.len() {
        assert_eq!(kind(&octets[..len], 0), DnsErrorKind::Short, "{len}");
    }
    assert_eq!(kind(&[0xc0], 0), DnsErrorKind::Short);
}

#[test]
fn d69_d70_the_root_and_odd_octets_are_names() {
    assert_eq!(shown(&[0], 0), ".");
    assert_eq!(shown(&[4, b'a', b'.', 0, 255, 0], 0), r"a\.\000\255.");
    assert_eq!(shown(&[7, b'"', b'(', b')', b';', b'\\', b' ', b'-', 0], 0), r#"\"\(\)\;\\\032-."#);
}

#[test]
fn names_are_the_same_whatever_the_case_and_the_compression() {
    let bytes = message(&[1, b'A', 0, 1, b'b', 0xc0, 12, 1, b'B', 1, b'a', 0]);
    let (one, end) = NameRef::parse(&bytes, HEADER + 3).unwrap();
    let (other, _) = NameRef::parse(&bytes, end).unwrap();
    assert!(one == other && !one.is_identical(other));
    assert!(one.is_compressed() && !other.is_compressed());
    assert_eq!(one.to_name(), "b.a".parse().unwrap());
    assert!(one.is_within("a".parse::<DnsName>().unwrap().as_ref()));
    assert!(one.is_within(NameRef::ROOT) && one.is_within(other));
    assert!(!one.is_within("b".parse::<DnsName>().unwrap().as_ref()));
}

#[test]
fn d125_d126_texts_that_are_no_names() {
    let refused = |text: &str| text.parse::<DnsName>().unwrap_err();
    let label = "a".repeat(64);
    assert_eq!(refused(&label), NameError::LabelLength);
    assert_eq!(refused(&[&label[1..]; 4].join(".")), NameError::Length);
    assert_eq!(refused(""), NameError::Empty);
    for text in ["..", ".a", "a..b", "a.b.."] {
        assert_eq!(refused(text), NameError::EmptyLabel, "{text}");
    }
    for text in ["a\\", r"a\25", r"a\256", r"a\2b"] {
        assert_eq!(refused(text), NameError::Escape, "{text}");
    }
    assert_eq!(refused("bücher.example"), NameError::NotAscii);
    let text = [&label[1..], &label[1..], &label[1..], &label[3..]].join(".");
    assert_eq!(text.parse::<DnsName>().unwrap().as_bytes().len(), 255);
}

#[test]
fn letters_take_the_case_that_is_asked_for_and_nothing_else_changes() {
    let name: DnsName = "a1-B.example".parse().unwrap();
    let mut bits = [true, false].into_iter().cycle();
    let mixed = name.with_case(|| bits.next().unwrap());
    assert_eq!(mixed.to_string(), "A1-b.ExAmPlE.");
    assert_eq!(mixed, name);
    assert!(name.append(&"org".parse().unwrap()).unwrap() == "a1-b.example.org".parse().unwrap());
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(labels in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 1..=63), 0..6,
    )) {
        let mut wire = Vec::new();
        for label in &labels {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        prop_assume!(wire.len() <= MAX_NAME);
        let bytes = message(&wire);
        let (name, _) = NameRef::parse(&bytes, HEADER).unwrap();
        let again: DnsName = name.to_string().parse().unwrap();
        prop_assert_eq!(again.as_bytes(), &wire[..]);
        prop_assert!(again.as_ref().is_identical(name));
    }

    #[test]
    fn any_octets_are_a_name_or_an_error(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..320) {
        if let Ok((name, end)) = NameRef::parse(&octets, at) {
            prop_assert!(end <= octets.len());
            let total: usize = name.labels().map(|label| label.len() + 1).sum();
            prop_assert_eq!(total + 1, name.wire_len());
        }
    }
}
