//! How far this machine is from idle.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nanoseconds by which a thread that only sleeps woke late so far, not counting what is usual.
static LATE_NS: AtomicU64 = AtomicU64::new(0);
static START: Once = Once::new();

const NAP: Duration = Duration::from_millis(2);
const USUAL: Duration = Duration::from_millis(2);

/// Measures by how much others kept this process from running, so that a bound that holds for an
/// idle machine can be checked on a busy one.
pub(crate) struct Stalls {
    before_ns: u64,
}

impl Stalls {
    /// Starts watching.
    pub(crate) fn watch() -> Self {
        START.call_once(|| {
            std::thread::spawn(|| {
                loop {
                    let before = Instant::now();
                    std::thread::sleep(NAP);
                    let late = before.elapsed().saturating_sub(NAP + USUAL);
                    let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                    LATE_NS.fetch_add(late, Ordering::Relaxed);
                }
            });
        });
        Stalls { before_ns: LATE_NS.load(Ordering::Relaxed) }
    }

    /// All the lateness since then.
    pub(crate) fn total(&self) -> Duration {
        // A nap that is late right now is not in the sum before it ends.
        std::thread::sleep(2 * NAP);
        Duration::from_nanos(LATE_NS.load(Ordering::Relaxed) - self.before_ns)
    }
}
