//! Finding out what ICMP can do here, and what would help where it cannot.
//!
//! Nothing is sent: sockets are opened, options are set, routes and drivers are asked, and all that was
//! opened is closed when it goes out of scope.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::Socket;

use super::socket::{bare, names_stamps};
use crate::icmp::{
    Capabilities, Capability, EngineConfig, FamilyCapabilities, InterfaceStamps, SocketMode,
};
use crate::io::socket::{self as sys, BUFFER_OVERHEAD, MtuDiscovery, filter, interface};

pub(crate) fn capabilities() -> Capabilities {
    Capabilities { v4: family(false), v6: family(true), interfaces: interfaces() }
}

pub(crate) fn stamps_ready() -> Option<Duration> {
    sys::wait_for_stamps()
}

/// The remedy for a raw socket that was refused. In a container the file's capability is of no use
/// unless the container has it too.
const RAW: &str = "setcap cap_net_raw+ep PROGRAM (in a container also: --cap-add NET_RAW)";

/// The remedy for a datagram ICMP socket that was refused. The setting is per network namespace, and for
/// both families, whatever its name says.
const DATAGRAM: &str = "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\" (for a container: \
                        --sysctl, or securityContext.sysctls)";

/// The remedy that goes with an error of opening a socket.
pub(super) fn remedy(mode: SocketMode, error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EPERM | libc::EACCES if mode == SocketMode::Datagram => DATAGRAM,
        libc::EPERM | libc::EACCES => RAW,
        libc::EMFILE => "raise the limit of open files of this process: ulimit -n 65536",
        libc::ENFILE => "raise the limit of open files of this host: sysctl -w fs.file-max=1000000",
        libc::ENOMEM | libc::ENOBUFS => "free some memory of this host",
        libc::EAFNOSUPPORT => {
            "start the kernel with this family (for IPv6: without ipv6.disable=1)"
        }
        libc::EPROTONOSUPPORT => {
            "use a kernel with ICMP sockets (for IPv6 datagram ones: Linux 3.11)"
        }
        _ => return None,
    })
}

/// For options that every Linux has: it is not the kernel that refuses.
fn sandbox(option: &str) -> String {
    format!("allow the socket option {option} in the sandbox (seccomp, gVisor) that this runs in")
}

fn no(error: &io::Error, remedy: Option<String>) -> Capability {
    let text = error.to_string();
    Capability::Unavailable {
        // The number stands beside it.
        cause: text.split(" (os error").next().unwrap_or_default().to_owned(),
        errno: error.raw_os_error(),
        remedy,
    }
}

fn missing(cause: &str, remedy: &str) -> Capability {
    Capability::Unavailable {
        cause: cause.to_owned(),
        errno: None,
        remedy: Some(remedy.to_owned()),
    }
}

fn outcome<T>(result: &io::Result<T>, remedy: impl FnOnce() -> String) -> Capability {
    match result {
        Ok(_) => Capability::Available,
        Err(error) => no(error, Some(remedy())),
    }
}

fn ip(v6: bool, v4_address: Ipv4Addr, v6_address: Ipv6Addr) -> IpAddr {
    if v6 { v6_address.into() } else { v4_address.into() }
}

fn family(v6: bool) -> FamilyCapabilities {
    let mut found = FamilyCapabilities::default();
    let loopback = ip(v6, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    found.present = outcome(&UdpSocket::bind((loopback, 0)), || match v6 {
        false => "ip link set lo up".to_owned(),
        true => "ip link set lo up; sysctl -w net.ipv6.conf.all.disable_ipv6=0".to_owned(),
    });
    found.route = route(v6);
    let (raw, datagram) = (open(v6, SocketMode::Raw), open(v6, SocketMode::Datagram));
    let told = |mode, result: &io::Result<Socket>| match result {
        Ok(_) => Capability::Available,
        Err(error) => no(error, remedy(mode, error).map(str::to_owned)),
    };
    found.raw = told(SocketMode::Raw, &raw);
    found.datagram = told(SocketMode::Datagram, &datagram);
    let (socket, mode) = match (raw, datagram) {
        (Ok(socket), _) => (socket, SocketMode::Raw),
        (_, Ok(socket)) => (socket, SocketMode::Datagram),
        _ => return found,
    };
    let stamping = || sandbox("SO_TIMESTAMPING");
    let sends = sys::stamp(&socket, true, false);
    found.send_stamps = outcome(&sends, stamping);
    found.receive_stamps = outcome(&sys::stamp(&socket, false, true), stamping);
    if sends.is_ok() {
        let newer =
            || "Linux 6.13 or later; until then stamps are matched by their order".to_owned();
        found.named_stamps = outcome(&names_stamps(v6, mode), newer);
    }
    let queue = sys::queue_icmp_errors(&socket, v6, true);
    found.error_queue = outcome(&queue, || sandbox("IP_RECVERR"));
    let fragment = sys::set_mtu_discovery(&socket, v6, MtuDiscovery::Probe);
    found.dont_fragment = outcome(&fragment, || sandbox("IP_MTU_DISCOVER"));
    found.drop_counter = outcome(&sys::report_overflow(&socket), || sandbox("SO_RXQ_OVFL"));
    found.fwmark = outcome(&socket.set_mark(1), || {
        "setcap cap_net_raw,cap_net_admin+ep PROGRAM (from Linux 5.17 on cap_net_raw does)"
            .to_owned()
    });
    (found.receive_buffer, found.receive_buffer_bytes) = receive_buffer(&socket);
    found
}

/// Opens a socket as an engine does, with what an engine cannot do without.
fn open(v6: bool, mode: SocketMode) -> io::Result<Socket> {
    let socket = bare(v6, mode)?;
    if mode == SocketMode::Raw {
        socket.attach_filter(&filter::nothing())?;
    }
    Ok(socket)
}

/// Asks for what an engine asks for by default.
fn receive_buffer(socket: &Socket) -> (Capability, Option<u64>) {
    let wanted = EngineConfig::default().receive_buffer_bytes;
    let size = sys::set_receive_buffer(socket, wanted).and_then(|()| socket.recv_buffer_size());
    match size.map(|size| (size / BUFFER_OVERHEAD) as u64) {
        Ok(granted) if granted >= wanted.into() => (Capability::Available, Some(granted)),
        Ok(granted) => {
            let cause = format!("{granted} of {wanted} bytes granted");
            let remedy = format!("sysctl -w net.core.rmem_max={wanted}, or CAP_NET_ADMIN");
            (missing(&cause, &remedy), Some(granted))
        }
        Err(error) => (no(&error, Some(sandbox("SO_RCVBUF"))), None),
    }
}

/// Whether the system has a route to an address anywhere: connecting a UDP socket sends nothing.
fn route(v6: bool) -> Capability {
    // Reserved for documentation (RFC 5737, RFC 3849): nobody's, so no route but a general one.
    let (v4_there, v6_there) = ([192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into());
    let there = SocketAddr::new(ip(v6, v4_there, v6_there), 9);
    let here = SocketAddr::new(ip(v6, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED), 0);
    let result = UdpSocket::bind(here).and_then(|socket| socket.connect(there));
    let family = if v6 { "-6 " } else { "" };
    outcome(&result, || format!("ip {family}route add default via ROUTER"))
}

/// Asks the driver of each interface.
fn interfaces() -> Vec<InterfaceStamps> {
    let any: SocketAddr = ([0, 0, 0, 0], 0).into();
    // Any socket will do to ask through.
    let Ok(socket) = UdpSocket::bind(any).or_else(|_| UdpSocket::bind("[::]:0")) else {
        return Vec::new();
    };
    let mut names = interface::names().unwrap_or_default();
    names.sort();
    let of = |name: String| {
        let (info, setting) =
            (sys::device_stamps(&socket, &name), sys::device_stamping(&socket, &name));
        device(name, &info, &setting)
    };
    names.into_iter().map(of).collect()
}

/// What a driver says: `struct ethtool_ts_info` and `struct hwtstamp_config`, in words.
fn device(
    name: String,
    info: &io::Result<[u32; 11]>,
    setting: &io::Result<[u32; 3]>,
) -> InterfaceStamps {
    let mut found = InterfaceStamps::default();
    match info {
        Ok([_, flags, clock, tx_types, _, _, _, rx_filters, ..]) => {
            // linux/net_tstamp.h: SOF_TIMESTAMPING_TX_SOFTWARE, TX_HARDWARE, RX_HARDWARE, RAW_HARDWARE;
            // HWTSTAMP_TX_ON, HWTSTAMP_FILTER_ALL.
            const TX_SOFTWARE: u32 = 1 << 1;
            const TX_HARDWARE: u32 = 1 | 1 << 6;
            const RX_HARDWARE: u32 = 1 << 2 | 1 << 6;
            const TX_ON: u32 = 1;
            const ALL: u32 = 1;
            let has = |wanted: u32| flags & wanted == wanted;
            found.kernel_send = match has(TX_SOFTWARE) {
                true => Capability::Available,
                false => missing(
                    "the driver of this interface has no send stamps",
                    "a newer driver; until then the mark of this process is used, and results say so",
                ),
            };
            let offered = has(TX_HARDWARE) && tx_types & 1 << TX_ON != 0;
            let on = setting.as_ref().is_ok_and(|[_, tx, _]| *tx == TX_ON);
            found.hardware_send = hardware(offered, on, &name);
            let offered = has(RX_HARDWARE) && rx_filters & 1 << ALL != 0;
            let on = setting.as_ref().is_ok_and(|[_, _, rx]| *rx == ALL);
            found.hardware_receive = hardware(offered, on, &name);
            // -1 for none.
            found.clock = i32::try_from(*clock).ok().and_then(|clock| u32::try_from(clock).ok());
        }
        Err(error) => {
            let asked = || no(error, Some("allow the ioctl SIOCETHTOOL in the sandbox".to_owned()));
            (found.kernel_send, found.hardware_send, found.hardware_receive) =
                (asked(), asked(), asked());
        }
    }
    found.interface = name;
    found
}

fn hardware(offered: bool, on: bool, name: &str) -> Capability {
    match (offered, on) {
        (true, true) => Capability::Available,
        (true, false) => missing(
            "offered, but switched off",
            &format!("hwstamp_ctl -i {name} -t 1 -r 1 (of linuxptp; needs CAP_NET_ADMIN)"),
        ),
        (false, _) => missing("not offered", "none needed: the stamps of the kernel are used"),
    }
}

#[cfg(test)]
mod tests;
