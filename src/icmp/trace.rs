//! Traces: which routers lie on the way to a target, hop by hop and path by path.
//!
//! Configurations, reports and expectations are plain data and always compiled. The prober
//! ([`TraceProber`], Linux) and [`engine::trace`](crate::engine::trace), which decides what is to be sent,
//! are behind the feature `icmp`.

mod config;
mod describe;
mod expect;
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod prober;
mod report;
#[cfg(test)]
mod tests;

pub(super) use config::check_leaving;
pub use config::{TraceConfig, TraceLimits, TraceMethod};
pub use expect::TraceExpect;
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use prober::TraceProber;
pub use report::{
    AnswerKind, Balancing, BalancingKind, ExtensionObject, Loop, PathEnd, Quoted, Rewritten,
    TraceAnswer, TraceFate, TraceHop, TracePath, TraceQuery, TraceReport,
};
