//! When is the next one due: a steady plan that survives stalls without a flood.

use std::time::{Duration, Instant};

/// Moments at a steady distance. The plan keeps to its own time, so that small delays do not add up;
/// after a stall it does not catch up but starts anew from there, and says by how much it slipped.
///
/// ```
/// use netsonde::engine::cadence::Cadence;
/// use std::time::{Duration, Instant};
///
/// let (start, second) = (Instant::now(), Duration::from_secs(1));
/// let mut plan = Cadence::new(start, second);
/// assert_eq!(plan.due(), start);
/// // A little late: the next one is not.
/// plan.took(start + Duration::from_millis(30));
/// assert_eq!(plan.due(), start + second);
/// // A stall of three seconds: what was missed in it is not made up for.
/// plan.took(start + 4 * second);
/// assert_eq!(plan.due(), start + 5 * second);
/// assert_eq!(plan.slipped(), 3 * second);
/// ```
#[derive(Clone, Debug)]
pub struct Cadence {
    due: Instant,
    interval: Duration,
    window: Duration,
    slipped: Duration,
}

impl Cadence {
    /// How far a plan may fall behind and still catch up, unless its interval is longer: what a busy
    /// host takes between two turns. What is made up for within it never makes twice the rate over
    /// any longer time.
    pub const WINDOW: Duration = Duration::from_millis(1);

    /// A plan whose first moment is `start`.
    #[must_use]
    pub fn new(start: Instant, interval: Duration) -> Self {
        let window = interval.max(Self::WINDOW);
        Cadence { due: start, interval, window, slipped: Duration::ZERO }
    }

    /// The next moment.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The next one was taken at `now`: goes on to the one behind it.
    pub fn took(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.due);
        if late > self.window {
            self.slipped += late;
            self.due = now;
        }
        // A time too far for the clock is as good as never.
        self.due =
            self.due.checked_add(self.interval).unwrap_or(self.due + Duration::from_secs(1 << 32));
    }

    /// By how much the plan has been put off, over all stalls.
    #[must_use]
    pub fn slipped(&self) -> Duration {
        self.slipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a14_after_a_stall_the_rate_is_never_doubled() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let mut plan = Cadence::new(start, ms);
        let mut sent = Vec::new();
        let mut now = start;
        // Polled every 10 us; from 100 to 600 ms nobody is there.
        while now < start + 1200 * ms {
            let away = (start + 100 * ms..start + 600 * ms).contains(&now);
            while !away && plan.due() <= now {
                plan.took(now);
                sent.push(now);
            }
            now += Duration::from_micros(10);
        }
        for (place, from) in sent.iter().enumerate() {
            let burst = sent[place..].iter().take_while(|at| **at < *from + 10 * ms).count();
            assert!(burst <= 20, "{burst} packets within 10 ms");
        }
        assert!((700..=702).contains(&sent.len()), "{}", sent.len());
        assert!(plan.slipped() >= 499 * ms);
    }

    proptest! {
        #[test]
        fn the_plan_moves_on_and_does_not_drift(
            interval_us in 1u64..5_000,
            late_us in proptest::collection::vec(0u64..900, 1..200),
        ) {
            let (start, interval) = (Instant::now(), Duration::from_micros(interval_us));
            let mut plan = Cadence::new(start, interval);
            for late in &late_us {
                let due = plan.due();
                plan.took(due + Duration::from_micros(*late));
                prop_assert_eq!(plan.due(), due + interval);
            }
            prop_assert_eq!(plan.due(), start + interval * u32::try_from(late_us.len()).unwrap());
            prop_assert_eq!(plan.slipped(), Duration::ZERO);
        }
    }
}
