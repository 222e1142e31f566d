//! Which message is the answer.

use std::net::SocketAddr;

use crate::wire::dns::{
    Class, DnsError, DnsErrorKind, Header, Message, NameRef, Opcode, Question, Rcode, RecordType,
};

/// Why something that came in was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mismatch {
    /// It comes from another address or port than the query went to.
    WrongSource,
    /// It has not even a header.
    Short,
    /// It has another id.
    Id,
    /// It is no response.
    NotResponse,
    /// It is a response to something else than a query.
    Opcode,
    /// It answers another question, or none.
    Question,
    /// It cannot be read.
    Malformed,
    /// Octets follow the last record, and none may.
    LeftOver,
    /// The answer came before, with the same octets.
    Duplicate,
    /// The answer came before, with others.
    Conflict,
    /// The time of its attempt was over.
    Late,
}

impl Mismatch {
    /// All of them.
    pub const ALL: &'static [Mismatch] = &[
        Mismatch::WrongSource,
        Mismatch::Short,
        Mismatch::Id,
        Mismatch::NotResponse,
        Mismatch::Opcode,
        Mismatch::Question,
        Mismatch::Malformed,
        Mismatch::LeftOver,
        Mismatch::Duplicate,
        Mismatch::Conflict,
        Mismatch::Late,
    ];

    /// The stable name, as it stands in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Mismatch::WrongSource => "wrong_source",
            Mismatch::Short => "short",
            Mismatch::Id => "txid",
            Mismatch::NotResponse => "not_response",
            Mismatch::Opcode => "opcode",
            Mismatch::Question => "question",
            Mismatch::Malformed => "malformed",
            Mismatch::LeftOver => "trailing_bytes",
            Mismatch::Duplicate => "duplicate",
            Mismatch::Conflict => "conflict",
            Mismatch::Late => "late",
        }
    }

    /// Whether it came in the place of the answer: from the server and with the id of the query.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Mismatch::Question | Mismatch::Malformed | Mismatch::LeftOver)
    }

    const fn place(self) -> usize {
        self as usize
    }
}

/// How often something was passed over, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MismatchCounts([u64; Mismatch::ALL.len()]);

impl MismatchCounts {
    pub(super) fn add(&mut self, why: Mismatch) {
        if let Some(count) = self.0.get_mut(why.place()) {
            *count += 1;
        }
    }

    /// How often for this reason.
    #[must_use]
    pub fn of(&self, why: Mismatch) -> u64 {
        self.0.get(why.place()).copied().unwrap_or(0)
    }

    /// How often altogether.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What the answer has to look like.
pub(super) struct Wanted<'a> {
    pub(super) server: SocketAddr,
    pub(super) id: u16,
    pub(super) name: NameRef<'a>,
    /// Whether the letters of the name have to be in the same case.
    pub(super) exact: bool,
    pub(super) rtype: RecordType,
    pub(super) class: Class,
    pub(super) strict: bool,
    /// Whether it comes over a stream, whose other end is known.
    pub(super) stream: bool,
    /// Whether it was longer than what is there of it.
    pub(super) cut: bool,
}

/// What was found.
pub(super) enum Match {
    /// The answer, with so many octets behind it.
    Whole { left_over: usize },
    /// The answer, cut short: its records were not looked at.
    Truncated,
}

type Passed = (Mismatch, Option<DnsError>);

/// Whether a message is the answer.
pub(super) fn check(wanted: &Wanted<'_>, from: SocketAddr, bytes: &[u8]) -> Result<Match, Passed> {
    if !wanted.stream && !same_end(from, wanted.server) {
        return Err((Mismatch::WrongSource, None));
    }
    let header = Header::parse(bytes).map_err(|error| (Mismatch::Short, Some(error)))?;
    if header.id != wanted.id {
        return Err((Mismatch::Id, None));
    }
    if !header.flags.is_response() {
        return Err((Mismatch::NotResponse, None));
    }
    if header.flags.opcode() != Opcode::QUERY {
        return Err((Mismatch::Opcode, None));
    }
    let malformed = |error| (Mismatch::Malformed, Some(error));
    let message = Message::parse(bytes).map_err(malformed)?;
    let mut questions = message.questions();
    match (questions.next(), questions.next()) {
        (Some(question), None) if is_asked(wanted, &question) => {}
        // Servers that cannot read a query may leave its question out.
        (None, _) if may_lack_question(&message) => {}
        _ => return Err((Mismatch::Question, None)),
    }
    if header.flags.truncated() {
        return Ok(Match::Truncated);
    }
    if wanted.cut {
        return Err(malformed(DnsError { offset: bytes.len(), kind: DnsErrorKind::Short }));
    }
    match message.check().map_err(malformed)? {
        left_over if left_over > 0 && wanted.strict => Err((Mismatch::LeftOver, None)),
        left_over => Ok(Match::Whole { left_over }),
    }
}

/// The scope of an IPv6 address is told by some calls and not by others.
fn same_end(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

fn is_asked(wanted: &Wanted<'_>, question: &Question<'_>) -> bool {
    let name = question.name;
    let same = if wanted.exact { name.is_identical(wanted.name) } else { name == wanted.name };
    // There is nothing before it that it could point to.
    same && !name.is_compressed()
        && question.rtype == wanted.rtype
        && question.class == wanted.class
}

fn may_lack_question(message: &Message<'_>) -> bool {
    matches!(message.rcode(None), Rcode::FORMERR | Rcode::NOTIMP | Rcode::REFUSED)
}
