//! Rows of the fault catalogue carry their id; the others are the contract of every format: round
//! trips, truncation at every length, no octet forgotten, no panic on anything.

mod extensions;
mod messages;
mod packets;
mod quotes;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::icmp::{EchoRepr, Icmp, IcmpError, IcmpErrorRepr, IcmpType};
use super::ip::{Ipv4Repr, Protocol};

const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TO: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const FROM_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const TO_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// What is appended to a vector that holds something already and whose spare room is not zero.
fn emitted(emit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0xa5; 4096];
    out.truncate(3);
    emit(&mut out);
    assert_eq!(out.drain(..3).collect::<Vec<_>>(), [0xa5; 3]);
    out
}

fn echo(id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    emitted(|out| EchoRepr::request(id, seq, payload).emit(out))
}

fn v4(payload: &[u8]) -> Vec<u8> {
    emitted(|out| Ipv4Repr::new(FROM, TO, Protocol::ICMP).emit(payload, out).unwrap())
}

/// An IPv4 packet with options, given as multiples of four octets.
fn v4_with_options(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = v4(payload);
    packet[0] = 0x45 + (options.len() / 4) as u8;
    let total = (packet.len() + options.len()) as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet.splice(20..20, options.iter().copied());
    let header = 20 + options.len();
    packet[10..12].fill(0);
    let sum = super::checksum::checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn v6(next: Protocol, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next.0, 64]);
    packet.extend(FROM_V6.octets());
    packet.extend(TO_V6.octets());
    packet.extend(payload);
    packet
}

/// An error of IPv4 with these octets behind the header.
fn error_v4(icmp_type: IcmpType, code: u8, word: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let repr = IcmpErrorRepr { icmp_type: icmp_type.0, code, word, quoted, extension: &[] };
    emitted(|out| repr.emit(out).unwrap())
}

#[track_caller]
fn as_error(message: &[u8]) -> IcmpError<'_> {
    match Icmp::parse(message) {
        Ok(Icmp::Error(error)) => error,
        other => panic!("not an error: {other:?}"),
    }
}

#[track_caller]
fn as_error_v6(message: &[u8]) -> IcmpError<'_> {
    match Icmp::parse_v6(message) {
        Ok(Icmp::Error(error)) => error,
        other => panic!("not an error: {other:?}"),
    }
}
