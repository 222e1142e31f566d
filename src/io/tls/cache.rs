//! Certificates that were decoded before. A prober meets the same chain again and again.

use std::sync::{Arc, Mutex, PoisonError};

use super::certificate::Parsed;
use crate::tls::TlsLimits;

/// A bounded memory of decoded certificates, found again by all of their bytes.
#[derive(Debug)]
pub(super) struct Cache {
    limits: TlsLimits,
    keep_der: bool,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    known: Vec<Arc<Parsed>>,
    /// Which one goes next once it is full.
    oldest: usize,
}

impl Cache {
    pub(super) fn new(limits: TlsLimits, keep_der: bool) -> Self {
        Cache { limits, keep_der, entries: Mutex::default() }
    }

    pub(super) fn get(&self, der: &[u8]) -> Arc<Parsed> {
        let most = usize::try_from(self.limits.certificate_cache).unwrap_or(usize::MAX);
        let find =
            |entries: &Entries| entries.known.iter().find(|known| known.der == der).map(Arc::clone);
        if let Some(known) = find(&self.entries()) {
            return known;
        }
        let parsed = Arc::new(Parsed::new(der, &self.limits, self.keep_der));
        let mut entries = self.entries();
        if entries.known.len() < most {
            entries.known.push(Arc::clone(&parsed));
        } else {
            let oldest = entries.oldest;
            if let Some(entry) = entries.known.get_mut(oldest) {
                *entry = Arc::clone(&parsed);
                entries.oldest = (oldest + 1) % most;
            }
        }
        parsed
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_forgets_the_oldest() {
        let cache = Cache::new(TlsLimits { certificate_cache: 2, ..TlsLimits::default() }, false);
        let first = cache.get(b"a");
        assert!(Arc::ptr_eq(&first, &cache.get(b"a")));
        cache.get(b"b");
        cache.get(b"c");
        assert_eq!(cache.entries().known.len(), 2);
        assert!(!Arc::ptr_eq(&first, &cache.get(b"a")));
    }

    #[test]
    fn it_can_be_switched_off() {
        let cache = Cache::new(TlsLimits { certificate_cache: 0, ..TlsLimits::default() }, false);
        assert!(!Arc::ptr_eq(&cache.get(b"a"), &cache.get(b"a")));
    }
}
