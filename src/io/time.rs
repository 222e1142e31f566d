//! The runtime's clock, so that paused time in tests is followed.

use std::time::{Duration, Instant};

use crate::timing::duration_ns;

/// The monotonic clock as the runtime sees it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The moment after which a probe that began now is over; a timeout too long for the clock is taken
/// as thirty years.
pub(crate) fn deadline(timeout: Duration) -> tokio::time::Instant {
    let now = tokio::time::Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(30 * 365 * 86_400))
}

/// How far the deadline lies back by now, in nanoseconds; `None` if it does not.
pub(crate) fn late_ns(deadline: tokio::time::Instant) -> Option<u64> {
    let late = tokio::time::Instant::now().saturating_duration_since(deadline);
    (!late.is_zero()).then(|| duration_ns(late))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x36_the_longest_timeout_does_not_overflow() {
        assert!(deadline(Duration::MAX) > tokio::time::Instant::now());
    }
}
