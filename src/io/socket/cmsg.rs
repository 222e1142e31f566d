//! Control messages of `recvmsg` and the error queue records in them (cmsg(3), ip(7)).
//!
//! Pure parsing of bytes that the kernel wrote, in the layout of Linux and the byte order of this
//! machine. Records that are cut short or claim more than there is end the walk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct cmsghdr`: a `size_t` and two `int`.
const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

const fn aligned(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControlMessage<'a> {
    /// Protocol level, such as `IPPROTO_IP`.
    pub(crate) level: i32,
    /// Type within the level, such as `IP_RECVERR`.
    pub(crate) kind: i32,
    /// The payload.
    pub(crate) data: &'a [u8],
}

/// Walks through the control messages in a buffer.
pub(crate) fn messages(control: &[u8]) -> impl Iterator<Item = ControlMessage<'_>> {
    let mut rest = control;
    std::iter::from_fn(move || {
        let len = usize::from_ne_bytes(array(rest, 0)?);
        let level = i32::from_ne_bytes(array(rest, size_of::<usize>())?);
        let kind = i32::from_ne_bytes(array(rest, size_of::<usize>() + size_of::<i32>())?);
        let data = rest.get(HEADER..len)?;
        rest = len.checked_next_multiple_of(aligned(1)).and_then(|n| rest.get(n..)).unwrap_or(&[]);
        Some(ControlMessage { level, kind, data })
    })
}

/// A record of the error queue: `struct sock_extended_err` and who sent the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    /// The errno that the kernel made of it.
    pub(crate) errno: u32,
    /// Where it comes from: 1 local, 2 ICMP, 3 ICMPv6 (`SO_EE_ORIGIN_*`).
    pub(crate) origin: u8,
    /// ICMP type.
    pub(crate) icmp_type: u8,
    /// ICMP code.
    pub(crate) code: u8,
    /// More, by type: the MTU of the next hop for "packet too big", the kind of a send stamp.
    pub(crate) info: u32,
    /// Still more: which packet a send stamp is of.
    pub(crate) data: u32,
    /// Who sent the error; `None` if the kernel does not say.
    pub(crate) offender: Option<IpAddr>,
}

impl ExtendedError {
    /// `SO_EE_ORIGIN_LOCAL`.
    #[cfg(any(feature = "icmp", feature = "dns"))]
    pub(crate) const LOCAL: u8 = 1;
    /// `SO_EE_ORIGIN_ICMP`.
    pub(crate) const ICMP: u8 = 2;
    /// `SO_EE_ORIGIN_ICMP6`.
    pub(crate) const ICMPV6: u8 = 3;
    /// `SO_EE_ORIGIN_TIMESTAMPING`.
    #[cfg(any(feature = "icmp", feature = "dns"))]
    pub(crate) const TIMESTAMPING: u8 = 4;

    /// Reads the payload of an `IP_RECVERR` or `IPV6_RECVERR` message; `None` if it is too short.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let [origin, icmp_type, code, _pad] = array(data, 4)?;
        Some(ExtendedError {
            errno: u32::from_ne_bytes(array(data, 0)?),
            origin,
            icmp_type,
            code,
            info: u32::from_ne_bytes(array(data, 8)?),
            data: u32::from_ne_bytes(array(data, 12)?),
            offender: data.get(16..).and_then(sockaddr_ip),
        })
    }
}

/// What a control message says, as far as it is of use here.
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// When the packet was received or sent (`SCM_TIMESTAMPING`); `None` if all of it is zero, which
    /// stands for no stamp.
    Stamp(Option<crate::engine::measure::Stamp>),
    /// A record of the error queue.
    Error(ExtendedError),
    /// Time to live or hop limit.
    Hops(u8),
    /// Type of service or traffic class.
    TrafficClass(u8),
    /// How many packets the socket has dropped since it was opened (`SO_RXQ_OVFL`).
    Overflow(u32),
    /// Something else.
    Other,
}

#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
impl Control {
    /// Reads a control message. One that is too short for what it should be is something else.
    pub(crate) fn of(message: ControlMessage<'_>) -> Self {
        Self::parse(message).unwrap_or(Control::Other)
    }

    fn parse(ControlMessage { level, kind, data }: ControlMessage<'_>) -> Option<Self> {
        let int = || array(data, 0).map(i32::from_ne_bytes);
        Some(match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => Control::Stamp(stamp(data)?),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                Control::Overflow(u32::from_ne_bytes(array(data, 0)?))
            }
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                Control::Error(ExtendedError::parse(data)?)
            }
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                Control::Hops(u8::try_from(int()?).ok()?)
            }
            // A byte in IPv4, an int in IPv6.
            (libc::IPPROTO_IP, libc::IP_TOS) => Control::TrafficClass(*data.first()?),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                Control::TrafficClass(u8::try_from(int()?).ok()?)
            }
            _ => Control::Other,
        })
    }
}

/// The three `timespec` of a stamp: of the kernel, unused, of the card.
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
fn stamp(data: &[u8]) -> Option<Option<crate::engine::measure::Stamp>> {
    let word = size_of::<libc::c_long>();
    let ns = |at: usize| {
        let part = |at: usize| match word {
            8 => array(data, at).map(i64::from_ne_bytes),
            _ => array(data, at).map(i32::from_ne_bytes).map(i64::from),
        };
        let (seconds, rest) = (part(at)?, part(at + word)?);
        Some(seconds.saturating_mul(1_000_000_000).saturating_add(rest))
    };
    let (kernel, card) = (ns(0)?, ns(4 * word)?);
    if kernel == 0 {
        return Some(None);
    }
    let stamp = crate::engine::measure::Stamp::new(kernel);
    Some(Some(if card == 0 { stamp } else { stamp.with_card(card) }))
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn sockaddr_ip(sockaddr: &[u8]) -> Option<IpAddr> {
    // AF_INET and AF_INET6 as Linux numbers them.
    match u16::from_ne_bytes(array(sockaddr, 0)?) {
        2 => Some(Ipv4Addr::from(array::<4>(sockaddr, 4)?).into()),
        10 => Some(Ipv6Addr::from(array::<16>(sockaddr, 8)?).to_canonical()),
        _ => None,
    }
}

pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = (HEADER + data.len()).to_ne_bytes().to_vec();
        out.extend(level.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(data);
        out.resize(aligned(out.len()), 0xa5);
        out
    }

    /// As Linux 6.18 queued it for a SYN that a router (10.1.0.2) answered with "prohibited".
    #[cfg(target_endian = "little")]
    const PROHIBITED: &[u8] = &[
        0x71, 0, 0, 0, 2, 3, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 10, 1, 0, 2, 0, 0, 0, 0, 0,
        0, 0, 0,
    ];

    #[test]
    #[cfg(target_endian = "little")]
    fn a_record_names_its_sender() {
        let error = ExtendedError::parse(PROHIBITED).unwrap();
        assert_eq!((error.errno, error.origin, error.icmp_type, error.code), (113, 2, 3, 13));
        assert_eq!(error.offender, Some("10.1.0.2".parse().unwrap()));

        let mut v6 = PROHIBITED[..16].to_vec();
        v6.extend([10, 0, 0, 0, 0, 0, 0, 0]);
        v6.extend("fd01::2".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0; 4]);
        let error = ExtendedError::parse(&v6).unwrap();
        assert_eq!(error.offender, Some("fd01::2".parse().unwrap()));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn cut_anywhere_it_is_absent_or_lacks_its_sender() {
        for len in 0..PROHIBITED.len() {
            let error = ExtendedError::parse(&PROHIBITED[..len]);
            assert_eq!(error.is_some(), len >= 16, "{len}");
            assert_eq!(error.and_then(|e| e.offender).is_some(), len >= 24, "{len}");
        }
    }

    #[test]
    fn several_messages_are_walked_in_order() {
        let mut control = message(0, 11, b"abc");
        control.extend(message(41, 25, b""));
        control.extend(message(6, 1, &[7; 24]));
        let seen: Vec<_> = messages(&control).map(|m| (m.level, m.kind, m.data.len())).collect();
        assert_eq!(seen, [(0, 11, 3), (41, 25, 0), (6, 1, 24)]);
        for len in 0..control.len() {
            assert!(messages(&control[..len]).count() < 3, "{len}");
        }
    }

    #[test]
    fn a_length_that_lies_ends_the_walk() {
        for len in [0, HEADER - 1, HEADER + 1, usize::MAX - 3, usize::MAX] {
            let mut control = message(1, 2, b"");
            control[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&control).count(), 0, "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(control: Vec<u8>) {
            for message in messages(&control).take(control.len() + 1) {
                let _ = ExtendedError::parse(message.data);
            }
            prop_assert!(messages(&control).count() <= control.len() / HEADER);
        }
    }

    #[test]
    #[cfg(all(
        any(feature = "icmp", feature = "dns"),
        target_os = "linux",
        target_pointer_width = "64"
    ))]
    fn stamps_are_read_and_zero_is_none() {
        use crate::engine::measure::Stamp;
        let times = |parts: [i64; 6]| parts.map(i64::to_ne_bytes).concat();
        let read = |data: &[u8]| {
            let (level, kind) = (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING);
            Control::of(ControlMessage { level, kind, data })
        };
        let both = times([1_790_000_000, 5, 0, 0, 77, 9]);
        let stamp = Stamp::new(1_790_000_000_000_000_005);
        assert_eq!(read(&both), Control::Stamp(Some(stamp.with_card(77_000_000_009))));
        let kernel = times([1_790_000_000, 5, 0, 0, 0, 0]);
        assert_eq!(read(&kernel), Control::Stamp(Some(stamp)));
        assert_eq!(read(&times([0; 6])), Control::Stamp(None));
        for len in 0..both.len() {
            assert_eq!(read(&both[..len]), Control::Other, "{len}");
        }
        assert!(matches!(read(&times([i64::MAX; 6])), Control::Stamp(Some(_))));
    }

    #[test]
    #[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
    fn hops_and_classes_have_the_width_of_their_family() {
        let of = |level, kind, data: &[u8]| Control::of(ControlMessage { level, kind, data });
        let (v4, v6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
        assert_eq!(of(v4, libc::IP_TTL, &64_i32.to_ne_bytes()), Control::Hops(64));
        assert_eq!(of(v6, libc::IPV6_HOPLIMIT, &1_i32.to_ne_bytes()), Control::Hops(1));
        assert_eq!(of(v4, libc::IP_TOS, &[184]), Control::TrafficClass(184));
        assert_eq!(of(v6, libc::IPV6_TCLASS, &184_i32.to_ne_bytes()), Control::TrafficClass(184));
        assert_eq!(of(v6, libc::IPV6_HOPLIMIT, &256_i32.to_ne_bytes()), Control::Other);
        assert_eq!(of(v6, libc::IPV6_TCLASS, &[184]), Control::Other);
        let overflow = of(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        assert_eq!(overflow, Control::Overflow(7));
    }
}
