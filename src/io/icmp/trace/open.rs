//! The sockets of a trace: opened for it alone, closed when it is dropped.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::line::{Line, Role};
use crate::icmp::trace::{TraceConfig, TraceMethod};
use crate::icmp::{DontFragment, SocketChoice, SocketMode};
use crate::io::errno;
use crate::io::socket::{self as sys, MtuDiscovery, ReceiveBatch, filter};
use crate::timing::Phase;
use crate::verdict::{LocalFault, LocalFaultKind};

/// Identifiers of a raw ICMP socket: as many as there may be flows.
const IDS: u16 = 64;

/// Everything that one trace has open.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) mode: SocketMode,
    /// What is listened to. Queries of a flow leave by the one that [`sender`](Self::sender) names.
    pub(super) lines: Vec<Line>,
    /// What tells the flows apart: identifier or source port.
    pub(super) ids: Vec<u16>,
    /// Hold the ports of TCP queries, so that nobody else gets them. Nothing comes in on them: they are bound
    /// and neither listen nor connect, and the kernel resets what the target accepts.
    _held: Vec<Socket>,
}

impl Sockets {
    /// Whether queries are sent to a port rather than to a protocol.
    pub(super) fn has_ports(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.role(), Role::Udp { .. }))
    }

    /// The place of the socket that queries of a flow leave by.
    pub(super) fn sender(&self, flow: u32) -> usize {
        let of_flow = |line: &Line| match line.role() {
            Role::Udp { flow: of } => of == flow,
            Role::Tcp => true,
            _ => false,
        };
        self.lines.iter().position(of_flow).unwrap_or(0)
    }
}

/// What all sockets of a trace have in common.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) config: &'a TraceConfig,
    /// The address that packets leave from, with its scope.
    pub(super) source: SocketAddr,
    /// Random bits for identifiers.
    pub(super) random: u16,
    /// Whether send stamps can be named.
    pub(super) named: bool,
}

impl Way<'_> {
    fn v6(&self) -> bool {
        self.source.is_ipv6()
    }

    fn socket(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let domain = if self.v6() { Domain::IPV6 } else { Domain::IPV4 };
        Socket::new(domain, kind.nonblocking(), Some(protocol))
    }

    fn icmp(&self) -> Protocol {
        if self.v6() { Protocol::ICMPV6 } else { Protocol::ICMPV4 }
    }

    /// Sets how packets of this socket leave, and binds it.
    fn prepare(&self, socket: &Socket) -> io::Result<()> {
        let config = self.config;
        if let Some(dscp) = config.dscp {
            sys::set_traffic_class(socket, self.v6(), dscp << 2)?;
        }
        if let Some(mark) = config.fwmark {
            sys::set_mark(socket, mark)?;
        }
        let mode = match config.dont_fragment {
            DontFragment::Set => MtuDiscovery::Probe,
            DontFragment::Clear => MtuDiscovery::Dont,
            DontFragment::System => MtuDiscovery::Want,
        };
        sys::set_mtu_discovery(socket, self.v6(), mode)?;
        socket.bind(&SockAddr::from(self.source))
    }

    /// A raw socket that hears what a filter lets through, from the first packet on.
    fn raw(
        &self,
        protocol: Protocol,
        filter: &[socket2::SockFilter],
        role: Role,
    ) -> io::Result<Line> {
        let socket = self.socket(Type::RAW, protocol)?;
        // What comes in before the filter is there would pass unseen by it.
        socket.attach_filter(&filter::nothing())?;
        let mut batch = ReceiveBatch::new(sys::BATCH, 1);
        while sys::receive(&socket, &mut batch, 0).is_ok() {}
        socket.attach_filter(filter)?;
        self.prepare(&socket)?;
        Line::new(socket, role, self.v6(), self.named)
    }

    /// A socket for each flow, with a port of its own.
    fn datagrams(&self) -> io::Result<(Vec<Line>, Vec<u16>)> {
        let mut lines = Vec::new();
        let mut ports = Vec::new();
        for flow in 0..self.config.flows {
            let socket = self.socket(Type::DGRAM, Protocol::UDP)?;
            self.prepare(&socket)?;
            ports.push(port_of(&socket)?);
            lines.push(Line::new(socket, Role::Udp { flow }, self.v6(), self.named)?);
        }
        Ok((lines, ports))
    }

    fn open_raw(&self, port: u16) -> io::Result<Sockets> {
        let v6 = self.v6();
        let mut held = Vec::new();
        let (lines, ids) = match self.config.method {
            TraceMethod::Icmp => {
                let base = self.random & !(IDS - 1);
                let filter = filter::echo(v6, base, !(IDS - 1));
                let ids = (0..self.config.flows).map(|flow| base + flow as u16).collect();
                (vec![self.raw(self.icmp(), &filter, Role::Icmp)?], ids)
            }
            TraceMethod::Udp => {
                let (mut lines, ports) = self.datagrams()?;
                let filter = filter::errors_about(v6, libc::IPPROTO_UDP as u8, &ports);
                lines.push(self.raw(self.icmp(), &filter, Role::Icmp)?);
                (lines, ports)
            }
            TraceMethod::Tcp => {
                let mut ports = Vec::new();
                for _ in 0..self.config.flows {
                    let socket = self.socket(Type::STREAM, Protocol::TCP)?;
                    socket.bind(&SockAddr::from(self.source))?;
                    ports.push(port_of(&socket)?);
                    held.push(socket);
                }
                let segments = filter::handshakes(v6, port, &ports);
                let errors = filter::errors_about(v6, libc::IPPROTO_TCP as u8, &ports);
                let lines = vec![
                    self.raw(self.icmp(), &errors, Role::Icmp)?,
                    self.raw(Protocol::TCP, &segments, Role::Tcp)?,
                ];
                (lines, ports)
            }
        };
        Ok(Sockets { mode: SocketMode::Raw, lines, ids, _held: held })
    }

    fn open_datagram(&self) -> io::Result<Sockets> {
        let (lines, ids) = match self.config.method {
            TraceMethod::Udp => self.datagrams()?,
            _ => {
                let socket = self.socket(Type::DGRAM, self.icmp())?;
                self.prepare(&socket)?;
                // The port that a datagram socket is bound to is its identifier (icmp(7)).
                let id = port_of(&socket)?;
                (vec![Line::new(socket, Role::Ping, self.v6(), self.named)?], vec![id])
            }
        };
        Ok(Sockets { mode: SocketMode::Datagram, lines, ids, _held: Vec::new() })
    }

    /// Opens what the configuration asks for: raw where that is allowed, else datagram.
    ///
    /// # Errors
    /// What was refused, and what would help.
    pub(super) fn open(&self, port: u16) -> Result<Sockets, LocalFault> {
        let (choice, method) = (self.config.socket, self.config.method);
        let mut refused = Vec::new();
        if choice != SocketChoice::Datagram {
            match self.open_raw(port) {
                Ok(sockets) => return Ok(sockets),
                Err(error) => refused.push((SocketMode::Raw, error)),
            }
        }
        let denied =
            refused.iter().all(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied);
        if choice != SocketChoice::Raw && method != TraceMethod::Tcp && denied {
            match self.open_datagram() {
                Ok(sockets) => return Ok(sockets),
                Err(error) => refused.push((SocketMode::Datagram, error)),
            }
        }
        Err(fault(method, &refused))
    }
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let bound = socket.local_addr()?.as_socket();
    bound.map(|bound| bound.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn fault(method: TraceMethod, refused: &[(SocketMode, io::Error)]) -> LocalFault {
    let texts: Vec<String> =
        refused.iter().map(|(mode, error)| explain(method, *mode, error)).collect();
    let number = refused.last().and_then(|(_, error)| error.raw_os_error());
    let kind = number.and_then(errno::local).unwrap_or(LocalFaultKind::Io);
    let fault = LocalFault::new(kind).in_phase(Phase::Setup).with_detail(texts.join("; "));
    number.map_or(fault.clone(), |number| fault.with_errno(number))
}

/// What was refused, and what would help.
fn explain(method: TraceMethod, mode: SocketMode, error: &io::Error) -> String {
    let what = match (mode, method) {
        (SocketMode::Raw, _) => "raw socket",
        (SocketMode::Datagram, TraceMethod::Icmp) => "ICMP datagram socket",
        (SocketMode::Datagram, _) => "UDP socket",
    };
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let remedy = match (mode, method) {
        _ if !denied => return format!("{what}: {error}"),
        (SocketMode::Raw, TraceMethod::Tcp) => {
            "TCP needs it: give the program CAP_NET_RAW, setcap cap_net_raw+ep PROGRAM, or trace by UDP"
        }
        (SocketMode::Raw, _) => "give the program CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM",
        (SocketMode::Datagram, TraceMethod::Icmp) => {
            "let its group use them: sysctl net.ipv4.ping_group_range=\"0 2147483647\", or trace by UDP"
        }
        (SocketMode::Datagram, _) => "a mark needs CAP_NET_ADMIN",
    };
    format!("{what}: {error} ({remedy})")
}

/// The address that packets to `to` leave from. Nothing is sent: the route tells.
///
/// # Errors
/// Those of connect(2): no route, no such interface, no right to the mark.
pub(super) fn source(config: &TraceConfig, to: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(mark) = config.fwmark {
        sys::set_mark(&socket, mark)?;
    }
    if let Some(interface) = &config.interface {
        sys::bind_device(&socket, interface)?;
    }
    if let Some(dscp) = config.dscp {
        // Routes may depend on it.
        sys::set_traffic_class(&socket, to.is_ipv6(), dscp << 2)?;
    }
    if let Some(source) = config.source {
        let mut from = SocketAddr::new(source.to_canonical(), 0);
        if let (SocketAddr::V6(from), SocketAddr::V6(to)) = (&mut from, to)
            && from.ip().is_unicast_link_local()
        {
            from.set_scope_id(to.scope_id());
        }
        socket.bind(&SockAddr::from(from))?;
    }
    let mut to = to;
    if to.port() == 0 {
        to.set_port(1);
    }
    socket.connect(&SockAddr::from(to))?;
    let bound = socket.local_addr()?.as_socket();
    let mut bound = bound.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    bound.set_port(0);
    Ok(bound)
}

/// The largest packet that can leave for this address.
pub(super) fn mtu_to(to: SocketAddr) -> Option<u32> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None).ok()?;
    let mut to = to;
    to.set_port(1);
    socket.connect(&SockAddr::from(to)).ok()?;
    sys::mtu(&socket, to.is_ipv6())
}

/// Whether an address is of the family of another.
pub(super) fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical().is_ipv4() == other.is_ipv4()
}
