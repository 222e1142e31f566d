//! Networks that the tests of paths run in, and probes inside of them.

use std::net::{IpAddr, SocketAddr};

use netsonde::tcp::{TcpProber, TcpReport};
use netsonde::{ProbeContext, ProbeResult, Target};
use netsonde_support::netns::Device;
use netsonde_support::packet::{Frame, Passage, Tap, Wire};
use netsonde_support::{Lab, Namespace, Script, Server};

use super::checked;

/// The client's addresses.
pub(crate) const CLIENT: [&str; 2] = ["10.1.0.1", "fd01::1"];

/// The router's, or the server's where there is none.
pub(crate) const NEXT: [&str; 2] = ["10.1.0.2", "fd01::2"];

/// The server's behind a router.
pub(crate) const BEHIND: [&str; 2] = ["10.2.0.2", "fd02::2"];

/// An address and a port.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn join(
    lab: &Lab,
    one: (&Namespace, [&str; 2]),
    other: (&Namespace, [&str; 2]),
) -> (Device, Device) {
    let v4 = |address: [&str; 2]| format!("{}/24", address[0]);
    let (near, far) = lab.link((one.0, &v4(one.1)), (other.0, &v4(other.1)));
    for (device, address) in [(&near, one.1), (&far, other.1)] {
        device.address(&format!("{}/64", address[1]));
    }
    (near, far)
}

/// A client and a server on one wire.
pub(crate) struct Pair {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    /// The client's end.
    pub(crate) near: Device,
    lab: Lab,
}

impl Pair {
    pub(crate) fn new(word: &str) -> Option<Self> {
        let lab = Lab::new(word)?;
        let (client, server) = (lab.namespace("client"), lab.namespace("server"));
        let (near, _) = join(&lab, (&client, CLIENT), (&server, NEXT));
        Some(Pair { client, server, near, lab })
    }
}

/// A client, a router, a server.
pub(crate) struct Routed {
    pub(crate) client: Namespace,
    pub(crate) router: Namespace,
    pub(crate) server: Namespace,
    /// The client's end.
    pub(crate) near: Device,
    lab: Lab,
}

impl Routed {
    pub(crate) fn new(word: &str) -> Option<Self> {
        let lab = Lab::new(word)?;
        let (client, router) = (lab.namespace("client"), lab.namespace("router"));
        let server = lab.namespace("server");
        let (near, _) = join(&lab, (&client, CLIENT), (&router, NEXT));
        join(&lab, (&router, ["10.2.0.1", "fd02::1"]), (&server, BEHIND));
        for (namespace, v4, v6) in [(&client, NEXT[0], NEXT[1]), (&server, "10.2.0.1", "fd02::1")] {
            namespace.ip(&format!("route add default via {v4}"));
            namespace.ip(&format!("-6 route add default via {v6}"));
        }
        router.forward();
        Some(Routed { client, router, server, near, lab })
    }
}

/// A client and a server, and between them a wire that a test has in its hand.
pub(crate) struct Wired {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    /// The client's end.
    pub(crate) near: Device,
    /// The end of the client's wire in the middle.
    pub(crate) left: Device,
    _wire: Wire,
    lab: Lab,
}

impl Wired {
    /// `judge` decides on each frame; it is handed the device on which it may answer the client, and
    /// whether the frame is on its way to the server.
    pub(crate) fn new(
        word: &str,
        judge: impl FnMut(&Frame, bool) -> Passage + Send + 'static,
    ) -> Option<Self> {
        let lab = Lab::new(word)?;
        let (client, middle) = (lab.namespace("client"), lab.namespace("middle"));
        let server = lab.namespace("server");
        let both = |device: &Device, address: [&str; 2]| {
            device.address(&format!("{}/24", address[0]));
            device.address(&format!("{}/64", address[1]));
        };
        let (near, left) = lab.link((&client, ""), (&middle, ""));
        let (right, far) = lab.link((&middle, ""), (&server, ""));
        both(&near, CLIENT);
        both(&far, NEXT);
        // Asking for the neighbour would be part of the first connect.
        for address in NEXT {
            near.neighbour(address, &far);
        }
        for address in CLIENT {
            far.neighbour(address, &near);
        }
        let wire = Wire::join(Tap::open(&left), Tap::open(&right), judge);
        Some(Wired { client, server, near, left, _wire: wire, lab })
    }
}

/// A server on these addresses of a namespace.
pub(crate) fn serve(on: &Namespace, address: SocketAddr, script: Script) -> Server {
    on.run(|| Server::builder().address(address).script(script).tcp())
}

/// Probes from inside of a namespace.
pub(crate) fn probe(
    from: &Namespace,
    prober: &TcpProber,
    cx: &ProbeContext,
    target: impl Into<Target>,
) -> ProbeResult<TcpReport> {
    let target = target.into();
    from.block_on(async || checked(prober, cx, target).await)
}
