//! What a stub resolver knows and decides, without clock, socket and file: how `resolv.conf` and the hosts
//! file are read, which names are asked for in which order, which server is asked next, what an answer
//! comes to, and what may be kept of it.
//!
//! [`StubResolver`](crate::StubResolver) puts sockets under it.

mod answer;
mod cache;
mod hosts;
mod order;
mod resolv_conf;
mod search;
mod walk;

pub use answer::{AnswerLimits, Negative, Reading, StubAddress, read_answer};
pub use cache::{Cache, CacheLimits, Hit};
pub use hosts::Hosts;
pub use order::sort_by_source;
pub use resolv_conf::{
    MAX_NAMESERVERS, NameServer, ResolvConf, ResolvOptions, ResolvWarning, ResolvWarningKind,
};
pub use search::{Search, Special, Tally, candidates, special};
pub use walk::{ServerWalk, Step, WalkPlan};
