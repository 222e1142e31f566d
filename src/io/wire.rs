//! The byte stream under a conversation: a TCP or a Unix stream socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(all(unix, feature = "unix"))]
use tokio::net::UnixStream;

use crate::tcp::{PeerEnd, TcpInfo};

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    #[cfg(all(unix, feature = "unix"))]
    Unix(UnixStream),
}

impl Wire {
    /// The kernel's figures, if it is TCP.
    pub(crate) fn tcp_info(&self) -> Option<TcpInfo> {
        match self {
            Wire::Tcp(stream) => super::socket::tcp_info::read_all(stream),
            #[cfg(all(unix, feature = "unix"))]
            Wire::Unix(_) => None,
        }
    }

    /// Looks without taking anything: whether the peer has closed or reset by now.
    pub(crate) fn peer_end(&self) -> Option<PeerEnd> {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        let peeked = match self {
            Wire::Tcp(stream) => socket2::SockRef::from(stream).peek(&mut byte),
            #[cfg(all(unix, feature = "unix"))]
            Wire::Unix(stream) => socket2::SockRef::from(stream).peek(&mut byte),
        };
        match peeked {
            Ok(0) => Some(PeerEnd::Closed),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(PeerEnd::Reset),
            _ => None,
        }
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Tcp($stream) => $call,
            #[cfg(all(unix, feature = "unix"))]
            Wire::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The stream's own `poll_read` takes a buffer that was not filled for a sign that no more is
        // there, and waits for news. At an urgent byte the system stops short of the rest (tcp(7)), of
        // which there is no news.
        forward!(self, stream => loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        })
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
