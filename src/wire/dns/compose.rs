//! Writing messages.

use std::fmt;

use super::{Class, Flags, HEADER, Labels, NameRef, RecordType, Section};

/// Why something was not added to a message. The message is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComposeError {
    /// It would be longer than it may be.
    TooLong,
    /// The section is closed: something was added to one behind it.
    Order,
    /// A section has 65,535 entries, or record data have more than 65,535 octets.
    Count,
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ComposeError::TooLong => "the message would be too long",
            ComposeError::Order => "the section is closed",
            ComposeError::Count => "no room for another entry",
        })
    }
}

impl std::error::Error for ComposeError {}

/// Names that are remembered to be pointed to. A message with more of them is only a little longer.
const SUFFIXES: usize = 64;

/// Writes a message at the end of a vector: header, questions, then records section by section.
/// Names of owners are compressed (RFC 1035, 4.1.4), without regard to the case of letters but never
/// changing any.
///
/// What cannot be added leaves the message as it was, so that its writer can set TC and stop.
#[derive(Debug)]
pub struct Composer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the message begins.
    base: usize,
    /// Where the length prefix of a stream stands.
    prefix: Option<usize>,
    limit: usize,
    /// Questions, answers, authorities, additionals.
    counts: [u16; 4],
    /// The last section that something was added to: 0 for questions.
    section: usize,
    /// Offsets of names that end a name.
    suffixes: [u16; SUFFIXES],
    known: usize,
}

impl<'a> Composer<'a> {
    /// Begins a message of up to 65,535 octets.
    pub fn new(out: &'a mut Vec<u8>, id: u16, flags: Flags) -> Self {
        let base = out.len();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&flags.0.to_be_bytes());
        out.extend_from_slice(&[0; HEADER - 4]);
        Composer {
            out,
            base,
            prefix: None,
            limit: 65_535,
            counts: [0; 4],
            section: 0,
            suffixes: [0; SUFFIXES],
            known: 0,
        }
    }

    /// Begins a message with the two octets of its length in front (RFC 1035, 4.2.2).
    pub fn with_prefix(out: &'a mut Vec<u8>, id: u16, flags: Flags) -> Self {
        let prefix = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut composer = Composer::new(out, id, flags);
        composer.prefix = Some(prefix);
        composer
    }

    /// With another limit to its length: at least a header, at most 65,535 octets.
    #[must_use]
    pub fn limit(mut self, octets: u16) -> Self {
        self.limit = usize::from(octets).max(HEADER);
        self
    }

    /// Octets that it has so far.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.out.len() - self.base
    }

    /// Adds a question.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn question(
        &mut self,
        name: NameRef<'_>,
        rtype: RecordType,
        class: Class,
    ) -> Result<(), ComposeError> {
        self.entry(0, |composer| {
            composer.name(name);
            composer.put(rtype.0);
            composer.put(class.0);
            Ok(())
        })
    }

    /// Adds a record with these data, which are written as they are.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn record(
        &mut self,
        section: Section,
        owner: NameRef<'_>,
        rtype: RecordType,
        class: Class,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), ComposeError> {
        let len = u16::try_from(data.len()).map_err(|_| ComposeError::Count)?;
        let place = match section {
            Section::Answer => 1,
            Section::Authority => 2,
            Section::Additional => 3,
        };
        self.entry(place, |composer| {
            composer.name(owner);
            composer.put(rtype.0);
            composer.put(class.0);
            composer.out.extend_from_slice(&ttl.to_be_bytes());
            composer.put(len);
            composer.out.extend_from_slice(data);
            Ok(())
        })
    }

    /// Sets the flags anew, for instance TC once something was too long.
    pub fn flags(&mut self, flags: Flags) {
        self.set(self.base + 2, flags.0);
    }

    /// Writes the counts and the length prefix.
    pub fn finish(self) {
        drop(self);
    }

    fn entry(
        &mut self,
        section: usize,
        write: impl FnOnce(&mut Self) -> Result<(), ComposeError>,
    ) -> Result<(), ComposeError> {
        if section < self.section {
            return Err(ComposeError::Order);
        }
        let (len, known) = (self.out.len(), self.known);
        let full = self.counts.get(section).is_none_or(|count| *count == u16::MAX);
        let written = if full { Err(ComposeError::Count) } else { write(self) };
        let written = written.and_then(|()| match self.octets() > self.limit {
            true => Err(ComposeError::TooLong),
            false => Ok(()),
        });
        if written.is_err() {
            self.out.truncate(len);
            self.known = known;
            return written;
        }
        self.section = section;
        if let Some(count) = self.counts.get_mut(section) {
            *count += 1;
        }
        Ok(())
    }

    /// Writes a name, of which as much as possible is a pointer to an earlier one.
    fn name(&mut self, name: NameRef<'_>) {
        let mut labels = name.labels();
        loop {
            let rest = labels.clone();
            let Some(label) = labels.next() else {
                self.out.push(0);
                return;
            };
            if let Some(target) = self.find(&rest) {
                self.put(0xc000 | target);
                return;
            }
            self.remember();
            // A label was read from one octet of length.
            self.out.push(u8::try_from(label.len()).unwrap_or(0));
            self.out.extend_from_slice(label);
        }
    }

    /// Where the same labels stand already.
    fn find(&self, labels: &Labels<'_>) -> Option<u16> {
        let message = self.out.get(self.base..)?;
        self.suffixes.iter().take(self.known).copied().find(|at| {
            let Ok((known, _)) = NameRef::parse(message, (*at).into()) else { return false };
            let mut known = known.labels();
            let mut wanted = labels.clone();
            loop {
                match (known.next(), wanted.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                    _ => return false,
                }
            }
        })
    }

    /// A name begins here that may be pointed to.
    fn remember(&mut self) {
        let at = u16::try_from(self.octets()).ok().filter(|at| *at < 0xc000 >> 2);
        if let Some((place, at)) = self.suffixes.get_mut(self.known).zip(at) {
            *place = at;
            self.known += 1;
        }
    }

    fn put(&mut self, word: u16) {
        self.out.extend_from_slice(&word.to_be_bytes());
    }

    fn set(&mut self, at: usize, word: u16) {
        if let Some(place) = self.out.get_mut(at..at + 2) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

impl Drop for Composer<'_> {
    fn drop(&mut self) {
        for (place, count) in (self.base + 4..).step_by(2).zip(self.counts) {
            self.set(place, count);
        }
        if let Some(prefix) = self.prefix {
            self.set(prefix, u16::try_from(self.octets()).unwrap_or(u16::MAX));
        }
    }
}

#[cfg(test)]
#[path = "tests/composing.rs"]
mod tests;
