//! The ICMP prober.

use super::{IcmpConfig, IcmpEngine, IcmpExpect, IcmpReport};
use crate::Error;
use crate::io::icmp::Ports;
use crate::io::icmp::probe::IcmpPlan;
use crate::probe::{ProbeContext, ProbeResult, Prober};
use crate::target::Target;

/// Sends echo requests to `HOST`, one or a train of them.
///
/// The probe passes when at least one answer came in time and every expectation is met. See
/// [`IcmpEngine`] for an example.
#[derive(Debug)]
pub struct IcmpProber {
    engine: IcmpEngine,
    plan: IcmpPlan,
    expect: IcmpExpect,
}

impl IcmpProber {
    /// Checks the configuration.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used.
    pub fn new(engine: &IcmpEngine, config: IcmpConfig) -> Result<Self, Error> {
        config.check()?;
        let expect = config.expect.clone();
        Ok(IcmpProber { engine: engine.clone(), plan: IcmpPlan::new(config), expect })
    }

    pub(super) fn parts(&self) -> (&Ports, &IcmpPlan) {
        (self.engine.ports(), &self.plan)
    }

    pub(super) fn expect(&self) -> &IcmpExpect {
        &self.expect
    }
}

impl Prober for IcmpProber {
    type Report = IcmpReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<IcmpReport> {
        let engine = self.engine.ports();
        crate::io::icmp::probe::probe(engine, &self.plan, cx, target).await.judged(&self.expect)
    }
}
