//! Unix stream sockets (unix(7)).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket};
use tokio::net::UnixStream;

use super::{ConnectError, ConnectErrorKind, ConnectMarks, ConnectStep};
use crate::io::socket::{self as sys, Credentials};
use crate::target::UnixAddress;
use crate::verdict::{FailureKind, LocalFaultKind};

/// How long to wait before a listener with a full queue is dialled again, unless the caller says
/// otherwise.
///
/// A blocking connect would sleep until there is room; a non-blocking one is told to try again and
/// gets no event for it. Ten milliseconds find the room soon enough and cost next to nothing.
#[cfg(test)]
pub(crate) const UNIX_RETRY: Duration = Duration::from_millis(10);

/// Connects to a Unix stream socket.
///
/// If the listener's queue is full it is tried again every `retry`, without end: the caller's
/// deadline ends it, as it ends a connect to a TCP listener whose queue is full. How often that was
/// needed is part of the [result](ConnectedUnix::busy).
///
/// # Errors
/// [`ConnectError`]. The target's are [`FailureKind::NoSuchSocket`], also for a socket that does
/// not take streams, and [`FailureKind::Refused`], where nobody listens. A path that this process
/// may not search or write to is a local fault, and so are a path too long for the system and an
/// abstract name outside of Linux.
///
/// # Panics
/// If no tokio runtime with time is around and the listener's queue is full.
pub(crate) async fn connect_unix(
    address: &UnixAddress,
    retry: Duration,
    now: impl Fn() -> Instant,
) -> Result<ConnectedUnix, ConnectError> {
    let start = now();
    let mut dialled = None;
    let failed = |step, kind, error: &io::Error, dialled| ConnectError {
        kind,
        step,
        errno: error.raw_os_error(),
        icmp: None,
        local: None,
        info: None,
        marks: ConnectMarks { start, dialled, end: now() },
    };
    let of_call =
        |step, error: io::Error, dialled| failed(step, kind_of_call(step, &error), &error, dialled);
    let name = sockaddr(address).map_err(|error| {
        let family = error.kind() == io::ErrorKind::Unsupported;
        let kind = if family { LocalFaultKind::Family } else { LocalFaultKind::Address };
        failed(ConnectStep::Check, ConnectErrorKind::Local(kind), &error, None)
    })?;
    let socket = sys::open_stream(Domain::UNIX)
        .map_err(|error| of_call(ConnectStep::Socket, error, None))?;
    let mut busy = 0;
    loop {
        let dialled = *dialled.get_or_insert_with(&now);
        match socket.connect(&name) {
            Ok(()) => {
                let marks = ConnectMarks { start, dialled: Some(dialled), end: now() };
                return Ok(ConnectedUnix { socket, busy, marks });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                busy += 1;
                tokio::time::sleep(retry).await;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(of_call(ConnectStep::Connect, error, Some(dialled))),
        }
    }
}

fn sockaddr(address: &UnixAddress) -> io::Result<SockAddr> {
    match address {
        UnixAddress::Path(path) => SockAddr::unix(Path::new(&**path)),
        UnixAddress::Abstract(_) if cfg!(not(target_os = "linux")) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        UnixAddress::Abstract(name) => {
            let name = [b"\0", name.as_bytes()].concat();
            SockAddr::unix(Path::new(OsStr::from_bytes(&name)))
        }
    }
}

fn kind_of_call(step: ConnectStep, error: &io::Error) -> ConnectErrorKind {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EPROTOTYPE)
            if step == ConnectStep::Connect =>
        {
            ConnectErrorKind::Failed(FailureKind::NoSuchSocket)
        }
        _ => ConnectErrorKind::of_call(step, error),
    }
}

/// An open connection to a Unix socket.
#[derive(Debug)]
pub(crate) struct ConnectedUnix {
    socket: Socket,
    busy: u32,
    marks: ConnectMarks,
}

impl ConnectedUnix {
    /// How often the listener's queue was full before there was room.
    pub(crate) fn busy(&self) -> u32 {
        self.busy
    }

    /// When it was first dialled and when the connection was open.
    pub(crate) fn marks(&self) -> ConnectMarks {
        self.marks
    }

    /// Who listens. `None` where the system does not say.
    pub(crate) fn peer(&self) -> Option<Credentials> {
        sys::peer_credentials(&self.socket)
    }

    /// The stream, for reading and writing.
    ///
    /// # Errors
    /// If the runtime cannot watch one more socket: a fault of this host.
    ///
    /// # Panics
    /// If no tokio runtime with IO is around.
    pub(crate) fn into_stream(self) -> io::Result<UnixStream> {
        UnixStream::from_std(StdUnixStream::from(self.socket))
    }
}
