//! Answers that this host dropped, and the packets that are blamed on it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Answers that this host dropped: when that was noticed, how many, and how long any packet waits. What
/// was sent before and is not answered may be one of them.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    drops: VecDeque<(Instant, u64)>,
    pub(super) longest: Duration,
}

impl Overflow {
    /// Drops that are told apart. Of more, the last ones are taken together.
    const DROPS: usize = 64;

    pub(super) fn add(&mut self, count: u64, now: Instant) {
        if self.drops.len() < Overflow::DROPS {
            self.drops.push_back((now, count));
        } else if let Some((at, left)) = self.drops.back_mut() {
            (*at, *left) = (now, left.saturating_add(count));
        }
    }

    /// Whether a packet that was sent then may be blamed on a drop. Each is blamed once.
    pub(super) fn blame(&mut self, sent: Instant) -> bool {
        let Some(drop) = self.drops.iter().position(|(at, _)| sent <= *at) else { return false };
        if let Some((_, left)) = self.drops.get_mut(drop) {
            *left -= 1;
            if *left == 0 {
                self.drops.remove(drop);
            }
        }
        true
    }

    /// Forgets the drops that nothing can be blamed on any more, once everything due is decided.
    pub(super) fn expire(&mut self, now: Instant, waiting: usize) {
        if waiting == 0 {
            *self = Overflow::default();
        }
        let over =
            |(at, _): &(Instant, u64)| at.checked_add(self.longest).is_some_and(|last| last < now);
        while self.drops.front().is_some_and(over) {
            self.drops.pop_front();
        }
    }
}
