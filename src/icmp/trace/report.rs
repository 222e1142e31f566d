//! What a trace found out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::TraceMethod;
use crate::icmp::{EchoError, Implausible, MplsLabel, SocketMode};
use crate::report::{Report, ReportBody};
use crate::tcp::{RefusedAddress, Resolution};
use crate::timing::NetworkTime;
use crate::verdict::{Failure, FailureKind, RawCode};

/// What a trace found out. What was not reached is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TraceReport {
    /// How the name was resolved; `None` for a target that is an address.
    pub resolution: Option<Resolution>,
    /// Addresses that were never asked, and why.
    pub refused: Vec<RefusedAddress>,
    /// The address that was traced.
    pub address: Option<IpAddr>,
    /// What kind of socket was used.
    pub socket: Option<SocketMode>,
    /// What was sent.
    pub method: Option<TraceMethod>,
    /// The destination port; `None` for ICMP.
    pub port: Option<u16>,
    /// Bytes of payload behind the transport header.
    pub payload_bytes: Option<u32>,
    /// One path for each flow.
    pub paths: Vec<TracePath>,
    /// Hops at which more than one router answered: a sign of load balancing.
    pub balancing: Vec<Balancing>,
    /// The names of hops, where they were looked up and found.
    pub names: BTreeMap<IpAddr, String>,
    /// Packets that came for one of ours and were not believed.
    pub forgery_suspects: u64,
}

/// The path of one flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TracePath {
    /// Which flow, from 0.
    pub flow: u32,
    /// Why it ends where it does.
    pub end: PathEnd,
    /// The hops in the order of their distance, up to the end.
    pub hops: Vec<TraceHop>,
    /// Queries that were sent further than the end before the end was known. They are not in `hops`.
    pub beyond_end: u64,
    /// Routers that answered at two distances: a sign of a routing loop.
    pub loops: Vec<Loop>,
    /// The first hop whose errors quote packets that were rewritten on the way: a sign of address
    /// translation before it.
    pub nat_ttl: Option<u8>,
    /// The smallest MTU that an error told, in bytes; figures that can hardly be true do not count.
    pub mtu: Option<u32>,
}

impl TracePath {
    /// A path of which nothing is known yet.
    #[must_use]
    pub fn new(flow: u32) -> Self {
        TracePath {
            flow,
            end: PathEnd::Unfinished,
            hops: Vec::new(),
            beyond_end: 0,
            loops: Vec::new(),
            nat_ttl: None,
            mtu: None,
        }
    }

    /// How many hops away the target answered; `None` if it did not.
    #[must_use]
    pub fn reached(&self) -> Option<u8> {
        match self.end {
            PathEnd::Reached { ttl } => Some(ttl),
            _ => None,
        }
    }

    /// Every answer of the path, late ones too, with its hop's distance.
    pub fn answers(&self) -> impl Iterator<Item = (u8, &TraceAnswer)> {
        self.hops.iter().flat_map(|hop| hop.answers().map(|answer| (hop.ttl, answer)))
    }
}

/// Why a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathEnd {
    /// The target answered.
    Reached {
        /// The smallest time to live at which it did.
        ttl: u8,
    },
    /// A router or the target said that it goes no further.
    Refused {
        /// The smallest time to live at which somebody did.
        ttl: u8,
        /// What it means.
        failure: FailureKind,
        /// Who said so; `None` if the system does not tell.
        from: Option<IpAddr>,
    },
    /// Too many hops in a row were silent: [`gap_limit`](super::TraceConfig::gap_limit).
    Gap {
        /// The last of them.
        ttl: u8,
    },
    /// The target did not answer up to the largest time to live.
    MaxHops,
    /// The system took no query of a hop.
    NotSent {
        /// That hop.
        ttl: u8,
        /// The error number of the system (errno(3)).
        errno: i32,
    },
    /// The probe ended before.
    Unfinished,
}

/// What one distance from here answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceHop {
    /// The time to live or hop limit of the queries.
    pub ttl: u8,
    /// The queries in the order of sending.
    pub queries: Vec<TraceQuery>,
}

impl TraceHop {
    /// A hop that was not asked yet.
    #[must_use]
    pub fn new(ttl: u8) -> Self {
        TraceHop { ttl, queries: Vec::new() }
    }

    /// Every answer, late ones too.
    pub fn answers(&self) -> impl Iterator<Item = &TraceAnswer> {
        self.queries.iter().filter_map(|query| query.fate.answer())
    }
}

/// One query and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceQuery {
    /// Its place among the queries of the hop, from 0.
    pub number: u32,
    /// When it was handed to the system, in nanoseconds from the start of the trace.
    pub sent_ns: u64,
    /// What became of it.
    pub fate: TraceFate,
    /// Further answers to it.
    pub duplicates: u64,
}

impl TraceQuery {
    /// A query that has just left.
    #[must_use]
    pub fn new(number: u32, sent_ns: u64) -> Self {
        TraceQuery { number, sent_ns, fate: TraceFate::Pending, duplicates: 0 }
    }
}

/// What became of one query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TraceFate {
    /// The trace ended before it could be known.
    Pending,
    /// It was answered in time.
    Answered(Box<TraceAnswer>),
    /// It was answered after its timeout.
    Late(Box<TraceAnswer>),
    /// The system did not take it: nothing left this host.
    NotSent {
        /// The error number of the system (errno(3)).
        errno: i32,
        /// The largest packet that would do, for `EMSGSIZE`, in bytes with the IP header.
        mtu: Option<u32>,
    },
    /// Nothing came back in time.
    Lost,
}

impl TraceFate {
    /// The answer, in time or not.
    #[must_use]
    pub fn answer(&self) -> Option<&TraceAnswer> {
        match self {
            TraceFate::Answered(answer) | TraceFate::Late(answer) => Some(answer),
            _ => None,
        }
    }
}

/// Who answers a query, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AnswerKind {
    /// A router: the time to live ran out there.
    Hop,
    /// The target: an echo reply, a segment or datagram, or, of a UDP query, that nobody listens on
    /// its port.
    Reached,
    /// A router or the target: it goes no further.
    Refused,
}

/// An answer to a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceAnswer {
    /// What it means for the path.
    pub answer: AnswerKind,
    /// Who sent it; `None` if the system does not tell.
    pub from: Option<IpAddr>,
    /// From the query's departure to the answer's arrival.
    pub rtt: Option<NetworkTime>,
    /// What the ICMP error means; `None` if it is none.
    pub failure: Option<FailureKind>,
    /// ICMP type of the error.
    #[serde(rename = "type")]
    pub icmp_type: Option<u8>,
    /// ICMP code of the error.
    pub code: Option<u8>,
    /// Time to live or hop limit that was left to the answer.
    pub ttl: Option<u8>,
    /// The MTU that the error tells, in bytes.
    pub mtu: Option<u32>,
    /// Why that figure can hardly be true.
    pub mtu_implausible: Option<Implausible>,
    /// What the error quotes of the packet that caused it.
    pub quoted: Option<Quoted>,
    /// What differs between the quoted packet and the one that was sent.
    pub rewritten: Vec<Rewritten>,
    /// The labels under which the packet travelled where the error was made (RFC 4950), at most
    /// [`labels`](super::TraceLimits::labels) of them.
    pub mpls: Vec<MplsLabel>,
    /// Other extension objects (RFC 4884), as they came, at most
    /// [`extension_bytes`](super::TraceLimits::extension_bytes) together.
    pub extensions: Vec<ExtensionObject>,
    /// Labels and objects that are not in `mpls` and `extensions`.
    pub extensions_left_out: u64,
    /// Too little was quoted to be sure: the match rests on what others can guess.
    pub weak_match: bool,
}

impl TraceAnswer {
    fn new(answer: AnswerKind, from: Option<IpAddr>, rtt: Option<NetworkTime>) -> Self {
        TraceAnswer {
            answer,
            from,
            rtt,
            failure: None,
            icmp_type: None,
            code: None,
            ttl: None,
            mtu: None,
            mtu_implausible: None,
            quoted: None,
            rewritten: Vec::new(),
            mpls: Vec::new(),
            extensions: Vec::new(),
            extensions_left_out: 0,
            weak_match: false,
        }
    }

    /// The target answered in its own protocol: echo reply, datagram, SYN and ACK, or RST.
    #[must_use]
    pub fn reply(from: IpAddr, rtt: Option<NetworkTime>) -> Self {
        Self::new(AnswerKind::Reached, Some(from), rtt)
    }

    /// An ICMP or ICMPv6 error came back. One that says that the time to live ran out in transit is a
    /// hop's; any other says that it goes no further.
    #[must_use]
    pub fn error(error: EchoError) -> Self {
        // Code 1 is about reassembly, which is the target's business (RFC 792, RFC 4443, 3.3).
        let in_transit = error.failure == FailureKind::TtlExceeded && error.code == 0;
        let answer = if in_transit { AnswerKind::Hop } else { AnswerKind::Refused };
        TraceAnswer {
            failure: Some(error.failure),
            icmp_type: Some(error.icmp_type),
            code: Some(error.code),
            mtu: error.mtu,
            mtu_implausible: error.mtu_implausible,
            mpls: error.mpls,
            weak_match: error.weak_match,
            ..Self::new(answer, error.from, error.rtt)
        }
    }
}

/// What an ICMP error quotes of the headers of the packet that caused it, as far as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Quoted {
    /// Time to live or hop limit that was left: 0 or 1, unless somebody on the way counts otherwise.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Checksum of the transport header.
    pub checksum: Option<u16>,
    /// Length of the whole packet in bytes.
    pub length: Option<u32>,
}

/// What was changed in a packet before an error quoted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rewritten {
    /// The source address.
    Source,
    /// The checksum of the transport header.
    Checksum,
    /// The length of the packet.
    Length,
}

/// An extension object as it came (RFC 4884, 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExtensionObject {
    /// Class number.
    pub class: u8,
    /// C-Type.
    pub c_type: u8,
    /// Its payload; hexadecimal in JSON.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}

impl ExtensionObject {
    /// An object from its fields.
    #[must_use]
    pub fn new(class: u8, c_type: u8, data: Vec<u8>) -> Self {
        ExtensionObject { class, c_type, data }
    }
}

/// A router that answered at two distances with another hop between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loop {
    /// The router.
    pub address: IpAddr,
    /// Its first distance.
    pub first_ttl: u8,
    /// The next one that is not beside the one before.
    pub again_ttl: u8,
}

impl Loop {
    /// A loop from its fields.
    #[must_use]
    pub const fn new(address: IpAddr, first_ttl: u8, again_ttl: u8) -> Self {
        Loop { address, first_ttl, again_ttl }
    }
}

/// A distance at which more than one router answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Balancing {
    /// The distance.
    pub ttl: u8,
    /// Among what the packets were shared out.
    pub by: BalancingKind,
    /// The routers, in the order of their addresses.
    pub routers: Vec<IpAddr>,
}

impl Balancing {
    /// A hint from its fields.
    #[must_use]
    pub fn new(ttl: u8, by: BalancingKind, routers: Vec<IpAddr>) -> Self {
        Balancing { ttl, by, routers }
    }
}

/// How packets are shared out over several paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BalancingKind {
    /// Each flow saw one router, and not all flows the same.
    Flow,
    /// One flow saw several routers: packets are shared out one by one, or the route changed.
    Packet,
}

impl TraceReport {
    /// Whether the target answered on any path.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.paths.iter().any(|path| path.reached().is_some())
    }

    /// What the trace by itself found to be wrong: the target is refused on every path that ended, or
    /// nobody answered at all. A target that stays silent is no failure here but an expectation,
    /// [`reached`](super::TraceExpect::reached), and queries that this host did not send are none of
    /// the network's.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        if self.reached() {
            return None;
        }
        let refusals = self.paths.iter().filter_map(|path| match path.end {
            PathEnd::Refused { ttl, failure, from } => Some((path, ttl, failure, from)),
            _ => None,
        });
        if let Some((path, ttl, kind, from)) = refusals.into_iter().next() {
            let says = path.answers().find(|(at, answer)| {
                *at == ttl && answer.from == from && answer.failure == Some(kind)
            });
            let mut failure = Failure::new(kind).with_detail(format!("at hop {ttl}"));
            if let Some((_, answer)) = says
                && let (Some(icmp_type), Some(code)) = (answer.icmp_type, answer.code)
            {
                failure = failure.with_raw(RawCode::Icmp { icmp_type, code, from });
            }
            return Some(failure);
        }
        let asked = self.paths.iter().flat_map(|path| &path.hops).flat_map(|hop| &hop.queries);
        let mut sent = asked.filter(|query| !matches!(query.fate, TraceFate::NotSent { .. }));
        let silent = self.paths.iter().all(|path| path.answers().next().is_none());
        (silent && sent.next().is_some())
            .then(|| Failure::new(FailureKind::Timeout).with_detail("no hop answered"))
    }
}

impl ReportBody for TraceReport {
    const KIND: &'static str = "trace";

    fn into_report(self) -> Report {
        Report::Trace(Box::new(self))
    }
}

/// Bytes as hexadecimal text.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| D::Error::custom("not hexadecimal"))?;
        let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8);
        Ok(digits.chunks(2).map(byte).collect())
    }
}
