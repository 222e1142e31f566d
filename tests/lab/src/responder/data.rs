//! What a responder does, as a file can say it.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::responder::{Answer, Broken, Fragments, IcmpError, Reply, Request, mpls};
use crate::set::Set;

/// How some echo requests are answered: rightly, but for what is said. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reaction {
    /// Which requests, numbered from 0 in their order of arrival; all if there is none.
    pub packets: Option<Set>,
    /// Whether there is no answer at all.
    pub silent: bool,
    /// An ICMP error instead of a reply.
    pub error: Option<ErrorReaction>,
    /// Whether the reply comes even though an error does.
    pub reply_too: bool,
    /// How long after the request.
    pub hold_us: u64,
    /// How often, if not once.
    pub times: Option<u32>,
    /// Between any two times.
    pub gap_us: u64,
    /// From where, if not from where the request went to.
    pub from: Option<IpAddr>,
    /// What is flipped in the identifier.
    pub id_bits: u16,
    /// What is added to the sequence number.
    pub seq_add: u16,
    /// The type, if not that of a reply.
    pub kind: Option<u8>,
    /// The code, if not 0.
    pub code: Option<u8>,
    /// How long the payload is, if not as long as it was.
    pub payload_length: Option<usize>,
    /// A bit of the payload that is flipped, the checksum right.
    pub flip: Option<usize>,
    /// What the checksum is off by.
    pub checksum_off: u16,
    /// Where the ICMP message ends early.
    pub message_length: Option<usize>,
    /// How it is cut into fragments.
    pub fragments: Option<Fragments>,
    /// Time to live.
    pub ttl: Option<u8>,
    /// So many bytes of IPv4 options, all of them "no operation".
    pub options: usize,
    /// IPv6 extension headers before the message: 0 and 60.
    pub extension_headers: Vec<u8>,
    /// Zeros behind the packet.
    pub padding: usize,
}

/// An ICMP error instead of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorReaction {
    /// Type, in IPv4.
    pub kind: u8,
    /// Code, in IPv4.
    pub code: u8,
    /// Type and code in IPv6, if they differ.
    #[serde(default)]
    pub v6: Option<(u8, u8)>,
    /// How much is quoted behind the IP header, if not all.
    #[serde(default)]
    pub quote_behind_header: Option<usize>,
    /// So many bytes of options in the quoted IPv4 header.
    #[serde(default)]
    pub inner_options: usize,
    /// MTU, for "fragmentation needed" and "packet too big".
    #[serde(default)]
    pub mtu: u32,
    /// MPLS labels, one extension object for each.
    #[serde(default)]
    pub mpls: Vec<u32>,
    /// What is wrong with the extensions.
    #[serde(default)]
    pub broken: Broken,
}

impl Reaction {
    /// The answers to a request.
    pub fn answers(&self, request: &Request<'_>) -> Vec<Answer> {
        if self.silent {
            return Vec::new();
        }
        let mut answers = Vec::new();
        if let Some(error) = &self.error {
            answers.extend(self.error_about(request, error).answers());
        }
        if self.error.is_none() || self.reply_too {
            answers.extend(self.reply_to(request).answers());
        }
        answers
    }

    fn error_about(&self, request: &Request<'_>, error: &ErrorReaction) -> IcmpError {
        let is_v4 = request.echo.ip.source.is_ipv4();
        let (kind, code) = error.v6.filter(|_| !is_v4).unwrap_or((error.kind, error.code));
        let mut out = request.error(kind, code);
        if let Some(from) = self.from.filter(|from| from.is_ipv4() == is_v4) {
            out.source = from;
        }
        if error.mtu > 0 {
            out = out.mtu(error.mtu);
        }
        if error.inner_options > 0 && is_v4 {
            out = out.inner_options(&vec![1; error.inner_options]);
        }
        if let Some(bytes) = error.quote_behind_header {
            out = out.quote_behind_header(bytes);
        }
        out.objects = error.mpls.iter().map(|label| mpls(*label, 0, 1)).collect();
        out.broken = error.broken;
        out.hold = Duration::from_micros(self.hold_us);
        out.times = self.times.unwrap_or(1);
        out.gap = Duration::from_micros(self.gap_us);
        out
    }

    fn reply_to(&self, request: &Request<'_>) -> Reply {
        let mut reply = request.reply();
        let is_v4 = reply.source.is_ipv4();
        reply.source = self.from.filter(|from| from.is_ipv4() == is_v4).unwrap_or(reply.source);
        reply.id ^= self.id_bits;
        reply.seq = reply.seq.wrapping_add(self.seq_add);
        reply.kind = self.kind.unwrap_or(reply.kind);
        reply.code = self.code.unwrap_or(reply.code);
        reply.ttl = self.ttl.unwrap_or(reply.ttl);
        if let Some(length) = self.payload_length {
            reply = reply.payload_length(length);
        }
        if let Some(bit) = self.flip {
            reply = reply.flip(bit);
        }
        if is_v4 {
            reply.options = vec![1; self.options];
        } else {
            reply.extension_headers.clone_from(&self.extension_headers);
        }
        reply.checksum_off = self.checksum_off;
        reply.message_length = self.message_length;
        reply.fragments = self.fragments;
        reply.padding = self.padding;
        reply.hold = Duration::from_micros(self.hold_us);
        reply.times = self.times.unwrap_or(1);
        reply.gap = Duration::from_micros(self.gap_us);
        reply
    }
}

/// The program that these reactions are, the first that is about a request being the one. A request
/// that none is about gets its reply at once.
pub fn program(reactions: Vec<Reaction>) -> impl FnMut(&Request<'_>) -> Vec<Answer> + Send {
    move |request| {
        let is_about = |reaction: &&Reaction| {
            reaction.packets.as_ref().is_none_or(|packets| packets.contains(request.number))
        };
        match reactions.iter().find(is_about) {
            Some(reaction) => reaction.answers(request),
            None => request.reply().answers(),
        }
    }
}
