//! What the system's socket interface has and no safe crate offers: connection figures, the error
//! queue, interface numbers, `getaddrinfo` with its own codes.
//!
//! The only unsafe code of the crate is below this module: in the `sys` files, in [`interface`] and
//! in [`getaddrinfo`]. Everything that can be said in safe code lies outside of them: bytes that the
//! kernel wrote are taken apart by [`cmsg`] and [`tcp_info`], which are plain parsers.
#![cfg_attr(
    not(feature = "icmp"),
    allow(dead_code, unused_imports, reason = "some of what packets need is for ICMP alone")
)]

#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
mod clocks;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has an error queue"))]
pub(crate) mod cmsg;
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) mod filter;
pub(crate) mod getaddrinfo;
pub(crate) mod interface;
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
mod packets;
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
mod stamps;
#[cfg_attr(target_os = "linux", path = "socket/sys/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "socket/sys/other.rs")]
mod sys;
pub(crate) mod tcp_info;
#[cfg(all(feature = "dns", target_os = "linux"))]
mod watch;

/// What a socket is borrowed as: here, a file descriptor.
#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as AsSocket;
/// What a socket is borrowed as.
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsSocket;
pub(in crate::io) use sys::queue_icmp_errors;
pub(in crate::io) use sys::{
    BUFFER_OVERHEAD, bind_address_no_port, bind_device, open_stream, set_congestion_control,
    set_mark, set_traffic_class, take_icmp_error,
};

#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) use clocks::{HiResTimer, clock_pair};
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) use cmsg::{Control, ExtendedError};
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) use packets::{
    BATCH, ControlSpace, Controls, Message, ReceiveBatch, SendBatch, receive, receive_one, send,
};
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) use stamps::wait_for_stamps;
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) use sys::{
    MtuDiscovery, SCM_TS_OPT_ID, SCM_TSTAMP_SCHED, SCM_TSTAMP_SND, device_stamping, device_stamps,
    dropped, mtu, report_hops, report_overflow, set_mtu_discovery, set_receive_buffer, stamp,
    stamp_twice,
};
#[cfg(all(feature = "dns", target_os = "linux"))]
pub(in crate::io) use watch::{interest, watch};

/// Who is at the other end of a Unix socket: as of when it called listen(2) or connect(2)
/// (`SO_PEERCRED`, unix(7)).
#[cfg(all(unix, feature = "unix"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Process id; `None` if the process lives in another process namespace.
    pub(crate) pid: Option<u32>,
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
}

/// The credentials of the peer of a connected Unix socket. `None` where the system does not say,
/// which is everywhere but on Linux.
#[cfg(all(unix, feature = "unix"))]
pub(crate) fn peer_credentials(socket: &impl AsSocket) -> Option<Credentials> {
    sys::peer_credentials(socket)
}
