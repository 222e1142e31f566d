//! The engine that all ICMP probes share.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SocketChoice;
use crate::Error;
use crate::engine::echo::StrayCounts;
use crate::io::icmp::Ports;

/// How an [`IcmpEngine`] is set up.
///
/// ```
/// use netsonde::icmp::{EngineConfig, SocketChoice};
///
/// let config: EngineConfig = serde_saphyr::from_str("{socket: datagram, stamps: receive}")?;
/// assert_eq!(config.socket, SocketChoice::Datagram);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct EngineConfig {
    /// What kind of socket to use.
    pub socket: SocketChoice,
    /// Which stamps to ask the kernel for.
    pub stamps: Stamps,
    /// Receive buffer of each socket in bytes (`SO_RCVBUFFORCE`, then `SO_RCVBUF`, socket(7)). Default
    /// 8 MiB, which holds the answers to about 20,000 packets that come at once. Without
    /// `CAP_NET_ADMIN` the system grants no more than `net.core.rmem_max`; what it then has to drop is
    /// counted and never taken for a loss of the path.
    pub receive_buffer_bytes: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            socket: SocketChoice::default(),
            stamps: Stamps::default(),
            receive_buffer_bytes: 8 << 20,
        }
    }
}

/// Which stamps to ask the kernel for. Without them the marks of this process remain, and each result
/// says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stamps {
    /// When a packet leaves and when one arrives; those of the network card where it makes any.
    #[default]
    Full,
    /// When a packet arrives.
    Receive,
    /// None.
    Off,
}

/// What an engine has done so far, over both families.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EngineStats {
    /// Packets that the system took.
    pub sent: u64,
    /// Packets that it did not take.
    pub send_errors: u64,
    /// Packets that came through the filter.
    pub received: u64,
    /// Errors in place of packets.
    pub receive_errors: u64,
    /// Packets that this host dropped because the receive queue was full.
    pub dropped_here: u64,
    /// Packets that wait for an answer.
    pub waiting: u64,
    /// What came in and was not believed.
    pub strays: StrayCounts,
}

impl EngineStats {
    pub(crate) fn add(&mut self, other: &EngineStats) {
        self.sent += other.sent;
        self.send_errors += other.send_errors;
        self.received += other.received;
        self.receive_errors += other.receive_errors;
        self.dropped_here += other.dropped_here;
        self.waiting += other.waiting;
        for why in crate::engine::echo::Stray::ALL {
            self.strays.add_many(*why, other.strays.of(*why));
        }
    }
}

/// One socket for each family, shared by any number of probes. Cheap to clone; what one clone does
/// never harms another.
///
/// A socket is opened when the first probe needs it, in the tokio runtime of that probe, and a task
/// of that runtime listens on it. When the runtime ends, what waits there ends with the code
/// `cancelled`, and the next probe opens a new socket in its own runtime. When the last clone is
/// dropped, whatever still waits ends in the same way.
///
/// ```
/// use netsonde::icmp::{EngineConfig, IcmpConfig, IcmpEngine, IcmpProber};
/// use netsonde::Prober;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let engine = IcmpEngine::new(EngineConfig::default())?;
/// let prober = IcmpProber::new(&engine, IcmpConfig::default())?;
/// let result = prober.probe(&"127.0.0.1".parse()?).await;
/// // Where neither kind of socket is allowed, the verdict is unknown and says what to do.
/// println!("{result}");
/// assert!(!matches!(result.verdict, netsonde::Verdict::Fail(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct IcmpEngine {
    ports: Arc<Ports>,
}

impl fmt::Debug for IcmpEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcmpEngine").field("config", self.ports.config()).finish_non_exhaustive()
    }
}

impl IcmpEngine {
    /// Checks the configuration. Opens nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn new(config: EngineConfig) -> Result<Self, Error> {
        if config.receive_buffer_bytes == 0 || config.receive_buffer_bytes > i32::MAX.unsigned_abs()
        {
            return Err(Error::config("receive_buffer_bytes", "must lie in 1..=2147483647"));
        }
        Ok(IcmpEngine { ports: Arc::new(Ports::new(config)) })
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.ports.stats()
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }
}
