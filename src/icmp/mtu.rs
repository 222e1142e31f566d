//! Path MTU discovery: the largest packet that a path carries in one piece, and how sure that is.
//!
//! Configurations, reports and expectations are plain data and always compiled. The prober
//! ([`MtuProber`], Linux) and [`engine::mtu`](crate::engine::mtu), which decides what is to be sent, are
//! behind the feature `icmp`.

mod config;
mod describe;
mod expect;
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod prober;
mod report;

pub use config::{MtuConfig, MtuLimits};
pub use expect::MtuExpect;
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use prober::MtuProber;
pub use report::{Evidence, MtuAnswer, MtuEnd, MtuFate, MtuReport, MtuStep};
