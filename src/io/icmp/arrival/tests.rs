use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::*;
use crate::engine::echo::{FlowId, Outgoing, Reading, Setup, Ticket};
use crate::icmp::EchoFate;

/// A control message of the error queue: `struct sock_extended_err`, then who sent the error.
fn record(origin: u8, icmp_type: u8, code: u8, info: u32) -> Vec<u8> {
    let mut data = libc::EHOSTUNREACH.to_ne_bytes().to_vec();
    data.extend([origin, icmp_type, code, 0]);
    data.extend(info.to_ne_bytes());
    data.extend([0; 4]);
    data.extend((libc::AF_INET as u16).to_ne_bytes());
    data.extend([0, 0, 198, 51, 100, 1]);
    data.extend([0; 8]);
    let mut out = (size_of::<usize>() + 8 + data.len()).to_ne_bytes().to_vec();
    out.extend(libc::IPPROTO_IP.to_ne_bytes());
    out.extend(libc::IP_RECVERR.to_ne_bytes());
    out.extend(data);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

const ID: u16 = 7;
const TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

struct Waiting {
    engine: EchoEngine,
    flow: FlowId,
    ticket: Ticket,
    /// The request as the error queue returns it.
    packet: Vec<u8>,
    received: Received,
}

/// An engine with one packet on its way.
fn waiting() -> Waiting {
    let mut setup = Setup::new([3; 16], ID);
    setup.ids = 1;
    let mut engine = EchoEngine::new(setup);
    let flow = engine.open();
    let start = Reading::new(Instant::now(), 1_790_000_000_000_000_000);
    let mut payload = Vec::new();
    let outgoing = Outgoing::new(TO.into(), Duration::from_secs(1));
    let ticket = engine.prepare(flow, &outgoing, &mut payload).unwrap();
    engine.sent(ticket, start, start.mono);
    let mut packet = vec![8, 0, 0, 0];
    packet.extend([ticket.id.to_be_bytes(), ticket.seq.to_be_bytes()].concat());
    packet.extend(payload);
    let received = Received::at(start.later(Duration::from_millis(1)));
    Waiting { engine, flow, ticket, packet, received }
}

impl Waiting {
    fn take(&mut self, kind: (SocketMode, Option<u16>), control: &[u8]) {
        let from = SocketAddr::from((TO, 0));
        let message = Message::of(&self.packet, from, control);
        take_queued(&mut self.engine, kind, &message, &self.received);
    }
}

const RAW: (SocketMode, Option<u16>) = (SocketMode::Raw, None);
const DATAGRAM: (SocketMode, Option<u16>) = (SocketMode::Datagram, Some(ID));

#[test]
fn i100_an_entry_of_an_unknown_origin_is_passed_over_and_counted() {
    for kind in [RAW, DATAGRAM] {
        let mut lab = waiting();
        // SO_EE_ORIGIN_NONE, ZEROCOPY, TXTIME, and what is yet to come.
        for origin in [0, 5, 6, 200, 255] {
            lab.take(kind, &record(origin, 3, 1, 0));
        }
        // An entry whose record was cut off.
        lab.take(kind, &[]);
        assert_eq!(lab.engine.strays().origin, 6, "{kind:?}");
        assert_eq!(lab.engine.strays().total(), 6, "{kind:?}");
        // The packet still waits, and nobody was told.
        assert_eq!((lab.engine.waiting(), lab.engine.poll_event()), (1, None));
    }
}

#[test]
fn what_is_told_in_another_way_as_well_is_not_counted() {
    for kind in [RAW, DATAGRAM] {
        let mut lab = waiting();
        for origin in [ExtendedError::LOCAL, ExtendedError::TIMESTAMPING] {
            lab.take(kind, &record(origin, 0, 0, 0));
        }
        if kind == RAW {
            lab.take(kind, &record(ExtendedError::ICMP, 3, 1, 0));
        }
        assert_eq!(lab.engine.strays().total(), 0, "{kind:?}");
        assert_eq!(lab.engine.waiting(), 1);
    }
}

#[test]
fn i98_an_error_of_the_queue_has_all_that_its_packet_said() {
    for (icmp_type, code, info) in [(3, 1, 0), (3, 4, 1400), (3, 4, 60), (3, 4, 0), (12, 0, 20)] {
        let mut lab = waiting();
        lab.take(DATAGRAM, &record(ExtendedError::ICMP, icmp_type, code, info));
        let (flow, event) = lab.engine.poll_event().unwrap();
        assert_eq!(flow, lab.flow);
        let crate::engine::echo::EchoEvent::Decided { fate: EchoFate::Refused(error), .. } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!((error.icmp_type, error.code), (icmp_type, code));
        assert_eq!(error.from, "198.51.100.1".parse().ok());
        assert_eq!(error.mtu, (code == 4 && info > 0).then_some(info));
        let flag = match info {
            60 => Some(Implausible::TooSmall),
            // The packet has 84 bytes.
            1400 => Some(Implausible::NotSmaller),
            _ => None,
        };
        assert_eq!(error.mtu_implausible, flag, "{error:?}");
        assert_eq!(error.pointer, (icmp_type == 12).then_some(info));
        assert!(!error.weak_match);
        assert_eq!(lab.ticket.id, ID);
    }
}
