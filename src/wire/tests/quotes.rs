//! The packets that errors quote.

use super::super::checksum::Addresses;
use super::super::icmp::{EchoRepr, Icmp, IcmpErrorRepr, IcmpType, NotOurEcho};
use super::super::ip::{Ipv4Repr, Protocol};
use super::super::udp::{Udp, UdpRepr};
use super::super::{WireError, WireErrorKind};
use super::{
    FROM, FROM_V6, TO, TO_V6, as_error, as_error_v6, echo, emitted, error_v4, v4, v4_with_options,
    v6,
};
use proptest::prelude::*;

fn exceeded(quoted: &[u8]) -> Vec<u8> {
    error_v4(IcmpType::TIME_EXCEEDED, 0, [0; 4], quoted)
}

fn exceeded_v6(quoted: &[u8]) -> Vec<u8> {
    let repr = IcmpErrorRepr { icmp_type: 3, code: 0, word: [0; 4], quoted, extension: &[] };
    emitted(|out| repr.emit_v6(FROM_V6, TO_V6, out).unwrap())
}

fn echo_v6(payload: &[u8]) -> Vec<u8> {
    emitted(|out| EchoRepr::request(5, 6, payload).emit_v6(Some((FROM_V6, TO_V6)), out))
}

#[test]
fn i74_a_quote_of_8_octets_is_enough_and_fewer_are_not() {
    let message = exceeded(&v4(&echo(5, 6, b"cookie")));
    for length in 0..=message.len() {
        let cut = &message[..length];
        let Ok(parsed) = Icmp::parse(cut) else {
            assert!(length < 8);
            continue;
        };
        let Icmp::Error(error) = parsed else { panic!("{parsed:?}") };
        let quote = error.echo_quote();
        match length - 8 {
            short @ 0..20 => {
                assert_eq!(quote, Err(NotOurEcho::Malformed(WireError::truncated(short))));
            }
            20..28 => assert_eq!(quote, Err(NotOurEcho::Short)),
            whole => {
                let quote = quote.unwrap();
                assert_eq!((quote.destination, quote.id, quote.seq), (TO.into(), 5, 6));
                assert_eq!(quote.payload, &b"cookie"[..whole - 28]);
            }
        }
    }
}

#[test]
fn i74_a_quote_of_ipv6_at_every_length() {
    let message = exceeded_v6(&v6(Protocol::ICMPV6, &echo_v6(b"cookie")));
    for length in 8..=message.len() {
        let quote = as_error_v6(&message[..length]).echo_quote();
        match length - 8 {
            short @ 0..40 => {
                assert_eq!(quote, Err(NotOurEcho::Malformed(WireError::truncated(short))));
            }
            40..48 => assert_eq!(quote, Err(NotOurEcho::Short)),
            whole => {
                let quote = quote.unwrap();
                assert_eq!((quote.destination, quote.id, quote.seq), (TO_V6.into(), 5, 6));
                assert_eq!(quote.payload, &b"cookie"[..whole - 48]);
            }
        }
    }
}

#[test]
fn i76_i77_a_quote_names_destination_id_and_seq() {
    // Who they belong to is for the engine to say.
    let message = exceeded(&v4(&echo(0x1111, 0x2222, b"")));
    let quote = as_error(&message).echo_quote().unwrap();
    assert_eq!((quote.destination, quote.id, quote.seq), (TO.into(), 0x1111, 0x2222));
    assert_eq!(quote.payload, b"");
}

#[test]
fn i78_inner_options_move_the_inner_payload() {
    for words in 0..=10 {
        // No-operations, and a record route of the shape that overflowed a ping.
        let mut options = vec![1; words * 4];
        if let [first, second, third, ..] = &mut options[..] {
            (*first, *second, *third) = (7, (words * 4) as u8, 4);
        }
        let packet = v4_with_options(&options, &echo(5, 6, b"cookie"));
        for left in 0..=packet.len() {
            let message = exceeded(&packet[..left]);
            let error = as_error(&message);
            match error.echo_quote() {
                Ok(quote) => {
                    assert!(left >= 28 + words * 4);
                    assert_eq!((quote.id, quote.seq), (5, 6));
                    assert_eq!(quote.payload, &b"cookie"[..left - 28 - words * 4]);
                    assert_eq!(error.quote().unwrap().header_len(), 20 + words * 4);
                }
                Err(NotOurEcho::Short) => assert!((20 + words * 4..28 + words * 4).contains(&left)),
                Err(NotOurEcho::Malformed(_)) => assert!(left < 20 + words * 4),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn i80_a_quote_of_the_other_version_is_refused() {
    let inner = v6(Protocol::ICMPV6, &echo_v6(b"cookie"));
    let message = exceeded(&inner);
    assert_eq!(as_error(&message).echo_quote(), Err(NotOurEcho::Version(6)));
    assert_eq!(as_error(&message).quote().unwrap().version(), 6);
    let message = exceeded_v6(&v4(&echo(5, 6, b"cookie")));
    assert_eq!(as_error_v6(&message).echo_quote(), Err(NotOurEcho::Version(4)));
    let mut neither = v4(&echo(5, 6, b"cookie"));
    neither[0] = 0x55;
    let error = WireError { offset: 0, kind: WireErrorKind::Version(5) };
    assert_eq!(as_error(&exceeded(&neither)).echo_quote(), Err(NotOurEcho::Malformed(error)));
}

#[test]
fn i81_a_quote_of_another_protocol_is_refused() {
    for number in (0..=255).filter(|number| *number != 1) {
        let mut packet = v4(&echo(5, 6, b"cookie"));
        packet[9] = number;
        let message = exceeded(&packet);
        assert_eq!(
            as_error(&message).echo_quote(),
            Err(NotOurEcho::Protocol(Protocol(number))),
            "{number}"
        );
    }
    let message = exceeded_v6(&v6(Protocol::UDP, &[0; 8]));
    assert_eq!(as_error_v6(&message).echo_quote(), Err(NotOurEcho::Protocol(Protocol::UDP)));
    // ICMP of the other family in the right IP version.
    let message = exceeded_v6(&v6(Protocol::ICMP, &echo(5, 6, b"")));
    assert_eq!(as_error_v6(&message).echo_quote(), Err(NotOurEcho::Protocol(Protocol::ICMP)));
}

#[test]
fn i82_a_quote_of_another_message_is_refused() {
    for (icmp_type, code) in (0..=255).flat_map(|kind| (0..=255).map(move |code| (kind, code))) {
        let expected = Err(NotOurEcho::Type { icmp_type, code });
        let message = exceeded(&v4(&[icmp_type, code, 0, 0, 0, 5, 0, 6]));
        let quote = as_error(&message).echo_quote();
        assert_eq!(quote.is_ok(), (icmp_type, code) == (8, 0));
        assert!(quote.is_ok() || quote == expected);
        let message = exceeded_v6(&v6(Protocol::ICMPV6, &[icmp_type, code, 0, 0, 0, 5, 0, 6]));
        let quote = as_error_v6(&message).echo_quote();
        assert_eq!(quote.is_ok(), (icmp_type, code) == (128, 0));
        assert!(quote.is_ok() || quote == expected);
    }
}

#[test]
fn i84_what_a_nat_rewrites_does_not_matter() {
    let packet = v4(&echo(5, 6, b"cookie"));
    for (length, checksum, ttl) in
        [(0_u16, 0_u16, 0), (1, 1, 1), (19, 0xffff, 255), (0xffff, 0xdead, 64)]
    {
        let mut changed = packet.clone();
        changed[2..4].copy_from_slice(&length.to_be_bytes());
        changed[8] = ttl;
        changed[10..12].copy_from_slice(&checksum.to_be_bytes());
        changed[22..24].copy_from_slice(&checksum.to_be_bytes());
        let message = exceeded(&changed);
        let error = as_error(&message);
        let quote = error.echo_quote().unwrap();
        assert_eq!((quote.id, quote.seq, quote.payload), (5, 6, &b"cookie"[..]));
        let inner = error.quote().unwrap();
        assert_eq!((inner.announced_len(), inner.ttl()), (length, ttl));
    }
    let mut packet = v6(Protocol::ICMPV6, &echo_v6(b"cookie"));
    packet[4..6].fill(0xff);
    assert_eq!(as_error_v6(&exceeded_v6(&packet)).echo_quote().unwrap().payload, b"cookie");
}

#[test]
fn i85_the_inner_source_does_not_matter() {
    let mut packet = v4(&echo(5, 6, b"cookie"));
    packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
    let message = exceeded(&packet);
    let error = as_error(&message);
    assert_eq!(error.quote().unwrap().source(), std::net::Ipv4Addr::new(10, 0, 0, 1));
    let quote = error.echo_quote().unwrap();
    assert_eq!((quote.destination, quote.id, quote.seq), (TO.into(), 5, 6));
}

#[test]
fn a_later_fragment_is_not_read_as_a_message() {
    let mut packet = v4(&echo(5, 6, b"cookie"));
    packet[6..8].copy_from_slice(&[0x20, 0]);
    assert!(as_error(&exceeded(&packet)).echo_quote().is_ok(), "the first one is");
    packet[7] = 1;
    assert_eq!(as_error(&exceeded(&packet)).echo_quote(), Err(NotOurEcho::Fragment));
}

#[test]
fn a_quote_behind_extension_headers_is_found() {
    let mut chain = vec![Protocol::ICMPV6.0, 0, 1, 4, 0, 0, 0, 0];
    chain.extend(echo_v6(b"cookie"));
    let message = exceeded_v6(&v6(Protocol::HOP_BY_HOP, &chain));
    assert_eq!(as_error_v6(&message).echo_quote().unwrap().payload, b"cookie");
}

#[test]
fn a_quote_of_a_udp_probe_is_readable() {
    let addresses = Addresses::V4 { source: FROM, destination: TO };
    let repr = UdpRepr { source: 50_000, destination: 33_434 };
    let datagram = emitted(|out| repr.emit(&addresses, &[1; 32], out).unwrap());
    let ip = Ipv4Repr { ttl: 1, tos: 0xb8, id: 77, ..Ipv4Repr::new(FROM, TO, Protocol::UDP) };
    let packet = emitted(|out| ip.emit(&datagram, out).unwrap());
    let message = exceeded(&packet[..28]);
    let inner = as_error(&message).quote().unwrap();
    assert_eq!((inner.ttl(), inner.tos(), inner.id()), (1, 0xb8, Some(77)));
    let udp = Udp::parse(inner.payload()).unwrap();
    assert_eq!((udp.source(), udp.destination(), udp.announced_len()), (50_000, 33_434, 40));
    assert_eq!(udp.payload(), b"");
}

proptest! {
    #[test]
    fn no_bytes_make_an_error_panic(
        mut data: Vec<u8>,
        icmp_type in prop::sample::select(&[1_u8, 2, 3, 4, 5, 11, 12]),
        inner in prop::sample::select(&[0x45_u8, 0x4f, 0x60, 0]),
    ) {
        data.insert(0, icmp_type);
        if let Some(first) = data.get_mut(8) {
            *first = inner;
        }
        for parsed in [Icmp::parse(&data), Icmp::parse_v6(&data)] {
            let Ok(Icmp::Error(error)) = parsed else { continue };
            prop_assert!(error.quoted().len() <= data.len() - 8);
            prop_assert!(error.extensions().objects().count() == error.extensions().len());
            let _ = (error.quote(), error.next_hop_mtu(), error.pointer(), error.gateway());
            if let Ok(quote) = error.echo_quote() {
                prop_assert!(quote.payload.len() < data.len());
            }
        }
    }
}
