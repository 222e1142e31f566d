//! One message to the server and what became of it.

use std::net::SocketAddr;

use super::{Mismatch, MismatchCounts};
use crate::wire::dns::DnsName;

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Each in a datagram.
    Udp,
    /// Over a stream, with their length in front (RFC 7766): TCP, TLS.
    Stream,
}

/// One attempt. Offsets count from the start of the query, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// How it went.
    pub protocol: Protocol,
    /// The id of the message.
    pub id: u16,
    /// The name with its letters in the case in which they were sent.
    pub name: DnsName,
    /// Whether it spoke EDNS.
    pub edns: bool,
    /// When it was sent.
    pub sent_ns: u64,
    /// When it was decided; `None` while it is not.
    pub end_ns: Option<u64>,
    /// What became of it.
    pub fate: AttemptFate,
    /// What came for it and was not believed.
    pub mismatches: MismatchCounts,
    /// Who else sent something that was meant as the answer.
    pub other_source: Option<SocketAddr>,
    /// Errors that were reported for it.
    pub errors: u64,
    /// Further copies of the answer.
    pub duplicates: u64,
    /// Answers that differ from the first one: somebody else answers too.
    pub conflicts: u64,
    /// The answer; empty if there is none.
    pub message: Vec<u8>,
    /// The first answer that differs from it; empty if there is none.
    pub conflict: Vec<u8>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptFate {
    /// It is under way.
    Waiting,
    /// It was answered.
    Answered {
        /// Octets behind the last record.
        left_over: usize,
    },
    /// It was answered by a message that was cut short (TC).
    Truncated {},
    /// It was refused.
    Refused,
    /// Its time was over.
    TimedOut,
}

impl Attempt {
    pub(super) fn new(
        protocol: Protocol,
        id: u16,
        name: DnsName,
        edns: bool,
        sent_ns: u64,
    ) -> Self {
        Attempt {
            protocol,
            id,
            name,
            edns,
            sent_ns,
            end_ns: None,
            fate: AttemptFate::Waiting,
            mismatches: MismatchCounts::default(),
            other_source: None,
            errors: 0,
            duplicates: 0,
            conflicts: 0,
            message: Vec::new(),
            conflict: Vec::new(),
        }
    }

    /// One more answer to an attempt that has one. Only the first that differs is kept, however many
    /// come.
    pub(super) fn again(&mut self, bytes: &[u8]) -> Mismatch {
        let why = if bytes == self.message {
            self.duplicates += 1;
            Mismatch::Duplicate
        } else {
            self.conflicts += 1;
            if self.conflict.is_empty() {
                self.conflict = bytes.to_vec();
            }
            Mismatch::Conflict
        };
        self.mismatches.add(why);
        why
    }
}
