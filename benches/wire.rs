//! Reading and writing of packets beside pnet_packet, which does less: its views check the least
//! length and nothing else.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netsonde::wire::checksum::checksum;
use netsonde::wire::icmp::{self, EchoRepr, Icmp, IcmpErrorRepr, IcmpType};
use netsonde::wire::ip::{Ipv4, Ipv4Repr, Protocol};
use pnet_packet::Packet;
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet_packet::icmp::time_exceeded::TimeExceededPacket;
use pnet_packet::icmp::{IcmpPacket, IcmpTypes};
use pnet_packet::ipv4::Ipv4Packet;

const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn packet(message: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    Ipv4Repr::new(FROM, TO, Protocol::ICMP).emit(message, &mut packet).unwrap();
    packet
}

fn echo(repr: EchoRepr<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    repr.emit(&mut message);
    packet(&message)
}

/// A reply of the usual size, checksum and all.
fn reply(criterion: &mut Criterion) {
    let packet = echo(EchoRepr::reply(1, 2, &[0x5a; 56]));
    let mut group = criterion.benchmark_group("reply");
    group.bench_function("netsonde", |bencher| {
        bencher.iter(|| {
            let ip = Ipv4::parse(black_box(&packet)).unwrap();
            assert!(icmp::checksum_ok(ip.payload()));
            let Ok(Icmp::EchoReply(echo)) = Icmp::parse(ip.payload()) else { panic!("no reply") };
            (ip.source(), ip.ttl(), echo.id(), echo.seq(), echo.payload().len())
        });
    });
    group.bench_function("pnet_packet", |bencher| {
        bencher.iter(|| {
            let ip = Ipv4Packet::new(black_box(&packet)).unwrap();
            let icmp = IcmpPacket::new(ip.payload()).unwrap();
            assert_eq!(icmp.get_checksum(), pnet_packet::icmp::checksum(&icmp));
            assert_eq!(icmp.get_icmp_type(), IcmpTypes::EchoReply);
            let echo = EchoReplyPacket::new(ip.payload()).unwrap();
            let (id, seq) = (echo.get_identifier(), echo.get_sequence_number());
            (ip.get_source(), ip.get_ttl(), id, seq, echo.payload().len())
        });
    });
}

/// From an error to the id and sequence number of the request that it quotes.
fn error(criterion: &mut Criterion) {
    let quoted = echo(EchoRepr::request(1, 2, &[0x5a; 56]));
    let (icmp_type, word) = (IcmpType::TIME_EXCEEDED.0, [0; 4]);
    let repr = IcmpErrorRepr { icmp_type, code: 0, word, quoted: &quoted, extension: &[] };
    let mut message = Vec::new();
    repr.emit(&mut message).unwrap();
    let packet = packet(&message);
    let mut group = criterion.benchmark_group("error");
    group.bench_function("netsonde", |bencher| {
        bencher.iter(|| {
            let ip = Ipv4::parse(black_box(&packet)).unwrap();
            let Ok(Icmp::Error(error)) = Icmp::parse(ip.payload()) else { panic!("no error") };
            let quote = error.echo_quote().unwrap();
            (quote.destination, quote.id, quote.seq)
        });
    });
    group.bench_function("pnet_packet", |bencher| {
        bencher.iter(|| {
            let ip = Ipv4Packet::new(black_box(&packet)).unwrap();
            let error = TimeExceededPacket::new(ip.payload()).unwrap();
            assert_eq!(error.get_icmp_type(), IcmpTypes::TimeExceeded);
            let inner = Ipv4Packet::new(error.payload()).unwrap();
            let echo = EchoReplyPacket::new(inner.payload()).unwrap();
            (inner.get_destination(), echo.get_identifier(), echo.get_sequence_number())
        });
    });
}

fn emit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("emit");
    let mut out = Vec::with_capacity(64);
    group.bench_function("netsonde", |bencher| {
        bencher.iter(|| {
            out.clear();
            EchoRepr::request(black_box(1), 2, &[0x5a; 56]).emit(&mut out);
            out.len()
        });
    });
    let mut buffer = [0; 64];
    group.bench_function("pnet_packet", |bencher| {
        bencher.iter(|| {
            let mut packet = MutableEchoRequestPacket::new(&mut buffer).unwrap();
            packet.set_icmp_type(IcmpTypes::EchoRequest);
            packet.set_identifier(black_box(1));
            packet.set_sequence_number(2);
            packet.set_payload(&[0x5a; 56]);
            packet.set_checksum(0);
            let sum = pnet_packet::icmp::checksum(&IcmpPacket::new(packet.packet()).unwrap());
            packet.set_checksum(sum);
        });
    });
}

fn sum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in [64, 1480, 65_515] {
        let data = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("netsonde/{length}"), |bencher| {
            bencher.iter(|| checksum(black_box(&data)));
        });
        group.bench_function(format!("pnet_packet/{length}"), |bencher| {
            bencher.iter(|| pnet_packet::util::checksum(black_box(&data), 1));
        });
    }
}

criterion_group!(benches, reply, error, emit, sum);
criterion_main!(benches);
