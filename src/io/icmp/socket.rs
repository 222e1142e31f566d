//! The socket that echo requests leave by: raw where that is allowed, else an unprivileged datagram
//! socket (icmp(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::engine::echo::{Stamp, Ticket};
use crate::icmp::{DontFragment, SocketMode};
use crate::io::socket::{
    self as sys, Control, Controls, ExtendedError, Message, ReceiveBatch, SendBatch, filter,
};
use crate::wire::checksum;

/// What a socket is opened with.
#[derive(Clone, Copy, Debug)]
pub(in crate::io) struct SocketSetup {
    /// First of the identifiers; a multiple of `ids`.
    pub(in crate::io) id_base: u16,
    /// How many identifiers there are, a power of two. A datagram socket has one, of its own.
    pub(in crate::io) ids: u16,
    /// Whether the kernel is to stamp what is sent and received.
    pub(in crate::io) send_stamps: bool,
    pub(in crate::io) receive_stamps: bool,
    /// Receive buffer that is asked for.
    pub(in crate::io) receive_buffer: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(in crate::io) struct IcmpSocket {
    socket: UdpSocket,
    mode: SocketMode,
    v6: bool,
    /// The identifier of a datagram socket.
    id: Option<u16>,
    send_stamps: bool,
    names_stamps: bool,
    receive_buffer: usize,
}

/// How a packet is to leave, apart from what it holds.
#[derive(Clone, Debug, Default)]
pub(in crate::io) struct SendOptions {
    pub(in crate::io) ttl: Option<u8>,
    pub(in crate::io) dscp: Option<u8>,
    pub(in crate::io) source: Option<IpAddr>,
    /// Index of the interface.
    pub(in crate::io) interface: Option<u32>,
    pub(in crate::io) fwmark: Option<u32>,
}

/// Bytes of the header of an echo request.
const ECHO_HEADER: usize = 8;

/// Bytes of a packet that the error queue may return: headers and the cookie.
const QUOTED: usize = 256;

impl IcmpSocket {
    /// Opens one. Needs a runtime.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and the options without which nothing works.
    pub(in crate::io) fn open(v6: bool, mode: SocketMode, setup: &SocketSetup) -> io::Result<Self> {
        let socket = bare(v6, mode)?;
        if mode == SocketMode::Raw {
            // What comes in before the filter is there would pass unseen by it.
            socket.attach_filter(&filter::nothing())?;
            drain(&socket)?;
            let mask = !(setup.ids.max(1) - 1);
            socket.attach_filter(&filter::echo(v6, setup.id_base & mask, mask))?;
        }
        sys::set_receive_buffer(&socket, setup.receive_buffer)?;
        let receive_buffer = socket.recv_buffer_size()?;
        sys::report_overflow(&socket)?;
        sys::report_hops(&socket, v6)?;
        // Without it a local queue that is full drops packets and says nothing.
        sys::queue_icmp_errors(&socket, v6, true)?;
        let names = setup.send_stamps && names_stamps(v6, mode).is_ok();
        let send_stamps = setup.send_stamps && sys::stamp(&socket, true, true).is_ok();
        if !send_stamps && setup.receive_stamps {
            // Without stamps the marks of this process remain, and the results say so.
            let _ = sys::stamp(&socket, false, true);
        }
        let id = match mode {
            SocketMode::Datagram => Some(bind(&socket, v6)?),
            _ => None,
        };
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(IcmpSocket { socket, mode, v6, id, send_stamps, names_stamps: names, receive_buffer })
    }

    pub(in crate::io) fn mode(&self) -> SocketMode {
        self.mode
    }

    pub(in crate::io) fn is_v6(&self) -> bool {
        self.v6
    }

    /// The identifier that the kernel has given to a datagram socket.
    pub(in crate::io) fn id(&self) -> Option<u16> {
        self.id
    }

    /// Whether the receive queue can have been full when it held so many packets with this much payload
    /// at most. The counter of drops alone does not tell: a raw IPv6 socket counts wrong checksums too.
    pub(in crate::io) fn can_overflow(&self, packets: usize, payload: u32) -> bool {
        // What the kernel reckons for a packet: its buffer, rounded up, and what describes it.
        let most = 2 * payload as usize + 2048;
        packets.saturating_mul(most) >= self.receive_buffer
    }

    /// How many packets it has dropped so far.
    pub(in crate::io) fn dropped(&self) -> Option<u32> {
        sys::dropped(&self.socket)
    }

    pub(in crate::io) fn stamps_sends(&self) -> bool {
        self.send_stamps
    }

    /// Whether stamps come with the name that the packet was sent with; otherwise they are numbered.
    pub(in crate::io) fn names_stamps(&self) -> bool {
        self.names_stamps
    }

    /// Buffers for replies to packets with this many bytes of payload.
    pub(in crate::io) fn receive_batch(payload: u32) -> ReceiveBatch {
        // Headers of 60 bytes, and room to see that a reply is too long.
        let size = payload as usize + 60 + ECHO_HEADER + 64;
        let size = size.next_power_of_two().max(512);
        ReceiveBatch::new(((1 << 18) / size).max(4), size)
    }

    pub(in crate::io) fn error_batch() -> ReceiveBatch {
        ReceiveBatch::new(sys::BATCH, QUOTED)
    }

    pub(in crate::io) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_recv_ready(cx).map(drop)
    }

    /// Ready when packets may be taken again. Any number of tasks may wait for it.
    pub(in crate::io) async fn writable(&self) {
        let _ = self.socket.ready(Interest::WRITABLE).await;
    }

    /// Ready when there is something on the error queue.
    pub(in crate::io) async fn errors(&self) {
        let _ = self.socket.ready(Interest::ERROR).await;
    }

    /// Receives what is there.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing, and errors of the path that the socket reports this way.
    pub(in crate::io) fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        // Not by way of the runtime, which may not know yet that something has come.
        let received = sys::receive(&self.socket, batch, 0);
        self.heard(Interest::READABLE, &received, batch);
        received
    }

    /// Receives what is on the error queue: send stamps and errors.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing.
    pub(in crate::io) fn receive_errors(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        let received = sys::receive(&self.socket, batch, libc::MSG_ERRQUEUE);
        self.heard(Interest::ERROR, &received, batch);
        received
    }

    /// Has the runtime wait for more if there is nothing left. Whatever has come since the call makes it
    /// look again.
    fn heard(&self, what: Interest, received: &io::Result<usize>, batch: &ReceiveBatch) {
        let empty = match received {
            Ok(count) => *count < batch.capacity(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if empty {
            let refuse = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
            let _ = self.socket.try_io(what, refuse);
        }
    }

    /// Adds an echo request to a batch; `payload` appends what is behind its header.
    pub(in crate::io) fn add<E>(
        &self,
        batch: &mut SendBatch,
        to: SocketAddr,
        options: &SendOptions,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<Ticket, E>,
    ) -> Result<Ticket, E> {
        let v6 = self.v6;
        let write = |bytes: &mut Vec<u8>| {
            let start = bytes.len();
            bytes.extend([if v6 { 128 } else { 8 }, 0, 0, 0, 0, 0, 0, 0]);
            let ticket = payload(bytes)?;
            let Some(packet) = bytes.get_mut(start..) else { return Ok(ticket) };
            let mut put = |at: usize, value: u16| {
                if let Some(place) = packet.get_mut(at..at + 2) {
                    place.copy_from_slice(&value.to_be_bytes());
                }
            };
            put(4, ticket.id);
            put(6, ticket.seq);
            if !v6 {
                // In IPv6 the kernel does it, since the addresses belong to it (RFC 3542, 3.1).
                let sum = checksum::checksum(packet);
                if let Some(place) = packet.get_mut(2..4) {
                    place.copy_from_slice(&sum.to_be_bytes());
                }
            }
            Ok(ticket)
        };
        batch.add(to, write, |ticket, controls| self.controls(ticket, options, controls))
    }

    fn controls(&self, ticket: &Ticket, options: &SendOptions, controls: &mut Controls<'_>) {
        if self.names_stamps {
            controls.add(libc::SOL_SOCKET, sys::SCM_TS_OPT_ID, &ticket.slot.to_ne_bytes());
        }
        let int = |value: u8| i32::from(value).to_ne_bytes();
        let (level, hops, class) = match self.v6 {
            false => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS),
            true => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, libc::IPV6_TCLASS),
        };
        if let Some(ttl) = options.ttl {
            controls.add(level, hops, &int(ttl));
        }
        if let Some(dscp) = options.dscp {
            controls.add(level, class, &int(dscp << 2));
        }
        if let Some(mark) = options.fwmark {
            controls.add(libc::SOL_SOCKET, libc::SO_MARK, &mark.to_ne_bytes());
        }
        if options.source.is_none() && options.interface.is_none() {
            return;
        }
        let interface = options.interface.unwrap_or(0).to_ne_bytes();
        match self.v6 {
            false => {
                let source = match options.source.map(|source| source.to_canonical()) {
                    Some(IpAddr::V4(source)) => source.octets(),
                    _ => [0; 4],
                };
                // struct in_pktinfo: interface, local address, address of the header.
                let info = [interface, source, [0; 4]].concat();
                controls.add(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            true => {
                let source = match options.source {
                    Some(IpAddr::V6(source)) => source.octets(),
                    _ => [0; 16],
                };
                // struct in6_pktinfo: address, interface.
                let info = [&source[..], &interface].concat();
                controls.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Sends a batch from `from` on: how many left, and why the next did not.
    pub(in crate::io) fn send(&self, batch: &SendBatch, from: usize) -> (usize, Option<io::Error>) {
        // Not by way of the runtime, which does not know yet that a new socket takes packets.
        let (sent, error) = sys::send(&self.socket, batch, from);
        if error.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Has the runtime look again.
            let refuse = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
            let _ = self.socket.try_io(Interest::WRITABLE, refuse);
            let (sent, error) = sys::send(&self.socket, batch, from);
            return (sent, error);
        }
        (sent, error)
    }

    /// Sets what cannot be said with each packet.
    pub(in crate::io) fn set_wishes(&self, wish: DontFragment, broadcast: bool) -> io::Result<()> {
        self.socket.set_broadcast(broadcast)?;
        let mode = match wish {
            DontFragment::Set => sys::MtuDiscovery::Probe,
            DontFragment::Clear => sys::MtuDiscovery::Dont,
            DontFragment::System => sys::MtuDiscovery::Want,
        };
        sys::set_mtu_discovery(&self.socket, self.v6, mode)
    }

    /// The largest packet that can leave for this address.
    pub(in crate::io) fn mtu_to(&self, to: SocketAddr) -> Option<u32> {
        let domain = if self.v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, None).ok()?;
        let mut to = to;
        to.set_port(1);
        // Sends nothing: it only asks for the route.
        socket.connect(&SockAddr::from(to)).ok()?;
        sys::mtu(&socket, self.v6)
    }
}

/// Reads everything that is there, to throw it away.
fn drain(socket: &Socket) -> io::Result<()> {
    let mut batch = ReceiveBatch::new(sys::BATCH, 1);
    loop {
        match sys::receive(socket, &mut batch, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Binds a datagram socket, so that the kernel gives it its identifier (icmp(7)).
fn bind(socket: &Socket, v6: bool) -> io::Result<u16> {
    let any: SocketAddr = if v6 { ([0_u16; 8], 0).into() } else { ([0_u8; 4], 0).into() };
    socket.bind(&SockAddr::from(any))?;
    let bound = socket.local_addr()?.as_socket();
    bound.map(|bound| bound.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A socket and no more.
///
/// # Errors
/// `EPERM` (raw) or `EACCES` (datagram) without the right, `EAFNOSUPPORT` without the family, `EMFILE`.
pub(super) fn bare(v6: bool, mode: SocketMode) -> io::Result<Socket> {
    let (domain, protocol) = match v6 {
        false => (Domain::IPV4, Protocol::ICMPV4),
        true => (Domain::IPV6, Protocol::ICMPV6),
    };
    let kind = match mode {
        SocketMode::Datagram => Type::DGRAM,
        _ => Type::RAW,
    };
    Socket::new(domain, kind.nonblocking(), Some(protocol))
}

/// Whether packets can be sent with a name that their send stamps come back with (Linux 6.13). Nothing is
/// sent: a packet is to leave by an interface that does not exist, which the kernel finds out (`ENODEV`)
/// only when it has taken the name, or has refused it (`EINVAL`).
///
/// # Errors
/// Why not.
pub(super) fn names_stamps(v6: bool, mode: SocketMode) -> io::Result<()> {
    takes_control(v6, mode, sys::SCM_TS_OPT_ID)
}

/// Whether a packet may carry a control message of this type of the socket level.
fn takes_control(v6: bool, mode: SocketMode, kind: i32) -> io::Result<()> {
    let socket = bare(v6, mode)?;
    sys::stamp(&socket, true, false)?;
    let (to, echo): (SocketAddr, u8) = match v6 {
        false => (([127, 0, 0, 1], 0).into(), 8),
        true => (([0, 0, 0, 0, 0, 0, 0, 1], 0).into(), 128),
    };
    let nowhere = i32::MAX.to_ne_bytes();
    let mut batch = SendBatch::default();
    let write = |bytes: &mut Vec<u8>| {
        bytes.extend([echo, 0, 0, 0, 0, 0, 0, 0]);
        Ok::<(), std::convert::Infallible>(())
    };
    let Ok(()) = batch.add(to, write, |(), controls| {
        controls.add(libc::SOL_SOCKET, kind, &0_u32.to_ne_bytes());
        match v6 {
            // struct in_pktinfo, struct in6_pktinfo.
            false => {
                controls.add(
                    libc::IPPROTO_IP,
                    libc::IP_PKTINFO,
                    &[nowhere, [0; 4], [0; 4]].concat(),
                );
            }
            true => {
                let info = [&[0; 16][..], &nowhere].concat();
                controls.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    });
    match sys::send(&socket, &batch, 0).1 {
        Some(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        Some(error) => Err(error),
        // What could not be sent was.
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Message<'_> {
    /// The send stamp in a message of the error queue, and which packet it is of.
    pub(in crate::io) fn send_stamp(&self) -> Option<(u32, Stamp)> {
        let mut stamp = None;
        let mut number = None;
        for control in self.controls().map(Control::of) {
            match control {
                Control::Stamp(found) => stamp = found,
                Control::Error(error) if error.origin == ExtendedError::TIMESTAMPING => {
                    // Not when it was queued, but when it was handed to the device.
                    number = (error.info == sys::SCM_TSTAMP_SND).then_some(error.data);
                }
                _ => {}
            }
        }
        number.zip(stamp)
    }

    /// The error in a message of the error queue.
    pub(in crate::io) fn error(&self) -> Option<ExtendedError> {
        self.controls().map(Control::of).find_map(|control| match control {
            Control::Error(error) if error.origin != ExtendedError::TIMESTAMPING => Some(error),
            _ => None,
        })
    }

    /// When it came in.
    pub(in crate::io) fn receive_stamp(&self) -> Option<Stamp> {
        self.controls().map(Control::of).find_map(|control| match control {
            Control::Stamp(stamp) => stamp,
            _ => None,
        })
    }

    /// How many the socket has dropped so far.
    pub(in crate::io) fn overflow(&self) -> Option<u32> {
        self.controls().map(Control::of).find_map(|control| match control {
            Control::Overflow(count) => Some(count),
            _ => None,
        })
    }

    /// Time to live and type of service, where they are told apart from the packet.
    pub(in crate::io) fn hops(&self) -> (Option<u8>, Option<u8>) {
        let mut hops = (None, None);
        for control in self.controls().map(Control::of) {
            match control {
                Control::Hops(value) => hops.0 = Some(value),
                Control::TrafficClass(value) => hops.1 = Some(value),
                _ => {}
            }
        }
        hops
    }
}

#[cfg(test)]
mod tests;
