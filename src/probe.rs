//! Probers, probes and what they return.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::expect::Clause;
use crate::observe::{Event, Observer, notify};
use crate::policy::OutboundPolicy;
use crate::report::{Report, ReportBody};
use crate::resolve::{BoxFuture, Resolve};
use crate::target::Target;
use crate::timing::{Quality, Timing};
use crate::verdict::Verdict;

mod json;

/// What one probe found out: kept, judged, printed or exported as a whole.
///
/// In JSON it is versioned and stable: `schema` is [`SCHEMA`], `kind` names the prober, and reading
/// it back gives the same value. `Display` draws a waterfall for people.
///
/// ```
/// use netsonde::{ProbeResult, Report};
///
/// # fn keep(result: ProbeResult) -> Result<(), serde_json::Error> {
/// let json = serde_json::to_string(&result)?;
/// let stored: ProbeResult = serde_json::from_str(&json)?;
/// assert_eq!(stored, result);
/// if let Report::Tcp(report) = &stored.report {
///     println!("{} took {:?}, {:?}", stored.target, stored.timing.total(), report.connection);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbeResult<R = Report> {
    /// What was probed.
    pub target: Target,
    /// The wall clock when it started: a label for people, not for arithmetic.
    pub started_at: SystemTime,
    /// The conclusion: the outcome judged by the prober's expectations.
    pub verdict: Verdict,
    /// What the measurement itself found, before any expectation.
    pub outcome: Verdict,
    /// Every clause of the expectations, in order.
    pub clauses: Vec<Clause>,
    /// Where the time went; its spans tile the whole.
    pub timing: Timing,
    /// Every address tried, in the order of dialling.
    pub attempts: Vec<Attempt>,
    /// How far the figures can be trusted.
    pub quality: Quality,
    /// What was learnt, also on failure.
    pub report: R,
}

/// The version of the JSON form. It changes when a field changes its meaning or goes away; new
/// fields do not change it.
pub const SCHEMA: u32 = 1;

impl<R> ProbeResult<R> {
    /// A result of a measurement, not judged yet: the verdict is the outcome.
    #[must_use]
    pub fn new(
        target: Target,
        started_at: SystemTime,
        outcome: Verdict,
        timing: Timing,
        report: R,
    ) -> Self {
        ProbeResult {
            target,
            started_at,
            verdict: outcome.clone(),
            outcome,
            clauses: Vec::new(),
            timing,
            attempts: Vec::new(),
            quality: Quality::default(),
            report,
        }
    }

    /// The same result with another report: how a typed result becomes an erased one.
    #[must_use]
    pub fn map<S>(self, report: impl FnOnce(R) -> S) -> ProbeResult<S> {
        ProbeResult {
            target: self.target,
            started_at: self.started_at,
            verdict: self.verdict,
            outcome: self.outcome,
            clauses: self.clauses,
            timing: self.timing,
            attempts: self.attempts,
            quality: self.quality,
            report: report(self.report),
        }
    }

    /// Judges the result by an expectation: sets `verdict` and `clauses`.
    #[must_use]
    pub fn judged<E: crate::Expectation<R> + ?Sized>(mut self, expect: &E) -> Self {
        self.judge(expect);
        self
    }

    /// The same in place.
    pub fn judge<E: crate::Expectation<R> + ?Sized>(&mut self, expect: &E) {
        let judgement = crate::judge(self, expect);
        self.verdict = judgement.verdict;
        self.clauses = judgement.clauses;
    }
}

/// One address that was tried.
///
/// ```
/// # fn show(result: netsonde::ProbeResult) {
/// for attempt in &result.attempts {
///     let end = attempt.verdict.as_ref().map_or("given up", |verdict| verdict.status());
///     println!("{} after {:?}: {end}", attempt.address, attempt.duration());
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The address that was dialled, with its port.
    pub address: Target,
    /// When it was dialled, as an offset from the start of the probe in nanoseconds.
    pub start_ns: u64,
    /// When it was decided, as such an offset.
    pub end_ns: u64,
    /// How it ended; `None` if it was given up because another address was first.
    pub verdict: Option<Verdict>,
    /// Whether the rest of the result is about this address.
    pub selected: bool,
    /// The address it was dialled from, once the system had chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// SYN packets that had to be sent again, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_retransmits: Option<u32>,
}

impl Attempt {
    /// An attempt that has just begun.
    #[must_use]
    pub fn new(address: Target, start_ns: u64) -> Self {
        Attempt {
            address,
            start_ns,
            end_ns: start_ns,
            verdict: None,
            selected: false,
            local: None,
            syn_retransmits: None,
        }
    }

    /// How long it took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_ns.saturating_sub(self.start_ns))
    }
}

/// What surrounds a probe: how long it may take, who resolves, where it may go, who watches, what
/// time it is. Cheap to clone; nothing in it is global.
///
/// ```
/// use netsonde::{OutboundPolicy, ProbeContext};
/// use std::time::Duration;
///
/// let cx = ProbeContext::new()
///     .with_timeout(Duration::from_millis(800))
///     .with_policy(OutboundPolicy::guarded());
/// ```
#[derive(Clone, Debug)]
pub struct ProbeContext {
    timeout: Option<Duration>,
    resolver: Option<Arc<dyn Resolve>>,
    policy: Arc<OutboundPolicy>,
    observer: Option<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
}

impl Default for ProbeContext {
    fn default() -> Self {
        ProbeContext {
            timeout: None,
            resolver: None,
            policy: Arc::default(),
            observer: None,
            clock: Arc::new(SystemClock),
        }
    }
}

impl ProbeContext {
    /// The timeout of the prober, the resolver of the system, a policy that allows everything but
    /// multicast, no observer, the clocks of the system.
    #[must_use]
    pub fn new() -> Self {
        ProbeContext::default()
    }

    /// Ends the probe after this time, whatever the prober's own timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Resolves names with this instead of the system's resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Where the probe may go.
    #[must_use]
    pub fn with_policy(mut self, policy: OutboundPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Who is told what happens.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Takes the marks from this clock. Timers stay those of the runtime.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The time limit, if one is set here.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The resolver, if one is set here.
    #[must_use]
    pub fn resolver(&self) -> Option<&dyn Resolve> {
        self.resolver.as_deref()
    }

    /// Where the probe may go.
    #[must_use]
    pub fn policy(&self) -> &OutboundPolicy {
        &self.policy
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Tells the observer, if there is one. A panic in it is caught.
    pub fn notify(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            notify(&**observer, event);
        }
    }

    /// Whether anybody watches: lets a prober skip making events that are costly.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }
}

/// Measures targets in one way. Built once from its configuration, used for any number of targets;
/// cheap to share.
///
/// ```
/// use netsonde::{ProbeContext, Prober, Target};
///
/// async fn all_fine<P: Prober>(prober: &P, cx: &ProbeContext, targets: &[Target]) -> bool {
///     for target in targets {
///         if !prober.probe_with(cx, target).await.verdict.is_pass() {
///             return false;
///         }
///     }
///     true
/// }
/// ```
pub trait Prober: Send + Sync {
    /// What it finds out.
    type Report: ReportBody;

    /// Probes a target once. Never fails: trouble is a verdict. Dropping the future ends the probe
    /// and frees what it holds.
    fn probe_with(
        &self,
        cx: &ProbeContext,
        target: &Target,
    ) -> impl Future<Output = ProbeResult<Self::Report>> + Send;

    /// Probes a target once, with the default surroundings.
    fn probe(&self, target: &Target) -> impl Future<Output = ProbeResult<Self::Report>> + Send {
        async move { self.probe_with(&ProbeContext::default(), target).await }
    }
}

trait ErasedProber: Send + Sync {
    fn run<'a>(
        &'a self,
        cx: &'a ProbeContext,
        target: &'a Target,
    ) -> BoxFuture<'a, ProbeResult<Report>>;
}

impl<P: Prober> ErasedProber for P {
    fn run<'a>(
        &'a self,
        cx: &'a ProbeContext,
        target: &'a Target,
    ) -> BoxFuture<'a, ProbeResult<Report>> {
        Box::pin(async move { self.probe_with(cx, target).await.map(ReportBody::into_report) })
    }
}

/// A prober and a target, whatever their types: what registries and monitors hold. Cheap to clone.
///
/// ```
/// # #[cfg(all(feature = "unix", unix))]
/// # fn list() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use netsonde::Probe;
/// use netsonde::tcp::{TcpConfig, TcpProber, UnixConfig, UnixProber};
///
/// let tcp = Arc::new(TcpProber::new(TcpConfig::default())?);
/// let unix = Arc::new(UnixProber::new(UnixConfig::default())?);
/// let probes = [
///     Probe::new(Arc::clone(&tcp), "db.example:5432".parse()?),
///     Probe::new(tcp, "cache.example:6379".parse()?),
///     Probe::new(unix, "unix:/run/app.sock".parse()?),
/// ];
/// assert_eq!(probes.map(|probe| probe.kind()), ["tcp", "tcp", "unix"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Probe {
    prober: Arc<dyn ErasedProber>,
    kind: &'static str,
    target: Target,
}

impl Probe {
    /// Binds a prober to a target.
    pub fn new<P: Prober + 'static>(prober: Arc<P>, target: Target) -> Self {
        Probe { prober, kind: P::Report::KIND, target }
    }

    /// The kind of the prober: `tcp`, `unix`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Probes the target once.
    pub async fn run(&self, cx: &ProbeContext) -> ProbeResult<Report> {
        self.prober.run(cx, &self.target).await
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({} {})", self.kind, self.target)
    }
}

#[cfg(test)]
mod tests;
