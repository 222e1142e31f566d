//! The trace prober.

use super::{TraceConfig, TraceExpect, TraceReport};
use crate::Error;
use crate::probe::{ProbeContext, ProbeResult, Prober};
use crate::target::Target;

/// Finds the routers on the way to `HOST`, by ICMP, UDP or TCP.
///
/// Within a flow every packet looks alike to routers that share traffic out, so that the hops of a
/// path are those of one path; several [flows](TraceConfig::flows) show several. Each trace has its own
/// sockets, open for as long as it runs and closed when its future is dropped.
///
/// With `CAP_NET_RAW` errors are seen whole, with labels and what they quote. Without it ICMP needs a
/// group within `net.ipv4.ping_group_range`, UDP needs nothing, and TCP is not possible: the local fault
/// says what to do. A TCP query is a SYN alone; what accepts it is reset by the kernel at once, and no
/// connection is left half open.
///
/// A UDP target that answers with a datagram rather than with "port unreachable" does not say which query
/// it answers, unless it sends it back: the answer counts if only one query of the flow is under way, so
/// set [`parallel`](TraceConfig::parallel) to 1 for such.
///
/// The probe passes when no path was refused and every expectation is met, by default that the target
/// answers on each path.
///
/// ```
/// use netsonde::icmp::trace::{TraceConfig, TraceMethod, TraceProber};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let config = TraceConfig { method: TraceMethod::Udp, queries: 2, ..TraceConfig::default() };
/// let prober = TraceProber::new(config)?;
/// let result = prober.probe(&"127.0.0.1".parse()?).await;
/// for path in &result.report.paths {
///     for hop in &path.hops {
///         let routers: Vec<_> = hop.answers().filter_map(|answer| answer.from).collect();
///         println!("{:>2} {routers:?}", hop.ttl);
///     }
/// }
/// # assert_eq!(result.report.paths[0].reached(), Some(1), "{result}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TraceProber {
    config: TraceConfig,
    expect: TraceExpect,
}

impl TraceProber {
    /// Checks the configuration.
    ///
    /// # Errors
    /// [`Error`] naming the key that cannot be used.
    pub fn new(config: TraceConfig) -> Result<Self, Error> {
        config.check()?;
        let expect = config.expect.clone();
        Ok(TraceProber { config, expect })
    }
}

impl Prober for TraceProber {
    type Report = TraceReport;

    async fn probe_with(&self, cx: &ProbeContext, target: &Target) -> ProbeResult<TraceReport> {
        crate::io::icmp::trace::probe(&self.config, cx, target).await.judged(&self.expect)
    }
}
