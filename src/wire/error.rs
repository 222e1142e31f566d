//! What is wrong with the bytes of a packet.

use std::error::Error;
use std::fmt;

/// Why bytes are not the packet they were taken for, and where that showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WireError {
    /// Octets from the start of the slice that was parsed.
    pub offset: usize,
    /// What is wrong there.
    pub kind: WireErrorKind,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireErrorKind {
    /// The bytes end inside something that has a fixed or an announced size.
    Truncated,
    /// The version of the IP header is not the one that was asked for.
    Version(u8),
    /// The header is announced shorter than it can be.
    HeaderLength,
    /// The whole is announced shorter than its header.
    TotalLength,
    /// More extension headers than anyone sends.
    TooManyHeaders,
    /// What is to be sent does not fit the field that announces its length.
    TooLong,
    /// Source and destination are not of one address family.
    MixedFamilies,
}

impl WireError {
    pub(crate) const fn new(offset: usize, kind: WireErrorKind) -> Self {
        WireError { offset, kind }
    }

    pub(crate) const fn truncated(offset: usize) -> Self {
        WireError::new(offset, WireErrorKind::Truncated)
    }

    /// The same fault, in a slice that begins `by` octets earlier.
    #[must_use]
    pub(crate) const fn shifted(self, by: usize) -> Self {
        WireError::new(self.offset + by, self.kind)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}", self.kind, self.offset)
    }
}

impl Error for WireError {}

impl fmt::Display for WireErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireErrorKind::Truncated => f.write_str("the packet ends too early"),
            WireErrorKind::Version(version) => write!(f, "IP version {version}"),
            WireErrorKind::HeaderLength => f.write_str("impossible header length"),
            WireErrorKind::TotalLength => f.write_str("total length below the header's"),
            WireErrorKind::TooManyHeaders => f.write_str("too many extension headers"),
            WireErrorKind::TooLong => f.write_str("too long for the length field"),
            WireErrorKind::MixedFamilies => f.write_str("addresses of two families"),
        }
    }
}
