//! Queries in datagrams, each attempt from a socket and so a port of its own.
//!
//! The socket is not connected: the kernel would hide what comes from another address than the query went
//! to, which then could not be told. ICMP errors reach it all the same (`IP_RECVERR`, ip(7)).

use std::io;
use std::task::Poll;
use std::time::Instant;

use socket2::{Domain, Protocol as Proto, SockAddr, Socket, Type};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::{Ask, Way};
use crate::engine::measure::{Departure, Received, Stamp, measure};
use crate::engine::query::Protocol;
use crate::io::connect::options::{Refused, apply_to_packets, sources};
use crate::io::connect::{ConnectErrorKind, ConnectStep};
use crate::io::socket::{
    self as sys, Control, ControlSpace, ExtendedError, clock_pair, receive_one,
};
use crate::timing::Phase;
use crate::verdict::{Failure, FailureKind, LocalFault, RawCode, Verdict};

/// One attempt and its socket, which is kept until the question is decided: an answer may come late.
struct Flight {
    number: usize,
    socket: AsyncFd<Socket>,
    departure: Departure,
}

/// The largest datagram that most questions take, in octets.
const SPACE: usize = 4096;

/// Datagrams read from one socket before others have their turn.
const TURN: usize = 64;

/// Sends what is to be sent and takes what comes, until there is nothing more to wait for or the next
/// attempt goes another way.
pub(super) async fn run(ask: &mut Ask<'_>, way: &Way<'_>) {
    // Most questions have one.
    let mut flights = Vec::with_capacity(1);
    loop {
        while ask.engine.next() == Some(Protocol::Udp) {
            flights.extend(launch(ask, way));
        }
        if ask.engine.is_done() || ask.engine.next().is_some() {
            return;
        }
        let Some(due) = ask.engine.poll_timeout() else { return };
        let due = due.min(way.deadline);
        match next(&flights, due).await {
            Woken::Ready(flight, mut guard) => {
                let has_errors = guard.ready().is_error();
                if drain(ask, way, flight, has_errors) {
                    guard.clear_ready();
                }
            }
            Woken::Gone(number, error) => {
                // The runtime is being shut down.
                let verdict = crate::io::errno::verdict(&error, Phase::Rtt);
                ask.refused(number, verdict, crate::io::time::now());
                ask.give_up(crate::io::time::now());
            }
            Woken::Due => {
                // Before it is given up the sockets themselves are asked: after a stall the runtime may
                // not have heard of what came in meanwhile.
                for flight in &flights {
                    drain(ask, way, flight, true);
                }
                let now = crate::io::time::now();
                ask.expire(now);
                if now >= way.deadline {
                    ask.give_up(now);
                }
            }
        }
    }
}

/// What a question was woken by.
enum Woken<'a> {
    Ready(&'a Flight, AsyncFdReadyGuard<'a, Socket>),
    Gone(usize, io::Error),
    Due,
}

/// Waits for any of the sockets, but no longer than until `due`.
async fn next(flights: &[Flight], due: Instant) -> Woken<'_> {
    let waiting = async {
        if let [flight] = flights {
            return (flight, flight.socket.ready(sys::interest()).await);
        }
        let mut ready: Vec<_> =
            flights.iter().map(|flight| Box::pin(flight.socket.ready(sys::interest()))).collect();
        std::future::poll_fn(|cx| {
            for (flight, ready) in flights.iter().zip(&mut ready) {
                if let Poll::Ready(guard) = ready.as_mut().poll(cx) {
                    return Poll::Ready((flight, guard));
                }
            }
            Poll::Pending
        })
        .await
    };
    match tokio::time::timeout_at(due.into(), waiting).await {
        Err(_) => Woken::Due,
        Ok((flight, Err(error))) => Woken::Gone(flight.number, error),
        Ok((flight, Ok(guard))) => Woken::Ready(flight, guard),
    }
}

/// Makes a socket and sends the query. `None` if it did not come to that, which then stands in the ask.
fn launch(ask: &mut Ask<'_>, way: &Way<'_>) -> Option<Flight> {
    let mut query = Vec::with_capacity(128);
    let number = ask.begin(way, &mut query)?.attempt;
    let socket = match open(way) {
        Ok(socket) => socket,
        Err((step, error)) => {
            ask.refused(number, local(step, &error), crate::io::time::now());
            return None;
        }
    };
    let before = clock_pair();
    ask.enter(Phase::Rtt, before.mono);
    let sent = socket.send_to(&query, &SockAddr::from(way.server));
    let after = crate::io::time::now();
    if let Some(note) = ask.note(number) {
        note.sent = sent.is_ok();
        let local = socket.local_addr().ok().and_then(|local| local.as_socket());
        note.port = local.map(|local| local.port());
    }
    ask.engine.left(number, before.mono);
    if let Err(error) = sent {
        ask.refused(number, local(ConnectStep::Connect, &error), after);
        return None;
    }
    let mut departure = Departure { before, after, stamp: None, not_before_ns: None };
    if way.stamps {
        // Most often it is there by now.
        let mut control: ControlSpace = Default::default();
        departure.stamp = send_stamp(&socket, &mut control);
    }
    match sys::watch(socket) {
        Ok(socket) => Some(Flight { number, socket, departure }),
        Err(error) => {
            ask.refused(number, local(ConnectStep::Register, &error), after);
            None
        }
    }
}

fn open(way: &Way<'_>) -> Result<Socket, Refused> {
    let at = |step| move |error| (step, error);
    let (server, options) = (way.server, way.socket);
    let v6 = server.is_ipv6();
    if options.source.is_some_and(|ip| ip.to_canonical().is_ipv6() != v6) {
        return Err((ConnectStep::Check, io::Error::from_raw_os_error(libc::EAFNOSUPPORT)));
    }
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(server), kind, Some(Proto::UDP))
        .map_err(at(ConnectStep::Socket))?;
    apply_to_packets(&socket, v6, options)?;
    sys::queue_icmp_errors(&socket, v6, true).map_err(at(ConnectStep::Socket))?;
    if way.stamps {
        // Without stamps the marks of this process remain, and the result says so.
        let _ = sys::stamp(&socket, true, true);
    }
    let mut taken = None;
    for source in sources(options, server) {
        let Some(source) = source else { return Ok(socket) };
        match socket.bind(&SockAddr::from(source)) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = Some(error),
            Err(error) => return Err((ConnectStep::Bind, error)),
        }
    }
    Err((ConnectStep::Bind, taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into())))
}

/// What a system call says that failed before anything was sent.
fn local(step: ConnectStep, error: &io::Error) -> Verdict {
    let phase = if step == ConnectStep::Connect { Phase::Rtt } else { Phase::Setup };
    match ConnectErrorKind::of_call(step, error) {
        ConnectErrorKind::Local(kind) => {
            let fault = LocalFault::new(kind).in_phase(phase).with_detail(step.as_str());
            error.raw_os_error().map_or(fault.clone(), |number| fault.with_errno(number)).into()
        }
        ConnectErrorKind::Failed(kind) => {
            let failure = Failure::new(kind).in_phase(phase);
            match error.raw_os_error() {
                Some(value) => failure.with_raw(RawCode::Errno { value }).into(),
                None => failure.into(),
            }
        }
    }
}

/// The send stamp, if it is on the error queue.
fn send_stamp(socket: &Socket, control: &mut ControlSpace) -> Option<Stamp> {
    let message = receive_one(socket, &mut [], control, libc::MSG_ERRQUEUE).ok()?;
    let mut stamp = None;
    for control in message.controls() {
        match Control::of(control) {
            Control::Stamp(found) => stamp = found,
            Control::Error(error) if error.origin != ExtendedError::TIMESTAMPING => return None,
            _ => {}
        }
    }
    stamp
}

/// Takes what has come in. True if there is nothing more for now.
fn drain(ask: &mut Ask<'_>, way: &Way<'_>, flight: &Flight, mut has_errors: bool) -> bool {
    let mut departure = flight.departure;
    let mut control: ControlSpace = Default::default();
    // On the stack, where a question that waits holds nothing, unless larger ones are to be taken.
    let mut space = [0; SPACE];
    let mut heap = vec![0; if way.datagram_bytes > SPACE { way.datagram_bytes } else { 0 }];
    let data = if heap.is_empty() { space.as_mut_slice() } else { heap.as_mut_slice() };
    let most = way.datagram_bytes.min(data.len());
    for _ in 0..TURN {
        // Errors and stamps first: they belong to what was sent before the answer.
        if has_errors {
            take_errors(ask, flight, &mut departure, &mut control);
        }
        let Some(data) = data.get_mut(..most) else { return true };
        let message = match receive_one(flight.socket.get_ref(), data, &mut control, 0) {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // An error of the path, which the error queue has whole.
            Err(_) => {
                has_errors = true;
                continue;
            }
        };
        let now = clock_pair();
        let stamp = message.controls().find_map(|control| match Control::of(control) {
            Control::Stamp(stamp) => stamp,
            _ => None,
        });
        let Some(from) = message.from else { continue };
        let taken = if message.is_cut() {
            ask.engine.received_part(flight.number, from, message.bytes, now.mono)
        } else {
            ask.engine.received(flight.number, from, message.bytes, now.mono)
        };
        if taken.is_ok() {
            if departure.stamp.is_none() && way.stamps {
                take_errors(ask, flight, &mut departure, &mut Default::default());
            }
            let mut received = Received::at(now);
            received.stamp = stamp;
            let measured = measure(&departure, &received);
            if let Some(note) = ask.notes.get_mut(flight.number) {
                note.network = Some(measured.rtt);
            }
            ask.lag_ns = Some(measured.elapsed_ns.saturating_sub(measured.arrival_ns));
        }
        if ask.engine.is_done() || ask.engine.next().is_some() {
            return false;
        }
    }
    false
}

/// Takes what is on the error queue.
fn take_errors(
    ask: &mut Ask<'_>,
    flight: &Flight,
    departure: &mut Departure,
    control: &mut ControlSpace,
) {
    for _ in 0..TURN {
        let socket = flight.socket.get_ref();
        let Ok(message) = receive_one(socket, &mut [], control, libc::MSG_ERRQUEUE) else { return };
        let (mut stamp, mut error) = (None, None);
        for control in message.controls() {
            match Control::of(control) {
                Control::Stamp(found) => stamp = found,
                Control::Error(found) => error = Some(found),
                _ => {}
            }
        }
        let Some(error) = error else { continue };
        let now = crate::io::time::now();
        let v6 = error.origin == ExtendedError::ICMPV6;
        match error.origin {
            ExtendedError::TIMESTAMPING => {
                departure.stamp =
                    departure.stamp.or(stamp.filter(|stamp| departure.admits(*stamp)));
            }
            ExtendedError::ICMP | ExtendedError::ICMPV6 => {
                let ExtendedError { icmp_type, code, offender, .. } = error;
                let kind = match FailureKind::of_icmp(v6, icmp_type, code) {
                    // Nobody listens there: what a reset is in TCP.
                    FailureKind::PortUnreachable => FailureKind::Refused,
                    other => other,
                };
                let raw = RawCode::Icmp { icmp_type, code, from: offender };
                let failure = Failure::new(kind).in_phase(Phase::Rtt).with_raw(raw);
                ask.refused(flight.number, failure.into(), now);
            }
            _ => {
                let number = i32::try_from(error.errno).unwrap_or(0);
                let error = io::Error::from_raw_os_error(number);
                ask.refused(flight.number, local(ConnectStep::Connect, &error), now);
            }
        }
    }
}
