//! Domain names, as they lie in a message and by themselves.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::header::HEADER;
use super::{DnsError, DnsErrorKind};

/// Octets of the longest name, with the lengths of its labels and the root (RFC 1035, 2.3.4).
pub const MAX_NAME: usize = 255;

/// Octets of the longest label.
pub const MAX_LABEL: usize = 63;

/// Compression pointers that are followed for one name. No name has more labels, and a composer needs
/// at most one pointer for each.
pub const MAX_POINTERS: usize = 127;

/// A name within a message, which was checked when it was read: nothing about it can fail any more.
///
/// Names are equal if their labels are, without regard to the case of ASCII letters (RFC 4343). It is
/// shown as in a master file (RFC 1035, 5.1), with its final dot.
#[derive(Clone, Copy)]
pub struct NameRef<'a> {
    message: &'a [u8],
    start: usize,
    /// Octets of it without compression.
    len: u8,
    compressed: bool,
}

/// Whether a name may point to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointers {
    /// In a message.
    Follow,
    /// In data by themselves.
    Refuse,
}

impl<'a> NameRef<'a> {
    /// The root.
    pub const ROOT: NameRef<'static> =
        NameRef { message: &[0], start: 0, len: 1, compressed: false };

    /// Reads the name at an octet of a message; gives what is behind it.
    ///
    /// # Errors
    /// It is no name: which octet says so.
    #[inline]
    pub fn parse(message: &'a [u8], start: usize) -> Result<(Self, usize), DnsError> {
        Self::read(message, start, Pointers::Follow)
    }

    #[inline]
    pub(super) fn read(
        message: &'a [u8],
        start: usize,
        pointers: Pointers,
    ) -> Result<(Self, usize), DnsError> {
        let (mut at, mut len, mut hops) = (start, 0_usize, 0);
        // Where the labels that are being read began: a pointer has to point before them, so that no
        // name can go round in circles.
        let mut run = start;
        let mut end = None;
        loop {
            let short = DnsError::new(message.len(), DnsErrorKind::Short);
            let octet = *message.get(at).ok_or(short)?;
            match octet {
                0 => {
                    let end = end.unwrap_or(at + 1);
                    let Ok(len) = u8::try_from(len + 1) else {
                        return Err(DnsError::new(start, DnsErrorKind::NameLength));
                    };
                    return Ok((NameRef { message, start, len, compressed: hops > 0 }, end));
                }
                1..=0x3f => {
                    let next = at + 1 + usize::from(octet);
                    len += 1 + usize::from(octet);
                    if len >= MAX_NAME {
                        return Err(DnsError::new(at, DnsErrorKind::NameLength));
                    }
                    if next >= message.len() {
                        return Err(short);
                    }
                    at = next;
                }
                0xc0.. => {
                    let low = *message.get(at + 1).ok_or(short)?;
                    let target = usize::from(octet & 0x3f) << 8 | usize::from(low);
                    if pointers == Pointers::Refuse || target >= run || target < HEADER {
                        return Err(DnsError::new(at, DnsErrorKind::Pointer));
                    }
                    hops += 1;
                    if hops > MAX_POINTERS {
                        return Err(DnsError::new(at, DnsErrorKind::PointerLimit));
                    }
                    end.get_or_insert(at + 2);
                    (at, run) = (target, target);
                }
                _ => return Err(DnsError::new(at, DnsErrorKind::Label)),
            }
        }
    }

    /// Its labels from the left, without the root.
    #[must_use]
    pub fn labels(self) -> Labels<'a> {
        Labels { message: self.message, at: self.start }
    }

    /// Octets that it takes without compression, 1 to 255.
    #[must_use]
    pub fn wire_len(self) -> usize {
        self.len.into()
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.len == 1
    }

    /// Whether it was written with a compression pointer.
    #[must_use]
    pub fn is_compressed(self) -> bool {
        self.compressed
    }

    /// Where it begins in its message.
    #[must_use]
    pub fn offset(self) -> usize {
        self.start
    }

    /// Whether it is this name or below it.
    #[must_use]
    pub fn is_within(self, zone: NameRef<'_>) -> bool {
        let surplus = self.labels().count().checked_sub(zone.labels().count());
        surplus.is_some_and(|surplus| same(self.labels().skip(surplus), zone.labels()))
    }

    /// Whether it is the same name in the same case.
    #[must_use]
    pub fn is_identical(self, other: NameRef<'_>) -> bool {
        self.len == other.len && self.labels().eq(other.labels())
    }

    /// Appends it without compression.
    pub fn write(self, into: &mut Vec<u8>) {
        for label in self.labels() {
            // A label was read from one octet of length.
            into.push(u8::try_from(label.len()).unwrap_or(0));
            into.extend_from_slice(label);
        }
        into.push(0);
    }

    /// The same name by itself.
    #[must_use]
    pub fn to_name(self) -> DnsName {
        let mut wire = Vec::with_capacity(self.wire_len());
        self.write(&mut wire);
        DnsName(wire.into())
    }
}

fn same<'a, 'b>(
    mut ours: impl Iterator<Item = &'a [u8]>,
    mut theirs: impl Iterator<Item = &'b [u8]>,
) -> bool {
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
            _ => return false,
        }
    }
}

impl PartialEq<NameRef<'_>> for NameRef<'_> {
    fn eq(&self, other: &NameRef<'_>) -> bool {
        self.len == other.len && same(self.labels(), other.labels())
    }
}

impl Eq for NameRef<'_> {}

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for label in self.labels() {
            label.len().hash(state);
            label.iter().for_each(|octet| octet.to_ascii_lowercase().hash(state));
        }
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_char('.');
        }
        for label in self.labels() {
            for octet in label {
                match octet {
                    // What means something in a master file, as BIND has it.
                    b'"' | b'(' | b')' | b'.' | b';' | b'\\' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(*octet))?;
                    }
                    0x21..=0x7e => f.write_char(char::from(*octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

/// The labels of a name.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // It was checked that this ends.
        loop {
            let octet = *self.message.get(self.at)?;
            match octet {
                0 => return None,
                1..=0x3f => {
                    let label = self.message.get(self.at + 1..)?.get(..usize::from(octet))?;
                    self.at += 1 + usize::from(octet);
                    return Some(label);
                }
                _ => {
                    let low = *self.message.get(self.at + 1)?;
                    self.at = usize::from(octet & 0x3f) << 8 | usize::from(low);
                }
            }
        }
    }
}

/// A name by itself, without compression.
///
/// ```
/// use netsonde::wire::dns::DnsName;
///
/// let name: DnsName = r"_sip._tcp.Example.ORG".parse()?;
/// assert_eq!(name.to_string(), "_sip._tcp.Example.ORG.");
/// assert_eq!(name, "_SIP._tcp.example.org.".parse()?);
/// let odd: DnsName = r"a\.b\000.example".parse()?;
/// assert_eq!(odd.as_ref().labels().next(), Some(&b"a.b\0"[..]));
/// # Ok::<(), netsonde::wire::dns::NameError>(())
/// ```
#[derive(Clone)]
pub struct DnsName(Box<[u8]>);

impl DnsName {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        DnsName([0].into())
    }

    /// It as a name that is borrowed.
    #[must_use]
    pub fn as_ref(&self) -> NameRef<'_> {
        // It has at most 255 octets by construction.
        let len = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        NameRef { message: &self.0, start: 0, len, compressed: false }
    }

    /// Its octets, without compression.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same name with each letter in the case that `upper` says, which is asked for every letter in
    /// turn: for the 0x20 bits of a query.
    #[must_use]
    pub fn with_case(&self, mut upper: impl FnMut() -> bool) -> Self {
        let mut wire = Vec::with_capacity(self.0.len());
        for label in self.as_ref().labels() {
            wire.push(u8::try_from(label.len()).unwrap_or(0));
            wire.extend(label.iter().map(|octet| match octet {
                letter if !letter.is_ascii_alphabetic() => *letter,
                letter if upper() => letter.to_ascii_uppercase(),
                letter => letter.to_ascii_lowercase(),
            }));
        }
        wire.push(0);
        DnsName(wire.into())
    }

    /// This name with another behind it.
    ///
    /// # Errors
    /// Both together are too long.
    pub fn append(&self, rest: &DnsName) -> Result<Self, NameError> {
        let head = self.0.strip_suffix(&[0]).unwrap_or(&self.0);
        if head.len() + rest.0.len() > MAX_NAME {
            return Err(NameError::Length);
        }
        Ok(DnsName([head, &rest.0].concat().into()))
    }
}

impl PartialEq for DnsName {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for DnsName {}

impl Hash for DnsName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Why a text is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty; the root is written as a dot.
    Empty,
    /// A label is empty.
    EmptyLabel,
    /// A label has more than 63 octets.
    LabelLength,
    /// The name has more than 255 octets.
    Length,
    /// A backslash with neither three digits up to 255 nor one other character behind it.
    Escape,
    /// A character outside ASCII, which has to be escaped.
    NotAscii,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "an empty name",
            NameError::EmptyLabel => "an empty label",
            NameError::LabelLength => "a label of more than 63 octets",
            NameError::Length => "a name of more than 255 octets",
            NameError::Escape => "a backslash that escapes nothing",
            NameError::NotAscii => "a character outside ASCII",
        })
    }
}

impl std::error::Error for NameError {}

impl FromStr for DnsName {
    type Err = NameError;

    /// Reads a name as in a master file (RFC 1035, 5.1), but always from the root: the final dot may be
    /// left out.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(DnsName::root());
        }
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let mut wire = vec![0];
        let mut label = 0;
        let mut octets = text.bytes();
        while let Some(octet) = octets.next() {
            let octet = match octet {
                b'.' => {
                    close(&mut wire, &mut label)?;
                    continue;
                }
                b'\\' => unescape(&mut octets).ok_or(NameError::Escape)?,
                0x80.. => return Err(NameError::NotAscii),
                other => other,
            };
            wire.push(octet);
        }
        if wire.len() > label + 1 {
            close(&mut wire, &mut label)?;
        }
        // The length of a label that never came is the root.
        if wire.len() > MAX_NAME {
            return Err(NameError::Length);
        }
        Ok(DnsName(wire.into()))
    }
}

/// Writes down the length of the label that has just ended, and begins the next.
fn close(wire: &mut Vec<u8>, label: &mut usize) -> Result<(), NameError> {
    let len = wire.len() - *label - 1;
    let octet = match len {
        0 => return Err(NameError::EmptyLabel),
        1..=MAX_LABEL => u8::try_from(len).map_err(|_| NameError::LabelLength)?,
        _ => return Err(NameError::LabelLength),
    };
    if let Some(place) = wire.get_mut(*label) {
        *place = octet;
    }
    *label = wire.len();
    wire.push(0);
    Ok(())
}

/// What a backslash stands for (RFC 1035, 5.1); it has been read already.
pub(super) fn unescape(octets: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii().then_some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

#[cfg(test)]
#[path = "tests/names.rs"]
mod tests;
