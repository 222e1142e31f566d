//! ICMP and ICMPv6 echo: one socket for all targets, kernel stamps, a fate for every packet.
//!
//! Configurations, reports, statistics and expectations are plain data and always compiled; the
//! engine and the prober are behind the feature `icmp`.

#[cfg(all(feature = "icmp", target_os = "linux"))]
mod calibrate;
mod capabilities;
mod config;
mod describe;
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod engine;
mod expect;
pub mod mtu;
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod prober;
mod report;
mod stats;
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod sweep;
pub mod trace;

#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use calibrate::{
    CalibrateConfig, CalibrateError, Calibration, CalibrationRow, CalibrationSpread, Reference,
    ReferenceChoice, calibrate,
};
pub use capabilities::{Capabilities, Capability, FamilyCapabilities, InterfaceStamps};
pub use config::{DontFragment, EchoOptions, IcmpConfig, IcmpLimits, Payload, SocketChoice};
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use engine::{EngineConfig, EngineStats, IcmpEngine, Stamps};
pub use expect::IcmpExpect;
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use prober::IcmpProber;
pub use report::{
    EchoAnswer, EchoError, EchoFate, EchoRecord, IcmpAddressReport, IcmpReport, Implausible,
    MplsLabel, Responder, SocketMode,
};
pub use stats::{EchoStats, RttStats};
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub use sweep::{IcmpSweep, SweepConfig, SweepEvent};
