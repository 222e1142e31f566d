//! The few system calls that neither std nor socket2 wraps.
#![allow(unsafe_code)]

pub(crate) mod batch;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Moves the calling thread into a network namespace (setns(2)).
pub(crate) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed, so open, and setns(2) touches no memory. Only the calling
    // thread moves; sockets that exist stay where they were made.
    let outcome = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn interface_request(device: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is made of integers, arrays of them and a union of such; all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(device.len() < request.ifr_name.len(), "{device} is too long for a device name");
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// Sets one of the flags that `ethtool -K` sets (`struct ethtool_value`, `linux/ethtool.h`).
pub(crate) fn ethtool_set(
    socket: BorrowedFd<'_>,
    device: &str,
    command: u32,
    value: u32,
) -> io::Result<()> {
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    let mut pair = [command, value];
    let mut request = interface_request(device);
    request.ifr_ifru.ifru_data = pair.as_mut_ptr().cast();
    // SAFETY: the kernel reads the request and the pair of integers that it points to, both of which
    // live until the call returns.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The index of a device in the namespace of the calling thread.
pub(crate) fn interface_index(device: &str) -> io::Result<i32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: the name is a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index.cast_signed()) }
}

/// The address of all frames of a device, for a packet socket (packet(7)).
pub(crate) fn packet_address(index: i32) -> io::Result<socket2::SockAddr> {
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let fill = |storage: *mut socket2::SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: the storage is larger than, and aligned for, every socket address.
        unsafe {
            storage.cast::<libc::sockaddr_ll>().write(link);
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        }
        Ok(())
    };
    // SAFETY: `fill` writes a whole `sockaddr_ll` and its length.
    unsafe { socket2::SockAddr::try_init(fill) }.map(|((), address)| address)
}

/// Sets the receive buffer beyond what the system allows without rights (`SO_RCVBUFFORCE`,
/// socket(7)): a capture that is read late must not lose frames.
pub(crate) fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    // SAFETY: the value is an integer that outlives the call, and the length is its size.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// When the kernel received the packet that was read last from this socket (`SIOCGSTAMPNS`,
/// socket(7)). The first call switches the stamps on.
pub(crate) fn last_packet_at(socket: BorrowedFd<'_>) -> io::Result<SystemTime> {
    const SIOCGSTAMPNS: libc::c_ulong = 0x8907;
    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` where the pointer says, and that is one.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS as _, &raw mut stamp) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(UNIX_EPOCH + Duration::new(stamp.tv_sec.cast_unsigned(), stamp.tv_nsec as u32))
}

/// Waits until a socket can be read; `false` if it cannot within `timeout`. Unlike `SO_RCVTIMEO`,
/// which counts in clock ticks, ppoll(2) is as exact as the kernel's timers are.
pub(crate) fn wait_readable(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let limit = libc::timespec {
        tv_sec: timeout.as_secs().min(86_400).cast_signed(),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: one `pollfd` and one `timespec` that live until the call returns, no signal mask.
    match unsafe { libc::ppoll(&raw mut poll, 1, &raw const limit, std::ptr::null()) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// The limits on open descriptors, soft and hard (`RLIMIT_NOFILE`, getrlimit(2)).
pub(crate) fn descriptor_limits() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` where the pointer says, and that is one.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets the soft limit on open descriptors.
pub(crate) fn set_descriptor_limit(soft: u64) -> io::Result<()> {
    let (_, hard) = descriptor_limits()?;
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one `rlimit`, and that is one.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes all capabilities from the calling thread (capset(2), capabilities(7)).
pub(crate) fn drop_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    // The header: version, and 0 for this thread; twice effective, permitted, inheritable.
    let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: the kernel reads the two structures, which are as long as this version has them.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has every setsockopt(2) of the calling thread with this level and name fail (seccomp(2)), for as long
/// as the thread lives.
pub(crate) fn refuse_option(level: i32, name: i32, errno: i32) -> io::Result<()> {
    // linux/bpf_common.h: load a word, compare, return. linux/seccomp.h: `struct seccomp_data` has the
    // number of the call first and its arguments, 64 bits each, from byte 16 on.
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, libc::SYS_setsockopt as u32, 0, 5),
        step(LOAD, 16 + 8 + low, 0, 0),
        step(EQUAL, level.cast_unsigned(), 0, 3),
        step(LOAD, 16 + 16 + low, 0, 0),
        step(EQUAL, name.cast_unsigned(), 0, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(), 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads the program, which lives until both calls have returned.
    let outcome = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Processor time that the calling thread has used (clock_gettime(2)).
pub(crate) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` where the pointer says, and that is one.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(outcome, 0, "every Linux has this clock");
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
