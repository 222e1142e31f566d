//! Traces: which routers lie on the way to a target, hop by hop and path by path.
//!
//! Data only; [`engine::trace`](crate::engine::trace) decides what is to be sent, behind the feature
//! `icmp`.

mod config;
mod describe;
mod expect;
mod report;
#[cfg(test)]
mod tests;

pub(super) use config::check_leaving;
pub use config::{TraceConfig, TraceLimits, TraceMethod};
pub use expect::TraceExpect;
pub use report::{
    AnswerKind, Balancing, BalancingKind, ExtensionObject, Loop, PathEnd, Quoted, Rewritten,
    TraceAnswer, TraceFate, TraceHop, TracePath, TraceQuery, TraceReport,
};
