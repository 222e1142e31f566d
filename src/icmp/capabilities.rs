//! What this process may do with ICMP, found out by asking for it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether something can be had, and if not, why and what would help.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// The system grants it.
    Available,
    /// The system was asked, and does not.
    Unavailable {
        /// What it said.
        cause: String,
        /// Its error number, if it gave one.
        errno: Option<i32>,
        /// What would help, in one line; `None` if nothing is known to.
        remedy: Option<String>,
    },
    /// It was not asked for, because what it is a property of is not there.
    #[default]
    NotAsked,
}

impl Capability {
    /// Whether the system grants it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        matches!(self, Capability::Available)
    }

    /// What would help, where something is missing and something is known to.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Capability::Unavailable { remedy, .. } => remedy.as_deref(),
            _ => None,
        }
    }

    /// A line that says yes or no and why, and one with what would help.
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        write!(f, "\n  {what:<WIDTH$}{self}")?;
        match self.remedy() {
            Some(remedy) => write!(f, "\n  {:WIDTH$}    remedy: {remedy}", ""),
            None => Ok(()),
        }
    }
}

/// Where the answers begin.
const WIDTH: usize = 26;

/// `yes`, or `no` and why; what would help is [`remedy`](Capability::remedy).
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::Available => f.write_str("yes"),
            Capability::NotAsked => f.write_str("-   not asked: what it builds on is missing"),
            Capability::Unavailable { cause, errno, .. } => {
                write!(f, "no  {cause}")?;
                errno.map_or(Ok(()), |errno| write!(f, " (errno {errno})"))
            }
        }
    }
}

/// What can be had for one family. All but the first four belong to a socket and are asked of a raw one
/// if that can be opened, else of a datagram one, else not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FamilyCapabilities {
    /// This host has the family: its loopback address can be used.
    pub present: Capability,
    /// There is a route to addresses anywhere.
    pub route: Capability,
    /// A raw socket (raw(7)) with a filter: it sees all ICMP that is for us.
    pub raw: Capability,
    /// A datagram ICMP socket (icmp(7)): needs no privilege, if the system lets our groups.
    pub datagram: Capability,
    /// The kernel says when a packet leaves (`SO_TIMESTAMPING`), where the driver of the interface
    /// supports it, see [`InterfaceStamps::kernel_send`].
    pub send_stamps: Capability,
    /// The kernel says when a packet comes in.
    pub receive_stamps: Capability,
    /// A packet can be sent with the name that its send stamp comes back with (`SCM_TS_OPT_ID`).
    /// Without, send stamps are told apart by their order.
    pub named_stamps: Capability,
    /// ICMP errors are queued with what they are about (`IP_RECVERR`), and local drops are told.
    pub error_queue: Capability,
    /// Packets can be kept from being sent in fragments (`IP_MTU_DISCOVER`).
    pub dont_fragment: Capability,
    /// The kernel counts the packets that it drops because the receive queue is full (`SO_RXQ_OVFL`).
    pub drop_counter: Capability,
    /// Packets can be marked for routing (`SO_MARK`).
    pub fwmark: Capability,
    /// The receive buffer that an engine asks for by default is granted.
    pub receive_buffer: Capability,
    /// How much of it is granted, in bytes as they are asked for.
    pub receive_buffer_bytes: Option<u64>,
}

impl FamilyCapabilities {
    /// Whether one kind of socket can be opened. If not, and the family is
    /// [present](FamilyCapabilities::present), privileges are missing.
    #[must_use]
    pub fn can_ping(&self) -> bool {
        self.raw.is_available() || self.datagram.is_available()
    }

    fn rows(&self) -> [(&'static str, &Capability); 12] {
        [
            ("present", &self.present),
            ("route to anywhere", &self.route),
            ("raw socket", &self.raw),
            ("datagram socket", &self.datagram),
            ("send stamps", &self.send_stamps),
            ("receive stamps", &self.receive_stamps),
            ("named send stamps", &self.named_stamps),
            ("error queue", &self.error_queue),
            ("don't fragment", &self.dont_fragment),
            ("counter of drops", &self.drop_counter),
            ("fwmark", &self.fwmark),
            ("receive buffer", &self.receive_buffer),
        ]
    }
}

/// Which stamps a network device offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct InterfaceStamps {
    /// The name of the interface.
    pub interface: String,
    /// The driver lets the kernel stamp what leaves.
    pub kernel_send: Capability,
    /// The card stamps what leaves by its own clock, and has been set up for it.
    pub hardware_send: Capability,
    /// The card stamps all that comes in by its own clock, and has been set up for it.
    pub hardware_receive: Capability,
    /// The number of the card's clock, as in `/dev/ptp0`.
    pub clock: Option<u32>,
}

impl InterfaceStamps {
    fn rows(&self) -> [(&'static str, &Capability); 3] {
        [
            ("send stamps", &self.kernel_send),
            ("hardware send stamps", &self.hardware_send),
            ("hardware receive stamps", &self.hardware_receive),
        ]
    }
}

/// What this process may do with ICMP here and now. Its `Display` is a table, with what would help
/// below each "no"; `docs/json.md` describes it as JSON.
///
/// ```
/// use netsonde::icmp::Capabilities;
///
/// # #[cfg(all(feature = "icmp", target_os = "linux"))] {
/// let capabilities = Capabilities::detect();
/// for family in [&capabilities.v4, &capabilities.v6] {
///     if family.present.is_available() && !family.can_ping() {
///         eprintln!("{capabilities}"); // with what would help
///         assert!(family.raw.remedy().is_some());
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Capabilities {
    /// For IPv4.
    pub v4: FamilyCapabilities,
    /// For IPv6.
    pub v6: FamilyCapabilities,
    /// What each network device offers, by name. Empty if they cannot be listed.
    pub interfaces: Vec<InterfaceStamps>,
}

#[cfg(all(feature = "icmp", target_os = "linux"))]
impl Capabilities {
    /// Finds out, in the network namespace of the calling thread, by opening sockets, setting options
    /// and asking the drivers. Nothing is sent, all that is opened is closed, and no runtime is needed.
    /// Takes a few milliseconds.
    ///
    /// That an option is granted is no proof that it works: [`stamps_ready`](Self::stamps_ready) waits
    /// for a stamp.
    #[must_use]
    pub fn detect() -> Self {
        crate::io::icmp::detect::capabilities()
    }

    /// Waits until the kernel stamps what comes in, and tells for how long. `None` if no stamp came
    /// within 5 ms. Blocks the thread, and sends a few datagrams from this host to itself, over loopback.
    ///
    /// The first socket of a host that asks for stamps switches them on, which takes a moment; an engine
    /// waits by itself when it opens a socket.
    #[must_use]
    pub fn stamps_ready() -> Option<std::time::Duration> {
        crate::io::icmp::detect::stamps_ready()
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, family) in [("IPv4", &self.v4), ("\n\nIPv6", &self.v6)] {
            f.write_str(name)?;
            for (what, capability) in family.rows() {
                capability.write(f, what)?;
            }
        }
        for interface in &self.interfaces {
            write!(f, "\n\n{}", interface.interface)?;
            for (what, capability) in interface.rows() {
                capability.write(f, what)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json_both_ways_and_a_table() {
        let mut capabilities = Capabilities::default();
        capabilities.v4.raw = Capability::Available;
        capabilities.v6.raw = Capability::Unavailable {
            cause: "not permitted".into(),
            errno: Some(1),
            remedy: Some("ask".into()),
        };
        let interface = InterfaceStamps {
            interface: "eth0".into(),
            kernel_send: Capability::Available,
            ..InterfaceStamps::default()
        };
        capabilities.interfaces.push(interface);
        let json = serde_json::to_value(&capabilities).unwrap();
        assert_eq!(json["v4"]["raw"]["status"], "available");
        assert_eq!(json["v6"]["raw"]["remedy"], "ask");
        assert_eq!(json["v6"]["route"]["status"], "not_asked");
        assert_eq!(serde_json::from_value::<Capabilities>(json).unwrap(), capabilities);
        let table = capabilities.to_string();
        for line in [
            "IPv4",
            "  raw socket                yes",
            "  raw socket                no  not permitted (errno 1)",
            "                                remedy: ask",
            "eth0",
            "  send stamps               yes",
        ] {
            assert!(table.lines().any(|l| l == line), "{line}\n{table}");
        }
        assert!(capabilities.v4.can_ping() && !capabilities.v6.can_ping());
        assert_eq!(capabilities.v6.raw.remedy(), Some("ask"));
        assert_eq!(serde_json::from_str::<Capabilities>("{}").unwrap(), Capabilities::default());
    }
}
