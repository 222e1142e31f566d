//! IP, UDP and TCP.

use std::net::IpAddr;

use super::super::checksum::{Addresses, Sum, checksum, verifies};
use super::super::ip::{EXTENSION_HEADERS, Ipv4, Ipv4Repr, Ipv6, Protocol, QuotedIp};
use super::super::tcp::{Tcp, TcpFlags, TcpRepr, TcpStart};
use super::super::udp::{Udp, UdpRepr};
use super::super::{WireError, WireErrorKind};
use super::{FROM, FROM_V6, TO, TO_V6, emitted, v4, v4_with_options, v6};
use proptest::prelude::*;

#[test]
fn i9_padding_of_the_link_is_no_payload() {
    for length in 0..26 {
        let mut packet = v4(&vec![7; length]);
        packet.resize(46, 0);
        assert_eq!(Ipv4::parse(&packet).unwrap().payload(), vec![7; length]);
        let mut packet = v6(Protocol::ICMPV6, &vec![7; length]);
        packet.resize(80, 0);
        assert_eq!(Ipv6::parse(&packet).unwrap().payload(), vec![7; length]);
    }
}

#[test]
fn i28_options_of_every_length_move_the_payload() {
    for words in 0..=10 {
        let options = vec![1; words * 4];
        let packet = v4_with_options(&options, b"payload");
        let view = Ipv4::parse(&packet).unwrap();
        assert_eq!(view.header_len(), 20 + words * 4);
        assert_eq!((view.options(), view.payload()), (&options[..], &b"payload"[..]));
        assert!(view.checksum_ok());
    }
}

#[test]
fn i29_a_header_length_below_5_is_an_error() {
    for words in 0..5 {
        let mut packet = v4(b"payload");
        packet[0] = 0x40 | words;
        let error = WireError { offset: 0, kind: WireErrorKind::HeaderLength };
        assert_eq!(Ipv4::parse(&packet), Err(error));
        assert_eq!(QuotedIp::parse(&packet), Err(error));
    }
}

#[test]
fn i30_a_header_length_beyond_the_datagram_is_an_error() {
    let mut packet = v4(b"");
    for words in 6..=15 {
        packet[0] = 0x40 | words;
        let error = WireError { offset: 20, kind: WireErrorKind::Truncated };
        assert_eq!(Ipv4::parse(&packet), Err(error));
        assert_eq!(QuotedIp::parse(&packet), Err(error));
    }
    // Within the data, but beyond the total length.
    packet.resize(100, 0);
    assert_eq!(Ipv4::parse(&packet).unwrap_err().kind, WireErrorKind::TotalLength);
}

#[test]
fn i32_another_version_is_an_error() {
    let mut packet = v4(&[0; 64]);
    let mut packet_v6 = v6(Protocol::ICMPV6, &[0; 8]);
    for version in (0..16).filter(|version| *version != 4) {
        packet[0] = version << 4 | 5;
        let error = WireError { offset: 0, kind: WireErrorKind::Version(version) };
        assert_eq!(Ipv4::parse(&packet), Err(error));
    }
    for version in (0..16).filter(|version| *version != 6) {
        packet_v6[0] = version << 4;
        let error = WireError { offset: 0, kind: WireErrorKind::Version(version) };
        assert_eq!(Ipv6::parse(&packet_v6), Err(error));
    }
}

#[test]
fn i34_nothing_is_no_packet() {
    assert_eq!(Ipv4::parse(&[]).unwrap_err().kind, WireErrorKind::Truncated);
    assert_eq!(Ipv6::parse(&[]).unwrap_err().kind, WireErrorKind::Truncated);
    assert_eq!(QuotedIp::parse(&[]).unwrap_err().kind, WireErrorKind::Truncated);
}

#[test]
fn i42_fragments_are_known_as_such() {
    let mut packet = v4(&[0; 16]);
    assert_eq!(Ipv4::parse(&packet).unwrap().fragment(), None);
    packet[4..8].copy_from_slice(&[0xab, 0xcd, 0x20, 3]);
    let fragment = Ipv4::parse(&packet).unwrap().fragment().unwrap();
    assert_eq!((fragment.offset, fragment.more, fragment.id), (24, true, 0xabcd));
    packet[6] = 0;
    assert!(!Ipv4::parse(&packet).unwrap().fragment().unwrap().more);
}

#[test]
fn total_length_zero_stands_for_all_and_others_must_fit() {
    let mut packet = v4(b"12345678");
    packet[2..4].fill(0);
    assert_eq!(Ipv4::parse(&packet).unwrap().payload(), b"12345678");
    for length in 1_u16..20 {
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        let error = WireError { offset: 2, kind: WireErrorKind::TotalLength };
        assert_eq!(Ipv4::parse(&packet), Err(error));
    }
    packet[2..4].copy_from_slice(&29_u16.to_be_bytes());
    assert_eq!(Ipv4::parse(&packet), Err(WireError { offset: 28, kind: WireErrorKind::Truncated }));
}

#[test]
fn an_ipv4_header_says_what_was_put_in() {
    let repr = Ipv4Repr {
        ttl: 3,
        tos: 0xb8,
        id: 0x1234,
        dont_fragment: true,
        ..Ipv4Repr::new(FROM, TO, Protocol::UDP)
    };
    let packet = emitted(|out| repr.emit(b"payload", out).unwrap());
    let view = Ipv4::parse(&packet).unwrap();
    assert_eq!((view.ttl(), view.tos(), view.id()), (3, 0xb8, 0x1234));
    assert_eq!((view.source(), view.destination()), (FROM, TO));
    assert_eq!((view.protocol(), view.payload()), (Protocol::UDP, &b"payload"[..]));
    assert!(view.dont_fragment() && view.checksum_ok() && view.fragment().is_none());
    for length in 0..packet.len() {
        let error = Ipv4::parse(&packet[..length]).unwrap_err();
        assert_eq!((error.offset, error.kind), (length, WireErrorKind::Truncated));
    }
    let mut out = vec![9];
    assert_eq!(repr.emit(&[0; 65_516], &mut out).unwrap_err().kind, WireErrorKind::TooLong);
    assert_eq!(out, [9]);
    repr.emit(&[0; 65_515], &mut out).unwrap();
}

#[test]
fn i130_extension_headers_are_walked_over() {
    let upper = [128, 0, 0, 0, 0, 1, 0, 2];
    let options = |next: Protocol| {
        let mut header = vec![next.0, 1];
        header.resize(16, 0);
        header
    };
    let mut chain = options(Protocol::ROUTING);
    chain.extend(options(Protocol::FRAGMENT));
    chain.extend([Protocol::AUTHENTICATION.0, 0, 0, 1, 0, 0, 0, 9]);
    chain.extend([Protocol::DESTINATION_OPTIONS.0, 4]); // 24 octets: (4 + 2) * 4
    chain.extend([0; 22]);
    chain.extend(options(Protocol::ICMPV6));
    let headers = chain.len();
    chain.extend(upper);
    let packet = v6(Protocol::HOP_BY_HOP, &chain);
    let view = Ipv6::parse(&packet).unwrap();
    assert_eq!((view.source(), view.destination()), (FROM_V6, TO_V6));
    let found = view.upper_layer().unwrap();
    assert_eq!((found.protocol, found.payload), (Protocol::ICMPV6, &upper[..]));
    let fragment = found.fragment.unwrap();
    assert_eq!((fragment.offset, fragment.more, fragment.id), (0, true, 9));
    // Cut anywhere in the headers, it is an error; behind them, a shorter payload.
    for length in 0..packet.len() {
        let quote = QuotedIp::parse(&packet[..length]);
        match length.checked_sub(40 + headers) {
            None => assert_eq!(quote.unwrap_err(), WireError::truncated(length)),
            Some(left) => assert_eq!(quote.unwrap().payload(), &upper[..left]),
        }
    }
}

#[test]
fn extension_headers_are_bounded() {
    let chain = |count: usize| {
        let mut chain = [Protocol::DESTINATION_OPTIONS.0, 0, 0, 0, 0, 0, 0, 0].repeat(count);
        chain[(count - 1) * 8] = Protocol::UDP.0;
        v6(Protocol::DESTINATION_OPTIONS, &chain)
    };
    let most = chain(EXTENSION_HEADERS);
    assert_eq!(Ipv6::parse(&most).unwrap().upper_layer().unwrap().protocol, Protocol::UDP);
    let over = chain(EXTENSION_HEADERS + 1);
    let error = Ipv6::parse(&over).unwrap().upper_layer().unwrap_err();
    assert_eq!(error.kind, WireErrorKind::TooManyHeaders);
}

#[test]
fn a_later_fragment_has_no_upper_header() {
    let packet = v6(Protocol::FRAGMENT, &[Protocol::DESTINATION_OPTIONS.0, 0, 0, 8, 0, 0, 0, 1]);
    let found = Ipv6::parse(&packet).unwrap().upper_layer().unwrap();
    assert_eq!(found.protocol, Protocol::DESTINATION_OPTIONS);
    assert_eq!((found.fragment.unwrap().offset, found.payload), (8, &[][..]));
}

fn pair(v6: bool) -> Addresses {
    let (from, to): (IpAddr, IpAddr) =
        if v6 { (FROM_V6.into(), TO_V6.into()) } else { (FROM.into(), TO.into()) };
    Addresses::new(from, to).unwrap()
}

#[test]
fn addresses_are_of_one_family() {
    assert!(Addresses::new(FROM.into(), TO_V6.into()).is_err());
    assert!(Addresses::new(FROM_V6.into(), TO.into()).is_err());
}

#[test]
fn udp_says_what_was_put_in() {
    for addresses in [pair(false), pair(true)] {
        let repr = UdpRepr { source: 50_000, destination: 33_434 };
        let packet = emitted(|out| repr.emit(&addresses, b"odd", out).unwrap());
        let view = Udp::parse(&packet).unwrap();
        assert_eq!((view.source(), view.destination()), (50_000, 33_434));
        assert_eq!((view.announced_len(), view.payload()), (11, &b"odd"[..]));
        assert!(view.checksum_ok(&addresses));
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Udp::parse(&flipped).unwrap().checksum_ok(&addresses), "bit {bit}");
        }
        for length in 0..packet.len() {
            match (length.checked_sub(8), Udp::parse(&packet[..length])) {
                (None, view) => assert_eq!(view, Err(WireError::truncated(length))),
                (Some(left), view) => assert_eq!(view.unwrap().payload(), &b"odd"[..left]),
            }
        }
        let mut out = Vec::new();
        assert!(repr.emit(&addresses, &[0; 65_528], &mut out).is_err());
        assert!(out.is_empty());
    }
}

#[test]
fn udp_without_checksum_is_right_in_ipv4_only() {
    let packet = [0, 1, 0, 2, 0, 8, 0, 0];
    assert!(Udp::parse(&packet).unwrap().checksum_ok(&pair(false)));
    assert!(!Udp::parse(&packet).unwrap().checksum_ok(&pair(true)));
    // A checksum that comes out as zero is sent in its other form.
    let repr = UdpRepr { source: 1, destination: 2 };
    let word = repr.sum(&pair(false), &[0, 0]).word_for(0);
    let sent = emitted(|out| repr.emit(&pair(false), &word.to_be_bytes(), out).unwrap());
    assert_eq!(Udp::parse(&sent).unwrap().checksum(), 0xffff);
    assert!(Udp::parse(&sent).unwrap().checksum_ok(&pair(false)));
}

#[test]
fn tcp_says_what_was_put_in() {
    for (addresses, mss) in [(pair(false), Some(1460)), (pair(true), None)] {
        let repr = TcpRepr {
            source: 50_000,
            destination: 443,
            sequence: 0xdead_beef,
            acknowledgment: 7,
            flags: TcpFlags::SYN.with(TcpFlags::ECE),
            window: 64_240,
            mss,
        };
        let packet = emitted(|out| repr.emit(&addresses, b"odd", out));
        let view = Tcp::parse(&packet).unwrap();
        assert_eq!((view.source(), view.destination()), (50_000, 443));
        assert_eq!((view.sequence(), view.acknowledgment()), (0xdead_beef, 7));
        assert_eq!((view.flags(), view.window(), view.mss()), (repr.flags, 64_240, mss));
        assert!(view.flags().contains(TcpFlags::SYN) && !view.flags().contains(TcpFlags::ACK));
        assert_eq!(view.payload(), b"odd");
        assert!(view.checksum_ok(&addresses));
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!Tcp::parse(&flipped).is_ok_and(|view| view.checksum_ok(&addresses)));
        }
        for length in 0..packet.len() {
            let start = TcpStart::parse(&packet[..length]);
            assert_eq!(start.map(|it| it.sequence).ok(), (length >= 8).then_some(0xdead_beef));
            assert_eq!(Tcp::parse(&packet[..length]).is_ok(), length >= repr.header_len());
        }
    }
}

#[test]
fn tcp_options_end_or_break_off() {
    let with = |options: &[u8]| {
        let mut packet = vec![0; 20];
        packet[12] = (5 + options.len() as u8 / 4) << 4;
        packet.extend(options);
        Tcp::parse(&packet).unwrap().mss()
    };
    assert_eq!(with(&[1, 1, 4, 2, 2, 4, 5, 0xb4]), Some(1460));
    assert_eq!(with(&[0, 0, 0, 0, 2, 4, 5, 0xb4]), None, "behind the end");
    assert_eq!(with(&[8, 0, 1, 1, 2, 4, 5, 0xb4]), None, "an option of length 0");
    assert_eq!(with(&[8, 1, 1, 1, 2, 4, 5, 0xb4]), None, "an option of length 1");
    assert_eq!(with(&[1, 2, 4, 5]), None, "cut");
    assert_eq!(with(&[2, 3, 5, 1, 2, 4, 1, 0]), Some(256), "one of another length is passed over");
    let mut short = vec![0; 20];
    short[12] = 4 << 4;
    assert_eq!(Tcp::parse(&short).unwrap_err(), WireError::new(12, WireErrorKind::HeaderLength));
}

/// As RFC 1071 writes it down, one word after the other.
fn slow(data: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

proptest! {
    #[test]
    fn the_checksum_is_that_of_the_standard(data: Vec<u8>, cuts in prop::collection::vec(0_usize..99, 0..5)) {
        let mut sum = Sum::new();
        let mut rest = &data[..];
        for cut in cuts {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            (sum, rest) = (sum.with(part), behind);
        }
        prop_assert_eq!(sum.with(rest).checksum(), slow(&data));
        prop_assert_eq!(checksum(&data), slow(&data));
    }

    #[test]
    fn a_word_makes_any_checksum(mut data: Vec<u8>, wanted: u16) {
        data.insert(0, 1);
        let word = Sum::new().with(&data).word_for(wanted);
        let made = Sum::new().with_u16(word).with(&data).checksum();
        prop_assert_eq!(made, if wanted == 0xffff { 0 } else { wanted });
        if data.len() % 2 == 1 {
            data.push(0);
        }
        data.extend(word.to_be_bytes());
        data.extend(made.to_be_bytes());
        prop_assert!(verifies(&data));
    }

    #[test]
    fn no_bytes_make_a_header_panic(mut data: Vec<u8>, version in prop::sample::select(&[4_u8, 6, 0]), walk: bool) {
        if let (Some(first), true) = (data.first_mut(), version > 0) {
            *first = version << 4 | (*first & 15);
        }
        if let (Some(next), true) = (data.get_mut(6), walk && version == 6) {
            *next = [0, 43, 44, 51, 60][usize::from(*next) % 5];
        }
        if let Ok(view) = Ipv4::parse(&data) {
            prop_assert!(view.header_len() + view.payload().len() <= data.len());
            let _ = (view.checksum_ok(), view.fragment());
        }
        if let Ok(view) = Ipv6::parse(&data) {
            let _ = view.upper_layer();
        }
        if let Ok(quote) = QuotedIp::parse(&data) {
            prop_assert_eq!(quote.header_len() + quote.payload().len(), data.len());
        }
        let _ = Udp::parse(&data).map(|view| view.checksum_ok(&pair(true)));
        let _ = Tcp::parse(&data).map(|view| (view.mss(), view.checksum_ok(&pair(false))));
    }
}
