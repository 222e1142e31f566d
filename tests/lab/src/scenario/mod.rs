//! Scenarios: a network, what happens in it, what a prober is to find out, all in one TOML file.
//!
//! ```
//! let scenario = netsonde_lab::scenario::Scenario::parse(
//!     "about = 'the third request is lost'
//!      [topology.line.forth]
//!      number = 'echo'
//!      lose = '2'
//!      [[probe]]
//!      count = 5
//!      [probe.expect]
//!      otherwise = 'answered'
//!      fates = { lost = '2' }",
//! )?;
//! assert_eq!(scenario.probe[0].count, 5);
//! # Ok::<(), String>(())
//! ```
//!
//! Which network a fate was met in is the file's business; how to probe is that of a closure from a
//! [`Job`] to an [`Outcome`], so that any prober can be put to the test. [`crate::ping`] has one.

mod judge;
mod run;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::netlab::{Net, Topology};
use crate::responder::Reaction;
use crate::set::Set;

pub use run::{Ran, run};

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What it shows, in one line.
    pub about: String,
    /// The rows of the fault list that it shows.
    pub rows: Vec<String>,
    /// The network. Every probe gets a new one.
    pub topology: Topology,
    /// What the far end answers; its kernel does so rightly if there is none.
    pub answer: Vec<Reaction>,
    /// The probes, one after the other.
    pub probe: Vec<Probe>,
}

/// A train of echo requests to one target.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// 4 or 6; both, one after the other, if there is none.
    pub family: Option<u8>,
    /// Whom to ask, if not the server.
    pub target: Option<IpAddr>,
    /// How many requests.
    pub count: u32,
    /// From one to the next, in milliseconds.
    pub interval_ms: u64,
    /// How long to wait for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Bytes of payload.
    pub size: u16,
    /// Time to live, hop limit.
    pub ttl: Option<u8>,
    /// Whether routers may not cut it ("don't fragment").
    pub df: bool,
    /// The names of the probers that this is for; all if there is none.
    pub probers: Vec<String>,
    /// What is to come out.
    pub expect: Expect,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            family: None,
            target: None,
            count: 10,
            interval_ms: 10,
            timeout_ms: 500,
            size: 56,
            ttl: None,
            df: false,
            probers: Vec::new(),
            expect: Expect::default(),
        }
    }
}

/// What is to come out of a [`Probe`]. Packets are numbered from 0 in the order of sending.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Packets by fate: see [`PacketOutcome::fate`].
    pub fates: BTreeMap<String, Set>,
    /// The fate of all others; `answered` if there is none.
    pub otherwise: Option<String>,
    /// How many more answers some packets have; all others have none.
    pub duplicates: Vec<Duplicates>,
    /// Packets whose answer comes after that to a later packet; no other's does.
    pub overtaken: Set,
    /// Who answers, or sends the errors; both families may be in it.
    pub from: Vec<IpAddr>,
    /// Bounds of the round-trip times, in microseconds.
    pub rtt_us: Vec<Bounds>,
    /// How far a round-trip time may be from that of the capture on the client's wire.
    pub rtt_error_us: Option<u64>,
}

/// More answers than one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicates {
    /// To which packets.
    pub packets: Set,
    /// How many beyond the first.
    pub extra: u32,
}

/// Bounds of the round-trip times of some packets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Which.
    pub packets: Set,
    /// At least.
    pub from: u64,
    /// At most.
    pub to: u64,
}

/// What a prober is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The network; probe from [`Net::client`].
    pub net: &'a Net,
    /// Whom to ask.
    pub target: IpAddr,
    /// How often, how fast, how large.
    pub probe: &'a Probe,
}

impl Job<'_> {
    /// From one request to the next.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.probe.interval_ms)
    }

    /// How long to wait for an answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.probe.timeout_ms)
    }
}

/// What a prober has found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Packet by packet, in the order of sending.
    pub packets: Vec<PacketOutcome>,
    /// Anything that helps to understand it, shown when it is not what was expected.
    pub note: String,
}

/// What became of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketOutcome {
    /// Its fate, in one of these words: `answered`, `late`, `corrupt`, `lost`, `lost_locally`,
    /// `error 3/13` (type and code of the ICMP error), `not_sent EINVAL` (the name of the errno).
    pub fate: String,
    /// Sequence number on the wire, by which the capture knows it.
    pub seq: Option<u16>,
    /// Round-trip time, if it was answered.
    pub rtt: Option<Duration>,
    /// Who answered, or sent the error.
    pub from: Option<IpAddr>,
    /// Answers beyond the first.
    pub duplicates: u32,
    /// Its place in the order of first answers.
    pub place: Option<usize>,
}

impl Scenario {
    /// Reads one from text.
    ///
    /// # Errors
    ///
    /// It is no TOML, or has fields that there are not; the message says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Reads one from a file.
    ///
    /// # Errors
    ///
    /// As [`Scenario::parse`], or it cannot be read.
    pub fn load(path: &Path) -> Result<Self, String> {
        let with_path = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| with_path(error.to_string()))?;
        Self::parse(&text).map_err(with_path)
    }
}

/// The folder of the scenarios that come with the lab.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// The scenarios of a folder, by name.
///
/// # Errors
///
/// The folder cannot be read.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
