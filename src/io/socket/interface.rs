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
}
