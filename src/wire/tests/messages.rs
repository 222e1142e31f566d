//! Echoes and the plain parts of errors.

use std::net::Ipv4Addr;

use super::super::icmp::{
    EchoRepr, Icmp, IcmpErrorRepr, IcmpType, checksum_ok, time_exceeded, unreachable,
};
use super::super::{WireError, WireErrorKind, icmpv6};
use super::{FROM_V6, TO_V6, as_error, as_error_v6, echo, emitted, error_v4, v4, v6};
use proptest::prelude::*;

#[test]
fn i33_fewer_than_8_octets_are_no_message() {
    for icmp_type in 0..=255 {
        for length in 0..8 {
            let data = &[icmp_type, 0, 0, 0, 0, 0, 0][..length];
            let error = WireError { offset: length, kind: WireErrorKind::Truncated };
            assert_eq!(Icmp::parse(data), Err(error));
            assert_eq!(Icmp::parse_v6(data), Err(error));
        }
    }
}

#[test]
fn i34_nothing_is_no_message() {
    assert_eq!(Icmp::parse(&[]).unwrap_err().offset, 0);
    assert!(!checksum_ok(&[]));
}

#[test]
fn i36_both_forms_of_zero_verify() {
    // The words of this reply add up to 0xffff, so its checksum is zero in either form.
    let mut reply = [0, 0, 0, 0, 0xff, 0xf0, 0, 0x0f];
    assert!(checksum_ok(&reply));
    reply[2..4].fill(0xff);
    assert!(checksum_ok(&reply));
    reply[2..4].copy_from_slice(&[0xff, 0xfe]);
    assert!(!checksum_ok(&reply));
    // What is emitted for a message of nothing but zeros, and its zero form, which is not a sum.
    assert_eq!(emitted(|out| EchoRepr::reply(0, 0, &[]).emit(out))[2..4], [0xff, 0xff]);
    assert!(!checksum_ok(&[0; 8]));
}

#[test]
fn i36_both_forms_of_zero_verify_in_ipv6() {
    let payload = {
        let sent =
            emitted(|out| EchoRepr::request(1, 2, &[0, 0]).emit_v6(Some((FROM_V6, TO_V6)), out));
        [sent[2], sent[3]]
    };
    let mut sent =
        emitted(|out| EchoRepr::request(1, 2, &payload).emit_v6(Some((FROM_V6, TO_V6)), out));
    assert_eq!(sent[2..4], [0, 0]);
    assert!(icmpv6::checksum_ok(&sent, FROM_V6, TO_V6));
    sent[2..4].fill(0xff);
    assert!(icmpv6::checksum_ok(&sent, FROM_V6, TO_V6));
}

#[test]
fn i37_odd_payloads_have_the_right_checksum() {
    for length in 0..40 {
        let payload: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(7)).collect();
        let message = echo(1, 2, &payload);
        assert!(checksum_ok(&message), "{length}");
        // A reader that pads with one zero sees the same.
        let mut padded = message.clone();
        padded.push(0);
        assert!(checksum_ok(&padded));
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!checksum_ok(&flipped), "{length}, bit {bit}");
        }
    }
}

#[test]
fn i38_a_wrong_checksum_of_ipv6_is_seen() {
    let message = emitted(|out| EchoRepr::reply(1, 2, b"odd").emit_v6(Some((FROM_V6, TO_V6)), out));
    assert!(icmpv6::checksum_ok(&message, FROM_V6, TO_V6));
    assert!(!icmpv6::checksum_ok(&message, FROM_V6, FROM_V6), "the addresses count");
    assert!(!checksum_ok(&message), "it is not that of IPv4");
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!icmpv6::checksum_ok(&flipped, FROM_V6, TO_V6), "bit {bit}");
    }
}

#[test]
fn i40_a_timestamp_reply_is_no_echo() {
    let data = [IcmpType::TIMESTAMP_REPLY.0, 0, 0, 0, 0, 1, 0, 2];
    assert_eq!(Icmp::parse(&data), Ok(Icmp::Other { icmp_type: 14, code: 0 }));
}

#[test]
fn i41_only_type_0_or_129_with_code_0_is_a_reply() {
    for (icmp_type, code) in (0..=255).flat_map(|kind| (0..=255).map(move |code| (kind, code))) {
        let data = [icmp_type, code, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3];
        let kinds = |parsed| match parsed {
            Ok(Icmp::EchoReply(echo)) => {
                assert_eq!((echo.id(), echo.seq(), echo.payload()), (0x1234, 7, &[1, 2, 3][..]));
                "reply"
            }
            Ok(Icmp::EchoRequest(_)) => "request",
            Ok(Icmp::Error(error)) => {
                assert_eq!((error.icmp_type(), error.code()), (icmp_type, code));
                "error"
            }
            Ok(Icmp::Other { icmp_type: kind, code: which }) => {
                assert_eq!((kind, which), (icmp_type, code));
                "other"
            }
            Err(error) => panic!("{error}"),
        };
        let expected = match (icmp_type, code) {
            (0, 0) => "reply",
            (8, 0) => "request",
            (3 | 4 | 5 | 11 | 12, _) => "error",
            _ => "other",
        };
        assert_eq!(kinds(Icmp::parse(&data)), expected, "{icmp_type}/{code}");
        let expected = match (icmp_type, code) {
            (129, 0) => "reply",
            (128, 0) => "request",
            (1..=4, _) => "error",
            _ => "other",
        };
        assert_eq!(kinds(Icmp::parse_v6(&data)), expected, "{icmp_type}/{code}");
    }
}

#[test]
fn i46_i48_i49_payloads_of_every_size_come_back() {
    use super::super::icmp::MAX_ECHO_PAYLOAD;
    for length in [0, 1, 56, 1472, MAX_ECHO_PAYLOAD] {
        let payload = vec![0x5a; length];
        let message = echo(3, 4, &payload);
        assert_eq!(message.len(), EchoRepr::request(3, 4, &payload).emitted_len());
        let packet = v4(&message);
        assert!(packet.len() <= 65_535);
        let Ok(Icmp::EchoRequest(seen)) = Icmp::parse(&packet[20..]) else { panic!("{length}") };
        assert_eq!((seen.id(), seen.seq(), seen.payload()), (3, 4, &payload[..]));
    }
    assert_eq!(20 + 8 + MAX_ECHO_PAYLOAD, 65_535);
}

#[test]
fn i52_i53_the_mtu_of_ipv4_is_as_sent_and_zero_is_none() {
    for (sent, seen) in [(0_u16, None), (1, Some(1)), (1400, Some(1400)), (65_535, Some(65_535))] {
        let [high, low] = sent.to_be_bytes();
        let needed = unreachable::FRAGMENTATION_NEEDED;
        let message = error_v4(IcmpType::UNREACHABLE, needed, [0, 0, high, low], &v4(b"12345678"));
        assert_eq!(as_error(&message).next_hop_mtu(), seen);
        let message = error_v4(IcmpType::UNREACHABLE, unreachable::HOST, [0, 0, high, low], &[]);
        assert_eq!(as_error(&message).next_hop_mtu(), None, "only one code has it");
    }
}

#[test]
fn i54_the_mtu_of_ipv6_is_as_sent() {
    for mtu in [0, 1279, 1280, u32::MAX] {
        let quoted = v6(super::Protocol::ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 2]);
        let word = mtu.to_be_bytes();
        let repr = IcmpErrorRepr { icmp_type: 2, code: 0, word, quoted: &quoted, extension: &[] };
        let message = emitted(|out| repr.emit_v6(FROM_V6, TO_V6, out).unwrap());
        assert!(icmpv6::checksum_ok(&message, FROM_V6, TO_V6));
        let error = as_error_v6(&message);
        assert_eq!((error.next_hop_mtu(), error.pointer()), (Some(mtu), None));
        assert_eq!(error.quoted(), quoted);
    }
}

#[test]
fn i56_to_i65_i69_every_code_is_kept() {
    let quoted = v4(&echo(1, 2, b"cookie"));
    for code in 0..=255 {
        for icmp_type in [IcmpType::UNREACHABLE, IcmpType::TIME_EXCEEDED] {
            let message = error_v4(icmp_type, code, [0; 4], &quoted);
            let error = as_error(&message);
            assert_eq!((error.icmp_type(), error.code()), (icmp_type.0, code));
            assert_eq!(error.echo_quote().unwrap().payload, b"cookie");
            assert_eq!((error.pointer(), error.gateway()), (None, None));
        }
        let data = [1, code, 0, 0, 0, 0, 0, 0];
        assert_eq!(as_error_v6(&data).code(), code);
    }
    assert_eq!((time_exceeded::IN_TRANSIT, time_exceeded::REASSEMBLY), (0, 1));
}

#[test]
fn i66_the_pointer_of_a_parameter_problem() {
    let message = error_v4(IcmpType::PARAMETER_PROBLEM, 0, [20, 0, 0, 0], &v4(b"12345678"));
    assert_eq!(as_error(&message).pointer(), Some(20));
    let message = [4, 1, 0, 0, 0, 0, 1, 2];
    assert_eq!(as_error_v6(&message).pointer(), Some(0x102));
}

#[test]
fn i68_a_redirect_names_its_gateway() {
    let message = error_v4(IcmpType::REDIRECT, 1, [192, 0, 2, 254], &v4(b"12345678"));
    let error = as_error(&message);
    assert_eq!(error.gateway(), Some(Ipv4Addr::new(192, 0, 2, 254)));
    assert_eq!(error.next_hop_mtu(), None);
}

#[test]
fn echoes_say_what_was_put_in_at_every_length() {
    for (repr, v6) in [
        (EchoRepr::request(0xabcd, 0x1234, b"payload"), false),
        (EchoRepr::reply(0xabcd, 0x1234, b"payload"), false),
        (EchoRepr::request(0xabcd, 0x1234, b"payload"), true),
        (EchoRepr::reply(0xabcd, 0x1234, b"payload"), true),
    ] {
        let message = emitted(|out| if v6 { repr.emit_v6(None, out) } else { repr.emit(out) });
        for length in 0..=message.len() {
            let data = &message[..length];
            let parsed = if v6 { Icmp::parse_v6(data) } else { Icmp::parse(data) };
            let (echo, reply) = match parsed {
                Ok(Icmp::EchoRequest(echo)) => (echo, false),
                Ok(Icmp::EchoReply(echo)) => (echo, true),
                other => {
                    assert_eq!(other, Err(WireError::truncated(length)));
                    assert!(length < 8);
                    continue;
                }
            };
            let seen = EchoRepr { reply, id: echo.id(), seq: echo.seq(), payload: echo.payload() };
            assert_eq!(seen, EchoRepr { payload: &b"payload"[..length - 8], ..repr });
        }
    }
}

proptest! {
    #[test]
    fn echoes_come_back(id: u16, seq: u16, payload: Vec<u8>, reply: bool) {
        let repr = EchoRepr { reply, id, seq, payload: &payload };
        let message = emitted(|out| repr.emit(out));
        prop_assert!(checksum_ok(&message));
        match Icmp::parse(&message) {
            Ok(Icmp::EchoRequest(echo)) if !reply => prop_assert_eq!(echo.payload(), &payload),
            Ok(Icmp::EchoReply(echo)) if reply => prop_assert_eq!(echo.payload(), &payload),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
