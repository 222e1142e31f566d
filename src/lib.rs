//! Measure a network endpoint the way an outsider sees it.

mod secret;
mod target;
mod timing;
mod verdict;

pub use secret::Secret;
pub use target::{Endpoint, Host, Name, Target, TargetError, UnixAddress};
pub use timing::{
    NetworkTime, Phase, PhaseClock, Quality, Span, StampSource, Timing, UnknownPhase, duration_ns,
};
pub use verdict::{
    Failure, FailureKind, LimitHit, LocalFault, LocalFaultKind, RawCode, Side, UnknownCode, Verdict,
};
