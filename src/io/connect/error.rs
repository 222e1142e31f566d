//! Why a connect failed, and where that shows.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::io::errno;
use crate::io::socket::cmsg::ExtendedError;
use crate::tcp::TcpInfo;
use crate::timing::Phase;
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, RawCode, Verdict};

/// A connection that did not come about.
#[derive(Clone, Debug)]
pub(crate) struct ConnectError {
    /// What happened.
    pub(crate) kind: ConnectErrorKind,
    /// What was being done.
    pub(crate) step: ConnectStep,
    /// The system's error number; `None` if no system call failed.
    pub(crate) errno: Option<i32>,
    /// The ICMP error that ended the attempt. `None` if none came, if the system does not tell
    /// (all but Linux), or if this host's own route table refused.
    pub(crate) icmp: Option<Box<IcmpError>>,
    /// The address that was dialled from, once the system had chosen one.
    pub(crate) local: Option<SocketAddr>,
    /// The kernel's figures at the end of the attempt; `None` if nothing was sent.
    pub(crate) info: Option<Box<TcpInfo>>,
    /// When it was tried.
    pub(crate) marks: ConnectMarks,
}

/// Whose fault it is, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectErrorKind {
    /// The target's or the path's.
    Failed(FailureKind),
    /// This host's.
    Local(LocalFaultKind),
}

/// A step on the way to a connection. Its [name](ConnectStep::as_str) is the system call or the
/// socket option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectStep {
    /// Looking at the address and the options, before any system call.
    Check,
    /// `socket`.
    Socket,
    /// `SO_BINDTODEVICE`.
    Interface,
    /// `SO_MARK`.
    Fwmark,
    /// `IP_TOS` or `IPV6_TCLASS`.
    Dscp,
    /// `IP_TTL` or `IPV6_UNICAST_HOPS`.
    Ttl,
    /// `TCP_NODELAY`.
    Nodelay,
    /// `SO_OOBINLINE`.
    OobInline,
    /// `SO_LINGER`.
    Linger,
    /// `SO_RCVBUF`.
    RecvBuffer,
    /// `SO_SNDBUF`.
    SendBuffer,
    /// `TCP_CONGESTION`.
    CongestionControl,
    /// `bind`: source address and port.
    Bind,
    /// `connect` itself, which reports what this host knows: nothing was sent if it fails.
    Connect,
    /// After `connect`, waiting for the answer.
    Wait,
    /// Handing the socket to the runtime (`epoll_ctl`).
    Register,
}

impl ConnectStep {
    /// The system call or the socket option.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            ConnectStep::Check => "check",
            ConnectStep::Socket => "socket",
            ConnectStep::Interface => "SO_BINDTODEVICE",
            ConnectStep::Fwmark => "SO_MARK",
            ConnectStep::Dscp => "DSCP",
            ConnectStep::Ttl => "TTL",
            ConnectStep::Nodelay => "TCP_NODELAY",
            ConnectStep::OobInline => "SO_OOBINLINE",
            ConnectStep::Linger => "SO_LINGER",
            ConnectStep::RecvBuffer => "SO_RCVBUF",
            ConnectStep::SendBuffer => "SO_SNDBUF",
            ConnectStep::CongestionControl => "TCP_CONGESTION",
            ConnectStep::Bind => "bind",
            ConnectStep::Connect => "connect",
            ConnectStep::Wait => "wait",
            ConnectStep::Register => "register",
        }
    }

    fn phase(self) -> Phase {
        match self {
            ConnectStep::Connect | ConnectStep::Wait | ConnectStep::Register => Phase::Connect,
            _ => Phase::Setup,
        }
    }
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The marks of an attempt. What lies between two of them is elapsed time of this host; it is never
/// network time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectMarks {
    /// Before the socket was made.
    pub(crate) start: Instant,
    /// Right before `connect`; `None` if it did not come to that.
    pub(crate) dialled: Option<Instant>,
    /// When the outcome was known here.
    pub(crate) end: Instant,
}

/// An ICMP or ICMPv6 error that answered a SYN (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IcmpError {
    /// Who sent it. It is an address of this host itself if the neighbour did not answer ARP or
    /// neighbour discovery, or if a packet filter of this host rejected the SYN.
    pub(crate) from: Option<IpAddr>,
    /// Whether it is ICMPv6, whose numbers mean other things.
    pub v6: bool,
    /// The type.
    pub(crate) icmp_type: u8,
    /// The code.
    pub(crate) code: u8,
    /// MTU of the next hop, if the error is about that and names one.
    pub(crate) mtu: Option<u32>,
}

impl IcmpError {
    pub(super) fn from_queue(error: &ExtendedError) -> Self {
        let v6 = error.origin == ExtendedError::ICMPV6;
        let too_big = matches!((v6, error.icmp_type, error.code), (false, 3, 4) | (true, 2, _));
        IcmpError {
            from: error.offender,
            v6,
            icmp_type: error.icmp_type,
            code: error.code,
            mtu: (too_big && error.info != 0).then_some(error.info),
        }
    }

    /// What the error says of the target.
    pub(crate) const fn kind(&self) -> FailureKind {
        FailureKind::of_icmp(self.v6, self.icmp_type, self.code)
    }
}

impl ConnectErrorKind {
    /// What a system call says that failed at once.
    pub(in crate::io) fn of_call(step: ConnectStep, error: &io::Error) -> Self {
        use ConnectErrorKind::{Failed, Local};
        let Some(number) = error.raw_os_error() else {
            return Local(match (step, error.kind()) {
                (_, io::ErrorKind::QuotaExceeded) => LocalFaultKind::Memory,
                // No system call failed: the runtime is being shut down.
                (ConnectStep::Register, _) => LocalFaultKind::Cancelled,
                _ => LocalFaultKind::Io,
            });
        };
        if let Some(kind) = errno::local(number) {
            return Local(kind);
        }
        if step != ConnectStep::Connect {
            return Local(LocalFaultKind::Io);
        }
        match error.kind() {
            // The range of ports for outgoing connections is used up (connect(2)).
            io::ErrorKind::WouldBlock => Local(LocalFaultKind::Address),
            // A route of type "blackhole"; or a link-local address without its zone.
            io::ErrorKind::InvalidInput => Local(LocalFaultKind::Route),
            _ => errno::remote(number).map_or(Local(LocalFaultKind::Io), Failed),
        }
    }

    /// What came in after the SYN had left: an ICMP error says more than the error number that the
    /// kernel made of it.
    pub(super) fn of_answer(
        number: Option<i32>,
        icmp: Option<&IcmpError>,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Self {
        use ConnectErrorKind::{Failed, Local};
        if let Some(icmp) = icmp {
            let kind = icmp.kind();
            let from_here = icmp.from.is_some() && icmp.from == local.map(|local| local.ip());
            // "Host unreachable" is how this host tells itself that the neighbour does not answer;
            // any other error of its own about a packet to somebody else is a packet filter's.
            let filtered =
                from_here && icmp.from != Some(remote.ip()) && kind != FailureKind::HostUnreachable;
            return if filtered { Local(LocalFaultKind::Permission) } else { Failed(kind) };
        }
        let Some(number) = number else { return Failed(FailureKind::Reset) };
        errno::remote(number)
            .map(Failed)
            .or_else(|| errno::local(number).map(Local))
            .unwrap_or(Local(LocalFaultKind::Io))
    }
}

impl ConnectError {
    /// SYNs that were sent again; `None` if none was sent or the system does not say.
    pub(crate) fn syn_retransmits(&self) -> Option<u32> {
        self.info.as_ref().and_then(|info| info.total_retransmits)
    }

    /// The verdict on a probe that ends with this error: phase, code, number and sender filled in.
    pub(crate) fn verdict(&self) -> Verdict {
        let phase = self.step.phase();
        let raw = match (&self.icmp, self.errno) {
            (Some(icmp), _) => {
                Some(RawCode::Icmp { icmp_type: icmp.icmp_type, code: icmp.code, from: icmp.from })
            }
            (None, errno) => errno.map(|value| RawCode::Errno { value }),
        };
        match self.kind {
            ConnectErrorKind::Failed(kind) => {
                let failure = Failure::new(kind).in_phase(phase);
                Verdict::Fail(match raw {
                    Some(raw) => failure.with_raw(raw),
                    None => failure,
                })
            }
            ConnectErrorKind::Local(kind) => {
                let fault = LocalFault::new(kind).in_phase(phase).with_detail(self.step.as_str());
                Verdict::Unknown(match self.errno {
                    Some(errno) => fault.with_errno(errno),
                    None => fault,
                })
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict() {
            Verdict::Fail(failure) => failure.fmt(f),
            Verdict::Unknown(fault) => fault.fmt(f),
            _ => f.write_str(self.step.as_str()),
        }
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn icmp(v6: bool, icmp_type: u8, code: u8, from: &str) -> IcmpError {
        let from = Some(from.parse().unwrap());
        IcmpError { from, v6, icmp_type, code, mtu: None }
    }

    fn answer(errno: i32, icmp: Option<&IcmpError>) -> ConnectErrorKind {
        let local = Some("10.1.0.1:4000".parse().unwrap());
        ConnectErrorKind::of_answer(Some(errno), icmp, local, "10.2.0.1:80".parse().unwrap())
    }

    #[test]
    fn every_icmp_code_has_a_kind() {
        let kinds = |v6, icmp_type, codes: std::ops::Range<u8>| -> Vec<&str> {
            codes.map(|code| icmp(v6, icmp_type, code, "::1").kind().code()).collect()
        };
        assert_eq!(
            kinds(false, 3, 0..16),
            [
                "net_unreachable",
                "host_unreachable",
                "protocol_unreachable",
                "port_unreachable",
                "fragmentation_needed",
                "unreachable",
                "net_unreachable",
                "host_unreachable",
                "unreachable",
                "prohibited",
                "prohibited",
                "net_unreachable",
                "host_unreachable",
                "filtered",
                "unreachable",
                "unreachable",
            ]
        );
        assert_eq!(
            kinds(true, 1, 0..8),
            [
                "net_unreachable",
                "filtered",
                "unreachable",
                "host_unreachable",
                "port_unreachable",
                "prohibited",
                "prohibited",
                "unreachable",
            ]
        );
        assert_eq!(kinds(false, 11, 0..2), ["ttl_exceeded"; 2]);
        assert_eq!(kinds(true, 3, 0..2), ["ttl_exceeded"; 2]);
        assert_eq!(kinds(false, 12, 0..1), ["unreachable"]);
    }

    #[test]
    fn a_router_s_error_is_the_path_s_and_our_own_is_a_filter_s() {
        use ConnectErrorKind::{Failed, Local};
        let router = icmp(false, 3, 3, "10.1.0.2");
        assert_eq!(answer(111, Some(&router)), Failed(FailureKind::PortUnreachable));
        let filter = icmp(false, 3, 3, "10.1.0.1");
        assert_eq!(answer(111, Some(&filter)), Local(LocalFaultKind::Permission));
        let neighbour = icmp(false, 3, 1, "10.1.0.1");
        assert_eq!(answer(113, Some(&neighbour)), Failed(FailureKind::HostUnreachable));
        let own = icmp(false, 3, 3, "127.0.0.1");
        let here = "127.0.0.1:9".parse().unwrap();
        let kind = ConnectErrorKind::of_answer(Some(111), Some(&own), Some(here), here);
        assert_eq!(kind, Failed(FailureKind::PortUnreachable));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_number_means_what_its_step_makes_of_it() {
        use ConnectErrorKind::{Failed, Local};
        let call =
            |step, errno| ConnectErrorKind::of_call(step, &io::Error::from_raw_os_error(errno));
        for (errno, kind) in [
            (libc::EACCES, LocalFaultKind::Permission),
            (libc::EPERM, LocalFaultKind::Permission),
            (libc::EINVAL, LocalFaultKind::Route),
            (libc::EADDRNOTAVAIL, LocalFaultKind::Address),
            (libc::EADDRINUSE, LocalFaultKind::Address),
            (libc::EAGAIN, LocalFaultKind::Address),
            (libc::EMFILE, LocalFaultKind::Descriptors),
            (libc::ENFILE, LocalFaultKind::Descriptors),
            (libc::ENOBUFS, LocalFaultKind::Memory),
            (libc::ENOMEM, LocalFaultKind::Memory),
            (libc::ENODEV, LocalFaultKind::Interface),
            (libc::EAFNOSUPPORT, LocalFaultKind::Family),
            (libc::EBADF, LocalFaultKind::Io),
        ] {
            assert_eq!(call(ConnectStep::Connect, errno), Local(kind), "{errno}");
        }
        assert_eq!(
            call(ConnectStep::Connect, libc::EHOSTUNREACH),
            Failed(FailureKind::HostUnreachable)
        );
        assert_eq!(call(ConnectStep::Bind, libc::EINVAL), Local(LocalFaultKind::Io));
        assert_eq!(call(ConnectStep::Ttl, libc::ENOPROTOOPT), Local(LocalFaultKind::Io));
        // The same EACCES, but from the network.
        assert_eq!(answer(libc::EACCES, None), Failed(FailureKind::Prohibited));
        assert_eq!(answer(libc::ECONNRESET, None), Failed(FailureKind::Reset));
        assert_eq!(answer(libc::ETIMEDOUT, None), Failed(FailureKind::Timeout));
        assert_eq!(answer(libc::ENOBUFS, None), Local(LocalFaultKind::Memory));
        assert_eq!(answer(libc::ECONNABORTED, None), Local(LocalFaultKind::Io));
    }

    #[test]
    fn the_mtu_is_kept_where_one_is_named() {
        let queued = |icmp_type, code, info| {
            let mut data = [0; 16];
            (data[4], data[5], data[6]) = (2, icmp_type, code);
            data[8..12].copy_from_slice(&u32::to_ne_bytes(info));
            IcmpError::from_queue(&ExtendedError::parse(&data).unwrap()).mtu
        };
        assert_eq!(queued(3, 4, 1400), Some(1400));
        assert_eq!(queued(3, 4, 0), None);
        assert_eq!(queued(3, 1, 1400), None);
    }
}
