//! The runtime's clock, so that paused time in tests is followed.

use std::time::Instant;

/// The monotonic clock as the runtime sees it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
