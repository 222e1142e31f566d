//! Measure a network endpoint the way an outsider sees it.

mod clock;
mod duration;
pub mod engine;
mod error;
mod expect;
#[cfg(feature = "tcp")]
mod io;
mod limits;
mod observe;
mod policy;
mod probe;
mod render;
mod report;
mod resolve;
pub mod script;
mod secret;
mod target;
pub mod tcp;
mod timing;
pub mod tls;
mod verdict;

pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use expect::{Clause, ClauseStatus, Common, Expectation, Judgement, judge};
#[cfg(feature = "tcp")]
pub use io::resolve::SystemResolver;
pub use limits::Limits;
pub use observe::{Event, Observer};
pub use policy::{OutboundPolicy, PolicyRefusal, Ports, PortsError};
pub use probe::{Attempt, Probe, ProbeContext, ProbeResult, Prober, SCHEMA};
pub use report::{AnyReport, Report, ReportBody};
pub use resolve::{
    AddressPolicy, BoxFuture, ConnectTo, Dialing, Family, Resolve, ResolveError, Resolved,
    StaticResolver, interleave,
};
pub use secret::Secret;
pub use target::{Endpoint, Host, Name, Target, TargetError, UnixAddress};
pub use timing::{
    NetworkTime, Phase, PhaseClock, Quality, Span, StampSource, Timing, UnknownPhase, duration_ns,
};
pub use verdict::{
    Failure, FailureKind, LimitHit, LocalFault, LocalFaultKind, RawCode, Side, UnknownCode, Verdict,
};
