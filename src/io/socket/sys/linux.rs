//! Linux.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t};
use socket2::{Domain, MsgHdrMut, Protocol, Socket, Type};

#[cfg(feature = "unix")]
use crate::io::socket::Credentials;
use crate::io::socket::cmsg::{self, ExtendedError};

/// Room for `struct tcp_info`; 280 bytes in Linux 6.18, of which the first 168 are read.
pub(in crate::io) const TCP_INFO_BYTES: usize = 168;

/// The kernel reserves twice the bytes that are asked for and names what it reserved (socket(7)).
pub(in crate::io) const BUFFER_OVERHEAD: usize = 2;

/// A stream socket that never blocks and is closed in child processes.
pub(in crate::io) fn open_stream(domain: Domain) -> io::Result<Socket> {
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    Socket::new(domain, Type::STREAM.nonblocking(), protocol)
}

fn getsockopt<'a>(
    socket: &impl AsFd,
    level: c_int,
    name: c_int,
    buf: &'a mut [u8],
) -> io::Result<&'a [u8]> {
    let mut len = socklen_t::try_from(buf.len()).unwrap_or(socklen_t::MAX);
    // SAFETY: the descriptor is borrowed and so open; `buf` is valid for writes of `len` bytes, of
    // which the kernel writes no more and says in `len` how many; any byte is a valid `u8`.
    let result = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::getsockopt(fd, level, name, buf.as_mut_ptr().cast(), &raw mut len)
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(buf.get(..len as usize).unwrap_or_default())
}

fn set_flag(socket: &impl AsFd, level: c_int, name: c_int, on: bool) -> io::Result<()> {
    set_int(socket, level, name, on.into())
}

fn set_int(socket: &impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and so open; the value is an `int` that outlives the call,
    // and the length is its size.
    let result = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// As much of `struct tcp_info` as the kernel has and `buf` holds.
pub(in crate::io) fn tcp_info<'a>(socket: &impl AsFd, buf: &'a mut [u8]) -> io::Result<&'a [u8]> {
    getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, buf)
}

/// The name of the congestion control algorithm in use.
pub(in crate::io) fn congestion_control(socket: &Socket) -> Option<String> {
    let name = socket.tcp_congestion().ok()?;
    let name = name.split(|byte| *byte == 0).next()?;
    String::from_utf8(name.to_vec()).ok().filter(|name| !name.is_empty())
}

pub(in crate::io) fn set_congestion_control(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

pub(in crate::io) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

pub(in crate::io) fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// The byte that holds DSCP and ECN (RFC 2474, 3).
pub(in crate::io) fn set_traffic_class(socket: &Socket, v6: bool, byte: u8) -> io::Result<()> {
    if v6 { socket.set_tclass_v6(byte.into()) } else { socket.set_tos_v4(byte.into()) }
}

/// Leaves the choice of the port to connect(2), which may share a port between destinations, where
/// bind(2) would have to take one that is free for all of them (ip(7)).
pub(in crate::io) fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    set_flag(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, true)
}

/// Whether ICMP errors are queued with their sender (`IP_RECVERR`, ip(7)). Switching it off throws
/// away what is queued.
pub(in crate::io) fn queue_icmp_errors(socket: &Socket, v6: bool, on: bool) -> io::Result<()> {
    if v6 {
        set_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, on)
    } else {
        set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVERR, on)
    }
}

/// Most records that one look takes off the error queue.
const QUEUE_READS: usize = 16;

/// Takes the first ICMP error off the error queue.
pub(in crate::io) fn take_icmp_error(socket: &Socket) -> Option<ExtendedError> {
    for _ in 0..QUEUE_READS {
        // A record takes 60 bytes at most: header 16, error 16, sockaddr_in6 28.
        let mut control = [const { MaybeUninit::new(0u8) }; 256];
        let mut message = MsgHdrMut::new().with_control(&mut control);
        // The segment that caused the error would be the data; without a buffer it is left out.
        // Reading the error queue never blocks.
        socket.recvmsg(&mut message, libc::MSG_ERRQUEUE).ok()?;
        let len = message.control_len();
        // SAFETY: every element was initialised above; the kernel only writes bytes over them.
        let control = control.map(|byte| unsafe { byte.assume_init() });
        let found = cmsg::messages(control.get(..len).unwrap_or(&control))
            .filter(|m| {
                let (level, kind) = (m.level, m.kind);
                (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR)
                    || (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            })
            .filter_map(|m| ExtendedError::parse(m.data))
            .find(|e| matches!(e.origin, ExtendedError::ICMP | ExtendedError::ICMPV6));
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(feature = "unix")]
pub(in crate::io) fn peer_credentials(socket: &impl AsFd) -> Option<Credentials> {
    // `struct ucred`: pid, uid, gid.
    let mut buf = [0; 12];
    let ucred = getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut buf).ok()?;
    Some(Credentials {
        // The kernel writes 0 for a process that has no number here.
        pid: Some(u32::from_ne_bytes(cmsg::array(ucred, 0)?)).filter(|pid| *pid != 0),
        uid: u32::from_ne_bytes(cmsg::array(ucred, 4)?),
        gid: u32::from_ne_bytes(cmsg::array(ucred, 8)?),
    })
}

/// `SCM_TS_OPT_ID` of Linux 6.13 (asm-generic/socket.h): names the send stamp of one packet.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) const SCM_TS_OPT_ID: c_int = 81;

/// `SCM_TSTAMP_SND` of linux/errqueue.h: stamped when handed to the device.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) const SCM_TSTAMP_SND: u32 = 0;

/// Has the kernel stamp what is sent and what is received (`SO_TIMESTAMPING`, Linux'
/// Documentation/networking/timestamping.rst). Send stamps come by the error queue, without the packet.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn stamp(socket: &impl AsFd, sends: bool, receives: bool) -> io::Result<()> {
    // linux/net_tstamp.h.
    const TX_HARDWARE: c_int = 1;
    const TX_SOFTWARE: c_int = 1 << 1;
    const RX_HARDWARE: c_int = 1 << 2;
    const RX_SOFTWARE: c_int = 1 << 3;
    const SOFTWARE: c_int = 1 << 4;
    const RAW_HARDWARE: c_int = 1 << 6;
    const OPT_ID: c_int = 1 << 7;
    const OPT_TSONLY: c_int = 1 << 11;
    let mut flags = SOFTWARE | RAW_HARDWARE;
    if sends {
        flags |= TX_SOFTWARE | TX_HARDWARE | OPT_ID | OPT_TSONLY;
    }
    if receives {
        flags |= RX_SOFTWARE | RX_HARDWARE;
    }
    set_int(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)
}

/// `SCM_TSTAMP_SCHED` of linux/errqueue.h: stamped before it is queued for the device.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) const SCM_TSTAMP_SCHED: u32 = 1;

/// Has the kernel stamp what is sent twice, when it is scheduled and when it is handed to the device.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn stamp_twice(socket: &impl AsFd) -> io::Result<()> {
    const TX_SOFTWARE: c_int = 1 << 1;
    const SOFTWARE: c_int = 1 << 4;
    const OPT_ID: c_int = 1 << 7;
    const TX_SCHED: c_int = 1 << 8;
    const OPT_TSONLY: c_int = 1 << 11;
    let flags = TX_SOFTWARE | TX_SCHED | SOFTWARE | OPT_ID | OPT_TSONLY;
    set_int(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)
}

/// Has the kernel say with each packet how many it has dropped (`SO_RXQ_OVFL`, socket(7)).
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn report_overflow(socket: &impl AsFd) -> io::Result<()> {
    set_flag(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, true)
}

/// How many packets the socket has dropped (`SO_MEMINFO`, `SK_MEMINFO_DROPS` of linux/sock_diag.h): what
/// [`report_overflow`] has the next packet tell, without one.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn dropped(socket: &impl AsFd) -> Option<u32> {
    const DROPS: usize = 8;
    let mut buf = [0; 4 * (DROPS + 1)];
    let value = getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut buf).ok()?;
    Some(u32::from_ne_bytes(cmsg::array(value, 4 * DROPS)?))
}

/// Has the kernel say the time to live and the type of service of what comes in (ip(7), ipv6(7)).
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn report_hops(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    if v6 {
        set_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, true)?;
        set_flag(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, true)
    } else {
        set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, true)?;
        set_flag(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, true)
    }
}

/// Asks for a receive buffer, beyond net.core.rmem_max where that is allowed (`SO_RCVBUFFORCE`,
/// socket(7)). What is granted may be less.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn set_receive_buffer(socket: &Socket, bytes: u32) -> io::Result<()> {
    let value = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    if set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value).is_err() {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    Ok(())
}

/// What the kernel does about packets that are larger than the path takes (ip(7)).
#[cfg(any(feature = "icmp", feature = "dns"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum MtuDiscovery {
    /// DF is clear, and the kernel takes packets apart (`IP_PMTUDISC_DONT`).
    Dont,
    /// DF is set unless the packet is too large for the known path MTU (`IP_PMTUDISC_WANT`).
    Want,
    /// DF is set, whatever path MTU is known (`IP_PMTUDISC_PROBE`).
    Probe,
}

#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn set_mtu_discovery(
    socket: &impl AsFd,
    v6: bool,
    mode: MtuDiscovery,
) -> io::Result<()> {
    let value = match mode {
        MtuDiscovery::Dont => libc::IP_PMTUDISC_DONT,
        MtuDiscovery::Want => libc::IP_PMTUDISC_WANT,
        MtuDiscovery::Probe => libc::IP_PMTUDISC_PROBE,
    };
    if v6 {
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, value)
    } else {
        set_int(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
    }
}

/// The path MTU that the kernel knows for a connected socket (`IP_MTU`, ip(7)).
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn mtu(socket: &impl AsFd, v6: bool) -> Option<u32> {
    let mut buf = [0; 4];
    let (level, name) = match v6 {
        false => (libc::IPPROTO_IP, libc::IP_MTU),
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let value = getsockopt(socket, level, name, &mut buf).ok()?;
    u32::try_from(i32::from_ne_bytes(cmsg::array(value, 0)?)).ok()
}

/// Makes one of the requests about a network device (netdevice(7)) with a structure of words.
#[cfg(any(feature = "icmp", feature = "dns"))]
fn ask_device<const N: usize>(
    socket: &impl AsFd,
    device: &str,
    request: u32,
    mut words: [u32; N],
) -> io::Result<[u32; N]> {
    // SAFETY: `ifreq` is a C structure of integers and a union of such and pointers; all zero is valid.
    let mut asked: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    if device.len() >= asked.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in asked.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    asked.ifr_ifru.ifru_data = (&raw mut words).cast();
    // SAFETY: the descriptor is borrowed and so open. The request has a name that ends in 0 and points
    // to as many words as the two structures have that are asked for below; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request as _, &raw mut asked) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(words) }
}

/// What a device and its driver can stamp (`ETHTOOL_GET_TS_INFO`): `struct ethtool_ts_info` of
/// linux/ethtool.h.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn device_stamps(socket: &impl AsFd, device: &str) -> io::Result<[u32; 11]> {
    const SIOCETHTOOL: u32 = 0x8946;
    const ETHTOOL_GET_TS_INFO: u32 = 0x41;
    let mut words = [0; 11];
    words[0] = ETHTOOL_GET_TS_INFO;
    ask_device(socket, device, SIOCETHTOOL, words)
}

/// What a device has been set up to stamp (`SIOCGHWTSTAMP`): `struct hwtstamp_config` of
/// linux/net_tstamp.h.
#[cfg(any(feature = "icmp", feature = "dns"))]
pub(in crate::io) fn device_stamping(socket: &impl AsFd, device: &str) -> io::Result<[u32; 3]> {
    const SIOCGHWTSTAMP: u32 = 0x89b1;
    ask_device(socket, device, SIOCGHWTSTAMP, [0; 3])
}
