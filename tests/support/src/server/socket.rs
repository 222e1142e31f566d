//! One accepted stream, shared by the script that uses it and the watch that notes the peer's close.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::server::log::{End, Entry};

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with either kind.
macro_rules! each {
    ($socket:expr, $stream:ident => $action:expr) => {
        match $socket {
            Socket::Tcp($stream) => $action,
            Socket::Unix($stream) => $action,
        }
    };
}

impl Socket {
    fn sock_ref(&self) -> SockRef<'_> {
        each!(self, stream => SockRef::from(stream))
    }

    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        self.sock_ref().set_linger(Some(Duration::ZERO))
    }

    pub(crate) fn send_urgent(&self, byte: u8) -> io::Result<usize> {
        self.sock_ref().send_out_of_band(&[byte])
    }

    /// Notes the peer's FIN and RST without reading a byte, so that a script that never reads, or is
    /// busy with something else, has them at the right time too. Never returns.
    pub(crate) async fn watch(&self, entry: &Entry) {
        // Waiting for PRIORITY also waits for "the peer closed its sending side", and unlike
        // READABLE is not woken by bytes that nobody reads yet.
        let interest = Interest::PRIORITY | Interest::ERROR;
        let mut saw_fin = false;
        loop {
            let wanted = if saw_fin { Interest::ERROR } else { interest };
            let Ok(ready) = (each!(self, stream => stream.ready(wanted).await)) else { return };
            if ready.is_error() {
                entry.ended(End::Reset);
                return std::future::pending().await;
            }
            if ready.is_read_closed() {
                saw_fin = true;
                entry.ended(End::Fin);
            }
        }
    }
}

/// The reading and writing side of a [`Socket`], with bytes that were read too early put back first.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) socket: Arc<Socket>,
    pub(crate) early: Vec<u8>,
    pub(crate) entry: Entry,
}

impl Plain {
    /// Reads and writes may learn of the peer's end before the watch has had its turn.
    fn note<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
        let resets = [BrokenPipe, ConnectionReset, NotConnected];
        if outcome.as_ref().is_err_and(|error| resets.contains(&error.kind())) {
            self.entry.ended(End::Reset);
        }
        outcome
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let count = this.early.len().min(buffer.remaining());
            buffer.put_slice(&this.early[..count]);
            this.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        each!(&*this.socket, stream => loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    if count == 0 && buffer.remaining() > 0 {
                        this.entry.ended(End::Fin);
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(this.note(Err(error))),
            }
        })
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&*self.socket, stream => loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(self.note(outcome)),
            }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.note(self.socket.sock_ref().shutdown(std::net::Shutdown::Write)))
    }
}
