//! A socket of a trace: what it sends, what it hears, and the stamps of both.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::engine::echo::Stamp;
use crate::engine::trace::TraceTicket;
use crate::io::socket::{self as sys, Controls, ExtendedError, Message, ReceiveBatch, SendBatch};

/// What comes in on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// ICMP, raw: errors, and replies to echo requests.
    Icmp,
    /// Echo replies on a datagram socket; errors on its queue.
    Ping,
    /// Datagrams to the port of this flow.
    Udp { flow: u32 },
    /// TCP segments, raw.
    Tcp,
}

/// How a packet is to leave, beyond what is set on the socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) ttl: u8,
    /// The index of the interface and the source address.
    pub(super) by: Option<(u32, IpAddr)>,
}

/// Something on an error queue.
pub(super) enum Entry<'a> {
    /// When this query left.
    Stamp(u16, Stamp),
    /// What the path says of a packet, with what it quotes of it.
    Error(&'a Message<'a>, &'a ExtendedError),
}

/// What came off an error queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queued {
    /// An error that the socket may have held against another packet.
    pub(super) error: bool,
    /// Nothing is left.
    pub(super) drained: bool,
}

/// Something to wait for.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the [module](self).
pub(super) struct Line {
    socket: Arc<UdpSocket>,
    role: Role,
    v6: bool,
    /// Send stamps come with the number of the query; otherwise with their own.
    names_stamps: bool,
    stamps: bool,
    /// Which query has which number, on systems that count by themselves.
    numbered: VecDeque<u16>,
    first_number: u32,
    errors: Option<Waiting>,
    batch: SendBatch,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("socket", &self.socket).field("role", &self.role).finish()
    }
}

impl Line {
    /// Puts a socket, which never blocks, under the runtime, with stamps and everything that the kernel has
    /// to say about what comes in. `named` is whether stamps can be [named](names_stamps).
    ///
    /// # Errors
    /// Those of the options without which nothing works.
    pub(super) fn new(socket: Socket, role: Role, v6: bool, named: bool) -> io::Result<Self> {
        sys::report_hops(&socket, v6)?;
        // Without it a local queue that is full drops packets and says nothing.
        sys::queue_icmp_errors(&socket, v6, true)?;
        let stamps = sys::stamp(&socket, true, true).is_ok();
        if !stamps {
            // Without stamps the marks of this process remain, and the results say so.
            let _ = sys::stamp(&socket, false, true);
        }
        let names_stamps = stamps && named;
        Ok(Line {
            socket: Arc::new(UdpSocket::from_std(socket.into())?),
            role,
            v6,
            names_stamps,
            stamps,
            numbered: VecDeque::new(),
            first_number: 0,
            errors: None,
            batch: SendBatch::default(),
        })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn is_v6(&self) -> bool {
        self.v6
    }

    /// Whether this may be read, or the error queue if that is waited for. Must be asked again after
    /// nothing was left.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>, queue: bool) -> bool {
        let readable = self.socket.poll_recv_ready(cx).is_ready();
        if !queue {
            return readable;
        }
        let socket = &self.socket;
        let waiting = self.errors.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move {
                let _ = socket.ready(Interest::ERROR).await;
            })
        });
        let queued = waiting.as_mut().poll(cx).is_ready();
        if queued {
            self.errors = None;
        }
        readable || queued
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_send_ready(cx).map(drop)
    }

    /// Receives what is there.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing, and errors of the path in place of data, which the error queue
    /// has as well.
    pub(super) fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, || sys::receive(&self.socket, batch, 0))
    }

    /// Takes a batch off the error queue.
    pub(super) fn take_queue(
        &mut self,
        batch: &mut ReceiveBatch,
        mut entry: impl FnMut(Entry<'_>),
    ) -> Queued {
        let mut queued = Queued::default();
        match sys::receive(&self.socket, batch, libc::MSG_ERRQUEUE) {
            Ok(count) if count > 0 => {}
            _ => {
                // Lets the runtime wait for the next one.
                let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
                let _ = self.socket.try_io(Interest::ERROR, nothing);
                queued.drained = true;
                return queued;
            }
        }
        for message in batch.messages() {
            if let Some((number, stamp)) = message.send_stamp() {
                let query = match self.names_stamps {
                    true => u16::try_from(number).ok(),
                    false => self.query_of_number(number),
                };
                if let Some(query) = query {
                    entry(Entry::Stamp(query, stamp));
                }
            } else if let Some(error) = message.error() {
                // A local one, such as a packet that is too long, is told by the call as well, and held against
                // nobody else.
                if matches!(error.origin, ExtendedError::ICMP | ExtendedError::ICMPV6) {
                    queued.error = true;
                    entry(Entry::Error(&message, &error));
                }
            }
        }
        queued
    }

    fn query_of_number(&mut self, number: u32) -> Option<u16> {
        let place = number.wrapping_sub(self.first_number) as usize;
        let query = self.numbered.get(place).copied()?;
        // Stamps come in order: earlier ones are not waited for.
        self.numbered.drain(..=place);
        self.first_number = number.wrapping_add(1);
        Some(query)
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(super) fn send(
        &mut self,
        ticket: TraceTicket,
        to: SocketAddr,
        bytes: &[u8],
        leaving: Leaving,
    ) -> io::Result<()> {
        self.batch.clear();
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(bytes);
            Ok::<(), std::convert::Infallible>(())
        };
        let (v6, named) = (self.v6, self.names_stamps.then_some(ticket));
        let Ok(()) = self.batch.add(to, write, |(), controls| {
            if let Some(ticket) = named {
                let name = u32::from(ticket.number()).to_ne_bytes();
                controls.add(libc::SOL_SOCKET, sys::SCM_TS_OPT_ID, &name);
            }
            leaving.add(v6, controls);
        });
        // Not by way of the runtime, which does not know yet that a new socket takes packets.
        let (_, error) = sys::send(&self.socket, &self.batch, 0);
        match error {
            None => {
                if self.stamps && !self.names_stamps {
                    self.numbered.push_back(ticket.number());
                }
                Ok(())
            }
            Some(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    // Has the runtime look again.
                    let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
                    let _ = self.socket.try_io(Interest::WRITABLE, nothing);
                } else if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOBUFS)) {
                    // Such a packet may have been counted, or not: whose the next numbers are is unknown.
                    self.stamps &= self.names_stamps;
                    self.numbered.clear();
                }
                Err(error)
            }
        }
    }
}

impl Leaving {
    fn add(self, v6: bool, controls: &mut Controls<'_>) {
        let ttl = i32::from(self.ttl).to_ne_bytes();
        let (level, hops) = match v6 {
            false => (libc::IPPROTO_IP, libc::IP_TTL),
            true => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        };
        controls.add(level, hops, &ttl);
        match self.by {
            // struct in_pktinfo: interface, local address, address of the header.
            Some((interface, IpAddr::V4(source))) => {
                let info = [interface.to_ne_bytes(), source.octets(), [0; 4]].concat();
                controls.add(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            // struct in6_pktinfo: address, interface.
            Some((interface, IpAddr::V6(source))) => {
                let info = [&source.octets()[..], &interface.to_ne_bytes()].concat();
                controls.add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
    }
}

/// Whether packets can be sent with a name that their send stamps come back with (Linux 6.13). Tried out
/// with a datagram from a socket to itself.
pub(super) fn names_stamps() -> bool {
    try_to_name().unwrap_or(false)
}

fn try_to_name() -> io::Result<bool> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    sys::stamp(&socket, true, false)?;
    let mut batch = SendBatch::default();
    let nothing = |_: &mut Vec<u8>| Ok::<(), std::convert::Infallible>(());
    let Ok(()) = batch.add(socket.local_addr()?, nothing, |(), controls| {
        controls.add(libc::SOL_SOCKET, sys::SCM_TS_OPT_ID, &0_u32.to_ne_bytes());
    });
    let (_, error) = sys::send(&socket, &batch, 0);
    // Unknown control messages are invalid.
    Ok(error.is_none_or(|error| error.raw_os_error() != Some(libc::EINVAL)))
}
