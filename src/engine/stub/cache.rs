//! What may be kept of answers, for as long as they said.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::answer::Reading;
use crate::wire::dns::{DnsName, RecordType};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheLimits {
    /// Answers that are kept. Default 1,024; beyond it the one that ends first goes.
    pub entries: usize,
    /// The longest that an answer with addresses is kept. Default 7 days (RFC 8767, 4).
    pub ttl: Duration,
    /// The longest that there being nothing is kept. Default 3 h (RFC 2308, 5).
    pub negative_ttl: Duration,
    /// How long beyond its end an answer may be given when no server can be asked (RFC 8767). Default: not
    /// at all.
    pub stale: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits {
            entries: 1024,
            ttl: Duration::from_secs(7 * 24 * 3600),
            negative_ttl: Duration::from_secs(3 * 3600),
            stale: Duration::ZERO,
        }
    }
}

type Key = (DnsName, u16);

#[derive(Clone, Debug)]
struct Entry {
    reading: Reading,
    until: Instant,
    number: u64,
}

/// Something that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// The answer as it was.
    pub reading: Reading,
    /// How much longer it may be kept; zero if it is stale.
    pub left: Duration,
    /// Whether its end has passed.
    pub stale: bool,
}

/// Answers by name and type. Time is what the owner says it is.
///
/// ```
/// use netsonde::engine::stub::{Cache, CacheLimits, Negative, Reading};
/// use netsonde::wire::dns::{DnsName, RecordType};
/// use std::time::{Duration, Instant};
///
/// let name: DnsName = "gone.example".parse()?;
/// let nothing =
///     Reading::Negative { kind: Negative::NoSuchName, ttl_s: Some(30), canonical: name.clone() };
/// let mut cache = Cache::new(CacheLimits::default());
/// let now = Instant::now();
/// cache.put(name.clone(), RecordType::A, nothing, now);
/// let hit = cache.get(&name, RecordType::A, now + Duration::from_secs(10)).unwrap();
/// assert_eq!(hit.left, Duration::from_secs(20));
/// assert!(cache.get(&name, RecordType::A, now + Duration::from_secs(30)).is_none());
/// # Ok::<(), netsonde::wire::dns::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    limits: CacheLimits,
    entries: HashMap<Key, Entry>,
    /// By their ends, so that the first is found at once.
    ends: BTreeSet<(Instant, u64)>,
    by_number: HashMap<u64, Key>,
    next: u64,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Cache {
            limits,
            entries: HashMap::new(),
            ends: BTreeSet::new(),
            by_number: HashMap::new(),
            next: 0,
        }
    }

    /// How many answers are in it, with those whose end has passed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps an answer, in the place of an earlier one. One that may not be kept (no lifetime, or zero)
    /// leaves what was there.
    pub fn put(&mut self, name: DnsName, rtype: RecordType, reading: Reading, now: Instant) {
        let most = match reading {
            Reading::Found { .. } => self.limits.ttl,
            _ => self.limits.negative_ttl,
        };
        let ttl = reading.ttl().unwrap_or_default().min(most);
        let until = now.checked_add(ttl).filter(|until| *until > now);
        let Some(until) = until.filter(|_| self.limits.entries > 0) else { return };
        self.expire(now);
        let key = (name, rtype.0);
        self.remove(&key);
        while self.entries.len() >= self.limits.entries {
            let Some(number) = self.ends.first().map(|(_, number)| *number) else { break };
            let Some(key) = self.by_number.get(&number).cloned() else { break };
            self.remove(&key);
        }
        let number = self.next;
        self.next += 1;
        self.ends.insert((until, number));
        self.by_number.insert(number, key.clone());
        self.entries.insert(key, Entry { reading, until, number });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.ends.remove(&(entry.until, entry.number));
            self.by_number.remove(&entry.number);
        }
    }

    /// Drops what may not even be given as stale any more.
    fn expire(&mut self, now: Instant) {
        while let Some((until, number)) = self.ends.first().copied() {
            let gone = until.checked_add(self.limits.stale).is_some_and(|end| end <= now);
            let Some(key) = self.by_number.get(&number).filter(|_| gone).cloned() else { return };
            self.remove(&key);
        }
    }

    /// An answer whose end has not come.
    #[must_use]
    pub fn get(&self, name: &DnsName, rtype: RecordType, now: Instant) -> Option<Hit> {
        self.find(name, rtype, now).filter(|hit| !hit.stale)
    }

    /// An answer that may be given because no server can be asked: its end may have passed, by no more
    /// than [`CacheLimits::stale`].
    #[must_use]
    pub fn stale(&self, name: &DnsName, rtype: RecordType, now: Instant) -> Option<Hit> {
        self.find(name, rtype, now)
    }

    fn find(&self, name: &DnsName, rtype: RecordType, now: Instant) -> Option<Hit> {
        let entry = self.entries.get(&(name.clone(), rtype.0))?;
        let left = entry.until.saturating_duration_since(now);
        let over = now.saturating_duration_since(entry.until);
        let stale = left.is_zero();
        (!stale || over < self.limits.stale).then(|| Hit {
            reading: entry.reading.clone(),
            left,
            stale,
        })
    }
}

#[cfg(test)]
#[path = "tests/cache.rs"]
mod tests;
