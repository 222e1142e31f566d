//! Messages in a stream, each with its length in front (RFC 1035, 4.2.2; RFC 7766, 8).

use std::fmt;

/// Takes messages out of a stream, however it was cut on its way.
///
/// Nothing is made room for before it is there: what a prefix promises costs nothing.
///
/// ```
/// use netsonde::wire::dns::Deframer;
///
/// let mut deframer = Deframer::new(65_535);
/// deframer.feed(&[0, 3, b'a', b'b']);
/// assert_eq!(deframer.next_message(), Ok(None));
/// deframer.feed(&[b'c', 0]);
/// assert_eq!(deframer.next_message(), Ok(Some(b"abc".to_vec())));
/// assert_eq!(deframer.partial(), [0]);
/// ```
#[derive(Clone, Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// What was taken out already.
    taken: usize,
    most: usize,
}

/// A length that no message can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameError {
    /// Zero octets.
    Empty,
    /// More octets than are taken.
    TooLong {
        /// As many.
        length: u16,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Empty => f.write_str("a message of zero octets"),
            FrameError::TooLong { length } => write!(f, "a message of {length} octets"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Deframer {
    /// Takes messages of at most so many octets.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Deframer { buffer: Vec::new(), taken: 0, most }
    }

    /// Adds what the stream has brought.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if it is not all there yet.
    ///
    /// # Errors
    /// [`FrameError`]. Nothing behind it can be read, and it comes again if it is asked again.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let rest = self.partial();
        let Some((prefix, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        let length = u16::from_be_bytes(*prefix);
        let len = usize::from(length);
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len > self.most {
            return Err(FrameError::TooLong { length });
        }
        let Some(message) = rest.get(..len) else { return Ok(None) };
        let message = message.to_vec();
        self.taken += 2 + len;
        Ok(Some(message))
    }

    /// What was fed and is no whole message yet.
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "tests/framing.rs"]
mod tests;
