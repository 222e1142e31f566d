//! The seam between probers and time.

use std::fmt;
use std::time::{Instant, SystemTime};

/// What a prober asks for the time: a monotonic clock for arithmetic, the wall clock as a label for
/// people. A test hands in its own; with tokio's paused time [`SystemClock`] follows it.
///
/// ```
/// use netsonde::{Clock, SystemClock};
///
/// let before = SystemClock.now();
/// assert!(SystemClock.now() >= before);
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// The monotonic time.
    fn now(&self) -> Instant;

    /// The wall clock. It may step; no difference is ever taken of it.
    fn wall(&self) -> SystemTime;
}

/// The clocks of this host.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct that will never hold anything")]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        // The same clock; but in a test whose runtime has paused time, the paused one.
        #[cfg(any(feature = "tcp", feature = "icmp"))]
        return crate::io::time::now();
        #[cfg(not(any(feature = "tcp", feature = "icmp")))]
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
