//! Connecting, with everything that can be learnt on the way.
//!
//! An attempt is made in one non-blocking `connect`. On Linux the socket's own figures are read
//! right after it, so that a handshake that is over by then (as it is on loopback) never waits for
//! an event, and a connection that is only measured is never handed to the runtime at all.
//!
//! While the handshake runs, ICMP errors are queued with their sender (`IP_RECVERR`, ip(7)). Linux
//! ends an attempt on each of them, also on those that RFC 1122 (4.2.3.9) calls soft; so does this
//! module, at the first one. A connection that is used has the queue switched off again: with it, an
//! ICMP error would end an established connection too, which TCP must ride out.

mod error;
pub(in crate::io) mod options;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
#[cfg(all(unix, feature = "unix"))]
mod unix;

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::{Domain, SockAddr, SockRef, Socket};
use tokio::net::TcpStream;

pub(crate) use error::{ConnectError, ConnectErrorKind, ConnectMarks, ConnectStep, IcmpError};
#[cfg(all(unix, feature = "unix"))]
pub(crate) use unix::connect_unix;
#[cfg(all(unix, feature = "unix", test))]
pub(crate) use unix::{ConnectedUnix, UNIX_RETRY};

use crate::io::socket::{self as sys, tcp_info};
use crate::tcp::{SocketOptions, TcpInfo, TcpState};
use crate::verdict::{FailureKind, LocalFaultKind};

/// Dials an address and waits for the outcome, for as long as the system tries (Linux: about two
/// minutes). To end it sooner without losing what was learnt, use [`Connecting`].
///
/// An IPv4 address in IPv6 form (`::ffff:0:0/96`) is dialled as IPv4: it is the same on the wire.
/// `now` is asked for the [marks](ConnectMarks).
///
/// # Errors
/// [`ConnectError`]: the outcome of a probe, not a fault of its set-up.
///
/// # Panics
/// If it has to wait and no tokio runtime with IO is around.
#[cfg(test)]
pub(crate) async fn connect_tcp(
    address: SocketAddr,
    options: &SocketOptions,
    now: impl Fn() -> Instant,
) -> Result<Connected, ConnectError> {
    let mut connecting = Connecting::start(address, options, &now)?;
    connecting.settle(&now).await;
    connecting.finish(&now)
}

/// A connection under way. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Connecting {
    link: Option<Link>,
    remote: SocketAddr,
    queues_errors: bool,
    start: Instant,
    dialled: Instant,
    outcome: Option<(Outcome, Instant)>,
}

/// Registering with the runtime costs two system calls, so it is done when it is needed.
#[derive(Debug)]
enum Link {
    Bare(Socket),
    Registered(TcpStream),
}

impl Link {
    fn socket(&self) -> SockRef<'_> {
        match self {
            Link::Bare(socket) => SockRef::from(socket),
            Link::Registered(stream) => SockRef::from(stream),
        }
    }

    fn info(&self) -> Option<TcpInfo> {
        match self {
            Link::Bare(socket) => tcp_info::read(socket),
            Link::Registered(stream) => tcp_info::read(stream),
        }
    }

    fn register(self) -> io::Result<TcpStream> {
        match self {
            Link::Bare(socket) => TcpStream::from_std(socket.into()),
            Link::Registered(stream) => Ok(stream),
        }
    }

    fn unregister(self) -> io::Result<Socket> {
        match self {
            Link::Bare(socket) => Ok(socket),
            Link::Registered(stream) => stream.into_std().map(Socket::from),
        }
    }
}

#[derive(Debug)]
enum Outcome {
    Open(Option<Box<TcpInfo>>),
    Failed { errno: Option<i32>, icmp: Option<Box<IcmpError>>, info: Option<Box<TcpInfo>> },
    Broken(ConnectStep, LocalFaultKind, Option<i32>),
}

impl Connecting {
    /// Makes the socket and dials. Returns as soon as the SYN is out.
    ///
    /// With [`source_ports`](SocketOptions::source_ports) each port of the range is tried until one
    /// is free; nothing is sent by those that are not.
    ///
    /// # Errors
    /// What this host knows at once: options that it refuses, no descriptor, no port, no route.
    pub(crate) fn start(
        address: SocketAddr,
        options: &SocketOptions,
        now: &impl Fn() -> Instant,
    ) -> Result<Self, ConnectError> {
        let start = now();
        let remote = SocketAddr::new(address.ip().to_canonical(), address.port());
        let remote = if remote.is_ipv6() { address } else { remote };
        let error = |step, kind, error: Option<&io::Error>, dialled| ConnectError {
            kind,
            step,
            errno: error.and_then(io::Error::raw_os_error),
            icmp: None,
            local: None,
            info: None,
            marks: ConnectMarks { start, dialled, end: now() },
        };
        if options.source.is_some_and(|ip| ip.to_canonical().is_ipv6() != remote.is_ipv6()) {
            let kind = ConnectErrorKind::Local(LocalFaultKind::Family);
            return Err(error(ConnectStep::Check, kind, None, None));
        }
        let mut dialled = None;
        let mut taken = None;
        for source in options::sources(options, remote) {
            match dial(remote, source, options, now, &mut dialled) {
                Ok((socket, queues_errors)) => {
                    let mut connecting = Connecting {
                        link: Some(Link::Bare(socket)),
                        remote,
                        queues_errors,
                        start,
                        dialled: dialled.unwrap_or(start),
                        outcome: None,
                    };
                    connecting.look(now, false);
                    return Ok(connecting);
                }
                Err((step, failed))
                    if options.source_ports.is_some() && is_taken(step, &failed) =>
                {
                    taken = Some((step, failed));
                }
                Err((step, failed)) => {
                    let kind = kind_of_call(step, &failed, remote);
                    return Err(error(step, kind, Some(&failed), dialled));
                }
            }
        }
        // The last port's error stands for the whole range; a range is never empty.
        let (step, failed) = taken.unwrap_or((ConnectStep::Bind, io::ErrorKind::AddrInUse.into()));
        let kind = ConnectErrorKind::Local(LocalFaultKind::Address);
        Err(error(step, kind, Some(&failed), dialled))
    }

    /// Waits until the outcome is known. May be dropped and called again at any time.
    ///
    /// # Panics
    /// If it has to wait and no tokio runtime with IO is around.
    pub(crate) async fn settle(&mut self, now: &impl Fn() -> Instant) {
        while self.outcome.is_none() {
            let stream = match self.link.take().map(Link::register) {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => return self.broken(ConnectStep::Register, &error, now()),
                None => return,
            };
            let link = self.link.insert(Link::Registered(stream));
            let Link::Registered(stream) = link else { return };
            let woken = stream.writable().await;
            self.look(now, true);
            if self.outcome.is_some() {
                return;
            }
            if woken.is_err() {
                // Only a runtime that is being shut down refuses to wait.
                let cancelled = LocalFaultKind::Cancelled;
                let outcome = Outcome::Broken(ConnectStep::Wait, cancelled, None);
                self.outcome = Some((outcome, now()));
                return;
            }
            // Woken for nothing. The runtime takes some kinds of readiness for final and would not
            // wait for them again; with a new registration it does.
            match self.link.take().map(Link::unregister) {
                Some(Ok(socket)) => self.link = Some(Link::Bare(socket)),
                Some(Err(error)) => self.broken(ConnectStep::Register, &error, now()),
                None => {}
            }
        }
    }

    fn broken(&mut self, step: ConnectStep, error: &io::Error, at: Instant) {
        let kind = match ConnectErrorKind::of_call(step, error) {
            ConnectErrorKind::Local(kind) => kind,
            ConnectErrorKind::Failed(_) => LocalFaultKind::Io,
        };
        self.outcome = Some((Outcome::Broken(step, kind, error.raw_os_error()), at));
    }

    /// Looks whether the outcome is known by now.
    fn look(&mut self, now: &impl Fn() -> Instant, woken: bool) {
        let Some(link) = &self.link else { return };
        let info = link.info();
        let at = now();
        let socket = link.socket();
        let failure = || {
            let errno = socket.take_error().ok().flatten().and_then(|error| error.raw_os_error());
            let icmp = if self.queues_errors { sys::take_icmp_error(&socket) } else { None };
            (errno, icmp.map(|error| Box::new(IcmpError::from_queue(&error))))
        };
        let outcome = match info.as_ref().and_then(|info| info.state) {
            Some(TcpState::SynSent | TcpState::SynReceived) if !woken => return,
            // An ICMP error that arrived while the kernel was busy with this socket does not close
            // it; the SYN would be sent again, and the error come again.
            Some(TcpState::SynSent | TcpState::SynReceived) => match failure() {
                (None, None) => return,
                (errno, icmp) => Outcome::Failed { errno, icmp, info: info.map(Box::new) },
            },
            Some(TcpState::Closed) => {
                let (errno, icmp) = failure();
                Outcome::Failed { errno, icmp, info: info.map(Box::new) }
            }
            Some(_) => Outcome::Open(info.map(Box::new)),
            None => match (failure(), socket.peer_addr()) {
                ((None, None), Ok(_)) => Outcome::Open(None),
                ((None, None), Err(_)) => return,
                ((errno, icmp), _) => Outcome::Failed { errno, icmp, info: None },
            },
        };
        self.outcome = Some((outcome, at));
    }

    /// The kernel's figures now, such as the SYNs sent again so far.
    pub(crate) fn info(&self) -> Option<TcpInfo> {
        self.link.as_ref().and_then(Link::info)
    }

    /// Whether the outcome is known: true after [`settle`](Connecting::settle) has ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// The connection, or why there is none. If the outcome is not known yet, the attempt ends
    /// here: as a [timeout](FailureKind::Timeout), with the figures so far.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) fn finish(mut self, now: &impl Fn() -> Instant) -> Result<Connected, ConnectError> {
        if self.outcome.is_none() {
            self.look(now, true);
        }
        let (outcome, end) = match self.outcome.take() {
            Some((outcome, at)) => (Some(outcome), at),
            None => (None, now()),
        };
        let local =
            self.link.as_ref().and_then(|link| link.socket().local_addr().ok()?.as_socket());
        let marks = ConnectMarks { start: self.start, dialled: Some(self.dialled), end };
        let error = |step, kind, errno, icmp, info| ConnectError {
            kind,
            step,
            errno,
            icmp,
            local,
            info,
            marks,
        };
        let wait = ConnectStep::Wait;
        let info = match outcome {
            Some(Outcome::Open(info)) => info,
            Some(Outcome::Failed { errno, icmp, info }) => {
                let icmp_error = icmp.as_deref();
                let kind = ConnectErrorKind::of_answer(errno, icmp_error, local, self.remote);
                return Err(error(wait, kind, errno, icmp, info));
            }
            Some(Outcome::Broken(step, kind, errno)) => {
                return Err(error(step, ConnectErrorKind::Local(kind), errno, None, None));
            }
            None => {
                let kind = ConnectErrorKind::Failed(FailureKind::Timeout);
                return Err(error(wait, kind, None, None, self.info().map(Box::new)));
            }
        };
        let (Some(link), Some(local)) = (self.link.take(), local) else {
            let kind = ConnectErrorKind::Local(LocalFaultKind::Io);
            return Err(error(wait, kind, None, None, info));
        };
        // A socket that dials the port which it was given itself finds itself (RFC 9293, 3.5).
        if local.port() == self.remote.port()
            && link.socket().peer_addr().ok().and_then(|peer| peer.as_socket()) == Some(local)
        {
            let kind = ConnectErrorKind::Failed(FailureKind::SelfConnect);
            return Err(error(wait, kind, None, None, info));
        }
        let queues_errors = self.queues_errors;
        Ok(Connected { link, remote: self.remote, local, queues_errors, info, marks })
    }
}

/// Makes, sets up, binds and dials one socket; says whether ICMP errors are queued.
fn dial(
    remote: SocketAddr,
    source: Option<SocketAddr>,
    options: &SocketOptions,
    now: &impl Fn() -> Instant,
    dialled: &mut Option<Instant>,
) -> Result<(Socket, bool), options::Refused> {
    let v6 = remote.is_ipv6();
    let socket =
        sys::open_stream(Domain::for_address(remote)).map_err(|e| (ConnectStep::Socket, e))?;
    options::apply(&socket, v6, options)?;
    if let Some(source) = source {
        options::bind(&socket, source)?;
    }
    // Without it, failures lack their sender, and that is all.
    let queues_errors = sys::queue_icmp_errors(&socket, v6, true).is_ok();
    *dialled = Some(now());
    match socket.connect(&SockAddr::from(remote)) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err((ConnectStep::Connect, error)),
    }
    Ok((socket, queues_errors))
}

/// Interrupted means the same here: the attempt goes on in the background (connect(2)).
fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR));
    #[cfg(not(unix))]
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether another source port may do better.
fn is_taken(step: ConnectStep, error: &io::Error) -> bool {
    match step {
        ConnectStep::Bind => error.kind() == io::ErrorKind::AddrInUse,
        ConnectStep::Connect => {
            matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
        }
        _ => false,
    }
}

fn kind_of_call(step: ConnectStep, error: &io::Error, remote: SocketAddr) -> ConnectErrorKind {
    let zoneless = matches!(remote, SocketAddr::V6(v6)
        if v6.ip().is_unicast_link_local() && v6.scope_id() == 0);
    let to_many = match remote {
        SocketAddr::V4(v4) => v4.ip().is_multicast() || v4.ip().is_broadcast(),
        SocketAddr::V6(v6) => v6.ip().is_multicast(),
    };
    match (step, error.kind()) {
        (ConnectStep::Connect, io::ErrorKind::InvalidInput) if zoneless => {
            ConnectErrorKind::Local(LocalFaultKind::Interface)
        }
        // No route for TCP leads there, which is no news about the network.
        (ConnectStep::Connect, io::ErrorKind::NetworkUnreachable) if to_many => {
            ConnectErrorKind::Local(LocalFaultKind::Route)
        }
        _ => ConnectErrorKind::of_call(step, error),
    }
}

/// An open connection, and what its handshake has shown.
#[derive(Debug)]
pub(crate) struct Connected {
    link: Link,
    remote: SocketAddr,
    local: SocketAddr,
    queues_errors: bool,
    info: Option<Box<TcpInfo>>,
    marks: ConnectMarks,
}

impl Connected {
    /// The address that was dialled.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The address that was dialled from.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// When it was dialled and when the connection was seen to be open.
    pub(crate) fn marks(&self) -> ConnectMarks {
        self.marks
    }

    /// The kernel's figures right after the handshake. `None` if the system has none.
    pub(crate) fn info(&self) -> Option<&TcpInfo> {
        self.info.as_deref()
    }

    /// SYNs that were sent again until one was answered. `None` if the system does not say.
    pub(crate) fn syn_retransmits(&self) -> Option<u32> {
        self.info().and_then(|info| info.total_retransmits)
    }

    /// Time on the network from SYN to SYN-ACK, in nanoseconds with the resolution of a
    /// microsecond: both ends of it are stamps that the kernel took while it handled the packets,
    /// however late this process noticed. `None` if a SYN was retransmitted, since it is not known
    /// then which one was answered (RFC 6298, 3), or if the system does not say.
    pub(crate) fn handshake_rtt_ns(&self) -> Option<u64> {
        self.info().filter(|info| info.total_retransmits == Some(0)).and_then(|info| info.rtt_ns)
    }

    /// The kernel's figures now, with the name of the congestion control.
    pub(crate) fn final_info(&self) -> Option<TcpInfo> {
        match &self.link {
            Link::Bare(socket) => tcp_info::read_all(socket),
            Link::Registered(stream) => tcp_info::read_all(stream),
        }
    }

    /// The stream, for reading and writing.
    ///
    /// # Errors
    /// If the runtime cannot watch one more socket: a fault of this host.
    ///
    /// # Panics
    /// If no tokio runtime with IO is around.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        if self.queues_errors {
            // Fails for no reason that a socket could have that took the same option before.
            let _ = sys::queue_icmp_errors(&self.link.socket(), self.remote.is_ipv6(), false);
        }
        self.link.register()
    }
}
