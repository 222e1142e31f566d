//! Both clocks at once, and a timer finer than the runtime's.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;

use crate::engine::measure::Reading;

/// Nanoseconds of a clock of the system.
fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes of a `timespec`; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    // Both are narrower on some systems.
    #[allow(clippy::useless_conversion, reason = "only where they are as wide as here")]
    let (seconds, rest) = (i64::from(time.tv_sec), i64::from(time.tv_nsec));
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The wall clock and the monotonic clock of the runtime, read right after each other.
pub(in crate::io) fn clock_pair() -> Reading {
    // The wall clock lies between two readings of the other, whose middle is taken.
    let before = crate::io::time::now();
    let wall_ns = read(libc::CLOCK_REALTIME);
    let width = crate::io::time::now().saturating_duration_since(before);
    let width_ns = u32::try_from(width.as_nanos()).unwrap_or(u32::MAX);
    Reading::new(before + width / 2, wall_ns).with_width(width_ns)
}

/// A timer of the kernel (timerfd_create(2)), good for microseconds where the runtime's is good for
/// milliseconds.
#[derive(Debug)]
pub(in crate::io) struct HiResTimer {
    /// A pipe only in name: the runtime's pipe end reads any descriptor that it is given.
    timer: pipe::Receiver,
    set: Option<Instant>,
}

impl HiResTimer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(in crate::io) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let timer = pipe::Receiver::from_file_unchecked(File::from(fd))?;
        Ok(HiResTimer { timer, set: None })
    }

    /// Ready once the clock has come so far. One moment at a time: a new one takes the place of the old.
    /// The task may be woken for an old one as well.
    pub(in crate::io) fn poll_until(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        loop {
            let now = crate::io::time::now();
            let Some(left) = until.checked_duration_since(now).filter(|left| !left.is_zero())
            else {
                return Poll::Ready(());
            };
            // One that goes off earlier is as good: it is set anew then. Most moments that are waited for
            // are put off before they come, and setting a timer costs more than a look at the clock.
            if self.set.is_none_or(|set| set > until) {
                if self.arm(left).is_err() {
                    // No reason is known why it should; a busy caller is better than one that hangs.
                    return Poll::Ready(());
                }
                self.set = Some(until);
            }
            let mut ticks = [0; 8];
            let mut buffer = ReadBuf::new(&mut ticks);
            match Pin::new(&mut self.timer).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                // It has gone off, for this moment or an earlier one.
                Poll::Ready(_) => self.set = None,
            }
        }
    }

    fn arm(&mut self, after: Duration) -> io::Result<()> {
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(after.subsec_nanos() as i32),
        };
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: the descriptor is open as long as `timer`; `setting` is valid for reads, and the old
        // setting is not asked for.
        let result = unsafe {
            let fd = self.timer.as_raw_fd();
            libc::timerfd_settime(fd, 0, &raw const setting, std::ptr::null_mut())
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn the_pair_is_read_within_a_moment() {
        let pairs: Vec<Reading> = (0..100).map(|_| clock_pair()).collect();
        let narrow = pairs.iter().map(|pair| pair.width_ns).min().unwrap();
        assert!(narrow < 10_000, "{narrow} ns");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ago = i64::try_from(now.as_nanos()).unwrap() - pairs[99].wall_ns;
        assert!((0..1_000_000_000).contains(&ago), "{ago} ns");
    }

    #[tokio::test]
    async fn it_wakes_within_a_fraction_of_a_millisecond_and_never_early() {
        let mut timer = HiResTimer::new().unwrap();
        let mut late = Vec::new();
        for wait in [50, 200, 1_000, 3_000].repeat(20) {
            let until = Instant::now() + Duration::from_micros(wait);
            poll_fn(|cx| timer.poll_until(cx, until)).await;
            let now = Instant::now();
            assert!(now >= until);
            late.push(now - until);
        }
        late.sort_unstable();
        // The runtime's own timer is late by more than this on average.
        assert!(late[late.len() / 2] < Duration::from_micros(600), "{late:?}");
    }

    #[tokio::test]
    async fn a_nearer_moment_takes_the_place_of_a_farther_one() {
        let mut timer = HiResTimer::new().unwrap();
        let start = Instant::now();
        let far = start + Duration::from_secs(60);
        let pending = poll_fn(|cx| Poll::Ready(timer.poll_until(cx, far).is_pending())).await;
        assert!(pending);
        poll_fn(|cx| timer.poll_until(cx, start + Duration::from_millis(2))).await;
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
