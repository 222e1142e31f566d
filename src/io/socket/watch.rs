//! Sockets whose readiness the runtime watches for reading alone.
#![allow(unsafe_code)]

use std::io;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is watched: data, and what the error queue has besides.
pub(in crate::io) fn interest() -> Interest {
    Interest::READABLE | Interest::ERROR
}

/// Has the runtime watch a socket. Its own types watch for writing as well, so that a fresh socket would
/// wake its task for nothing.
///
/// # Errors
/// The runtime cannot watch one more: a fault of this host.
pub(in crate::io) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, gives the same one each time it is asked, and closes it when
    // it is dropped, which `AsyncFd` has happen after it has taken it out of the reactor.
    unsafe { AsyncFd::register_with_interest(socket, interest()) }.map_err(io::Error::from)
}
