//! What goes over the wire below TLS, as far as a report needs it: counts, the first bytes, and
//! alerts that are not encrypted.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::classify;
use crate::verdict::{Failure, FailureKind};

/// Record types (RFC 8446, 5.1).
const ALERT: u8 = 21;
const KNOWN_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

/// A passive observer of one connection.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// How often the stream below was asked for bytes.
    reads: u64,
    /// The first bytes received, at most `keep`, at least enough for a record header.
    pub(super) first: Vec<u8>,
    keep: usize,
}

/// What the first bytes of a peer look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Too few to tell.
    Unknown,
    /// A record of TLS, or of SSL 3.0 if the minor version is 0.
    Record { minor: u8 },
    /// A record of SSL 2.0.
    Ssl2,
    /// Something else.
    Foreign,
}

impl Tap {
    pub(super) fn new(keep: u32) -> Self {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(5);
        Tap { bytes_in: 0, bytes_out: 0, reads: 0, first: Vec::new(), keep }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.bytes_in = self.bytes_in.saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        let room = self.keep.saturating_sub(self.first.len());
        self.first.extend(bytes.iter().take(room));
    }

    pub(super) fn opening(&self) -> Opening {
        match self.first.as_slice() {
            [] => Opening::Unknown,
            // SSL 2.0 has a length of two bytes in front, then ERROR (0) or SERVER-HELLO (4).
            [0x80, 3, 0, ..] => Opening::Ssl2,
            [high, _, 4, 0 | 1, 0..=3, 0, 2, ..] if *high >= 0x80 => Opening::Ssl2,
            [high, _, 4, 0 | 1] | [high, _, 4] | [high, _] | [high] if *high >= 0x80 => {
                Opening::Unknown
            }
            [kind, rest @ ..] if KNOWN_TYPES.contains(kind) => match rest {
                [3, minor, ..] => Opening::Record { minor: *minor },
                [3] | [] => Opening::Unknown,
                _ => Opening::Foreign,
            },
            _ => Opening::Foreign,
        }
    }
}

/// A plaintext alert at the end of bytes that are about to be sent: its level and description.
pub(super) fn plain_alert(bytes: &[u8]) -> Option<(u8, u8)> {
    match bytes {
        [.., ALERT, 3, _, 0, 2, level, code] => Some((*level, *code)),
        _ => None,
    }
}

/// Reads once what has come.
///
/// # Errors
/// That of the stream; or a [`Broken`] if rustls has not even asked it: handshake messages that go on
/// without a break pile up there, and 64 KiB of them are all that it holds.
pub(super) fn read_once<S: AsyncRead + Unpin>(
    session: &mut ClientConnection,
    stream: &mut S,
    context: &mut Context<'_>,
    tap: &mut Tap,
) -> Poll<io::Result<usize>> {
    let reads = tap.reads;
    match session.read_tls(&mut Wire { stream, context, tap }) {
        Ok(count) => Poll::Ready(Ok(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        Err(error) if tap.reads == reads => {
            let full = classify::tls(FailureKind::TlsLimit).with_detail(error.to_string());
            Poll::Ready(Err(Broken(full).into()))
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// A failure of TLS inside an [`io::Error`].
#[derive(Debug)]
pub(super) struct Broken(pub(super) Failure);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, broken)
    }
}

/// A stream within a poll, as the blocking interface that rustls wants.
pub(super) struct Wire<'a, 'c, S> {
    pub(super) stream: &'a mut S,
    pub(super) context: &'a mut Context<'c>,
    pub(super) tap: &'a mut Tap,
}

impl<S: AsyncRead + Unpin> io::Read for Wire<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tap.reads = self.tap.reads.saturating_add(1);
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.tap.received(buffer.filled());
                Ok(buffer.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> io::Write for Wire<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = Pin::new(&mut *self.stream).poll_write(self.context, bytes);
        self.sent(written)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let written = Pin::new(&mut *self.stream).poll_write_vectored(self.context, parts);
        self.sent(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match Pin::new(&mut *self.stream).poll_flush(self.context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S> Wire<'_, '_, S> {
    fn sent(&mut self, written: Poll<io::Result<usize>>) -> io::Result<usize> {
        match written {
            Poll::Ready(Ok(count)) => {
                let more = u64::try_from(count).unwrap_or(u64::MAX);
                self.tap.bytes_out = self.tap.bytes_out.saturating_add(more);
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(bytes: &[u8]) -> Opening {
        let mut tap = Tap::new(64);
        tap.received(bytes);
        tap.opening()
    }

    #[test]
    fn openings() {
        assert_eq!(opening(b""), Opening::Unknown);
        assert_eq!(opening(&[22]), Opening::Unknown);
        assert_eq!(opening(&[22, 3]), Opening::Unknown);
        assert_eq!(opening(&[22, 3, 3]), Opening::Record { minor: 3 });
        assert_eq!(opening(&[21, 3, 0, 0, 2, 2, 40]), Opening::Record { minor: 0 });
        assert_eq!(opening(&[22, 9]), Opening::Foreign);
        assert_eq!(opening(b"HTTP/1.1 400"), Opening::Foreign);
        assert_eq!(opening(b"SSH-2.0-x"), Opening::Foreign);
        assert_eq!(opening(b"2"), Opening::Foreign);
        assert_eq!(opening(&[0x80, 3, 0, 0, 1]), Opening::Ssl2);
        assert_eq!(opening(&[0x84, 10, 4, 0, 1, 0, 2, 9]), Opening::Ssl2);
        assert_eq!(opening(&[0x84, 10, 4, 0, 1, 7, 7]), Opening::Foreign);
    }

    #[test]
    fn alerts_in_what_is_sent() {
        assert_eq!(plain_alert(&[1, 2, 21, 3, 3, 0, 2, 2, 42]), Some((2, 42)));
        assert_eq!(plain_alert(&[23, 3, 3, 0, 2, 2, 42]), None);
    }
}
