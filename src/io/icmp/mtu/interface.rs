//! What the interface takes that packets to an address leave by.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::icmp::mtu::MtuConfig;
use crate::io::socket::{
    self as sys, Control, ExtendedError, MtuDiscovery, ReceiveBatch, bind_device,
    queue_icmp_errors, set_mark, set_mtu_discovery, set_traffic_class,
};

/// The most that a datagram can hold: 65,535 bytes less the headers of IPv4 and UDP. The length of an
/// IPv6 packet does not count its header.
const MOST: [usize; 2] = [65_507, 65_527];

/// The MTU of the interface for this address, in bytes with the IP header. `None` if it takes whatever
/// IP has, or if the system does not tell.
///
/// `IP_MTU` (ip(7)) would be what the kernel has learnt of the path, which is just what is not to be
/// believed here. A socket that ignores that is refused what is too large for the interface, and the
/// error queue says how much it takes. The datagram is announced as the first part of a larger one
/// (`MSG_MORE`), so that nothing leaves even if it is not refused.
pub(super) fn mtu(config: &MtuConfig, to: SocketAddr) -> Option<u32> {
    let mut to = to;
    to.set_port(1);
    let socket = routed(config, to).ok()?;
    let most = MOST.get(usize::from(to.is_ipv6()))?;
    let refused = socket.send_with_flags(&vec![0; *most], libc::MSG_MORE).err()?;
    if refused.raw_os_error() != Some(libc::EMSGSIZE) {
        return None;
    }
    let mut batch = ReceiveBatch::new(1, 1);
    sys::receive(&socket, &mut batch, libc::MSG_ERRQUEUE).ok()?;
    batch.messages().find_map(|message| told(message.controls().map(Control::of)))
}

/// A socket that takes the same route as the packets to come.
fn routed(config: &MtuConfig, to: SocketAddr) -> io::Result<Socket> {
    let v6 = to.is_ipv6();
    let domain = Domain::for_address(to);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    set_mtu_discovery(&socket, v6, MtuDiscovery::Probe)?;
    queue_icmp_errors(&socket, v6, true)?;
    if let Some(mark) = config.fwmark {
        set_mark(&socket, mark)?;
    }
    if let Some(dscp) = config.dscp {
        set_traffic_class(&socket, v6, dscp << 2)?;
    }
    if let Some(name) = &config.interface {
        bind_device(&socket, name)?;
    }
    if let Some(source) = config.source {
        socket.bind(&SockAddr::from(SocketAddr::new(source.to_canonical(), 0)))?;
    }
    socket.connect(&SockAddr::from(to))?;
    Ok(socket)
}

/// What a local error says would do.
fn told(mut controls: impl Iterator<Item = Control>) -> Option<u32> {
    controls.find_map(|control| match control {
        Control::Error(ExtendedError { errno, info, .. }) if errno == libc::EMSGSIZE as u32 => {
            Some(info).filter(|info| *info > 0)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_takes_more_than_ipv4_has_and_less_than_ipv6() {
        let config = MtuConfig::default();
        assert_eq!(mtu(&config, ([127, 0, 0, 1], 0).into()), None);
        let v6 = std::net::Ipv6Addr::LOCALHOST;
        assert_eq!(mtu(&config, (v6, 0).into()), Some(65_536));
        let nowhere = MtuConfig { interface: Some("none-such".into()), ..config };
        assert_eq!(mtu(&nowhere, (v6, 0).into()), None);
    }
}
