//! Threads that may do less than others, and what a thread has cost.

use std::time::Duration;

use crate::sys;

fn on_a_thread<T: Send>(function: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(function).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs a function on a new thread without any capability (capabilities(7)), in the namespaces of the
/// calling thread: root in name alone.
///
/// # Panics
///
/// The function panics.
///
/// ```
/// let opened = netsonde_support::rights::without_capabilities(|| {
///     socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::ICMPV4))
/// });
/// assert_eq!(opened.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
/// ```
pub fn without_capabilities<T: Send>(function: impl FnOnce() -> T + Send) -> T {
    on_a_thread(|| {
        sys::drop_capabilities().expect("giving up rights needs none");
        function()
    })
}

/// Runs a function on a new thread on which setsockopt(2) fails with `errno` for these options (level,
/// name), as in a sandbox.
///
/// # Panics
///
/// The function panics, or the kernel has no seccomp.
pub fn refusing_options<T: Send>(
    options: &[(i32, i32)],
    errno: i32,
    function: impl FnOnce() -> T + Send,
) -> T {
    on_a_thread(|| {
        for (level, name) in options {
            sys::refuse_option(*level, *name, errno).expect("a kernel with seccomp");
        }
        function()
    })
}

/// Processor time that the calling thread has used so far.
pub fn thread_time() -> Duration {
    sys::thread_time()
}
