//! What leaves, read by pnet_packet, and what errors about it are taken for.

use pnet_packet::icmp::{self as pnet_icmp, IcmpPacket};
use pnet_packet::icmpv6::{self as pnet_icmpv6, Icmpv6Packet};
use pnet_packet::tcp::{self as pnet_tcp, TcpPacket};
use pnet_packet::udp::{self as pnet_udp, UdpPacket};
use proptest::prelude::*;

use super::*;
use crate::icmp::trace::TraceConfig;
use crate::wire::icmp::{Icmp, IcmpErrorRepr};
use crate::wire::ip::Ipv4Repr;

const METHODS: [TraceMethod; 3] = [TraceMethod::Icmp, TraceMethod::Udp, TraceMethod::Tcp];

fn ends(v6: bool) -> (IpAddr, IpAddr) {
    let pair = if v6 { ["2001:db8::7", "2001:db8:1::9"] } else { ["192.0.2.7", "203.0.113.9"] };
    (pair[0].parse().unwrap(), pair[1].parse().unwrap())
}

/// Four flows of so many tickets as there may be.
fn codec(method: TraceMethod, v6: bool, size: Option<u32>) -> Codec {
    let config = TraceConfig {
        method,
        size,
        flows: 4,
        queries: 64,
        max_hops: 255,
        port: (method != TraceMethod::Icmp).then_some(33_434),
        ..TraceConfig::default()
    };
    let (source, destination) = ends(v6);
    let setup = TraceSetup::new(&config, destination).unwrap();
    Codec::new(&setup, source, vec![50_000, 50_003, 50_007, 61_000], [9; 16]).unwrap()
}

fn query(codec: &Codec, flow: u32, index: u32) -> TraceTransmit {
    let ticket = TraceTicket::new((flow * codec.per_flow + index) as u16);
    TraceTransmit { ticket, flow, ttl: 1, payload_bytes: codec.payload_bytes as u32 }
}

/// All behind the IP header, also where the system makes a part of it.
fn sent(codec: &Codec, query: &TraceTransmit) -> (Vec<u8>, SentAs) {
    let mut given = Vec::new();
    let sent = codec.emit(query, &mut given);
    if codec.method != TraceMethod::Udp {
        return (given, sent);
    }
    let mut whole = Vec::new();
    let udp = UdpRepr { source: codec.id(query.flow), destination: codec.port };
    udp.emit(&codec.addresses, &given, &mut whole).unwrap();
    (whole, sent)
}

fn ip(codec: &Codec, source: IpAddr, transport: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match (source, codec.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let protocol = match codec.method {
                TraceMethod::Icmp => Protocol::ICMP,
                TraceMethod::Udp => Protocol::UDP,
                TraceMethod::Tcp => Protocol::TCP,
            };
            Ipv4Repr::new(source, destination, protocol).emit(transport, &mut out).unwrap();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let protocol = match codec.method {
                TraceMethod::Icmp => Protocol::ICMPV6,
                TraceMethod::Udp => Protocol::UDP,
                TraceMethod::Tcp => Protocol::TCP,
            };
            out.extend([0x60, 0, 0, 0]);
            out.extend((transport.len() as u16).to_be_bytes());
            out.extend([protocol.0, 1]);
            out.extend(source.octets());
            out.extend(destination.octets());
            out.extend(transport);
        }
        _ => unreachable!(),
    }
    out
}

/// A "time exceeded" that quotes this.
fn exceeded(v6: bool, quoted: &[u8], extension: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let icmp_type = if v6 { 3 } else { 11 };
    let repr = IcmpErrorRepr { icmp_type, code: 0, word: [0; 4], quoted, extension };
    match (v6, ends(true)) {
        (true, (IpAddr::V6(here), IpAddr::V6(there))) => repr.emit_v6(there, here, &mut message),
        _ => repr.emit(&mut message),
    }
    .unwrap();
    message
}

fn matched(codec: &Codec, message: &[u8]) -> Result<(Match, Quoted), NoMatch> {
    let icmp = if codec.is_v6() { Icmp::parse_v6(message) } else { Icmp::parse(message) };
    let Ok(Icmp::Error(error)) = icmp else { panic!("{message:x?}") };
    codec.of_error(&error)
}

/// The tickets of a flow that are worth a look: the ends, and some between.
fn indices(codec: &Codec) -> impl Iterator<Item = u32> {
    let last = codec.per_flow - 1;
    (0..last).step_by(251).chain([1, last - 1, last])
}

#[test]
fn what_routers_hash_on_stays_the_same_within_a_flow_and_differs_between_flows() {
    for (method, v6) in METHODS.into_iter().flat_map(|method| [(method, false), (method, true)]) {
        let codec = codec(method, v6, None);
        let mut starts = Vec::new();
        for flow in 0..4 {
            let start = |index| sent(&codec, &query(&codec, flow, index)).0[..4].to_vec();
            let first = start(0);
            assert!(indices(&codec).all(|index| start(index) == first), "{method:?} {v6} {flow}");
            assert!(!starts.contains(&first), "{method:?} {v6} {flow}");
            starts.push(first);
        }
    }
}

#[test]
fn an_independent_reader_finds_ports_numbers_and_sound_checksums() {
    for (method, v6) in METHODS.into_iter().flat_map(|method| [(method, false), (method, true)]) {
        let sizes: &[Option<u32>] = match method {
            TraceMethod::Tcp => &[None],
            _ => &[None, Some(2), Some(3), Some(11), Some(12), Some(13), Some(1400)],
        };
        for size in sizes {
            let codec = codec(method, v6, *size);
            let mut numbers = std::collections::BTreeSet::new();
            for (flow, index) in indices(&codec).map(|index| (index % 4, index)) {
                let query = query(&codec, flow, index);
                let (bytes, sent) = sent(&codec, &query);
                let (here, there) = (codec.source, codec.destination);
                let number = query.ticket.number();
                let (wanted, seen) = match (method, here, there) {
                    (TraceMethod::Icmp, IpAddr::V4(_), _) => {
                        assert_eq!(bytes[..2], [8, 0]);
                        assert_eq!(bytes[4..6], codec.ids[flow as usize].to_be_bytes());
                        assert_eq!(bytes[6..8], number.to_be_bytes());
                        let packet = IcmpPacket::new(&bytes).unwrap();
                        (pnet_icmp::checksum(&packet), packet.get_checksum())
                    }
                    (TraceMethod::Icmp, IpAddr::V6(here), IpAddr::V6(there)) => {
                        assert_eq!(bytes[..2], [128, 0]);
                        let packet = Icmpv6Packet::new(&bytes).unwrap();
                        (pnet_icmpv6::checksum(&packet, &here, &there), packet.get_checksum())
                    }
                    (TraceMethod::Udp, ..) => {
                        let packet = UdpPacket::new(&bytes).unwrap();
                        assert_eq!(packet.get_source(), codec.ids[flow as usize]);
                        assert_eq!(packet.get_destination(), 33_434);
                        assert_eq!(usize::from(packet.get_length()), bytes.len());
                        assert_eq!(u32::from(packet.get_checksum()), index + 1);
                        let sum = match (here, there) {
                            (IpAddr::V4(here), IpAddr::V4(there)) => {
                                pnet_udp::ipv4_checksum(&packet, &here, &there)
                            }
                            (IpAddr::V6(here), IpAddr::V6(there)) => {
                                pnet_udp::ipv6_checksum(&packet, &here, &there)
                            }
                            _ => unreachable!(),
                        };
                        (sum, packet.get_checksum())
                    }
                    (TraceMethod::Tcp, ..) => {
                        let packet = TcpPacket::new(&bytes).unwrap();
                        assert_eq!(packet.get_source(), codec.ids[flow as usize]);
                        assert_eq!(packet.get_destination(), 33_434);
                        assert_eq!(packet.get_flags(), 2);
                        assert_eq!(packet.get_sequence() as u16, number);
                        let sum = match (here, there) {
                            (IpAddr::V4(here), IpAddr::V4(there)) => {
                                pnet_tcp::ipv4_checksum(&packet, &here, &there)
                            }
                            (IpAddr::V6(here), IpAddr::V6(there)) => {
                                pnet_tcp::ipv6_checksum(&packet, &here, &there)
                            }
                            _ => unreachable!(),
                        };
                        (sum, packet.get_checksum())
                    }
                    _ => unreachable!(),
                };
                assert_eq!(
                    (seen, sent.checksum),
                    (wanted, Some(wanted)),
                    "{method:?} {v6} {size:?}"
                );
                assert_eq!(sent.source, Some(here));
                assert_eq!(sent.length, Some(ip(&codec, here, &bytes).len() as u32));
                assert!(numbers.insert(number));
            }
        }
    }
}

#[test]
fn an_error_is_about_the_query_that_it_quotes() {
    for (method, v6) in METHODS.into_iter().flat_map(|method| [(method, false), (method, true)]) {
        let codec = codec(method, v6, None);
        for (flow, index) in indices(&codec).map(|index| (index % 4, index)) {
            let query = query(&codec, flow, index);
            let (transport, sent) = sent(&codec, &query);
            let packet = ip(&codec, codec.source, &transport);
            let header = packet.len() - transport.len();
            let (whole, quoted) = matched(&codec, &exceeded(v6, &packet, &[])).unwrap();
            assert_eq!(whole, Match { ticket: query.ticket, weak: false });
            assert_eq!((quoted.source, quoted.length), (sent.source, sent.length));
            assert_eq!(quoted.checksum, sent.checksum);
            // What every router quotes at least, alone and padded before an extension.
            let short = &packet[..header + 8];
            let mut extension = Vec::new();
            crate::wire::extension::emit(&[(1, 1, &[0, 1, 0x11, 1])], &mut extension).unwrap();
            for message in [exceeded(v6, short, &[]), exceeded(v6, short, &extension)] {
                let (least, _) = matched(&codec, &message).unwrap();
                // The sequence number of TCP has a hash in it.
                let weak = method != TraceMethod::Tcp;
                assert_eq!(least, Match { ticket: query.ticket, weak }, "{method:?} {v6}");
            }
            let shorter = exceeded(v6, &packet[..header + 7], &[]);
            assert_eq!(matched(&codec, &shorter).unwrap_err(), NoMatch::Foreign);
        }
    }
}

#[test]
fn i84_i85_a_rewritten_source_is_told_and_matched_by_the_payload_alone() {
    let nat: IpAddr = "198.51.100.1".parse().unwrap();
    for method in METHODS {
        let codec = codec(method, false, None);
        let query = query(&codec, 2, 77);
        let (mut transport, sent) = sent(&codec, &query);
        if method == TraceMethod::Udp {
            transport[6..8].copy_from_slice(&[0x0f, 0x00]);
        }
        let packet = ip(&codec, nat, &transport);
        let (seen, quoted) = matched(&codec, &exceeded(false, &packet, &[])).unwrap();
        assert_eq!((seen.ticket, quoted.source), (query.ticket, Some(nat)));
        assert_eq!(quoted.checksum == sent.checksum, method != TraceMethod::Udp);
        let short = matched(&codec, &exceeded(false, &packet[..28], &[]));
        // Its number was the checksum.
        assert_eq!(short.is_err(), method == TraceMethod::Udp);
    }
}

#[test]
fn a_checksum_that_nobody_has_computed_yet_is_no_sign_of_rewriting() {
    for v6 in [false, true] {
        let codec = codec(TraceMethod::Udp, v6, None);
        let query = query(&codec, 1, 12);
        let (mut transport, _) = sent(&codec, &query);
        let length = transport.len() as u32;
        let sum = Sum::pseudo(&codec.addresses, Protocol::UDP, length).value();
        transport[6..8].copy_from_slice(&sum.to_be_bytes());
        let packet = ip(&codec, codec.source, &transport);
        let (seen, quoted) = matched(&codec, &exceeded(v6, &packet, &[])).unwrap();
        assert_eq!((seen.ticket, quoted.checksum), (query.ticket, None));
        let short = &packet[..packet.len() - transport.len() + 8];
        assert_eq!(matched(&codec, &exceeded(v6, short, &[])).unwrap_err(), NoMatch::Suspect);
    }
}

#[test]
fn i77_what_was_never_sent_is_not_believed() {
    for (method, v6) in METHODS.into_iter().flat_map(|method| [(method, false), (method, true)]) {
        let codec = codec(method, v6, None);
        let (transport, _) = sent(&codec, &query(&codec, 1, 5));
        let refused = |at: usize, bytes: &[u8]| {
            let mut forged = transport.clone();
            forged[at..at + bytes.len()].copy_from_slice(bytes);
            matched(&codec, &exceeded(v6, &ip(&codec, codec.source, &forged), &[])).unwrap_err()
        };
        match method {
            TraceMethod::Icmp => {
                assert_eq!(refused(4, &[1, 1]), NoMatch::Foreign, "another identifier");
                assert_eq!(refused(6, &[0, 5]), NoMatch::Suspect, "that of another flow");
                assert_eq!(refused(12, &[0xee]), NoMatch::Suspect, "another hash");
                assert_eq!(refused(0, &[0]), NoMatch::Foreign, "a reply");
            }
            TraceMethod::Udp => {
                assert_eq!(refused(0, &[1, 1]), NoMatch::Foreign, "another port");
                assert_eq!(refused(2, &[0, 53]), NoMatch::Foreign, "another port there");
                assert_eq!(refused(0, &50_000_u16.to_be_bytes()), NoMatch::Suspect, "another flow");
                assert_eq!(refused(12, &[0xee]), NoMatch::Suspect, "another hash");
            }
            TraceMethod::Tcp => {
                assert_eq!(refused(0, &[1, 1]), NoMatch::Foreign, "another port");
                assert_eq!(refused(2, &[0, 53]), NoMatch::Foreign, "another port there");
                assert_eq!(refused(4, &[0xee]), NoMatch::Suspect, "another hash");
                assert_eq!(refused(6, &[0, 5]), NoMatch::Suspect, "another number");
            }
        }
        let other = Codec { destination: codec.source, ..codec.clone() };
        let message = exceeded(v6, &ip(&codec, codec.source, &transport), &[]);
        assert_eq!(matched(&other, &message).unwrap_err(), NoMatch::Foreign);
    }
}

#[test]
fn the_target_answers_for_itself_alone() {
    let stranger: IpAddr = "192.0.2.200".parse().unwrap();
    let icmp = codec(TraceMethod::Icmp, false, None);
    let request = query(&icmp, 3, 9);
    let (mut bytes, _) = sent(&icmp, &request);
    bytes[0] = 0;
    let reply = |bytes: &[u8], from| {
        let Ok(Icmp::EchoReply(echo)) = Icmp::parse(bytes) else { panic!() };
        icmp.of_reply(&echo, from)
    };
    let wanted = Match { ticket: request.ticket, weak: false };
    assert_eq!(reply(&bytes, icmp.destination), Ok(wanted));
    assert_eq!(reply(&bytes, stranger), Err(NoMatch::Suspect));
    assert_eq!(reply(&bytes[..bytes.len() - 1], icmp.destination), Err(NoMatch::Suspect));

    let tcp = codec(TraceMethod::Tcp, false, None);
    let request = query(&tcp, 3, 9);
    let answer = |flags, acknowledgment: u32, from| {
        let repr = TcpRepr {
            source: tcp.port,
            destination: tcp.ids[3],
            acknowledgment,
            flags,
            ..TcpRepr::default()
        };
        let mut bytes = Vec::new();
        repr.emit(&tcp.addresses, &[], &mut bytes);
        tcp.of_segment(&Tcp::parse(&bytes).unwrap(), from)
    };
    let (accepts, refuses) = (TcpFlags::SYN.with(TcpFlags::ACK), TcpFlags::RST.with(TcpFlags::ACK));
    let number = tcp.sequence(request.ticket).wrapping_add(1);
    let wanted = Match { ticket: request.ticket, weak: false };
    assert_eq!(answer(accepts, number, tcp.destination), Ok(wanted));
    assert_eq!(answer(refuses, number, tcp.destination), Ok(wanted));
    assert_eq!(answer(accepts, number, stranger), Err(NoMatch::Foreign));
    assert_eq!(answer(accepts, number ^ 1 << 20, tcp.destination), Err(NoMatch::Suspect));
    assert_eq!(answer(TcpFlags::RST, number, tcp.destination), Err(NoMatch::Foreign));
    assert_eq!(answer(TcpFlags::ACK, number, tcp.destination), Err(NoMatch::Foreign));
}

proptest! {
    #[test]
    fn nothing_that_comes_in_panics(
        method in 0_usize..3,
        v6: bool,
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        grafted: bool,
    ) {
        let codec = codec(METHODS[method], v6, None);
        if grafted {
            let (transport, _) = sent(&codec, &query(&codec, 0, 0));
            let cut = bytes.len().min(transport.len());
            bytes = ip(&codec, codec.source, &[&transport[..cut], &bytes].concat());
        }
        _ = matched(&codec, &exceeded(v6, &bytes, &[]));
        _ = codec.of_datagram(0, &bytes);
        if let Ok(segment) = Tcp::parse(&bytes) {
            _ = codec.of_segment(&segment, codec.destination);
        }
    }
}
