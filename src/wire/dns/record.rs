//! Records as they lie in a message.

use super::name::Pointers;
use super::{Class, DnsError, DnsErrorKind, NameRef, RecordType};

/// A record within a message. Its outline was checked when it was read; what its data hold is checked
/// when they are read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The name that it is about.
    pub owner: NameRef<'a>,
    /// Its type.
    pub rtype: RecordType,
    /// Its class; the payload size of the sender in an OPT record.
    pub class: Class,
    /// The field of the time to live as it stands there. See [`ttl`](Record::ttl).
    pub raw_ttl: u32,
    message: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at an octet of a message; gives what is behind it.
    ///
    /// # Errors
    /// It is cut short, or its name is none.
    #[inline]
    pub fn parse(message: &'a [u8], at: usize) -> Result<(Self, usize), DnsError> {
        let (owner, at) = NameRef::parse(message, at)?;
        let short = DnsError::new(message.len(), DnsErrorKind::Short);
        let fixed = message.get(at..).and_then(|rest| rest.first_chunk::<10>()).ok_or(short)?;
        let [t0, t1, c0, c1, l0, l1, l2, l3, d0, d1] = *fixed;
        let start = at + 10;
        let end = start + usize::from(u16::from_be_bytes([d0, d1]));
        if end > message.len() {
            return Err(short);
        }
        let record = Record {
            owner,
            rtype: RecordType(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            raw_ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            message,
            start,
            end,
        };
        Ok((record, end))
    }

    /// Seconds for which it may be kept. A value with the top bit set counts as zero (RFC 2181, 8).
    #[must_use]
    #[inline]
    pub const fn ttl(&self) -> u32 {
        if self.raw_ttl > i32::MAX as u32 { 0 } else { self.raw_ttl }
    }

    /// The octets of its data, in which names may be compressed.
    #[must_use]
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.message.get(self.start..self.end).unwrap_or_default()
    }

    /// Where its data begin in the message.
    #[must_use]
    pub const fn data_offset(&self) -> usize {
        self.start
    }

    /// Reads its data field by field.
    #[must_use]
    #[inline]
    pub const fn reader(&self) -> DataReader<'a> {
        DataReader {
            message: self.message,
            at: self.start,
            end: self.end,
            pointers: Pointers::Follow,
            compressed: false,
        }
    }
}

/// Takes fields off the front of the data of a record. What does not fit is an error with its offset in
/// the message.
#[derive(Clone, Copy, Debug)]
pub struct DataReader<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
    pointers: Pointers,
    compressed: bool,
}

impl<'a> DataReader<'a> {
    /// Reads data by themselves, in which no name is compressed.
    #[must_use]
    pub const fn of(data: &'a [u8]) -> Self {
        let (at, end) = (0, data.len());
        DataReader { message: data, at, end, pointers: Pointers::Refuse, compressed: false }
    }

    /// Where it stands, in octets of the message.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Octets that are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.end - self.at
    }

    /// Whether a name that it has read was compressed.
    #[must_use]
    pub const fn has_compressed(&self) -> bool {
        self.compressed
    }

    /// An error at the place where it stands.
    #[must_use]
    pub const fn error(&self, kind: DnsErrorKind) -> DnsError {
        DnsError::new(self.at, kind)
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// [`Short`](DnsErrorKind::Short): fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DnsError> {
        let short = DnsError::new(self.end, DnsErrorKind::Short);
        if count > self.left() {
            return Err(short);
        }
        let taken = self.message.get(self.at..self.at + count).ok_or(short)?;
        self.at += count;
        Ok(taken)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.message.get(self.at..self.end).unwrap_or_default();
        self.at = self.end;
        rest
    }

    /// The next `N` octets as an array.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DnsError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| DnsError::new(self.end, DnsErrorKind::Short))
    }

    /// The next octet.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub fn u8(&mut self) -> Result<u8, DnsError> {
        self.array().map(|[octet]| octet)
    }

    /// The next two octets in network order.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub fn u16(&mut self) -> Result<u16, DnsError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four octets in network order.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub fn u32(&mut self) -> Result<u32, DnsError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next name.
    ///
    /// # Errors
    /// It is no name, or [`DataLength`](DnsErrorKind::DataLength): it runs past the end of the data.
    pub fn name(&mut self) -> Result<NameRef<'a>, DnsError> {
        if self.left() == 0 {
            return Err(DnsError::new(self.end, DnsErrorKind::Short));
        }
        let (name, end) = NameRef::read(self.message, self.at, self.pointers)?;
        if end > self.end {
            return Err(DnsError::new(self.end, DnsErrorKind::DataLength));
        }
        self.compressed |= name.is_compressed();
        self.at = end;
        Ok(name)
    }

    /// A string with its length in front (RFC 1035, 3.3).
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub fn string(&mut self) -> Result<&'a [u8], DnsError> {
        let len = self.u8()?;
        self.take(len.into())
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// [`DataLength`](DnsErrorKind::DataLength): something is.
    pub const fn finish(&self) -> Result<(), DnsError> {
        match self.left() {
            0 => Ok(()),
            _ => Err(DnsError::new(self.at, DnsErrorKind::DataLength)),
        }
    }
}
