//! A reader that cannot leave its slice.

use super::WireError;

/// Takes fields off the front of a slice. Whatever does not fit is an error with its offset, and
/// leaves the reader where it was.
///
/// ```
/// use netsonde::wire::reader::Reader;
///
/// let mut reader = Reader::new(&[8, 0, 0xab, 0xcd]);
/// assert_eq!(reader.u8()?, 8);
/// reader.skip(1)?;
/// assert_eq!(reader.u16()?, 0xabcd);
/// assert_eq!(reader.u8().unwrap_err().offset, 4);
/// # Ok::<(), netsonde::wire::WireError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the first octet on.
    pub const fn new(data: &'a [u8]) -> Self {
        Reader { rest: data, offset: 0 }
    }

    /// Octets taken so far.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` octets.
    ///
    /// # Errors
    ///
    /// Fewer are left; the offset is where the slice ends.
    pub const fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset += count;
                Ok(taken)
            }
            None => Err(WireError::truncated(self.offset + self.rest.len())),
        }
    }

    /// Passes over `count` octets.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub const fn skip(&mut self, count: usize) -> Result<(), WireError> {
        match self.take(count) {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next `N` octets as an array.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub const fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset += N;
                Ok(taken)
            }
            None => Err(WireError::truncated(self.offset + self.rest.len())),
        }
    }

    /// The next octet.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| *byte)
    }

    /// The next two octets, in network order.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The next four octets, in network order.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
