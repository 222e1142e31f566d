//! Puts [`SocketOptions`] on a socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::ConnectStep;
use crate::io::socket as sys;
use crate::tcp::SocketOptions;

/// A step and why it failed.
pub(in crate::io) type Refused = (ConnectStep, io::Error);

/// Everything that is set before the socket is bound.
pub(super) fn apply(socket: &Socket, v6: bool, options: &SocketOptions) -> Result<(), Refused> {
    let at = |step| move |error| (step, error);
    apply_to_packets(socket, v6, options)?;
    if options.nodelay {
        socket.set_tcp_nodelay(true).map_err(at(ConnectStep::Nodelay))?;
    }
    // Out of line, an urgent byte is missing from what is read (RFC 6093, 4.2). Set later, it would
    // come too late for one that arrives with the handshake.
    socket.set_out_of_band_inline(true).map_err(at(ConnectStep::OobInline))?;
    if options.reset_on_close {
        socket.set_linger(Some(Duration::ZERO)).map_err(at(ConnectStep::Linger))?;
    }
    if let Some(name) = &options.congestion_control {
        sys::set_congestion_control(socket, name).map_err(at(ConnectStep::CongestionControl))?;
    }
    Ok(())
}

/// What of it concerns sockets of any kind.
pub(in crate::io) fn apply_to_packets(
    socket: &Socket,
    v6: bool,
    options: &SocketOptions,
) -> Result<(), Refused> {
    let at = |step| move |error| (step, error);
    if let Some(name) = &options.interface {
        sys::bind_device(socket, name).map_err(at(ConnectStep::Interface))?;
    }
    if let Some(mark) = options.fwmark {
        sys::set_mark(socket, mark).map_err(at(ConnectStep::Fwmark))?;
    }
    if let Some(dscp) = options.dscp {
        // The lower two bits are ECN, which TCP sets by itself.
        sys::set_traffic_class(socket, v6, dscp << 2).map_err(at(ConnectStep::Dscp))?;
    }
    if let Some(ttl) = options.ttl {
        let set =
            if v6 { socket.set_unicast_hops_v6(ttl.into()) } else { socket.set_ttl_v4(ttl.into()) };
        set.map_err(at(ConnectStep::Ttl))?;
    }
    if let Some(bytes) = options.recv_buffer_bytes {
        socket
            .set_recv_buffer_size(bytes as usize)
            .and_then(|()| granted(socket.recv_buffer_size()?, bytes))
            .map_err(at(ConnectStep::RecvBuffer))?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket
            .set_send_buffer_size(bytes as usize)
            .and_then(|()| granted(socket.send_buffer_size()?, bytes))
            .map_err(at(ConnectStep::SendBuffer))?;
    }
    Ok(())
}

/// Linux caps buffers at net.core.rmem_max and wmem_max without an error.
fn granted(bytes: usize, asked: u32) -> io::Result<()> {
    if bytes / sys::BUFFER_OVERHEAD < asked as usize {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    Ok(())
}

/// Takes the source address, and the port unless it is left to `connect`.
pub(super) fn bind(socket: &Socket, source: SocketAddr) -> Result<(), Refused> {
    let at_bind = |error| (ConnectStep::Bind, error);
    if source.port() == 0 {
        sys::bind_address_no_port(socket).map_err(at_bind)?;
    } else {
        // So that connections from this port to elsewhere, and those in TIME_WAIT, do not count;
        // on Windows the option would take the port away from others.
        #[cfg(unix)]
        socket.set_reuse_address(true).map_err(at_bind)?;
    }
    socket.bind(&SockAddr::from(source)).map_err(at_bind)
}

/// The addresses to bind to, one after the other; a single `None` means: do not bind.
pub(in crate::io) fn sources(
    options: &SocketOptions,
    remote: SocketAddr,
) -> impl Iterator<Item = Option<SocketAddr>> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A link-local source lies in the zone of the target (RFC 4007, 6).
    let zone = if let SocketAddr::V6(v6) = remote { v6.scope_id() } else { 0 };
    let source = move |port| match options.source.map(|ip| ip.to_canonical()).unwrap_or(any) {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, zone).into(),
    };
    let bound = options.source.is_some() || options.source_ports.is_some();
    in_turn(options.source_ports.unwrap_or_default()).map(move |port| bound.then(|| source(port)))
}

/// All ports of a range, starting somewhere: probes side by side would otherwise all try the same
/// ports first.
fn in_turn([low, high]: [u16; 2]) -> impl Iterator<Item = u16> {
    use std::hash::{BuildHasher, RandomState};

    let count = u64::from(high.saturating_sub(low)) + 1;
    // A hash of nothing under a random key is a random number.
    let first = if count == 1 { 0 } else { RandomState::new().hash_one(()) % count };
    let port = move |i| u16::try_from((first + i) % count).ok().and_then(|i| low.checked_add(i));
    (0..count).filter_map(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_tried_whole_and_once() {
        for range in [[5, 5], [4000, 4003], [1, u16::MAX]] {
            let mut ports: Vec<u16> = in_turn(range).collect();
            ports.sort_unstable();
            assert_eq!(ports, (range[0]..=range[1]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_to_bind_to_is_one_try_without() {
        let tried = |options: SocketOptions, remote: &str| -> Vec<Option<String>> {
            let tried = sources(&options, remote.parse().unwrap()).map(|s| Some(s?.to_string()));
            tried.collect()
        };
        let base = SocketOptions::default;
        let bound = |text: &str| vec![Some(text.to_owned())];
        assert_eq!(tried(base(), "[::1]:80"), [None]);
        let options = SocketOptions { source_ports: Some([7, 7]), ..base() };
        assert_eq!(tried(options.clone(), "[::1]:80"), bound("[::]:7"));
        assert_eq!(tried(options, "127.0.0.1:80"), bound("0.0.0.0:7"));
        let options = SocketOptions { source: "fe80::9".parse().ok(), ..base() };
        assert_eq!(tried(options, "[fe80::1%3]:80"), bound("[fe80::9%3]:0"));
        let options = SocketOptions { source: "::ffff:127.0.0.9".parse().ok(), ..base() };
        assert_eq!(tried(options, "127.0.0.1:80"), bound("127.0.0.9:0"));
    }
}
