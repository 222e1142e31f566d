//! What an ICMP probe found out.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::EchoStats;
use crate::report::{Report, ReportBody};
use crate::tcp::{RefusedAddress, Resolution};
use crate::timing::NetworkTime;
use crate::verdict::{FailureKind, Verdict};

/// What the ICMP prober found out. What was not reached is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct IcmpReport {
    /// How the name was resolved; `None` for a target that is an address.
    pub resolution: Option<Resolution>,
    /// Addresses that were never asked, and why.
    pub refused: Vec<RefusedAddress>,
    /// The address that the figures are about.
    pub address: Option<IpAddr>,
    /// What kind of socket was used.
    pub socket: Option<SocketMode>,
    /// Bytes of payload behind the eight bytes of the echo header.
    pub payload_bytes: Option<u32>,
    /// The figures over all packets; `None` if there was no packet to speak of.
    pub stats: Option<EchoStats>,
    /// The packets in the order in which they were due, at most
    /// [`records`](super::IcmpLimits::records) of them.
    pub packets: Vec<EchoRecord>,
    /// Packets that are in `stats` but no longer in `packets`.
    pub packets_left_out: u64,
    /// Who answered a broadcast or multicast, at most [`responders`](super::IcmpLimits::responders)
    /// of them. Empty for other targets.
    pub responders: Vec<Responder>,
    /// Responders that are not in `responders`.
    pub responders_left_out: u64,
    /// What came of the other addresses that were asked.
    pub others: Vec<IcmpAddressReport>,
    /// Packets that came for one of ours and were not believed: wrong source, wrong cookie, cut short.
    /// Many of them are a sign of forgery.
    pub forgery_suspects: u64,
}

/// One of the other addresses of a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IcmpAddressReport {
    /// The address.
    pub address: IpAddr,
    /// What the measurement of it found.
    pub outcome: Verdict,
    /// The figures over its packets; `None` if there was none.
    pub stats: Option<EchoStats>,
}

/// What kind of socket an echo was sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SocketMode {
    /// A raw socket (raw(7)): needs `CAP_NET_RAW`.
    Raw,
    /// An unprivileged ICMP datagram socket (icmp(7), `ping_group_range`).
    Datagram,
}

/// One of several hosts that answered one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Responder {
    /// Its address.
    pub address: IpAddr,
    /// How long its first answer took.
    pub rtt: Option<NetworkTime>,
    /// How many answers it gave.
    pub answers: u64,
}

impl Responder {
    /// A responder with its first answer.
    #[must_use]
    pub fn new(address: IpAddr, rtt: Option<NetworkTime>) -> Self {
        Responder { address, rtt, answers: 1 }
    }
}

/// One echo request and what became of it. Offsets count from the start of the probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EchoRecord {
    /// Its place in the train, from 0.
    pub number: u64,
    /// When it was due, in nanoseconds.
    pub planned_ns: u64,
    /// When it was handed to the system, in nanoseconds; `None` if it never was.
    pub sent_ns: Option<u64>,
    /// What became of it.
    pub fate: EchoFate,
    /// Further answers to it, whoever sent them.
    pub duplicates: u64,
}

impl EchoRecord {
    /// A packet that was due and of which nothing more is known yet.
    #[must_use]
    pub fn new(number: u64, planned_ns: u64) -> Self {
        EchoRecord { number, planned_ns, sent_ns: None, fate: EchoFate::Pending, duplicates: 0 }
    }
}

/// What became of one echo request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EchoFate {
    /// The probe ended before it could be known: neither lost nor answered.
    Pending,
    /// It was answered in time.
    Answered(EchoAnswer),
    /// It was answered after its timeout: no loss of the path, but no answer in time either.
    Late(EchoAnswer),
    /// It was answered with a payload that differs from ours behind the cookie.
    Corrupt(EchoAnswer),
    /// A router or host refused or could not deliver it.
    Refused(Box<EchoError>),
    /// The system did not take it: nothing left this host.
    NotSent {
        /// The error number of the system (errno(3)).
        errno: i32,
        /// The largest packet that would do, for `EMSGSIZE`, in bytes with the IP header.
        mtu: Option<u32>,
    },
    /// It was dropped on this host: its answer came when the receive queue was full, or so the
    /// counters of the socket say.
    LostLocally,
    /// Nothing came back in time.
    Lost,
}

impl EchoFate {
    /// The stable name, as it stands in JSON and in metric labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            EchoFate::Pending => "pending",
            EchoFate::Answered(_) => "answered",
            EchoFate::Late(_) => "late",
            EchoFate::Corrupt(_) => "corrupt",
            EchoFate::Refused(_) => "refused",
            EchoFate::NotSent { .. } => "not_sent",
            EchoFate::LostLocally => "lost_locally",
            EchoFate::Lost => "lost",
        }
    }

    /// The answer, in time or not.
    #[must_use]
    pub const fn answer(&self) -> Option<&EchoAnswer> {
        match self {
            EchoFate::Answered(answer) | EchoFate::Late(answer) | EchoFate::Corrupt(answer) => {
                Some(answer)
            }
            _ => None,
        }
    }

    /// Whether it left this host, as far as is known.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        !matches!(self, EchoFate::Pending | EchoFate::NotSent { .. } | EchoFate::LostLocally)
    }
}

/// An answer to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EchoAnswer {
    /// Who sent it.
    pub from: IpAddr,
    /// From the request's departure to the answer's arrival.
    pub rtt: NetworkTime,
    /// From just before the request was handed to the system until this process had the answer, in
    /// nanoseconds of the monotonic clock: the network time and the delays of this host.
    pub elapsed_ns: u64,
    /// From just before the request was handed to the system until the answer arrived at this host, in
    /// nanoseconds of the monotonic clock: with the offset of the sending, when it arrived. Packets that
    /// are handed over together leave one after the other, so this is more than the round trip.
    pub arrival_ns: u64,
    /// Time to live or hop limit that was left.
    pub ttl: Option<u8>,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: Option<u8>,
    /// Bytes of payload behind the echo header.
    pub payload_bytes: u32,
    /// The payload was too small for the whole cookie: the match rests on address, identifier and
    /// sequence number, which others can guess.
    pub weak_match: bool,
    /// The wall clock was set while the packet was under way. The time comes from the monotonic clock,
    /// and its uncertainty says how far.
    pub clock_step: bool,
}

impl EchoAnswer {
    /// An answer without any mark against it.
    #[must_use]
    pub fn new(from: IpAddr, rtt: NetworkTime, elapsed_ns: u64, payload_bytes: u32) -> Self {
        EchoAnswer {
            from,
            rtt,
            elapsed_ns,
            arrival_ns: rtt.ns,
            ttl: None,
            tos: None,
            payload_bytes,
            weak_match: false,
            clock_step: false,
        }
    }
}

/// An ICMP or ICMPv6 error that came back for an echo request (RFC 792, RFC 4443).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EchoError {
    /// What it means.
    pub failure: FailureKind,
    /// ICMP type.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// The router or host that sent it; `None` if the system does not tell.
    pub from: Option<IpAddr>,
    /// The largest packet that the next hop takes, in bytes; `None` if the error does not say.
    pub mtu: Option<u32>,
    /// Why that figure can hardly be true.
    pub mtu_implausible: Option<Implausible>,
    /// Which byte of the packet was found wrong, for parameter problems.
    pub pointer: Option<u32>,
    /// The labels under which the packet travelled where the error was made (RFC 4950).
    pub mpls: Vec<MplsLabel>,
    /// From the request's departure to the error's arrival.
    pub rtt: Option<NetworkTime>,
    /// The error quotes too little for the cookie: the match rests on address, identifier and
    /// sequence number, which others can guess.
    pub weak_match: bool,
}

impl EchoError {
    /// An error of this type and code; what it means follows from them.
    #[must_use]
    pub fn new(failure: FailureKind, icmp_type: u8, code: u8, from: Option<IpAddr>) -> Self {
        EchoError {
            failure,
            icmp_type,
            code,
            from,
            mtu: None,
            mtu_implausible: None,
            pointer: None,
            mpls: Vec::new(),
            rtt: None,
            weak_match: false,
        }
    }
}

/// Why a reported MTU can hardly be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Implausible {
    /// Below what every link must carry: 68 bytes in IPv4 (RFC 791), 1280 in IPv6 (RFC 8200).
    TooSmall,
    /// Not below the size of the packet that was refused.
    NotSmaller,
}

/// One entry of an MPLS label stack (RFC 3032).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MplsLabel {
    /// The label, 20 bits.
    pub label: u32,
    /// The traffic class, 3 bits.
    pub traffic_class: u8,
    /// Whether it is the lowest of the stack.
    pub bottom: bool,
    /// Time to live.
    pub ttl: u8,
}

impl MplsLabel {
    /// A label from its fields.
    #[must_use]
    pub const fn new(label: u32, traffic_class: u8, bottom: bool, ttl: u8) -> Self {
        MplsLabel { label, traffic_class, bottom, ttl }
    }
}

impl ReportBody for IcmpReport {
    const KIND: &'static str = "icmp";

    fn into_report(self) -> Report {
        Report::Icmp(Box::new(self))
    }
}
