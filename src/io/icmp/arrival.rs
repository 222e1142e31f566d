//! From what a socket has received to what the engine understands.

use std::net::IpAddr;

use super::socket::IcmpSocket;
use crate::engine::echo::{Arrival, EchoEngine, Received, Stray};
use crate::icmp::{EchoError, Implausible, MplsLabel, SocketMode};
use crate::io::socket::{Control, ExtendedError, Message};
use crate::verdict::FailureKind;
use crate::wire::icmp::{self, Icmp, IcmpError, IcmpType};
use crate::wire::ip::{Ipv4, Protocol};

/// Labels that are kept of one error.
const LABELS: usize = 16;

/// Something that was received as a packet.
///
/// # Errors
/// Why it is nothing for the engine.
pub(super) fn of_packet<'a>(
    socket: &IcmpSocket,
    message: &Message<'a>,
) -> Result<Arrival<'a>, Stray> {
    let from = message.from.ok_or(Stray::Malformed)?.ip();
    let (mut ttl, mut tos) = message.hops();
    let raw = socket.mode() == SocketMode::Raw;
    let icmp = match (socket.is_v6(), raw) {
        (false, true) => {
            // The IP header comes with it. The kernel has put the packet together, but has not looked at
            // the ICMP checksum.
            let packet = Ipv4::parse(message.bytes).map_err(|_| Stray::Malformed)?;
            if packet.protocol() != Protocol::ICMP {
                return Err(Stray::Malformed);
            }
            (ttl, tos) = (Some(packet.ttl()), Some(packet.tos()));
            let body = packet.payload();
            let parsed = Icmp::parse(body).map_err(|_| Stray::Short)?;
            if !icmp::checksum_ok(body) {
                return Err(Stray::Checksum);
            }
            parsed
        }
        (false, false) => Icmp::parse(message.bytes).map_err(|_| Stray::Short)?,
        (true, _) => Icmp::parse_v6(message.bytes).map_err(|_| Stray::Short)?,
    };
    match icmp {
        Icmp::EchoReply(echo) => {
            // A datagram socket gets nothing but its own, and the kernel has matched the identifier.
            let id = socket.id().unwrap_or_else(|| echo.id());
            Ok(Arrival::Reply { from, id, seq: echo.seq(), payload: echo.payload(), ttl, tos })
        }
        Icmp::Error(error) => of_error(&error, from),
        _ => Err(Stray::Kind),
    }
}

fn of_error<'a>(error: &IcmpError<'a>, from: IpAddr) -> Result<Arrival<'a>, Stray> {
    let v6 = error.family() == icmp::IcmpFamily::V6;
    let kind = IcmpType(error.icmp_type());
    if !v6 && matches!(kind, IcmpType::REDIRECT | IcmpType::SOURCE_QUENCH) {
        return Err(Stray::Advice);
    }
    let quote = error.echo_quote().map_err(|_| Stray::Quote)?;
    let told = told(error, from, LABELS);
    Ok(Arrival::Error {
        error: told,
        destination: quote.destination,
        id: quote.id,
        seq: quote.seq,
        payload: quote.payload,
    })
}

/// What an error says, with so many labels at most.
pub(super) fn told(error: &IcmpError<'_>, from: IpAddr, labels: usize) -> EchoError {
    let v6 = error.family() == icmp::IcmpFamily::V6;
    let failure = FailureKind::of_icmp(v6, error.icmp_type(), error.code());
    let mut told = EchoError::new(failure, error.icmp_type(), error.code(), Some(from));
    told.mtu = error.next_hop_mtu();
    told.mtu_implausible = told.mtu.and_then(|mtu| implausible(v6, mtu, error));
    told.pointer = error.pointer();
    let labels = error.extensions().mpls().take(labels);
    told.mpls =
        labels.map(|l| MplsLabel::new(l.label(), l.traffic_class(), l.bottom(), l.ttl())).collect();
    told
}

fn implausible(v6: bool, mtu: u32, error: &IcmpError<'_>) -> Option<Implausible> {
    // RFC 791, 3.2 and RFC 8200, 5.
    let least = if v6 { 1280 } else { 68 };
    let quoted = error.quote().ok().map(|packet| packet.announced_len());
    // The length of an IPv6 packet is told without its header.
    let size = quoted.map(|len| u32::from(len) + if v6 { 40 } else { 0 });
    if mtu < least {
        Some(Implausible::TooSmall)
    } else if size.is_some_and(|size| mtu >= size) {
        Some(Implausible::NotSmaller)
    } else {
        None
    }
}

/// Hands an entry of the error queue to the engine, or counts that it was passed over.
pub(super) fn take_queued(
    engine: &mut EchoEngine,
    (mode, id): (SocketMode, Option<u16>),
    message: &Message<'_>,
    received: &Received,
) {
    match of_queue(mode, id, message) {
        Ok(Some(arrival)) => {
            let _ = engine.receive(arrival, received);
        }
        Ok(None) => {}
        Err(why) => engine.count_stray(why),
    }
}

/// What an entry of the error queue says; nothing if that is heard in another way as well.
///
/// # Errors
/// Why it is nothing for the engine.
fn of_queue<'a>(
    mode: SocketMode,
    id: Option<u16>,
    message: &Message<'a>,
) -> Result<Option<Arrival<'a>>, Stray> {
    let told = message.controls().map(Control::of).find_map(|control| match control {
        Control::Error(error) => Some(error),
        _ => None,
    });
    let error = told.ok_or(Stray::Origin)?;
    let v6 = match error.origin {
        ExtendedError::ICMP => false,
        ExtendedError::ICMPV6 => true,
        // The send call tells of local errors. A stamp that is none is missed by whom it is about.
        ExtendedError::LOCAL | ExtendedError::TIMESTAMPING => return Ok(None),
        _ => return Err(Stray::Origin),
    };
    // Linux queues redirects and source quench as well.
    let kind = IcmpType(error.icmp_type);
    if !v6 && matches!(kind, IcmpType::REDIRECT | IcmpType::SOURCE_QUENCH) {
        return Err(Stray::Advice);
    }
    // A raw socket gets the errors as packets, whole.
    let Some(id) = id.filter(|_| mode == SocketMode::Datagram) else { return Ok(None) };
    error_about(v6, &error, id, message).map(Some)
}

/// An error about a packet of a datagram socket. The bytes are those of our packet, as far as the error
/// quotes it, without its IP header.
fn error_about<'a>(
    v6: bool,
    error: &ExtendedError,
    id: u16,
    message: &Message<'a>,
) -> Result<Arrival<'a>, Stray> {
    let quoted = if v6 { Icmp::parse_v6(message.bytes) } else { Icmp::parse(message.bytes) };
    let Ok(Icmp::EchoRequest(echo) | Icmp::EchoReply(echo)) = quoted else {
        return Err(Stray::Quote);
    };
    let told = told_by_queue(error);
    Ok(Arrival::Error {
        error: told,
        destination: message.from.ok_or(Stray::Malformed)?.ip(),
        id,
        seq: echo.seq(),
        payload: echo.payload(),
    })
}

/// What an entry of an error queue says.
pub(super) fn told_by_queue(error: &ExtendedError) -> EchoError {
    let v6 = error.origin == ExtendedError::ICMPV6;
    let failure = FailureKind::of_icmp(v6, error.icmp_type, error.code);
    let mut told = EchoError::new(failure, error.icmp_type, error.code, error.offender);
    // Routers from before RFC 1191 have 0 there; in IPv6 that is a lie.
    if failure == FailureKind::FragmentationNeeded && (v6 || error.info != 0) {
        let least = if v6 { 1280 } else { 68 };
        told.mtu = Some(error.info);
        told.mtu_implausible = (error.info < least).then_some(Implausible::TooSmall);
    }
    if (v6, error.icmp_type, error.code) == (false, 12, 0) || (v6, error.icmp_type) == (true, 4) {
        told.pointer = Some(error.info);
    }
    told
}

#[cfg(test)]
mod tests;
