//! When what is due: one list for each length of time, since things that wait equally long come due
//! in the order in which they began. Entering and leaving a list costs nothing to speak of, however
//! many wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Marks the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Lengths of time that have a list of their own. Whatever does not fit goes into a sorted set.
const LISTS: usize = 16;

/// Where an item stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) due: Option<Instant>,
    list: Option<u8>,
    prev: u32,
    next: u32,
}

impl Default for Place {
    fn default() -> Self {
        Place { due: None, list: None, prev: NONE, next: NONE }
    }
}

/// Gives access to the places of the items.
pub(super) trait Items {
    fn place(&mut self, index: u32) -> Option<&mut Place>;
    fn due(&self, index: u32) -> Option<Instant>;
}

#[derive(Clone, Copy, Debug)]
struct List {
    length: Duration,
    head: u32,
    tail: u32,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    lists: Vec<List>,
    rest: BTreeSet<(Instant, u32)>,
}

impl Timers {
    /// Lets an item come due `length` after `from`. It must not wait for anything else.
    pub(super) fn arm(
        &mut self,
        items: &mut impl Items,
        index: u32,
        length: Duration,
        from: Instant,
    ) {
        let Some(due) = from.checked_add(length) else { return };
        let list = self.list_for(items, length, due);
        let tail = list.and_then(|list| self.lists.get(list)).map_or(NONE, |list| list.tail);
        let Some(place) = items.place(index) else { return };
        place.due = Some(due);
        let Some(number) = list else {
            self.rest.insert((due, index));
            return;
        };
        (place.list, place.prev, place.next) = (u8::try_from(number).ok(), tail, NONE);
        if let Some(before) = items.place(tail) {
            before.next = index;
        }
        if let Some(list) = self.lists.get_mut(number) {
            list.tail = index;
            if list.head == NONE {
                list.head = index;
            }
        }
    }

    /// The list for this length, if there is one that stays sorted with `due` at its end.
    fn list_for(&mut self, items: &impl Items, length: Duration, due: Instant) -> Option<usize> {
        let same = self.lists.iter().position(|list| list.length == length);
        let empty = || self.lists.iter().position(|list| list.head == NONE);
        match same.or_else(empty) {
            Some(number) => {
                let list = self.lists.get_mut(number)?;
                if list.head == NONE {
                    list.length = length;
                }
                let last = items.due(list.tail);
                last.is_none_or(|last| last <= due).then_some(number)
            }
            None if self.lists.len() < LISTS => {
                self.lists.push(List { length, head: NONE, tail: NONE });
                Some(self.lists.len() - 1)
            }
            None => None,
        }
    }

    /// Lets an item wait no longer.
    pub(super) fn disarm(&mut self, items: &mut impl Items, index: u32) {
        let Some(place) = items.place(index) else { return };
        let Place { due, list, prev, next } = std::mem::take(place);
        let Some(due) = due else { return };
        let Some(number) = list else {
            self.rest.remove(&(due, index));
            return;
        };
        if let Some(before) = items.place(prev) {
            before.next = next;
        }
        if let Some(behind) = items.place(next) {
            behind.prev = prev;
        }
        if let Some(list) = self.lists.get_mut(usize::from(number)) {
            if list.head == index {
                list.head = next;
            }
            if list.tail == index {
                list.tail = prev;
            }
        }
    }

    /// The item that comes due first, and when.
    pub(super) fn first(&self, items: &impl Items) -> Option<(Instant, u32)> {
        let heads = self.lists.iter().filter_map(|list| Some((items.due(list.head)?, list.head)));
        heads.chain(self.rest.first().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Table(Vec<Place>);

    impl Items for Table {
        fn place(&mut self, index: u32) -> Option<&mut Place> {
            self.0.get_mut(index as usize)
        }

        fn due(&self, index: u32) -> Option<Instant> {
            self.0.get(index as usize)?.due
        }
    }

    proptest! {
        #[test]
        fn whatever_waits_comes_due_in_order(
            steps in proptest::collection::vec((0u32..40, 0u64..40, -3i64..10, any::<bool>()), 0..300),
        ) {
            let (mut table, mut timers) = (Table(vec![Place::default(); 40]), Timers::default());
            let mut model = BTreeSet::new();
            let mut now = Instant::now() + Duration::from_secs(9);
            for (index, length, step, arm) in steps {
                // Also backwards a little: the clock of the caller is not ours.
                let ms = Duration::from_millis(step.unsigned_abs());
                now = if step < 0 { now - ms } else { now + ms };
                timers.disarm(&mut table, index);
                model.retain(|(_, other)| *other != index);
                if arm {
                    let length = Duration::from_millis(length);
                    timers.arm(&mut table, index, length, now);
                    model.insert((now + length, index));
                }
                let first = timers.first(&table).map(|(due, _)| due);
                prop_assert_eq!(first, model.first().map(|(due, _)| *due));
            }
            while let Some((due, index)) = timers.first(&table) {
                prop_assert_eq!(Some(due), model.first().map(|(due, _)| *due));
                prop_assert!(model.remove(&(due, index)));
                timers.disarm(&mut table, index);
            }
            prop_assert!(model.is_empty());
        }
    }
}
