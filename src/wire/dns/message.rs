//! Whole messages.

use std::fmt;

use super::{Class, DnsError, DnsErrorKind, HEADER, Header, NameRef, Record, RecordType};

/// A message whose header and questions were checked.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    header: Header,
    /// Where the records begin.
    records: usize,
}

/// A section of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Section {
    /// What answers the question.
    Answer,
    /// Who has authority over it.
    Authority,
    /// What else may help, and the OPT record of EDNS.
    Additional,
}

impl Section {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Section::Answer => "answer",
            Section::Authority => "authority",
            Section::Additional => "additional",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A question (RFC 1035, 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question<'a> {
    /// The name that is asked for.
    pub name: NameRef<'a>,
    /// The type.
    pub rtype: RecordType,
    /// The class.
    pub class: Class,
}

impl<'a> Question<'a> {
    fn parse(message: &'a [u8], at: usize) -> Result<(Self, usize), DnsError> {
        let (name, at) = NameRef::parse(message, at)?;
        let short = DnsError::new(message.len(), DnsErrorKind::Short);
        let rest = message.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(short)?;
        let [t0, t1, c0, c1] = *rest;
        let (rtype, class) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
        Ok((Question { name, rtype: RecordType(rtype), class: Class(class) }, at + 4))
    }
}

impl<'a> Message<'a> {
    /// Reads header and questions. Records are read when their turn comes.
    ///
    /// # Errors
    /// What is wrong, and where.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DnsError> {
        let header = Header::parse(bytes)?;
        let mut at = HEADER;
        for _ in 0..header.questions {
            (_, at) = Question::parse(bytes, at)?;
        }
        Ok(Message { bytes, header, records: at })
    }

    /// Its header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// All of its octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its questions.
    #[must_use]
    pub const fn questions(&self) -> Questions<'a> {
        Questions { message: self.bytes, at: HEADER, left: self.header.questions }
    }

    /// Its records with their sections, up to the first that cannot be read.
    #[must_use]
    #[inline]
    pub const fn records(&self) -> Records<'a> {
        let Header { answers, authorities, additionals, .. } = self.header;
        let left = [answers, authorities, additionals];
        Records { message: self.bytes, at: self.records, left, failed: false }
    }

    /// The records of one section, up to the first record of the message that cannot be read.
    pub fn section(
        &self,
        wanted: Section,
    ) -> impl Iterator<Item = Result<Record<'a>, DnsError>> + use<'a> {
        self.records().filter_map(move |item| match item {
            Ok((section, record)) => (section == wanted).then_some(Ok(record)),
            Err(error) => Some(Err(error)),
        })
    }

    /// Reads the outlines of all records, and gives how many octets are left over behind them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<usize, DnsError> {
        let mut records = self.records();
        records.by_ref().try_for_each(|record| record.map(drop))?;
        Ok(self.bytes.len() - records.at)
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.bytes.len();
        f.debug_struct("Message").field("header", &self.header).field("octets", &octets).finish()
    }
}

/// The questions of a message.
#[derive(Clone, Debug)]
pub struct Questions<'a> {
    message: &'a [u8],
    at: usize,
    left: u16,
}

impl<'a> Iterator for Questions<'a> {
    type Item = Question<'a>;

    fn next(&mut self) -> Option<Question<'a>> {
        self.left = self.left.checked_sub(1)?;
        // They were checked before.
        let (question, end) = Question::parse(self.message, self.at).ok()?;
        self.at = end;
        Some(question)
    }
}

/// The records of a message. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
    failed: bool,
}

impl Records<'_> {
    /// The octet of the message at which the next record begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(Section, Record<'a>), DnsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let (left, section) = self.left.iter_mut().zip(sections).find(|(left, _)| **left > 0)?;
        *left -= 1;
        match Record::parse(self.message, self.at) {
            Ok((record, end)) => {
                self.at = end;
                Some(Ok((section, record)))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/messages.rs"]
mod tests;
