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
    queued_ns: u64,
}

/// How long this thread was ready and had to wait for a processor (proc_pid_schedstat(5)); 0 where the
/// kernel does not say.
fn queued_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0)
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
        Stalls { before_ns: LATE_NS.load(Ordering::Relaxed), queued_ns: queued_ns() }
    }

    /// All the lateness since then: of this thread, which is to be the same one, or of a thread that
    /// only sleeps.
    pub(crate) fn total(&self) -> Duration {
        let queued = queued_ns().saturating_sub(self.queued_ns);
        // A nap that is late right now is not in the sum before it ends.
        std::thread::sleep(2 * NAP);
        let late = LATE_NS.load(Ordering::Relaxed) - self.before_ns;
        Duration::from_nanos(late.max(queued))
    }
}
