//! Many hosts at once.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EchoRecord, IcmpProber, IcmpReport};
use crate::Error;
use crate::io::icmp::fleet::{Fleet, FleetEvent};
use crate::probe::{ProbeContext, ProbeResult};
use crate::target::Target;

/// How a sweep over many hosts is paced. What each of them gets is up to the prober.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct SweepConfig {
    /// The least time between any two packets. Default 1 ms: a thousand packets in a second. Zero for
    /// as fast as the system takes them.
    #[serde(with = "crate::duration")]
    pub gap: Duration,
    /// How many names are resolved at a time, at least 1. Default 64.
    pub resolving: usize,
}

impl Default for SweepConfig {
    fn default() -> Self {
        SweepConfig { gap: Duration::from_millis(1), resolving: 64 }
    }
}

impl SweepConfig {
    /// Checks the ranges, without asking the system anything.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        match self.resolving {
            0 => Err(Error::config("resolving", "must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// One ping of many hosts, made by [`IcmpProber::sweep`].
///
/// One plan paces the packets to all of them: rounds go over all hosts, and the interval of the prober
/// lies between two packets to the same host, or more if a round takes longer. Each host has a result
/// of its own, just as [`probe`](crate::Prober::probe) would give it, with the expectations of the
/// prober; the time of a host that has no name to resolve begins with its first packet. A time limit of
/// the prober or of the context is one for the whole sweep. Dropping it frees everything.
#[derive(Debug)]
pub struct IcmpSweep<'a> {
    fleet: Fleet<'a>,
    prober: &'a IcmpProber,
}

/// What comes of a sweep while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum SweepEvent<'a> {
    /// Something new is known of a packet: its fate, a duplicate, a late answer.
    Packet {
        /// The place of its host among the targets.
        place: usize,
        /// Where it was sent.
        address: IpAddr,
        /// The packet as it stands. Its offsets count from the start of the sweep.
        packet: &'a EchoRecord,
    },
    /// A host is done.
    Done {
        /// Its place among the targets.
        place: usize,
        /// Its result, judged by the prober's expectations.
        result: Box<ProbeResult<IcmpReport>>,
    },
}

impl IcmpProber {
    /// Pings many hosts at once from the same sockets: far cheaper than a probe for each of them. Names
    /// are resolved before the first packet leaves.
    ///
    /// ```
    /// use netsonde::icmp::{EngineConfig, IcmpConfig, IcmpEngine, IcmpProber, SweepConfig, SweepEvent};
    /// use netsonde::{ProbeContext, Target};
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let engine = IcmpEngine::new(EngineConfig::default())?;
    /// let prober = IcmpProber::new(&engine, IcmpConfig::default())?;
    /// let cx = ProbeContext::new();
    /// let hosts: Vec<Target> = (1..=50).map(|n| format!("127.0.1.{n}").parse()).collect::<Result<_, _>>()?;
    /// let plan = SweepConfig { gap: Duration::from_micros(100), ..SweepConfig::default() };
    /// let mut sweep = prober.sweep(&cx, hosts, &plan).await?;
    /// let mut done = 0;
    /// while let Some(event) = sweep.next().await {
    ///     if let SweepEvent::Done { result, .. } = event {
    ///         assert_eq!(result.verdict.is_pass(), result.report.stats.is_some());
    ///         done += 1;
    ///     }
    /// }
    /// assert_eq!(done, 50);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`SweepConfig::check`].
    pub async fn sweep<'a>(
        &'a self,
        cx: &'a ProbeContext,
        targets: Vec<Target>,
        config: &SweepConfig,
    ) -> Result<IcmpSweep<'a>, Error> {
        config.check()?;
        let pace = (config.gap, config.resolving);
        let (ports, plan) = self.parts();
        let fleet = Fleet::start(ports, plan, cx, targets, pace).await;
        Ok(IcmpSweep { fleet, prober: self })
    }
}

impl IcmpSweep<'_> {
    /// What happens next; `None` when every host is done. If the future is dropped, nothing is lost.
    pub async fn next(&mut self) -> Option<SweepEvent<'_>> {
        Some(match self.fleet.next().await? {
            FleetEvent::Packet { place, address, packet } => {
                SweepEvent::Packet { place, address, packet }
            }
            FleetEvent::Done { place, mut result } => {
                result.judge(self.prober.expect());
                SweepEvent::Done { place, result }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_resolves_nothing_is_refused() {
        let bad = SweepConfig { resolving: 0, ..SweepConfig::default() };
        assert!(bad.check().unwrap_err().to_string().starts_with("resolving"));
        assert!(SweepConfig { gap: Duration::ZERO, ..SweepConfig::default() }.check().is_ok());
    }
}
