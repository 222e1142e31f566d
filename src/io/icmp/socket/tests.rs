use netsonde_support::require_root;

use super::*;

#[test]
fn what_no_kernel_knows_is_refused_and_what_it_takes_is_told_from_it() {
    if require_root().is_none() {
        return;
    }
    for v6 in [false, true] {
        let error = takes_control(v6, SocketMode::Raw, 0x7fff).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{v6}: {error}");
        // SO_MARK has been taken there since Linux 4.20, by any kernel that this can be built for.
        takes_control(v6, SocketMode::Raw, libc::SO_MARK).unwrap();
    }
}
