//! What stands behind the quoted packet.

use super::super::extension::{
    self, ExtensionFault, ExtensionForm, InterfaceRole, MplsLabel, OBJECTS, ObjectKind,
};
use super::super::icmp::{IcmpErrorRepr, IcmpType, checksum_ok};
use super::super::{checksum, icmpv6};
use super::{FROM_V6, Protocol, TO_V6, as_error, as_error_v6, echo, emitted, error_v4, v4, v6};
use proptest::prelude::*;

/// What objects add up to.
fn structure(objects: &[(u8, u8, &[u8])]) -> Vec<u8> {
    emitted(|out| extension::emit(objects, out).unwrap())
}

/// A structure with these octets for objects, and the right checksum.
fn raw_structure(objects: &[u8]) -> Vec<u8> {
    let mut data = vec![0x20, 0, 0, 0];
    data.extend(objects);
    let sum = checksum::checksum(&data).to_be_bytes();
    data[2..4].copy_from_slice(&sum);
    data
}

fn quoted() -> Vec<u8> {
    v4(&echo(5, 6, b"cookie"))
}

fn with_extension(extension: &[u8]) -> Vec<u8> {
    let quoted = quoted();
    let (icmp_type, word) = (IcmpType::TIME_EXCEEDED.0, [0; 4]);
    let repr = IcmpErrorRepr { icmp_type, code: 0, word, quoted: &quoted, extension };
    emitted(|out| repr.emit(out).unwrap())
}

/// 128 octets of a quote, and these behind it, with nothing announced.
fn unannounced(behind: &[u8]) -> Vec<u8> {
    let mut data = quoted();
    data.resize(128, 0);
    data.extend(behind);
    error_v4(IcmpType::TIME_EXCEEDED, 0, [0; 4], &data)
}

#[track_caller]
fn base_is_kept(message: &[u8]) {
    let quote = as_error(message).echo_quote().unwrap();
    assert_eq!((quote.id, quote.seq), (5, 6));
    assert!(quote.payload.starts_with(b"cookie"));
}

const LABELS: [MplsLabel; 2] =
    [MplsLabel::new(0xfffff, 7, false, 1), MplsLabel::new(16, 0, true, 255)];

fn mpls() -> Vec<u8> {
    LABELS.iter().flat_map(|label| label.to_bytes()).collect()
}

#[test]
fn an_mpls_stack_is_read() {
    let message = with_extension(&structure(&[(1, 1, &mpls())]));
    assert!(checksum_ok(&message));
    let error = as_error(&message);
    assert_eq!(
        (error.extensions().form(), error.extensions().fault()),
        (ExtensionForm::Announced, None)
    );
    assert_eq!(error.extensions().mpls().collect::<Vec<_>>(), LABELS);
    let [first, last] = LABELS;
    assert_eq!(
        (first.label(), first.traffic_class(), first.bottom(), first.ttl()),
        (0xfffff, 7, false, 1)
    );
    assert_eq!((last.label(), last.traffic_class(), last.bottom(), last.ttl()), (16, 0, true, 255));
    assert_eq!(error.quoted().len(), 128);
    base_is_kept(&message);
}

#[test]
fn an_mpls_stack_is_read_in_ipv6() {
    let echo = [128, 0, 0, 0, 0, 5, 0, 6];
    let quoted = v6(Protocol::ICMPV6, &[&echo[..], &[0; 93]].concat());
    let extension = structure(&[(1, 1, &mpls())]);
    let repr = IcmpErrorRepr {
        icmp_type: 3,
        code: 0,
        word: [0; 4],
        quoted: &quoted,
        extension: &extension,
    };
    let message = emitted(|out| repr.emit_v6(FROM_V6, TO_V6, out).unwrap());
    assert!(icmpv6::checksum_ok(&message, FROM_V6, TO_V6));
    assert_eq!(message[4], 18, "141 octets, in words of eight");
    let error = as_error_v6(&message);
    assert_eq!(error.extensions().mpls().collect::<Vec<_>>(), LABELS);
    assert_eq!(error.quoted().len(), 144);
    assert_eq!(error.echo_quote().unwrap().seq, 6);
}

#[test]
fn interfaces_are_read() {
    let parts: [&[u8]; 6] =
        [&[0, 0, 0, 9], &[0, 1, 0, 0, 192, 0, 2, 9], &[8], b"eth0\0\0\0", &[0, 0, 5, 0xdc], &[]];
    let payload = parts.concat();
    let message = with_extension(&structure(&[(2, 0x80 | 0x0f, &payload)]));
    let object = as_error(&message).extensions().objects().next().unwrap();
    let ObjectKind::Interface(interface) = object.kind() else { panic!("{object:?}") };
    assert_eq!((interface.role, interface.index), (InterfaceRole::Outgoing, Some(9)));
    assert_eq!(interface.address, Some("192.0.2.9".parse().unwrap()));
    assert_eq!((interface.name, interface.mtu), (Some("eth0"), Some(1500)));
    // Contents that do not fit the type are raw, whatever is missing.
    for length in (0..payload.len()).step_by(4) {
        let message = with_extension(&structure(&[(2, 0x0f, &payload[..length])]));
        let object = as_error(&message).extensions().objects().next().unwrap();
        assert!(matches!(object.kind(), ObjectKind::Raw), "{length}");
        assert_eq!(object.payload, &payload[..length]);
    }
    let mut other = vec![0, 2, 0, 0];
    other.extend(TO_V6.octets());
    let message = with_extension(&structure(&[(2, 0xc4, &other)]));
    let object = as_error(&message).extensions().objects().next().unwrap();
    let ObjectKind::Interface(interface) = object.kind() else { panic!("{object:?}") };
    assert_eq!((interface.role, interface.address), (InterfaceRole::NextHop, Some(TO_V6.into())));
    assert_eq!((interface.index, interface.name, interface.mtu), (None, None, None));
}

#[test]
fn i86_bytes_behind_the_quote_are_no_extension_unless_announced() {
    let extension = structure(&[(1, 1, &mpls())]);
    for before in [28, 32, 64, 124, 132, 256] {
        let mut data = quoted();
        data.resize(before.max(data.len()), 0);
        data.extend(&extension);
        let message = error_v4(IcmpType::TIME_EXCEEDED, 0, [0; 4], &data);
        let error = as_error(&message);
        assert_eq!((error.extensions().len(), error.extensions().fault()), (0, None));
        assert_eq!(error.extensions().form(), ExtensionForm::None);
        assert_eq!(error.quoted(), data);
        base_is_kept(&message);
    }
    // In IPv6 there never were any without length.
    let mut data = v6(Protocol::ICMPV6, &[&[128, 0, 0, 0, 0, 5, 0, 6][..], &[0; 80]].concat());
    data.extend(&extension);
    let repr = IcmpErrorRepr { icmp_type: 3, code: 0, word: [0; 4], quoted: &data, extension: &[] };
    let message = emitted(|out| repr.emit_v6(FROM_V6, TO_V6, out).unwrap());
    assert!(as_error_v6(&message).extensions().is_empty());
}

#[test]
fn i88_a_length_beyond_the_packet_drops_the_extension_alone() {
    let mut message = with_extension(&structure(&[(1, 1, &mpls())]));
    let present = message.len() - 8;
    for words in present / 4 + 1..=255 {
        message[5] = words as u8;
        let error = as_error(&message);
        let fault = ExtensionFault::LengthBeyondPacket { announced: words * 4, present };
        assert_eq!(error.extensions().fault(), Some(fault));
        assert!(error.extensions().is_empty());
        assert_eq!(error.quoted().len(), present);
        base_is_kept(&message);
    }
}

#[test]
fn i88_a_length_that_lies_does_not_cut_the_quote() {
    let whole = with_extension(&structure(&[(1, 1, &mpls())]));
    for words in (1..(whole.len() - 8) / 4).filter(|words| *words != 32) {
        let mut message = whole.clone();
        message[5] = words as u8;
        let error = as_error(&message);
        assert!(error.extensions().is_empty(), "{words}");
        assert!(error.extensions().fault().is_some(), "{words}");
        base_is_kept(&message);
    }
    // Up to the very end, there is nothing behind it.
    let mut message = whole;
    message[5] = ((message.len() - 8) / 4) as u8;
    assert_eq!(as_error(&message).extensions().fault(), None);
}

#[test]
fn i89_another_version_is_dropped() {
    for version in (0..16).filter(|version| *version != 2) {
        let mut extension = structure(&[(1, 1, &mpls())]);
        extension[0] = version << 4;
        extension[2..4].fill(0);
        let sum = checksum::checksum(&extension).to_be_bytes();
        extension[2..4].copy_from_slice(&sum);
        let message = with_extension(&extension);
        let error = as_error(&message);
        assert_eq!(error.extensions().fault(), Some(ExtensionFault::Version(version)));
        assert!(error.extensions().is_empty());
        base_is_kept(&message);
    }
}

#[test]
fn i90_a_wrong_checksum_is_dropped_and_told() {
    let extension = structure(&[(1, 1, &mpls())]);
    for bit in 8..extension.len() * 8 {
        let mut flipped = extension.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let message = with_extension(&flipped);
        let error = as_error(&message);
        assert_eq!(error.extensions().fault(), Some(ExtensionFault::Checksum), "bit {bit}");
        assert!(error.extensions().is_empty());
        base_is_kept(&message);
    }
    // All zero: the sender computed none.
    let mut unsummed = extension;
    unsummed[2..4].fill(0);
    let message = with_extension(&unsummed);
    assert_eq!(as_error(&message).extensions().len(), 1);
}

#[test]
fn i92_an_impossible_object_ends_the_list_and_is_told() {
    let good = [0, 8, 9, 9, 1, 2, 3, 4];
    for length in [0_u16, 1, 2, 3, 5, 6, 7, 9, 11, 16, 20, 0xfffc, 0xffff] {
        let mut objects = good.to_vec();
        objects.extend(length.to_be_bytes());
        objects.extend([1, 1, 0, 0, 0, 0, 0, 8, 9, 9]);
        assert!(usize::from(length) != 12 && objects.len() == 20);
        if length == 16 || length == 20 {
            assert!(usize::from(length) > objects.len() - 8);
        }
        let message = with_extension(&raw_structure(&objects));
        let error = as_error(&message);
        let fault = ExtensionFault::ObjectLength { object: 1, length: usize::from(length) };
        assert_eq!(error.extensions().fault(), Some(fault));
        let kept: Vec<_> = error.extensions().objects().collect();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].class, kept[0].c_type, kept[0].payload), (9, 9, &[1, 2, 3, 4][..]));
        base_is_kept(&message);
    }
    // Fewer octets left than an object's header has.
    for left in 1..4 {
        let mut objects = good.to_vec();
        objects.extend(vec![0; left]);
        let message = with_extension(&raw_structure(&objects));
        let fault = ExtensionFault::ObjectLength { object: 1, length: left };
        assert_eq!(as_error(&message).extensions().fault(), Some(fault));
    }
}

#[test]
fn i93_of_a_thousand_objects_the_first_32_are_kept() {
    let objects: Vec<(u8, u8, &[u8])> = (0..1000).map(|n| (9, (n % 256) as u8, &[][..])).collect();
    let message = with_extension(&structure(&objects));
    let error = as_error(&message);
    let kept: Vec<u8> = error.extensions().objects().map(|object| object.c_type).collect();
    assert_eq!(kept, (0..32).collect::<Vec<u8>>());
    let dropped = (1000 - OBJECTS) * 4;
    assert_eq!(error.extensions().fault(), Some(ExtensionFault::TooManyObjects { dropped }));
    let message = with_extension(&structure(&objects[..OBJECTS]));
    assert_eq!(as_error(&message).extensions().fault(), None);
    assert_eq!(as_error(&message).extensions().len(), OBJECTS);
}

#[test]
fn i94_an_old_mpls_block_needs_version_and_checksum() {
    let extension = structure(&[(1, 1, &mpls())]);
    let message = unannounced(&extension);
    let error = as_error(&message);
    assert_eq!(error.extensions().form(), ExtensionForm::Legacy);
    assert_eq!(error.extensions().mpls().collect::<Vec<_>>(), LABELS);
    assert_eq!(error.quoted().len(), 128);
    base_is_kept(&message);

    let refused = |extension: &[u8]| {
        let message = unannounced(extension);
        let error = as_error(&message);
        assert_eq!(error.extensions().form(), ExtensionForm::None);
        assert!(error.extensions().is_empty());
        assert_eq!(error.quoted().len(), 128 + extension.len());
        base_is_kept(&message);
    };
    for bit in (0..extension.len() * 8).filter(|bit| !(4..8).contains(bit)) {
        let mut flipped = extension.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&flipped);
    }
    let mut unsummed = extension.clone();
    unsummed[2..4].fill(0);
    refused(&unsummed);
    refused(&extension[..3]);
    refused(&raw_structure(&[]));
    refused(&raw_structure(&[0, 3, 1, 1]));
    refused(b"just a long payload of the quoted packet");
}

#[test]
fn an_extension_cut_anywhere_keeps_the_base() {
    let whole = with_extension(&structure(&[(1, 1, &mpls()), (9, 9, &[1; 12])]));
    for length in 8 + 34..whole.len() {
        let message = &whole[..length];
        let error = as_error(message);
        assert!(error.extensions().is_empty(), "{length}");
        assert_eq!(error.extensions().fault().is_some(), length != 8 + 128, "{length}");
        base_is_kept(message);
    }
}

#[test]
fn types_without_a_length_field_have_no_extensions() {
    for icmp_type in [IcmpType::SOURCE_QUENCH, IcmpType::REDIRECT] {
        let mut data = quoted();
        data.resize(128, 0);
        data.extend(structure(&[(1, 1, &mpls())]));
        let message = error_v4(icmp_type, 0, [32, 32, 32, 32], &data);
        let error = as_error(&message);
        assert_eq!((error.extensions().len(), error.extensions().fault()), (0, None));
        assert_eq!(error.quoted(), data);
    }
}

#[test]
fn an_object_too_long_is_not_emitted() {
    let mut out = vec![7];
    assert!(extension::emit(&[(9, 9, &[0; 65_533])], &mut out).is_err());
    assert_eq!(out, [7]);
    extension::emit(&[(9, 9, &[0; 65_528])], &mut out).unwrap();
}

#[test]
fn a_quote_too_long_to_be_announced_is_not_emitted() {
    let extension = structure(&[(1, 1, &mpls())]);
    for (length, fits) in [(1020, true), (1021, false)] {
        let (quoted, mut out) = (vec![0x45; length], Vec::new());
        let repr = IcmpErrorRepr {
            icmp_type: 11,
            code: 0,
            word: [0; 4],
            quoted: &quoted,
            extension: &extension,
        };
        assert_eq!(repr.emit(&mut out).is_ok(), fits);
        assert_eq!(out.is_empty(), !fits);
        assert_eq!(fits, out.get(5) == Some(&255));
        assert!(IcmpErrorRepr { extension: &[], ..repr }.emit(&mut out).is_ok());
    }
}

proptest! {
    #[test]
    fn objects_come_back(objects in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..OBJECTS)) {
        let given: Vec<(u8, u8, &[u8])> =
            objects.iter().map(|(class, c_type, payload)| (*class, *c_type, &payload[..])).collect();
        let message = with_extension(&structure(&given));
        let error = as_error(&message);
        prop_assert_eq!(error.extensions().fault(), None);
        let seen: Vec<_> = error.extensions().objects().collect();
        prop_assert_eq!(seen.len(), given.len());
        for (object, (class, c_type, payload)) in seen.iter().zip(&given) {
            prop_assert_eq!((object.class, object.c_type), (*class, *c_type));
            prop_assert!(object.payload.starts_with(payload));
            prop_assert!(object.payload[payload.len()..].iter().all(|byte| *byte == 0));
            let _ = object.kind();
        }
    }

    #[test]
    fn no_extension_makes_it_panic(objects: Vec<u8>, first: u8) {
        let mut extension = raw_structure(&objects);
        if first < 16 {
            extension[0] = first << 4;
        }
        let message = with_extension(&extension);
        for object in as_error(&message).extensions().objects() {
            if let ObjectKind::Mpls(stack) = object.kind() {
                prop_assert_eq!(stack.count() * 4, object.payload.len());
            }
        }
        base_is_kept(&message);
    }
}
