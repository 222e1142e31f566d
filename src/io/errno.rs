//! What error numbers mean for a verdict.
//!
//! The same number can mean different things: the table to use depends on whether the system
//! refused a call at once, or told of something that came in from the network.

use std::io;

use crate::timing::Phase;
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, RawCode, Verdict};

/// What an error of an established stream, or of making it one, means for the probe.
pub(in crate::io) fn verdict(error: &io::Error, phase: Phase) -> Verdict {
    let fault = |kind| LocalFault::new(kind).in_phase(phase);
    let Some(number) = error.raw_os_error() else {
        let cancelled = error.kind() == io::ErrorKind::Other;
        let kind = if cancelled { LocalFaultKind::Cancelled } else { LocalFaultKind::Io };
        return fault(kind).with_detail(error.to_string()).into();
    };
    match (remote(number), local(number)) {
        (Some(kind), _) => {
            let raw = RawCode::Errno { value: number };
            Failure::new(kind).in_phase(phase).with_raw(raw).into()
        }
        (None, kind) => fault(kind.unwrap_or(LocalFaultKind::Io)).with_errno(number).into(),
    }
}

/// What a system call says of this host, or `None` if the number is about the other side.
pub(in crate::io) fn local(number: i32) -> Option<LocalFaultKind> {
    imp::local(number)
}

/// What an asynchronous socket error (`SO_ERROR`) says of the target or the path. Here all numbers
/// that stand for ICMP errors are such, including `EACCES`, which Linux makes of "administratively
/// prohibited" in IPv6.
pub(in crate::io) fn remote(number: i32) -> Option<FailureKind> {
    imp::remote(number)
}

#[cfg(unix)]
mod imp {
    use super::{FailureKind, LocalFaultKind};

    pub(super) fn local(number: i32) -> Option<LocalFaultKind> {
        use LocalFaultKind as K;
        Some(match number {
            libc::EPERM | libc::EACCES => K::Permission,
            libc::EMFILE | libc::ENFILE => K::Descriptors,
            libc::EADDRNOTAVAIL | libc::EADDRINUSE => K::Address,
            libc::ENOBUFS | libc::ENOMEM => K::Memory,
            libc::ENODEV | libc::ENXIO | libc::ENETDOWN => K::Interface,
            libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => K::Family,
            _ => return None,
        })
    }

    pub(super) fn remote(number: i32) -> Option<FailureKind> {
        use FailureKind as K;
        #[cfg(target_os = "linux")]
        if number == libc::ENONET {
            return Some(K::HostUnreachable);
        }
        Some(match number {
            libc::ECONNREFUSED => K::Refused,
            libc::ECONNRESET | libc::EPIPE => K::Reset,
            libc::ETIMEDOUT => K::Timeout,
            libc::ENETUNREACH => K::NetUnreachable,
            libc::EHOSTUNREACH | libc::EHOSTDOWN => K::HostUnreachable,
            libc::EACCES => K::Prohibited,
            libc::ENOPROTOOPT => K::ProtocolUnreachable,
            libc::EMSGSIZE => K::FragmentationNeeded,
            libc::EPROTO | libc::EOPNOTSUPP => K::Unreachable,
            _ => return None,
        })
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io::{Error, ErrorKind};

    use super::{FailureKind, LocalFaultKind};

    pub(super) fn local(number: i32) -> Option<LocalFaultKind> {
        Some(match Error::from_raw_os_error(number).kind() {
            ErrorKind::PermissionDenied => LocalFaultKind::Permission,
            ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => LocalFaultKind::Address,
            ErrorKind::OutOfMemory => LocalFaultKind::Memory,
            ErrorKind::NetworkDown => LocalFaultKind::Interface,
            _ => return None,
        })
    }

    pub(super) fn remote(number: i32) -> Option<FailureKind> {
        Some(match Error::from_raw_os_error(number).kind() {
            ErrorKind::ConnectionRefused => FailureKind::Refused,
            ErrorKind::ConnectionReset => FailureKind::Reset,
            ErrorKind::TimedOut => FailureKind::Timeout,
            ErrorKind::NetworkUnreachable => FailureKind::NetUnreachable,
            ErrorKind::HostUnreachable => FailureKind::HostUnreachable,
            _ => return None,
        })
    }
}
