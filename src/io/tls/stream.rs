//! A TLS connection as a stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::classify;
use super::connector::{Session, write_all};
use super::tap::{Broken, Tap, read_once};
use crate::tls::{Alert, AlertDirection};
use crate::verdict::{Failure, FailureKind, RawCode};

/// Reads of a poll that may bring nothing for the caller. A peer can send key updates and tickets for
/// ever, and each costs time: after so many, some milliseconds at most, deadlines and other tasks have
/// their turn.
const BUSY_READS: u32 = 16;

fn take_turns<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}

/// A TLS connection, made by [`TlsConnector::handshake`](super::TlsConnector::handshake).
///
/// An error that it returns holds the [`Failure`] behind it: see [`TlsStream::failure_of`]. An end
/// of the stream without close_notify is an end all the same; see [`TlsStream::truncated`].
pub struct TlsStream<S> {
    stream: S,
    session: Box<ClientConnection>,
    tap: Tap,
    flush: bool,
    ended: bool,
    truncated: bool,
    alert: Option<Alert>,
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S> TlsStream<S> {
    pub(crate) fn over(stream: S, session: Session) -> Self {
        TlsStream {
            stream,
            session: session.0,
            tap: Tap::new(0),
            flush: false,
            ended: false,
            truncated: false,
            alert: None,
        }
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        &self.stream
    }

    /// The failure behind an error that a TLS stream has returned: an alert of the server, a record
    /// that does not decrypt. `None` for errors of the stream below.
    #[must_use]
    pub fn failure_of(error: &io::Error) -> Option<&Failure> {
        let inner = error.get_ref()?.downcast_ref::<Broken>()?;
        Some(&inner.0)
    }

    /// The alert that the server has sent since the handshake, if any.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        self.alert.as_ref()
    }

    /// Whether the server ended the connection without close_notify: what was read may not be all.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes received and sent below TLS since the handshake.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.tap.bytes_in, self.tap.bytes_out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Waits until the server has said anything after the handshake: a session ticket, data, an
    /// alert. In TLS 1.3 a server that turns down the client's certificate, or wants one and got
    /// none, says so only now (RFC 8446, 4.4.2.4 and 4.6.1). A server that says nothing of itself
    /// makes this wait for ever, so put a time limit on it. Dropping it loses nothing.
    ///
    /// # Errors
    /// The alert, or how else the connection ended.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let outcome = poll_fn(|context| {
            for _ in 0..BUSY_READS {
                let state = match self.session.process_new_packets() {
                    Ok(state) => state,
                    Err(error) => return Poll::Ready(Err(self.broken(&error))),
                };
                if state.plaintext_bytes_to_read() > 0 || self.session.tls13_tickets_received() > 0
                {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_receive(context))?;
                if self.ended || state.peer_has_closed() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            take_turns(context)
        })
        .await;
        outcome.map_err(|error| {
            Self::failure_of(&error).cloned().unwrap_or_else(|| match error.kind() {
                io::ErrorKind::UnexpectedEof => classify::tls(FailureKind::Closed),
                _ => classify::stream(&error),
            })
        })
    }

    /// Reads from below once.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only one task can wait to write. If one does, its turn is not taken away here.
        let idle = !self.session.wants_write();
        let read = read_once(&mut self.session, &mut self.stream, context, &mut self.tap);
        self.ended |= ready!(read)? == 0;
        if let Err(error) = self.session.process_new_packets() {
            let error = self.broken(&error);
            let _ = self.poll_send(context);
            return Poll::Ready(Err(error));
        }
        // Answers of TLS itself, such as key updates, go along when they can.
        if idle && self.session.wants_write() {
            let _ = self.poll_send(context)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        write_all(&mut self.session, &mut self.stream, context, &mut self.tap, &mut self.flush)
    }

    fn broken(&mut self, error: &rustls::Error) -> io::Error {
        let failure = classify::protocol(error, &Tap::new(0), true);
        if let Some(RawCode::TlsAlert { value }) = failure.raw {
            self.alert = Some(Alert::new(AlertDirection::Received, Some(2), value));
        }
        Broken(failure).into()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..BUSY_READS {
            match this.session.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    this.truncated = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(this.poll_receive(context))?;
        }
        take_turns(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let count = this.session.writer().write(bytes)?;
            let sent = this.poll_send(context)?;
            if count > 0 || bytes.is_empty() {
                return Poll::Ready(Ok(count));
            }
            // rustls holds all it wants to hold.
            ready!(sent);
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.writer().flush()?;
        this.flush = true;
        this.poll_send(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Does nothing the second time.
        this.session.send_close_notify();
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
