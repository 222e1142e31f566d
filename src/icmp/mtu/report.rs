//! What a discovery of the path MTU found out.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::icmp::{EchoError, Implausible, SocketMode};
use crate::report::{Report, ReportBody};
use crate::tcp::{RefusedAddress, Resolution};
use crate::timing::NetworkTime;
use crate::verdict::{Failure, FailureKind, RawCode};

/// What a discovery of the path MTU found out. Sizes are in bytes of the whole packet with its IP
/// header. What was not reached is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MtuReport {
    /// How the name was resolved; `None` for a target that is an address.
    pub resolution: Option<Resolution>,
    /// Addresses that were never asked, and why.
    pub refused: Vec<RefusedAddress>,
    /// The address that was asked.
    pub address: Option<IpAddr>,
    /// What kind of socket was used.
    pub socket: Option<SocketMode>,
    /// The largest packet that was answered in full size; `None` if none was.
    pub mtu: Option<u32>,
    /// Whether `mtu` is known to be the path MTU: it was answered, and a packet one byte larger cannot
    /// pass, as an error or this host says. Silence confirms nothing.
    pub confirmed: bool,
    /// Why a packet larger than `mtu` does not pass, as far as is known.
    pub evidence: Option<Evidence>,
    /// The smallest packet larger than `mtu` of which that is known; `None` if there is none.
    pub refused_size: Option<u32>,
    /// The router that refused the packet of that size.
    pub reported_by: Option<IpAddr>,
    /// Packets larger than `mtu` vanish without an error although smaller ones are answered: somebody
    /// drops them, or keeps the errors back (RFC 8899, 1.1). A suspicion: loss that strikes every try
    /// of a size looks alike.
    pub black_hole: bool,
    /// Packets were refused that are not larger than others that passed: there is more than one path,
    /// or the path changed. Nothing is confirmed then.
    pub contradictory: bool,
    /// How the discovery ended.
    pub end: MtuEnd,
    /// Every packet in the order of sending.
    pub steps: Vec<MtuStep>,
    /// Packets that came for one of ours and were not believed.
    pub forgery_suspects: u64,
}

/// Why larger packets do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// A router said so.
    Router,
    /// This host does not send them: its interface takes no more.
    Host,
    /// IP has no larger packets.
    Protocol,
    /// The configuration allows no larger ones to be tried: they may pass.
    Configured,
    /// Every try of that size stayed without an answer.
    Silence,
}

/// How a discovery of the path MTU ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MtuEnd {
    /// The probe ended before.
    #[default]
    Unfinished,
    /// Nothing is left between what passes and what does not.
    Found,
    /// The target does not answer packets of any size.
    NoAnswer,
    /// Even the smallest packet that every link must carry is refused as too big.
    BelowMinimum,
    /// It was refused for another reason than size.
    Refused {
        /// What it means.
        failure: FailureKind,
        /// ICMP type.
        #[serde(rename = "type")]
        icmp_type: u8,
        /// ICMP code.
        code: u8,
        /// Who said so; `None` if the system does not tell.
        from: Option<IpAddr>,
    },
    /// The system took no packet of a size, for another reason than its size.
    NotSent {
        /// The error number of the system (errno(3)).
        errno: i32,
    },
    /// The cap on packets was hit: [`packets`](super::MtuLimits::packets).
    Packets,
}

/// One packet and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MtuStep {
    /// Its place, from 0.
    pub number: u32,
    /// Its size in bytes with the IP header.
    pub size: u32,
    /// When it was handed to the system, in nanoseconds from the start of the discovery.
    pub sent_ns: u64,
    /// What became of it.
    pub fate: MtuFate,
    /// The answer or error came after the timeout.
    pub late: bool,
    /// Further answers to it.
    pub duplicates: u64,
}

impl MtuStep {
    /// A packet that has just left.
    #[must_use]
    pub fn new(number: u32, size: u32, sent_ns: u64) -> Self {
        MtuStep { number, size, sent_ns, fate: MtuFate::Pending, late: false, duplicates: 0 }
    }
}

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MtuFate {
    /// The discovery ended before it could be known.
    Pending,
    /// It was answered.
    Answered(MtuAnswer),
    /// A router could not send it on in one piece.
    TooBig(EchoError),
    /// This host did not send it for its size (`EMSGSIZE`).
    TooBigHere {
        /// The largest packet that would do, in bytes with the IP header, if the system says.
        mtu: Option<u32>,
        /// Why that figure can hardly be true.
        mtu_implausible: Option<Implausible>,
    },
    /// It was refused for another reason than its size.
    Refused(EchoError),
    /// The system did not take it, for another reason than its size.
    NotSent {
        /// The error number of the system (errno(3)).
        errno: i32,
    },
    /// Nothing came back in time.
    Lost,
}

/// An answer to a packet of a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MtuAnswer {
    /// Who sent it.
    pub from: IpAddr,
    /// From the packet's departure to the answer's arrival.
    pub rtt: Option<NetworkTime>,
    /// How large the request would have been, to have this answer: its payload and all headers. Less
    /// than the step's size shows that the packet arrived cut short, and proves nothing.
    pub size: u32,
}

impl MtuAnswer {
    /// An answer to a packet of `size` bytes.
    #[must_use]
    pub const fn new(from: IpAddr, rtt: Option<NetworkTime>, size: u32) -> Self {
        MtuAnswer { from, rtt, size }
    }
}

impl MtuReport {
    /// What the discovery by itself found to be wrong: no answer in any size, or a refusal for another
    /// reason than size. Packets that this host did not send are no fault of the network.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        if self.mtu.is_some() {
            return None;
        }
        match self.end {
            MtuEnd::NoAnswer => Some(Failure::new(FailureKind::Timeout)),
            MtuEnd::BelowMinimum => Some(Failure::new(FailureKind::FragmentationNeeded)),
            MtuEnd::Refused { failure, icmp_type, code, from } => {
                Some(Failure::new(failure).with_raw(RawCode::Icmp { icmp_type, code, from }))
            }
            MtuEnd::Unfinished | MtuEnd::Packets => Some(
                Failure::new(FailureKind::Timeout).with_detail("no answer before the probe ended"),
            ),
            MtuEnd::Found | MtuEnd::NotSent { .. } => None,
        }
    }
}

impl ReportBody for MtuReport {
    const KIND: &'static str = "mtu";

    fn into_report(self) -> Report {
        Report::Mtu(Box::new(self))
    }
}
