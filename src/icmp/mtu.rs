//! Path MTU discovery: the largest packet that a path carries in one piece, and how sure that is.
//!
//! Data only; [`engine::mtu`](crate::engine::mtu) decides what is to be sent, behind the feature
//! `icmp`.

mod config;
mod describe;
mod expect;
mod report;

pub use config::{MtuConfig, MtuLimits};
pub use expect::MtuExpect;
pub use report::{Evidence, MtuAnswer, MtuEnd, MtuFate, MtuReport, MtuStep};
