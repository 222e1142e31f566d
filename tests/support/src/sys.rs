//! The few system calls that neither std nor socket2 wraps.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Makes the kernel kill the command when the thread that starts it ends (`PR_SET_PDEATHSIG`,
/// prctl(2)), and with it when this process ends, however that happens.
pub(crate) fn die_with_thread(command: &mut Command) {
    let hook = || {
        // SAFETY: prctl(2) with this option reads one integer and touches no memory; it is
        // async-signal-safe, as what runs between fork and exec must be.
        let outcome = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the hook makes one system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Signals a process group that this process has made. A group that is gone is no error.
pub(crate) fn signal_group(leader: u32, signal: i32) {
    let leader = i32::try_from(leader).expect("a process id");
    assert!(leader > 1, "never every process");
    // SAFETY: kill(2) touches no memory; the group is that of a child which has not been waited for
    // yet or was so just now.
    _ = unsafe { libc::kill(-leader, signal) };
}
