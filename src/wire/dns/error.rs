//! What is wrong with a message.

use std::fmt;

/// Why a message, or a part of it, cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DnsError {
    /// The octet of the message at which it shows.
    pub offset: usize,
    /// What is wrong.
    pub kind: DnsErrorKind,
}

impl DnsError {
    pub(super) const fn new(offset: usize, kind: DnsErrorKind) -> Self {
        DnsError { offset, kind }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}", self.kind.text(), self.offset)
    }
}

impl std::error::Error for DnsError {}

/// What can be wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DnsErrorKind {
    /// It ends too early.
    Short,
    /// A label of an unknown kind (RFC 1035, 4.1.4; RFC 6891, 5).
    Label,
    /// A name of more than 255 octets (RFC 1035, 2.3.4).
    NameLength,
    /// A compression pointer that does not point back to an earlier name.
    Pointer,
    /// A name of more compression pointers than any name needs.
    PointerLimit,
    /// The data of a record are shorter or longer than their type wants.
    DataLength,
    /// The data of a record have a value that their type cannot have.
    Data,
    /// A pseudo-record for EDNS where none may be, or one too many (RFC 6891, 6.1.1).
    Opt,
    /// A cookie of a length that cookies cannot have (RFC 7873, 4).
    Cookie,
}

impl DnsErrorKind {
    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DnsErrorKind::Short => "short",
            DnsErrorKind::Label => "label",
            DnsErrorKind::NameLength => "name_len",
            DnsErrorKind::Pointer => "pointer",
            DnsErrorKind::PointerLimit => "pointer_limit",
            DnsErrorKind::DataLength => "rdlen",
            DnsErrorKind::Data => "rdata",
            DnsErrorKind::Opt => "opt",
            DnsErrorKind::Cookie => "cookie",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            DnsErrorKind::Short => "the message ends too early",
            DnsErrorKind::Label => "a label of an unknown kind",
            DnsErrorKind::NameLength => "a name of more than 255 octets",
            DnsErrorKind::Pointer => "a compression pointer that does not point back",
            DnsErrorKind::PointerLimit => "too many compression pointers",
            DnsErrorKind::DataLength => "the length of the record data is wrong",
            DnsErrorKind::Data => "the record data are wrong",
            DnsErrorKind::Opt => "an OPT record where none may be",
            DnsErrorKind::Cookie => "a cookie of a wrong length",
        }
    }
}

impl fmt::Display for DnsErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
