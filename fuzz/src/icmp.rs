//! Bytes as packets, from every side: a view that parses can be read everywhere, agrees with
//! pnet_packet where that has a view, and comes back the same when it is emitted.

use std::net::Ipv6Addr;

use netsonde::wire::checksum::{Addresses, checksum};
use netsonde::wire::extension::{OBJECTS, ObjectKind};
use netsonde::wire::icmp::{self, EchoRepr, Icmp, IcmpError};
use netsonde::wire::icmpv6;
use netsonde::wire::ip::{Ipv4, Ipv6, Protocol, QuotedIp};
use netsonde::wire::tcp::{Tcp, TcpStart};
use netsonde::wire::udp::Udp;
use pnet_packet::Packet;
use pnet_packet::icmp::echo_request::EchoRequestPacket;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;

const ADDRESSES: Addresses =
    Addresses::V6 { source: Ipv6Addr::LOCALHOST, destination: Ipv6Addr::UNSPECIFIED };

/// The whole as an IP packet and what is in it; and the whole as what an IP packet carries.
pub fn packet(data: &[u8]) {
    if let Ok(ip) = Ipv4::parse(data) {
        ipv4(data, &ip);
        if ip.protocol() == Protocol::ICMP {
            message(ip.payload());
        }
    }
    if let Ok(ip) = Ipv6::parse(data) {
        let theirs = Ipv6Packet::new(data).expect("40 octets are there");
        assert_eq!(ip.source(), theirs.get_source());
        assert_eq!(ip.destination(), theirs.get_destination());
        assert_eq!(ip.flow_label(), theirs.get_flow_label());
        if theirs.get_payload_length() != 0 {
            assert_eq!(ip.payload(), theirs.payload());
        }
        if let Ok(upper) = ip.upper_layer() {
            assert!(ip.payload().ends_with(upper.payload));
            message(upper.payload);
        }
    }
    message(data);
    quote(data);
}

fn ipv4(data: &[u8], ip: &Ipv4<'_>) {
    let theirs = Ipv4Packet::new(data).expect("20 octets are there");
    assert_eq!(ip.header_len(), usize::from(theirs.get_header_length()) * 4);
    assert_eq!((ip.source(), ip.destination()), (theirs.get_source(), theirs.get_destination()));
    assert_eq!((ip.ttl(), ip.id()), (theirs.get_ttl(), theirs.get_identification()));
    assert_eq!(ip.protocol().0, theirs.get_next_level_protocol().0);
    if theirs.get_total_length() != 0 {
        assert_eq!(ip.payload(), theirs.payload());
    }
    if ip.checksum_ok() {
        // In ones' complement, zero has two forms.
        let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
        assert_eq!(zero(pnet_packet::ipv4::checksum(&theirs)), zero(theirs.get_checksum()));
    }
}

fn message(data: &[u8]) {
    for parsed in [Icmp::parse(data), Icmp::parse_v6(data)] {
        match parsed {
            Ok(Icmp::Error(it)) => error(data, &it),
            Ok(Icmp::EchoRequest(echo) | Icmp::EchoReply(echo)) => {
                let theirs = EchoRequestPacket::new(data).expect("8 octets are there");
                assert_eq!(
                    (echo.id(), echo.seq()),
                    (theirs.get_identifier(), theirs.get_sequence_number())
                );
                assert_eq!(echo.payload(), theirs.payload());
                let mut out = vec![0xa5];
                EchoRepr::request(echo.id(), echo.seq(), echo.payload()).emit(&mut out);
                assert!(icmp::checksum_ok(&out[1..]));
                assert_eq!(out[5..], data[4..]);
            }
            Ok(_) => {}
            Err(error) => assert!(data.len() < 8, "{error}"),
        }
    }
    // It skips a word, none here; and takes the sum over nothing for 0 before it is complemented.
    if !data.is_empty() {
        assert_eq!(checksum(data), pnet_packet::util::checksum(data, usize::MAX));
    }
    let _ = icmpv6::checksum_ok(data, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
}

fn error(data: &[u8], error: &IcmpError<'_>) {
    assert!(data[8..].starts_with(error.quoted()));
    let _ = (error.next_hop_mtu(), error.pointer(), error.gateway());
    quote(error.quoted());
    if let Ok(echo) = error.echo_quote() {
        let inner = error.quote().expect("it was read already");
        assert_eq!(inner.destination(), echo.destination);
        assert_eq!(inner.payload().len(), echo.payload.len() + 8);
    }
    let extensions = error.extensions();
    let objects: Vec<_> = extensions.objects().collect();
    assert_eq!(objects.len(), extensions.len());
    assert!(objects.len() <= OBJECTS);
    for object in objects {
        match object.kind() {
            ObjectKind::Mpls(stack) => assert_eq!(stack.count() * 4, object.payload.len()),
            ObjectKind::Interface(interface) => {
                assert!(interface.name.is_none_or(|it| it.len() < 64))
            }
            _ => {}
        }
    }
    let _ = extensions.fault().map(|fault| fault.to_string());
}

fn quote(data: &[u8]) {
    let Ok(quote) = QuotedIp::parse(data) else { return };
    assert_eq!(quote.header_len() + quote.payload().len(), data.len());
    let _ = (quote.source(), quote.destination(), quote.ttl(), quote.tos(), quote.id());
    if let Ok(udp) = Udp::parse(quote.payload()) {
        let _ = (udp.source(), udp.checksum_ok(&ADDRESSES));
    }
    if let Ok(tcp) = Tcp::parse(quote.payload()) {
        let start = TcpStart::parse(quote.payload()).expect("more of it was read");
        assert_eq!(tcp.sequence(), start.sequence);
        let _ = (tcp.mss(), tcp.checksum_ok(&ADDRESSES));
    }
}
