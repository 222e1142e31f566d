//! Networks: a client, routers, a server, both families, on top of
//! [`Lab`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use netsonde_support::netns::{Device, Lab, Namespace};
use serde::Deserialize;

use crate::delayline::DelayLine;
use crate::program::{Program, Rules};

/// The shape of a [`Net`], as a file can say it: client - (delay line) - routers - server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Routers between client and server, at most 20.
    pub routers: u8,
    /// A delay line between the client and what comes next.
    pub line: Option<Lines>,
    /// Whether the server is no host but a wire that leads nowhere, for a
    /// [`Responder`](crate::Responder): every address behind the last router (`10.80.0.0/16`,
    /// `fd80::/16`, and the documentation ranges 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32) is
    /// then its.
    pub stub: bool,
    /// The longest packet of the client's wire, both ends.
    pub mtu: Option<u32>,
    /// Settings below `/proc/sys/net`: word of the namespace, name, value.
    pub sysctl: BTreeMap<String, BTreeMap<String, String>>,
    /// Commands of nft(8), by word of the namespace.
    pub nft: BTreeMap<String, String>,
    /// Commands of ip(8), by word of the namespace.
    pub ip: BTreeMap<String, Vec<String>>,
    /// Who may use unprivileged ICMP sockets: first and last group (`ping_group_range`, icmp(7)).
    pub ping_groups: Option<(u32, u32)>,
}

/// What happens to packets on a delay line, by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lines {
    /// On the way from the client.
    pub forth: Rules,
    /// On the way to the client.
    pub back: Rules,
}

impl Topology {
    /// A client, so many routers, a server.
    pub fn path(routers: u8) -> Self {
        Self { routers, ..Self::default() }
    }

    /// A client on a wire that leads nowhere: for a [`Responder`](crate::Responder).
    pub fn stub() -> Self {
        Self { stub: true, ..Self::default() }
    }
}

/// A network, removed on drop. Its namespaces have the words `client`, `line`, `r1`, `r2`, ...,
/// `server`; wire number n (from 0) has 10.80.n.0/24 and fd80:n::/64, with `.1` at the client's end
/// and `.2` at the server's. The two ends of a delay line are one wire.
#[derive(Debug)]
pub struct Net {
    // Before the namespaces that its thread works in.
    line: Option<DelayLine>,
    /// Where the prober runs.
    pub client: Namespace,
    /// The routers, the client's first.
    pub routers: Vec<Namespace>,
    /// The other end.
    pub server: Namespace,
    /// The client's device.
    pub near: Device,
    /// The server's device.
    pub far: Device,
    /// The delay line's devices: towards the client, towards the server.
    pub legs: Option<(Device, Device)>,
    /// The addresses of the server, IPv4 first. A stub answers for many more.
    pub target: [IpAddr; 2],
    /// The lab that it is in.
    pub lab: Lab,
}

/// The ranges behind a stub.
const STUB: [&str; 5] =
    ["10.80.0.0/16", "198.51.100.0/24", "203.0.113.0/24", "fd80::/16", "2001:db8::/32"];

/// The end of a wire: address without the length of the prefix.
pub fn address(wire: usize, end: u8) -> [IpAddr; 2] {
    let (v4, v6) = (format!("10.80.{wire}.{end}"), format!("fd80:{wire}::{end}"));
    [v4.parse().expect("an address"), v6.parse().expect("an address")]
}

fn with_prefix(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 })
}

impl Net {
    /// Builds it; `None`, with the skip reported, where that is not possible. The programs of the delay
    /// line are those of the topology.
    ///
    /// # Panics
    ///
    /// The topology asks for something that the kernel refuses.
    pub fn build(word: &str, topology: &Topology) -> Option<Self> {
        let programs = topology.line.clone().map(|lines| (lines.forth.into(), lines.back.into()));
        Self::assemble(word, topology, programs)
    }

    /// Builds it with a delay line that runs these programs, to the server and back.
    ///
    /// # Panics
    ///
    /// As [`Net::build`].
    pub fn with_line(
        word: &str,
        topology: &Topology,
        forth: Program,
        back: Program,
    ) -> Option<Self> {
        Self::assemble(word, topology, Some((forth, back)))
    }

    fn assemble(
        word: &str,
        topology: &Topology,
        programs: Option<(Program, Program)>,
    ) -> Option<Self> {
        assert!(topology.routers <= 20, "at most 20 routers");
        let lab = Lab::new(word)?;
        let client = lab.namespace("client");
        let routers: Vec<_> =
            (1..=topology.routers).map(|number| lab.namespace(&format!("r{number}"))).collect();
        let server = lab.namespace("server");
        routers.iter().for_each(Namespace::forward);
        let nodes: Vec<&Namespace> =
            std::iter::once(&client).chain(&routers).chain([&server]).collect();

        let middle = programs.is_some().then(|| lab.namespace("line"));
        let mut wires = Vec::new();
        let mut legs = None;
        for (wire, pair) in nodes.windows(2).enumerate() {
            let (one, other) = match &middle {
                Some(middle) if wire == 0 => {
                    let (one, left) = lab.link((pair[0], ""), (middle, ""));
                    let (right, other) = lab.link((middle, ""), (pair[1], ""));
                    legs = Some((left, right));
                    (one, other)
                }
                _ => lab.link((pair[0], ""), (pair[1], "")),
            };
            if let Some(mtu) = topology.mtu.filter(|_| wire == 0) {
                let ends =
                    legs.iter().flat_map(|(left, right)| [left, right]).chain([&one, &other]);
                for device in ends {
                    device.namespace.ip(&format!("link set {} mtu {mtu}", device.name));
                }
            }
            let is_stub = topology.stub && wire + 2 == nodes.len();
            join(&one, &other, wire, is_stub);
            wires.push((one, other));
        }
        route(&nodes, &wires, topology.stub);
        let words: BTreeMap<&str, &Namespace> = nodes
            .iter()
            .map(|node| (node.word(), *node))
            .chain(middle.iter().map(|middle| ("line", middle)))
            .collect();
        apply(topology, &words);

        let ((near, _), (_, far)) = (wires.first()?.clone(), wires.last()?.clone());
        let line = programs
            .zip(legs.as_ref())
            .map(|((forth, back), (left, right))| DelayLine::join(left, right, forth, back));
        let target = address(wires.len() - 1, 2);
        Some(Self { line, client, routers, server, near, far, legs, target, lab })
    }

    /// The delay line.
    ///
    /// # Panics
    ///
    /// It has none.
    pub fn line(&self) -> &DelayLine {
        self.line.as_ref().expect("the topology has a delay line")
    }
}

/// Gives both ends their addresses, and tells each who the other is: nobody has to ask, so no packet
/// waits for an answer.
fn join(one: &Device, other: &Device, wire: usize, is_stub: bool) {
    for (near, far) in address(wire, 1).into_iter().zip(address(wire, 2)) {
        one.address(&with_prefix(near));
        one.neighbour(&far.to_string(), other);
        if !is_stub {
            other.address(&with_prefix(far));
            other.neighbour(&near.to_string(), one);
        }
    }
}

fn route(nodes: &[&Namespace], wires: &[(Device, Device)], is_stub: bool) {
    let last = nodes.len() - 1;
    for (place, node) in nodes.iter().enumerate().filter(|(place, _)| !(is_stub && *place == last))
    {
        if place < last {
            // The client's own default route takes what is meant for the ranges behind a stub, too.
            for next in address(place, 2) {
                let family = if next.is_ipv4() { "-4" } else { "-6" };
                node.ip(&format!("{family} route add default via {next}"));
                if is_stub && place == last - 1 {
                    let of_family = |range: &&&str| range.contains(':') == next.is_ipv6();
                    for range in STUB.iter().filter(of_family) {
                        node.ip(&format!("{family} route add {range} via {next}"));
                    }
                }
            }
        }
        // Backwards: every wire before the one to the left.
        for wire in 0..place.saturating_sub(1) {
            for (range, next) in address(wire, 0).into_iter().zip(address(place - 1, 1)) {
                node.ip(&format!("route add {} via {next}", with_prefix(range)));
            }
        }
    }
    debug_assert_eq!(wires.len(), last);
}

fn apply(topology: &Topology, words: &BTreeMap<&str, &Namespace>) {
    let node = |word: &String| {
        *words.get(word.as_str()).unwrap_or_else(|| panic!("there is no namespace `{word}`"))
    };
    if let Some((first, last)) = topology.ping_groups {
        node(&"client".to_owned()).sysctl("ipv4/ping_group_range", &format!("{first} {last}"));
    }
    for (word, settings) in &topology.sysctl {
        settings.iter().for_each(|(name, value)| node(word).sysctl(name, value));
    }
    for (word, commands) in &topology.nft {
        node(word).nft(commands);
    }
    for (word, commands) in &topology.ip {
        for command in commands {
            node(word).ip(command);
        }
    }
}

/// Frames that the kernel has thrown away because a processor was too slow to take them from a wire
/// (`/proc/net/softnet_stat`, second column), in the whole system since it was started. A test of lost
/// packets reads it before and after: these are lost on the machine, not by a program.
pub fn softnet_dropped() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").expect("/proc is mounted");
    let column = |line: &str| {
        let word = line.split_whitespace().nth(1)?;
        u64::from_str_radix(word, 16).ok()
    };
    text.lines().filter_map(column).sum()
}
