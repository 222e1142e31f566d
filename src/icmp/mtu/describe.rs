//! A discovery of the path MTU for people.

use std::fmt::{self, Formatter};
use std::time::SystemTime;

use super::{Evidence, MtuEnd, MtuFate, MtuReport, MtuStep};
use crate::render::millis;
use crate::report::{AnyReport, ReportBody};

impl AnyReport for MtuReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            // The verdict says why nothing was sent.
            return Ok(());
        }
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        match self.mtu {
            Some(mtu) if self.confirmed => write!(f, "  path mtu {mtu}")?,
            Some(mtu) => write!(f, "  path mtu at least {mtu}, not confirmed")?,
            None => write!(f, "  {}", self.end)?,
        }
        if self.mtu.is_some() && !matches!(self.end, MtuEnd::Found) {
            write!(f, ": {}", self.end)?;
        }
        match (self.evidence, self.reported_by) {
            (Some(Evidence::Router), Some(from)) => write!(f, ": limited by {from}")?,
            (Some(Evidence::Router), None) => f.write_str(": limited by a router")?,
            (Some(Evidence::Host), _) => f.write_str(": the interface takes no more")?,
            (Some(Evidence::Protocol), _) => f.write_str(": IP has no more")?,
            (Some(Evidence::Configured), _) => f.write_str(": no larger packet was to be tried")?,
            (Some(Evidence::Silence), _) => f.write_str(": larger packets vanish")?,
            (None, _) => {}
        }
        writeln!(f)?;
        if self.black_hole {
            writeln!(f, "  a black hole: packets too large are dropped without an error")?;
        }
        if self.contradictory {
            writeln!(f, "  errors and answers contradict each other: more than one path")?;
        }
        if self.forgery_suspects > 0 {
            writeln!(f, "  {} packets posed as answers", self.forgery_suspects)?;
        }
        Ok(())
    }
}

impl fmt::Display for MtuStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes: ", self.size)?;
        match &self.fate {
            MtuFate::Pending => f.write_str("not decided")?,
            MtuFate::Answered(answer) => {
                f.write_str("passes")?;
                if let Some(rtt) = answer.rtt {
                    write!(f, ", {}", millis(rtt.ns))?;
                }
                if answer.size < self.size {
                    write!(f, ", answered as if it had {} bytes", answer.size)?;
                }
            }
            MtuFate::TooBig(error) | MtuFate::Refused(error) => {
                f.write_str(error.failure.text())?;
                if let Some(from) = error.from {
                    write!(f, ", says {from}")?;
                }
                if let Some(mtu) = error.mtu {
                    write!(f, ", mtu {mtu}")?;
                }
                if error.mtu_implausible.is_some() {
                    f.write_str(" (cannot be)")?;
                }
            }
            MtuFate::TooBigHere { mtu, mtu_implausible } => {
                f.write_str("too big for this host")?;
                if let Some(mtu) = mtu {
                    write!(f, ", mtu {mtu}")?;
                }
                if mtu_implausible.is_some() {
                    f.write_str(" (cannot be)")?;
                }
            }
            MtuFate::NotSent { errno } => {
                write!(f, "not sent: {}", std::io::Error::from_raw_os_error(*errno))?;
            }
            MtuFate::Lost => f.write_str("no answer")?,
        }
        if self.late {
            f.write_str(", too late")?;
        }
        if self.duplicates > 0 {
            write!(f, ", {} duplicates", self.duplicates)?;
        }
        Ok(())
    }
}

impl fmt::Display for MtuEnd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MtuEnd::Unfinished => f.write_str("not finished"),
            MtuEnd::Found => f.write_str("found"),
            MtuEnd::NoAnswer => f.write_str("no answer to packets of any size"),
            MtuEnd::BelowMinimum => f.write_str("not even the smallest packet passes"),
            MtuEnd::Refused { failure, from, .. } => {
                f.write_str(failure.text())?;
                from.map_or(Ok(()), |from| write!(f, ", says {from}"))
            }
            MtuEnd::NotSent { errno } => {
                write!(f, "not sent: {}", std::io::Error::from_raw_os_error(*errno))
            }
            MtuEnd::Packets => f.write_str("the cap on packets was hit"),
        }
    }
}
