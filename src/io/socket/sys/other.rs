//! Systems other than Linux: no figures, no error queue; options that only Linux has are refused.

use std::io;

use socket2::{Domain, Protocol, Socket, Type};

use crate::io::socket::AsSocket;
use crate::io::socket::cmsg::ExtendedError;

pub(in crate::io) const TCP_INFO_BYTES: usize = 0;

pub(in crate::io) const BUFFER_OVERHEAD: usize = 1;

pub(in crate::io) fn open_stream(domain: Domain) -> io::Result<Socket> {
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(in crate::io) fn tcp_info<'a>(_: &impl AsSocket, _: &'a mut [u8]) -> io::Result<&'a [u8]> {
    unsupported()
}

pub(in crate::io) fn congestion_control(_: &Socket) -> Option<String> {
    None
}

pub(in crate::io) fn set_congestion_control(_: &Socket, _: &str) -> io::Result<()> {
    unsupported()
}

pub(in crate::io) fn set_mark(_: &Socket, _: u32) -> io::Result<()> {
    unsupported()
}

pub(in crate::io) fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
    unsupported()
}

pub(in crate::io) fn set_traffic_class(socket: &Socket, v6: bool, byte: u8) -> io::Result<()> {
    if v6 { unsupported() } else { socket.set_tos_v4(byte.into()) }
}

pub(in crate::io) fn bind_address_no_port(_: &Socket) -> io::Result<()> {
    Ok(())
}

pub(in crate::io) fn queue_icmp_errors(_: &Socket, _: bool, _: bool) -> io::Result<()> {
    unsupported()
}

pub(in crate::io) fn take_icmp_error(_: &Socket) -> Option<ExtendedError> {
    None
}

#[cfg(all(unix, feature = "unix"))]
pub(in crate::io) fn peer_credentials(_: &impl AsSocket) -> Option<crate::io::socket::Credentials> {
    None
}
