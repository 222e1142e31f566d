//! getaddrinfo(3) and getnameinfo(3) with their own error codes, which the standard library turns into
//! text.
#![cfg_attr(unix, allow(unsafe_code))]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::resolve::Family;

/// Why getaddrinfo(3) gave no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaiError {
    /// What it means.
    pub(crate) kind: GaiErrorKind,
    /// The `EAI_` number of this system; `None` if the system was not asked.
    pub(crate) code: Option<i32>,
}

/// What an `EAI_` number means, whatever its value on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaiErrorKind {
    /// `EAI_AGAIN`: no answer for now. A later question may be answered.
    Again,
    /// `EAI_FAIL`: the name server failed for good.
    Fail,
    /// `EAI_MEMORY`: out of memory.
    Memory,
    /// `EAI_NODATA` or `EAI_ADDRFAMILY`: the name exists, but has no address of the family.
    NoData,
    /// `EAI_NONAME`: there is no such name; some resolvers say so of a name without addresses too.
    NoName,
    /// `EAI_SYSTEM`: a system call failed with this errno.
    System(i32),
    /// Any other: this system cannot resolve such names or families.
    Other,
}

impl fmt::Display for GaiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            GaiErrorKind::Again => "temporary failure in name resolution",
            GaiErrorKind::Fail => "failure of the name server",
            GaiErrorKind::Memory => "out of memory",
            GaiErrorKind::NoData => "the name has no address of that family",
            GaiErrorKind::NoName => "no such name",
            GaiErrorKind::System(errno) => return write!(f, "system error {errno}"),
            GaiErrorKind::Other => "the system's resolver cannot answer this question",
        })
    }
}

impl std::error::Error for GaiError {}

/// The addresses of a name for stream sockets, in the order of the system (RFC 6724), each once,
/// with port 0 and the scope that it came with. **Blocks**, for as long as the system's resolver
/// takes.
///
/// `Family::V4Only` and `V6Only` narrow the question, all others ask for both families.
///
/// # Errors
/// [`GaiError`]. A name with a NUL in it is [`GaiErrorKind::NoName`] without being asked for.
pub(crate) fn lookup(name: &str, family: Family) -> Result<Vec<SocketAddr>, GaiError> {
    let mut addresses = Vec::new();
    for address in imp::lookup(name, family)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// The name of an address. **Blocks**, as [`lookup`] does.
///
/// # Errors
/// [`GaiError`]: [`GaiErrorKind::NoName`] if there is none, or if this system cannot be asked.
pub(crate) fn name_of(address: IpAddr) -> Result<String, GaiError> {
    imp::name_of(address)
}

#[cfg(unix)]
mod imp {
    use std::ffi::{CStr, CString};
    use std::io;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
    use std::ptr;

    use super::{Family, GaiError, GaiErrorKind};

    /// The list that getaddrinfo made.
    struct List(*mut libc::addrinfo);

    impl Drop for List {
        fn drop(&mut self) {
            if !self.0.is_null() {
                // SAFETY: the list came from getaddrinfo and is freed once, here.
                unsafe { libc::freeaddrinfo(self.0) }
            }
        }
    }

    pub(super) fn lookup(name: &str, family: Family) -> Result<Vec<SocketAddr>, GaiError> {
        let Ok(name) = CString::new(name) else {
            return Err(GaiError { kind: GaiErrorKind::NoName, code: None });
        };
        // SAFETY: `addrinfo` is a C structure of integers and pointers; all zero is the "no hint" of
        // getaddrinfo(3).
        let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
        // One socket type, or every address comes once for each.
        hints.ai_socktype = libc::SOCK_STREAM;
        hints.ai_family = match family {
            Family::V4Only => libc::AF_INET,
            Family::V6Only => libc::AF_INET6,
            _ => libc::AF_UNSPEC,
        };
        let mut list = List(ptr::null_mut());
        // SAFETY: `name` is a C string and `hints` is initialised; both outlive the call. The list
        // is written on success only, and freed by `List`.
        let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &hints, &mut list.0) };
        if code != 0 {
            return Err(GaiError { kind: kind(code), code: Some(code) });
        }
        let mut addresses = Vec::new();
        let mut next = list.0;
        while !next.is_null() {
            // SAFETY: `next` is an element of the list, which lives until `list` is dropped.
            let info = unsafe { &*next };
            addresses.extend(address(info));
            next = info.ai_next;
        }
        Ok(addresses)
    }

    /// Room for a name: `NI_MAXHOST` of netdb.h.
    const NAME: usize = 1025;

    pub(super) fn name_of(address: IpAddr) -> Result<String, GaiError> {
        let address = socket2::SockAddr::from(SocketAddr::new(address, 0));
        let mut name = [0_u8; NAME];
        // SAFETY: the address is a socket address of the length that it says, `name` is valid for writes of
        // the length that is given, and both outlive the call. No service is asked for, which a null
        // pointer and a length of zero say.
        let code = unsafe {
            libc::getnameinfo(
                address.as_ptr().cast(),
                address.len(),
                name.as_mut_ptr().cast(),
                NAME as libc::socklen_t,
                ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            )
        };
        if code != 0 {
            return Err(GaiError { kind: kind(code), code: Some(code) });
        }
        let name = CStr::from_bytes_until_nul(&name).map(CStr::to_string_lossy);
        name.map(|name| name.into_owned())
            .map_err(|_| GaiError { kind: GaiErrorKind::Other, code: None })
    }

    fn address(info: &libc::addrinfo) -> Option<SocketAddr> {
        let len = info.ai_addrlen as usize;
        if info.ai_addr.is_null() {
            return None;
        }
        if info.ai_family == libc::AF_INET && len >= size_of::<libc::sockaddr_in>() {
            // SAFETY: the address is not null, has the length of a `sockaddr_in` and is said to be
            // one; it is read without assuming an alignment.
            let v4 = unsafe { info.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            return Some(SocketAddr::from((ip, 0)));
        }
        if info.ai_family == libc::AF_INET6 && len >= size_of::<libc::sockaddr_in6>() {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { info.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            return Some(SocketAddrV6::new(ip, 0, 0, v6.sin6_scope_id).into());
        }
        None
    }

    /// glibc's `EAI_ADDRFAMILY`, which the libc crate does not name for Linux.
    #[cfg(target_os = "linux")]
    const EAI_ADDRFAMILY: i32 = -9;

    fn kind(code: i32) -> GaiErrorKind {
        #[cfg(target_os = "linux")]
        if matches!(code, libc::EAI_NODATA | EAI_ADDRFAMILY) {
            return GaiErrorKind::NoData;
        }
        match code {
            libc::EAI_AGAIN => GaiErrorKind::Again,
            libc::EAI_FAIL => GaiErrorKind::Fail,
            libc::EAI_MEMORY => GaiErrorKind::Memory,
            libc::EAI_NONAME => GaiErrorKind::NoName,
            libc::EAI_SYSTEM => {
                GaiErrorKind::System(io::Error::last_os_error().raw_os_error().unwrap_or(0))
            }
            _ => GaiErrorKind::Other,
        }
    }

    #[cfg(test)]
    #[test]
    fn codes_have_kinds() {
        assert_eq!(kind(libc::EAI_NONAME), GaiErrorKind::NoName);
        assert_eq!(kind(libc::EAI_AGAIN), GaiErrorKind::Again);
        assert_eq!(kind(libc::EAI_SERVICE), GaiErrorKind::Other);
        #[cfg(target_os = "linux")]
        assert_eq!(kind(EAI_ADDRFAMILY), GaiErrorKind::NoData);
    }
}

#[cfg(not(unix))]
mod imp {
    use std::io;
    use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

    use super::{Family, GaiError, GaiErrorKind};

    pub(super) fn name_of(_: IpAddr) -> Result<String, GaiError> {
        Err(GaiError { kind: GaiErrorKind::NoName, code: None })
    }

    pub(super) fn lookup(name: &str, family: Family) -> Result<Vec<SocketAddr>, GaiError> {
        let found = (name, 0).to_socket_addrs().map_err(|error: io::Error| {
            // WSAHOST_NOT_FOUND, WSATRY_AGAIN, WSANO_RECOVERY, WSANO_DATA.
            let kind = match error.raw_os_error() {
                Some(11001) => GaiErrorKind::NoName,
                Some(11002) => GaiErrorKind::Again,
                Some(11003) => GaiErrorKind::Fail,
                Some(11004) => GaiErrorKind::NoData,
                _ => GaiErrorKind::Other,
            };
            GaiError { kind, code: error.raw_os_error() }
        })?;
        let addresses: Vec<_> = found.filter(|address| family.admits(address.ip())).collect();
        if addresses.is_empty() {
            return Err(GaiError { kind: GaiErrorKind::NoData, code: None });
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back_with_their_scope_and_family() {
        let one = |text: &str, family| lookup(text, family).map(|all| all[0].to_string());
        assert_eq!(one("192.0.2.1", Family::Any).unwrap(), "192.0.2.1:0");
        assert_eq!(one("2001:db8::1", Family::PreferV4).unwrap(), "[2001:db8::1]:0");
        #[cfg(target_os = "linux")]
        assert_eq!(one("fe80::1%lo", Family::V6Only).unwrap(), "[fe80::1%1]:0");
        let other_family = lookup("192.0.2.1", Family::V6Only).unwrap_err();
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        assert_eq!((other_family.kind, other_family.code), (GaiErrorKind::NoData, Some(-9)));
        assert!(!matches!(other_family.kind, GaiErrorKind::System(_)));
    }

    #[test]
    fn localhost_has_each_address_once() {
        let found = lookup("localhost", Family::Any).unwrap();
        assert!(found.iter().all(|a| a.ip().is_loopback() && a.port() == 0));
        for (i, address) in found.iter().enumerate() {
            assert!(!found[..i].contains(address), "{found:?}");
        }
        assert!(lookup("localhost", Family::V4Only).unwrap().iter().all(SocketAddr::is_ipv4));
    }

    #[test]
    fn names_that_cannot_be_are_not_asked_for() {
        let error = lookup("a\0b", Family::Any).unwrap_err();
        assert_eq!((error.kind, error.code), (GaiErrorKind::NoName, None));
        // glibc refuses an over-long name by itself: no server is asked for it.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        assert!(lookup(&"x".repeat(2000), Family::Any).is_err());
    }
}
