//! A trace for people: lines as those of traceroute.

use std::fmt::{self, Formatter};
use std::net::IpAddr;
use std::time::SystemTime;

use super::{
    AnswerKind, BalancingKind, PathEnd, Rewritten, TraceAnswer, TraceFate, TraceHop, TracePath,
    TraceReport,
};
use crate::render::millis;
use crate::report::{AnyReport, ReportBody};
use crate::verdict::{FailureKind, printable};

/// Bytes of a name that are shown: names are what strangers say.
const NAME_BYTES: usize = 255;

impl AnyReport for TraceReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "  path to {address}")?;
            if let Some(method) = self.method {
                write!(f, " by {}", method.as_str())?;
            }
            if let Some(port) = self.port {
                write!(f, " port {port}")?;
            }
            writeln!(f)?;
        }
        for path in &self.paths {
            if self.paths.len() > 1 {
                writeln!(f, "  flow {}", path.flow)?;
            }
            self.describe_path(path, f)?;
        }
        for hint in &self.balancing {
            let by = match hint.by {
                BalancingKind::Flow => "flow",
                BalancingKind::Packet => "packet",
            };
            write!(f, "  hop {}: shared out by {by} among", hint.ttl)?;
            for (place, router) in hint.routers.iter().enumerate() {
                write!(f, "{} {router}", if place > 0 { "," } else { "" })?;
            }
            writeln!(f)?;
        }
        if self.forgery_suspects > 0 {
            writeln!(f, "  {} packets posed as answers", self.forgery_suspects)?;
        }
        Ok(())
    }
}

impl TraceReport {
    fn describe_path(&self, path: &TracePath, f: &mut Formatter<'_>) -> fmt::Result {
        for hop in &path.hops {
            self.describe_hop(hop, f)?;
        }
        for seen in &path.loops {
            writeln!(
                f,
                "  {} answers at hops {} and {}: a loop",
                seen.address, seen.first_ttl, seen.again_ttl
            )?;
        }
        if let Some(ttl) = path.nat_ttl {
            writeln!(f, "  packets are rewritten before hop {ttl}: address translation")?;
        }
        if let Some(mtu) = path.mtu {
            writeln!(f, "  told mtu {mtu}")?;
        }
        if path.reached().is_none() {
            writeln!(f, "  {}", path.end)?;
        }
        Ok(())
    }

    fn describe_hop(&self, hop: &TraceHop, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "  {:>2} ", hop.ttl)?;
        let mut before = None;
        for query in &hop.queries {
            match &query.fate {
                TraceFate::Answered(answer) | TraceFate::Late(answer) => {
                    if before != Some(answer.from) {
                        self.describe_sender(answer.from, f)?;
                        before = Some(answer.from);
                    }
                    match answer.rtt {
                        Some(rtt) => write!(f, " {}", millis(rtt.ns))?,
                        None => f.write_str(" ?")?,
                    }
                    if matches!(query.fate, TraceFate::Late(_)) {
                        f.write_str(" late")?;
                    }
                    mark(answer, f)?;
                }
                TraceFate::NotSent { errno, .. } => {
                    write!(f, " not sent (errno {errno})")?;
                }
                TraceFate::Lost => f.write_str(" *")?,
                TraceFate::Pending => f.write_str(" ...")?,
            }
            if query.duplicates > 0 {
                write!(f, " (+{} duplicates)", query.duplicates)?;
            }
        }
        writeln!(f)
    }

    fn describe_sender(&self, from: Option<IpAddr>, f: &mut Formatter<'_>) -> fmt::Result {
        match from {
            Some(from) => match self.names.get(&from) {
                Some(name) => write!(f, " {} ({from})", printable(name, NAME_BYTES)),
                None => write!(f, " {from}"),
            },
            None => f.write_str(" unknown sender"),
        }
    }
}

/// What traceroute puts behind a time, and the labels.
fn mark(answer: &TraceAnswer, f: &mut Formatter<'_>) -> fmt::Result {
    if answer.answer == AnswerKind::Refused {
        match (answer.failure, answer.code) {
            (Some(FailureKind::NetUnreachable), _) => f.write_str(" !N")?,
            (Some(FailureKind::HostUnreachable), _) => f.write_str(" !H")?,
            (Some(FailureKind::ProtocolUnreachable), _) => f.write_str(" !P")?,
            (Some(FailureKind::Prohibited | FailureKind::Filtered), _) => f.write_str(" !X")?,
            (Some(FailureKind::FragmentationNeeded), _) => match answer.mtu {
                Some(mtu) => write!(f, " !F-{mtu}")?,
                None => f.write_str(" !F")?,
            },
            (_, Some(code)) => write!(f, " !{code}")?,
            _ => f.write_str(" !")?,
        }
    }
    for label in &answer.mpls {
        write!(f, " [MPLS {} tc {} ttl {}]", label.label, label.traffic_class, label.ttl)?;
    }
    for what in &answer.rewritten {
        f.write_str(match what {
            Rewritten::Source => " [source rewritten]",
            Rewritten::Checksum => " [checksum rewritten]",
            Rewritten::Length => " [length rewritten]",
        })?;
    }
    Ok(())
}

impl fmt::Display for PathEnd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PathEnd::Reached { ttl } => write!(f, "reached at hop {ttl}"),
            PathEnd::Refused { ttl, failure, from } => {
                write!(f, "{} at hop {ttl}", failure.text())?;
                from.map_or(Ok(()), |from| write!(f, ", says {from}"))
            }
            PathEnd::Gap { ttl } => write!(f, "given up at hop {ttl}: too many silent hops"),
            PathEnd::MaxHops => f.write_str("not reached within the largest time to live"),
            PathEnd::NotSent { ttl, errno } => {
                let error = std::io::Error::from_raw_os_error(*errno);
                write!(f, "not sent at hop {ttl}: {error}")
            }
            PathEnd::Unfinished => f.write_str("not finished"),
        }
    }
}
