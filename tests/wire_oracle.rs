//! The wire formats beside pnet_packet, which shares no code with them: what one writes, the other
//! reads.
#![cfg(feature = "icmp")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

use std::net::{Ipv4Addr, Ipv6Addr};

use netsonde::wire::checksum::Addresses;
use netsonde::wire::icmp::{self, EchoRepr, Icmp, IcmpErrorRepr, IcmpType};
use netsonde::wire::icmpv6;
use netsonde::wire::ip::{Ipv4, Ipv4Repr, Ipv6, Protocol, QuotedIp};
use netsonde::wire::tcp::{TcpFlags, TcpRepr};
use netsonde::wire::udp::UdpRepr;
use pnet_packet::Packet;
use pnet_packet::icmp::destination_unreachable::DestinationUnreachablePacket;
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::{EchoRequestPacket, MutableEchoRequestPacket};
use pnet_packet::icmp::time_exceeded::TimeExceededPacket;
use pnet_packet::icmp::{IcmpPacket, IcmpTypes};
use pnet_packet::icmpv6::Icmpv6Packet;
use pnet_packet::icmpv6::echo_request::EchoRequestPacket as EchoRequestPacketV6;
use pnet_packet::ipv4::{Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;
use proptest::prelude::*;

proptest! {
    #[test]
    fn echoes_of_ipv4_are_read_by_pnet(id: u16, seq: u16, payload: Vec<u8>) {
        let mut sent = Vec::new();
        EchoRepr::request(id, seq, &payload).emit(&mut sent);
        let seen = EchoRequestPacket::new(&sent).unwrap();
        prop_assert_eq!(seen.get_icmp_type(), IcmpTypes::EchoRequest);
        prop_assert_eq!((seen.get_identifier(), seen.get_sequence_number()), (id, seq));
        prop_assert_eq!(seen.payload(), &payload);
        let sum = pnet_packet::icmp::checksum(&IcmpPacket::new(&sent).unwrap());
        prop_assert_eq!(seen.get_checksum(), sum);
        sent.clear();
        EchoRepr::reply(id, seq, &payload).emit(&mut sent);
        let seen = EchoReplyPacket::new(&sent).unwrap();
        prop_assert_eq!(seen.get_icmp_type(), IcmpTypes::EchoReply);
        prop_assert_eq!((seen.get_identifier(), seen.get_sequence_number()), (id, seq));
    }

    #[test]
    fn echoes_of_pnet_are_read(id: u16, seq: u16, payload: Vec<u8>) {
        let mut sent = vec![0; 8 + payload.len()];
        let mut packet = MutableEchoRequestPacket::new(&mut sent).unwrap();
        packet.set_icmp_type(IcmpTypes::EchoRequest);
        packet.set_identifier(id);
        packet.set_sequence_number(seq);
        packet.set_payload(&payload);
        let sum = pnet_packet::icmp::checksum(&IcmpPacket::new(packet.packet()).unwrap());
        packet.set_checksum(sum);
        prop_assert!(icmp::checksum_ok(&sent));
        let Ok(Icmp::EchoRequest(seen)) = Icmp::parse(&sent) else { panic!("{sent:?}") };
        prop_assert_eq!((seen.id(), seen.seq(), seen.payload()), (id, seq, &payload[..]));
    }

    #[test]
    fn echoes_of_ipv6_are_read_by_pnet(id: u16, seq: u16, payload: Vec<u8>, from: [u8; 16], to: [u8; 16]) {
        let (from, to) = (Ipv6Addr::from(from), Ipv6Addr::from(to));
        let mut sent = Vec::new();
        EchoRepr::request(id, seq, &payload).emit_v6(Some((from, to)), &mut sent);
        let seen = EchoRequestPacketV6::new(&sent).unwrap();
        prop_assert_eq!((seen.get_identifier(), seen.get_sequence_number()), (id, seq));
        prop_assert_eq!(seen.payload(), &payload);
        let packet = Icmpv6Packet::new(&sent).unwrap();
        let sum = pnet_packet::icmpv6::checksum(&packet, &from, &to);
        prop_assert_eq!(packet.get_checksum(), sum);
        prop_assert!(icmpv6::checksum_ok(&sent, from, to));
    }

    #[test]
    fn errors_of_ipv4_are_read_by_pnet(code: u8, mtu: u16, quoted: Vec<u8>) {
        let [high, low] = mtu.to_be_bytes();
        let repr = IcmpErrorRepr {
            icmp_type: IcmpType::UNREACHABLE.0,
            code,
            word: [0, 0, high, low],
            quoted: &quoted,
            extension: &[],
        };
        let mut sent = Vec::new();
        repr.emit(&mut sent).unwrap();
        let seen = DestinationUnreachablePacket::new(&sent).unwrap();
        prop_assert_eq!((seen.get_icmp_type().0, seen.get_icmp_code().0), (3, code));
        prop_assert_eq!((seen.get_next_hop_mtu(), seen.payload()), (mtu, &quoted[..]));
        let sum = pnet_packet::icmp::checksum(&IcmpPacket::new(&sent).unwrap());
        prop_assert_eq!(seen.get_checksum(), sum);
        sent.clear();
        IcmpErrorRepr { icmp_type: IcmpType::TIME_EXCEEDED.0, ..repr }.emit(&mut sent).unwrap();
        let seen = TimeExceededPacket::new(&sent).unwrap();
        prop_assert_eq!((seen.get_icmp_type(), seen.payload()), (IcmpTypes::TimeExceeded, &quoted[..]));
    }

    #[test]
    fn headers_of_ipv4_are_read_by_pnet(
        from: [u8; 4], to: [u8; 4], protocol: u8, ttl: u8, tos: u8, id: u16, dont_fragment: bool, payload: Vec<u8>,
    ) {
        let (from, to) = (Ipv4Addr::from(from), Ipv4Addr::from(to));
        let repr =
            Ipv4Repr { ttl, tos, id, dont_fragment, ..Ipv4Repr::new(from, to, Protocol(protocol)) };
        let mut sent = Vec::new();
        repr.emit(&payload, &mut sent).unwrap();
        let seen = Ipv4Packet::new(&sent).unwrap();
        prop_assert_eq!((seen.get_version(), seen.get_header_length()), (4, 5));
        prop_assert_eq!((seen.get_source(), seen.get_destination()), (from, to));
        prop_assert_eq!((seen.get_ttl(), seen.get_identification()), (ttl, id));
        prop_assert_eq!(seen.get_dscp() << 2 | seen.get_ecn(), tos);
        prop_assert_eq!(seen.get_flags(), if dont_fragment { 2 } else { 0 });
        prop_assert_eq!(seen.get_next_level_protocol().0, protocol);
        prop_assert_eq!(seen.get_checksum(), pnet_packet::ipv4::checksum(&seen));
        prop_assert_eq!(seen.payload(), &payload);
    }

    #[test]
    fn headers_of_ipv4_are_read_alike(mut data in prop::collection::vec(any::<u8>(), 20..120), words in 5_u8..16) {
        data[0] = 0x40 | words;
        let total = data.len() as u16;
        MutableIpv4Packet::new(&mut data).unwrap().set_total_length(total);
        let Ok(seen) = Ipv4::parse(&data) else {
            prop_assert!(data.len() < usize::from(words) * 4);
            return Ok(());
        };
        let theirs = Ipv4Packet::new(&data).unwrap();
        prop_assert_eq!((seen.source(), seen.destination()), (theirs.get_source(), theirs.get_destination()));
        prop_assert_eq!((seen.ttl(), seen.id()), (theirs.get_ttl(), theirs.get_identification()));
        prop_assert_eq!(seen.tos(), theirs.get_dscp() << 2 | theirs.get_ecn());
        prop_assert_eq!(seen.options(), theirs.get_options_raw());
        prop_assert_eq!(seen.payload(), theirs.payload());
        prop_assert_eq!(seen.dont_fragment(), theirs.get_flags() & 2 != 0);
        let fragment = seen.fragment().map_or((0, false), |it| (it.offset / 8, it.more));
        prop_assert_eq!(fragment, (theirs.get_fragment_offset(), theirs.get_flags() & 1 != 0));
    }

    #[test]
    fn headers_of_ipv6_are_read_alike(mut data in prop::collection::vec(any::<u8>(), 40..120)) {
        data[0] = 0x60 | data[0] & 15;
        let length = data.len() as u16 - 40;
        MutableIpv6Packet::new(&mut data).unwrap().set_payload_length(length);
        let seen = Ipv6::parse(&data).unwrap();
        let theirs = Ipv6Packet::new(&data).unwrap();
        prop_assert_eq!((seen.source(), seen.destination()), (theirs.get_source(), theirs.get_destination()));
        prop_assert_eq!((seen.hop_limit(), seen.next_header().0), (theirs.get_hop_limit(), theirs.get_next_header().0));
        prop_assert_eq!((seen.traffic_class(), seen.flow_label()), (theirs.get_traffic_class(), theirs.get_flow_label()));
        prop_assert_eq!(seen.payload(), theirs.payload());
        if let Ok(quote) = QuotedIp::parse(&data) {
            prop_assert_eq!((quote.ttl(), quote.tos()), (theirs.get_hop_limit(), theirs.get_traffic_class()));
            prop_assert_eq!(quote.announced_len(), length);
        }
    }

    #[test]
    fn udp_and_tcp_are_read_by_pnet(
        from: [u8; 4], to: [u8; 4], source: u16, destination: u16, sequence: u32, acknowledgment: u32,
        flags: u8, window: u16, mss: Option<u16>, payload: Vec<u8>,
    ) {
        let (from, to) = (Ipv4Addr::from(from), Ipv4Addr::from(to));
        let addresses = Addresses::V4 { source: from, destination: to };
        let mut sent = Vec::new();
        UdpRepr { source, destination }.emit(&addresses, &payload, &mut sent).unwrap();
        let seen = UdpPacket::new(&sent).unwrap();
        prop_assert_eq!((seen.get_source(), seen.get_destination()), (source, destination));
        prop_assert_eq!(usize::from(seen.get_length()), sent.len());
        let sum = pnet_packet::udp::ipv4_checksum(&seen, &from, &to);
        prop_assert_eq!(seen.get_checksum(), if sum == 0 { 0xffff } else { sum });
        sent.clear();
        let flags = TcpFlags(flags);
        TcpRepr { source, destination, sequence, acknowledgment, flags, window, mss }
            .emit(&addresses, &payload, &mut sent);
        let seen = TcpPacket::new(&sent).unwrap();
        prop_assert_eq!((seen.get_source(), seen.get_destination()), (source, destination));
        prop_assert_eq!((seen.get_sequence(), seen.get_acknowledgement()), (sequence, acknowledgment));
        prop_assert_eq!((seen.get_flags(), seen.get_window()), (flags.0, window));
        prop_assert_eq!(seen.get_checksum(), pnet_packet::tcp::ipv4_checksum(&seen, &from, &to));
        prop_assert_eq!(seen.payload(), &payload);
        prop_assert_eq!(seen.get_options_raw().len(), if mss.is_some() { 4 } else { 0 });
    }
}
