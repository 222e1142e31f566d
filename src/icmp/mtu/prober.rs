//! The prober of path MTUs.

use super::{MtuConfig, MtuExpect, MtuReport};
use crate::Error;
use crate::icmp::IcmpEngine;
use crate::probe::{ProbeContext, ProbeResult, Prober};
use crate::target::Target;

/// Finds the largest packet that the path to `HOST` carries in one piece.
///
/// Echo requests that must not be fragmented are sent over the sockets of the engine, one at a time,
/// whatever path MTU the system believes in; the first is as large as the interface takes. Errors are
/// followed as far as they can be true, and confirmed by an answer in full size. Where they are missing
/// the search halves what is left, and a [black hole](MtuReport::black_hole) is reported.
///
/// The probe passes when a packet of any size was answered and every expectation is met. Dropping its
/// future frees its packets.
///
/// ```
/// use netsonde::icmp::mtu::{MtuConfig, MtuProber};
/// use netsonde::icmp::{EngineConfig, IcmpEngine};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let engine = IcmpEngine::new(EngineConfig::default())?;
/// let prober = MtuProber::new(&engine, MtuConfig { max: Some(9000), ..MtuConfig::default() })?;
/// let result = prober.probe(&"127.0.0.1".parse()?).await;
/// // Where neither kind of socket is allowed, the verdict is unknown and says what to do.
/// println!("{result}");
/// if result.verdict.is_pass() {
///     // Larger ones were not to be tried.
///     assert_eq!((result.report.mtu, result.report.confirmed), (Some(9000), false));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MtuProber {
    engine: IcmpEngine,
    config: MtuConfig,
    expect: MtuExpect,
}

impl MtuProber {
    /// Checks the configuration. Its `max` is checked against the family of the target when that is
    /// known: a target for which it is out of range is not taken.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used.
    pub fn new(engine: &IcmpEngine, config: MtuConfig) -> Result<Self, Error> {
        config.check()?;
        let expect = config.expect.clone();
        Ok(MtuProber { engine: engine.clone(), config, expect })
    }
}

impl Prober for MtuProber {
    type Report = MtuReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<MtuReport> {
        let engine = self.engine.ports();
        crate::io::icmp::mtu::probe(engine, &self.config, cx, target).await.judged(&self.expect)
    }
}
