//! Many frames in one system call: recvmmsg(2), sendmmsg(2), and what a packet socket counts.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Frames in one call; more would delay the frames that wait to be sent meanwhile.
pub(crate) const BATCH: usize = 32;

/// Room for one stamp: a header of 16 bytes and a `timespec`, with some to spare.
type Control = [u64; 8];

/// What is known of one frame beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Bytes in the buffer.
    pub(crate) length: usize,
    /// Whether it was longer than the buffer.
    pub(crate) cut: bool,
    /// The kernel's stamp.
    pub(crate) at: Option<SystemTime>,
    /// `sll_pkttype` of packet(7).
    pub(crate) kind: u8,
}

/// Reads up to [`BATCH`] frames without waiting, each into its own `stride` bytes of `buffer`; 0 when
/// there are none.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    stride: usize,
    received: &mut Vec<Received>,
) -> io::Result<usize> {
    received.clear();
    // SAFETY: `sockaddr_ll`, `iovec` and `mmsghdr` are made of integers and pointers; zero is valid.
    let (mut names, mut vectors, mut headers) = unsafe {
        (
            std::mem::zeroed::<[libc::sockaddr_ll; BATCH]>(),
            std::mem::zeroed::<[libc::iovec; BATCH]>(),
            std::mem::zeroed::<[libc::mmsghdr; BATCH]>(),
        )
    };
    let mut controls = [Control::default(); BATCH];
    let mut count = 0;
    let parts = names.iter_mut().zip(&mut vectors).zip(&mut headers).zip(&mut controls);
    for ((((name, vector), header), control), room) in parts.zip(buffer.chunks_exact_mut(stride)) {
        vector.iov_base = room.as_mut_ptr().cast();
        vector.iov_len = room.len();
        header.msg_hdr.msg_name = (&raw mut *name).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        count += 1;
    }
    // SAFETY: each of the first `count` headers points at a name, a vector, a control buffer and a
    // part of `buffer` that no other one points at; all of them live until the call returns.
    let outcome = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    if outcome < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        };
    }
    for (header, name) in headers.iter().zip(&names).take(outcome as usize) {
        received.push(Received {
            length: header.msg_len as usize,
            cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            at: stamp(&header.msg_hdr),
            kind: name.sll_pkttype,
        });
    }
    Ok(received.len())
}

/// The stamp of `SO_TIMESTAMPNS` (socket(7)) among the control messages.
fn stamp(header: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the kernel has written the control messages of this header, whose buffer lives as long
    // as the caller's arrays do; CMSG_NXTHDR stays inside of it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so a whole `cmsghdr` in the buffer.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) {
            // SAFETY: a message of this kind carries one `timespec`, maybe not aligned for it.
            let at = unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
            let since = Duration::new(at.tv_sec.cast_unsigned(), at.tv_nsec as u32);
            return Some(UNIX_EPOCH + since);
        }
        // SAFETY: both pointers are into the same header.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

/// Sends frames, up to [`BATCH`] of them, and returns how many the kernel took.
pub(crate) fn send<'a>(
    socket: BorrowedFd<'_>,
    frames: impl Iterator<Item = &'a [u8]>,
) -> io::Result<usize> {
    // SAFETY: as in `receive`.
    let (mut vectors, mut headers) = unsafe {
        (std::mem::zeroed::<[libc::iovec; BATCH]>(), std::mem::zeroed::<[libc::mmsghdr; BATCH]>())
    };
    let mut count = 0;
    for ((frame, vector), header) in frames.zip(&mut vectors).zip(&mut headers) {
        vector.iov_base = frame.as_ptr().cast_mut().cast();
        vector.iov_len = frame.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the kernel reads `count` headers and what they point at, and writes but their lengths;
    // the frames outlive the call.
    let outcome = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome as usize) }
}

/// Sets an integer option.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    // SAFETY: the value is an integer that outlives the call, and the length is its size.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Frames seen and frames lost for want of room since the last call (`PACKET_STATISTICS`, packet(7)).
pub(crate) fn statistics(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    const PACKET_STATISTICS: i32 = 6;
    let mut pair = [0_u32; 2];
    let mut length = size_of_val(&pair) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of the pair (`struct tpacket_stats`).
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_STATISTICS,
            pair.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok((pair[0], pair[1])) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of the sockets can be read, as exactly as the kernel's timers are (ppoll(2)).
pub(crate) fn wait_any(sockets: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
    let mut polls: Vec<libc::pollfd> = sockets
        .iter()
        .map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let limit = libc::timespec {
        tv_sec: timeout.as_secs().min(86_400).cast_signed(),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: as many `pollfd` as said, and one `timespec`, live until the call returns; no mask.
    let outcome = unsafe {
        libc::ppoll(
            polls.as_mut_ptr(),
            polls.len() as libc::nfds_t,
            &raw const limit,
            std::ptr::null(),
        )
    };
    if outcome < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// Puts the calling thread before all ordinary ones (`SCHED_FIFO`, sched(7)), and has the kernel's
/// timers wake it without slack (`PR_SET_TIMERSLACK`, prctl(2)).
pub(crate) fn run_first(priority: i32) -> io::Result<()> {
    // SAFETY: prctl(2) with this option takes an integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
    // SAFETY: `sched_param` is made of integers; all zero is valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the kernel reads one `sched_param`, and that is one; 0 is the calling thread.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
