//! Names of network interfaces (if_nametoindex(3)).
#![cfg_attr(unix, allow(unsafe_code))]

use std::io;
use std::num::NonZeroU32;

/// The number of a network interface, as an IPv6 zone is given to the system (RFC 4007, 11): by
/// name, or by a decimal number where no interface has that name.
///
/// # Errors
/// `ENODEV` if there is no such interface, [`Unsupported`](io::ErrorKind::Unsupported) where names
/// cannot be looked up, and what opening a socket can yield, such as `EMFILE`. All of them are
/// faults of this host.
pub(crate) fn index(zone: &str) -> io::Result<NonZeroU32> {
    by_name(zone).or_else(|error| match zone.parse() {
        Ok(index) if zone.bytes().all(|b| b.is_ascii_digit()) => Ok(index),
        _ => Err(error),
    })
}

#[cfg(unix)]
fn by_name(name: &str) -> io::Result<NonZeroU32> {
    let Ok(name) = std::ffi::CString::new(name) else {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    };
    // SAFETY: `name` is a C string that outlives the call; nothing is kept.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    NonZeroU32::new(index).ok_or_else(io::Error::last_os_error)
}

/// The names of all network interfaces (if_nameindex(3)), in the namespace of the calling thread:
/// `/sys/class/net` shows that of whoever mounted it.
///
/// # Errors
/// What opening a socket can yield, such as `EMFILE`.
#[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
pub(in crate::io) fn names() -> io::Result<Vec<String>> {
    // SAFETY: takes nothing; returns null or a list that is ours until it is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut names = Vec::new();
    let mut entry = list;
    // SAFETY: the list ends in an entry of index 0 with a null name, and the walk ends there; all
    // entries before it have C strings as names.
    unsafe {
        while !(*entry).if_name.is_null() {
            let name = std::ffi::CStr::from_ptr((*entry).if_name);
            names.extend(name.to_str().map(str::to_owned));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(names)
}

#[cfg(not(unix))]
fn by_name(_: &str) -> io::Result<NonZeroU32> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn i129_a_zone_without_an_interface_is_enodev() {
        for zone in ["no-such-if", "", "a\0b", "0", "+1", "99999999999", "-1"] {
            assert_eq!(index(zone).unwrap_err().raw_os_error(), Some(libc::ENODEV), "{zone:?}");
        }
        assert_eq!(index("lo").unwrap(), index("1").unwrap());
    }

    #[test]
    #[cfg(all(any(feature = "icmp", feature = "dns"), target_os = "linux"))]
    fn all_interfaces_have_a_number() {
        let names = names().unwrap();
        assert!(names.iter().any(|name| name == "lo"), "{names:?}");
        assert!(names.iter().all(|name| by_name(name).is_ok()), "{names:?}");
    }
}
