//! The few system calls that neither std nor socket2 wraps.
#![allow(unsafe_code)]

pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}
