//! What a piece of work left behind: namespaces, descriptors, threads.

use std::time::{Duration, Instant};

use netsonde_support::{Leaks, netns};

/// The state to come back to. Descriptors and threads are counted for the whole process: use it inside
/// of [`isolated`](netsonde_support::leaks::isolated_blocking).
#[derive(Clone, Debug)]
pub struct LeakCheck {
    leaks: Leaks,
    namespaces: Vec<String>,
}

impl LeakCheck {
    /// Takes the state of now for the base.
    pub fn baseline() -> Self {
        Self { leaks: Leaks::baseline(), namespaces: netns::existing() }
    }

    /// What is there beyond the base, each as a line of text.
    pub fn found(&self) -> Vec<String> {
        let mut found = self.leaks.found();
        let more = netns::existing().into_iter().filter(|name| !self.namespaces.contains(name));
        found.extend(more.map(|name| format!("namespace {name}")));
        found
    }

    /// Waits until nothing is there beyond the base.
    ///
    /// # Panics
    ///
    /// Something still is after `timeout`; the message lists it.
    pub fn assert_back_to_base(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        loop {
            let found = self.found();
            if found.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind after {timeout:?}: {}", found.join(", "));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
