//! ICMP and ICMPv6 echo: one socket for all targets, kernel stamps, a fate for every packet.
//!
//! Configurations, reports, statistics and expectations are plain data and always compiled; the
//! engine and the prober are behind the feature `icmp`.

mod config;
mod describe;
mod expect;
pub mod mtu;
mod report;
mod stats;
pub mod trace;

pub use config::{DontFragment, EchoOptions, IcmpConfig, IcmpLimits, Payload};
pub use expect::IcmpExpect;
pub use report::{
    EchoAnswer, EchoError, EchoFate, EchoRecord, IcmpReport, Implausible, MplsLabel, Responder,
    SocketMode,
};
pub use stats::{EchoStats, RttStats};
