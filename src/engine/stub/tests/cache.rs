use proptest::prelude::*;

use super::*;
use crate::engine::stub::{Negative, StubAddress};

fn reading(ttl_s: u32, negative: bool, mark: u8) -> Reading {
    let canonical: DnsName = "canonical.example".parse().unwrap();
    if negative {
        return Reading::Negative { kind: Negative::NoData, ttl_s: Some(ttl_s), canonical };
    }
    let address = StubAddress::new([192, 0, 2, mark].into(), Some(ttl_s));
    Reading::Found { addresses: vec![address], canonical, omitted: 0 }
}

fn name(number: u8) -> DnsName {
    format!("n{number}.example").parse().unwrap()
}

/// The same in slow: a list that is searched from end to end.
struct Model {
    limits: CacheLimits,
    entries: Vec<(u8, Reading, u64, u64)>,
    next: u64,
}

impl Model {
    fn put(&mut self, key: u8, ttl: u64, reading: Reading, now: u64) {
        let most = match reading {
            Reading::Found { .. } => self.limits.ttl,
            _ => self.limits.negative_ttl,
        };
        let ttl = ttl.min(most.as_secs());
        if ttl == 0 || self.limits.entries == 0 {
            return;
        }
        self.entries.retain(|(_, _, until, _)| until + self.limits.stale.as_secs() > now);
        self.entries.retain(|(other, ..)| *other != key);
        if self.entries.len() == self.limits.entries {
            let first = self.entries.iter().enumerate().min_by_key(|(_, e)| (e.2, e.3)).unwrap().0;
            self.entries.remove(first);
        }
        self.entries.push((key, reading, now + ttl, self.next));
        self.next += 1;
    }

    fn get(&self, key: u8, now: u64, stale: bool) -> Option<(Reading, u64, bool)> {
        let (_, reading, until, _) = self.entries.iter().find(|(other, ..)| *other == key)?;
        let beyond = if stale { self.limits.stale.as_secs() } else { 0 };
        (until + beyond > now).then(|| (reading.clone(), until.saturating_sub(now), *until <= now))
    }
}

proptest! {
    #[test]
    fn it_does_what_a_slow_list_does(
        entries in 0_usize..4,
        stale in 0_u64..6,
        most in 1_u64..12,
        steps in proptest::collection::vec((0_u8..5, 0_u32..15, any::<bool>(), 0_u64..4), 1..60),
    ) {
        let limits = CacheLimits {
            entries,
            stale: Duration::from_secs(stale),
            ttl: Duration::from_secs(most),
            negative_ttl: Duration::from_secs(most / 2),
        };
        let mut cache = Cache::new(limits);
        let mut model = Model { limits, entries: Vec::new(), next: 0 };
        let (start, mut now) = (Instant::now(), 0);
        for (count, (key, ttl, negative, wait)) in steps.into_iter().enumerate() {
            now += wait;
            let at = start + Duration::from_secs(now);
            let reading = reading(ttl, negative, u8::try_from(count).unwrap());
            cache.put(name(key), RecordType::A, reading.clone(), at);
            model.put(key, ttl.into(), reading, now);
            prop_assert_eq!(cache.len(), model.entries.len());
            prop_assert_eq!(cache.len(), cache.ends.len());
            prop_assert_eq!(cache.len(), cache.by_number.len());
            for key in 0..5 {
                let shown = |hit: Hit| (hit.reading, hit.left.as_secs(), hit.stale);
                let fresh = cache.get(&name(key), RecordType::A, at).map(shown);
                prop_assert_eq!(fresh, model.get(key, now, false));
                let kept = cache.stale(&name(key), RecordType::A, at).map(shown);
                prop_assert_eq!(kept, model.get(key, now, true));
            }
            prop_assert!(cache.get(&name(key), RecordType::AAAA, at).is_none());
        }
    }
}
