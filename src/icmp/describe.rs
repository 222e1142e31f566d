//! The report of the ICMP prober for people.

use std::fmt::{self, Formatter};
use std::time::SystemTime;

use super::{EchoFate, EchoRecord, EchoStats, IcmpReport, RttStats};
use crate::render::millis;
use crate::report::{AnyReport, ReportBody};

/// Packets that are shown one by one; the statistics speak for longer trains.
const SHOWN: usize = 10;

impl AnyReport for IcmpReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        for packet in self.packets.iter().take(SHOWN) {
            write!(f, "  {packet}")?;
            writeln!(f)?;
        }
        let more =
            (self.packets.len().saturating_sub(SHOWN) as u64).saturating_add(self.packets_left_out);
        if more > 0 {
            writeln!(f, "  ... and {more} more")?;
        }
        for responder in &self.responders {
            write!(f, "  answered by {}", responder.address)?;
            match responder.rtt {
                Some(rtt) => writeln!(f, " in {}", millis(rtt.ns))?,
                None => writeln!(f)?,
            }
        }
        if let Some(stats) =
            self.stats.as_ref().filter(|stats| self.packets.len() != 1 || stats.duplicates > 0)
        {
            writeln!(f, "  {stats}")?;
        }
        if let Some(rtt) =
            self.stats.as_ref().and_then(|stats| stats.rtt).filter(|rtt| rtt.samples > 1)
        {
            writeln!(f, "  {rtt}")?;
        }
        if self.forgery_suspects > 0 {
            writeln!(f, "  {} packets posed as answers", self.forgery_suspects)?;
        }
        Ok(())
    }
}

impl fmt::Display for EchoRecord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.number, self.fate)?;
        if self.duplicates > 0 {
            write!(f, ", {} duplicates", self.duplicates)?;
        }
        Ok(())
    }
}

impl fmt::Display for EchoFate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(answer) = self.answer() {
            write!(f, "{} bytes from {}", answer.payload_bytes + 8, answer.from)?;
            if let Some(ttl) = answer.ttl {
                write!(f, ", ttl {ttl}")?;
            }
            write!(f, ", {}", millis(answer.rtt.ns))?;
            return match self {
                EchoFate::Late(_) => f.write_str(", too late"),
                EchoFate::Corrupt(_) => f.write_str(", payload changed on the way"),
                _ => Ok(()),
            };
        }
        match self {
            EchoFate::Refused(error) => {
                write!(f, "{}", error.failure.text())?;
                if let Some(from) = error.from {
                    write!(f, ", says {from}")?;
                }
                if let Some(mtu) = error.mtu {
                    write!(f, ", mtu {mtu}")?;
                }
                Ok(())
            }
            EchoFate::NotSent { errno, mtu } => {
                write!(f, "not sent: {}", std::io::Error::from_raw_os_error(*errno))?;
                if let Some(mtu) = mtu {
                    write!(f, ", mtu {mtu}")?;
                }
                Ok(())
            }
            EchoFate::LostLocally => f.write_str("dropped on this host"),
            EchoFate::Lost => f.write_str("no answer"),
            _ => f.write_str("not decided"),
        }
    }
}

impl fmt::Display for EchoStats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} received", self.sent, self.received)?;
        for (count, what) in [
            (self.late, "late"),
            (self.corrupt, "corrupt"),
            (self.refused, "refused"),
            (self.duplicates, "duplicates"),
            (self.reordered, "reordered"),
            (self.not_sent, "not sent"),
            (self.lost_locally, "dropped on this host"),
            (self.pending, "not decided"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match self.loss {
            Some(loss) => write!(f, ", {}% loss", (loss * 10_000.0).round() / 100.0),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RttStats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns as f64 / 1e6;
        write!(
            f,
            "rtt min/avg/median/p95/max = {:.3}/{:.3}/{:.3}/{:.3}/{:.3} ms",
            ms(self.min_ns),
            ms(self.avg_ns),
            ms(self.median_ns),
            ms(self.p95_ns),
            ms(self.max_ns),
        )?;
        if let (Some(mdev), Some(jitter)) = (self.mdev_ns, self.jitter_ns) {
            write!(f, ", mdev {:.3} ms, jitter {:.3} ms", ms(mdev), ms(jitter))?;
        }
        Ok(())
    }
}
