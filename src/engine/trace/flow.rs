//! The queries of one flow and where its path ends.

use std::time::{Duration, Instant};

use super::{SentAs, TraceSetup, hints};
use crate::icmp::trace::{
    AnswerKind, PathEnd, TraceAnswer, TraceFate, TraceHop, TracePath, TraceQuery,
};

#[derive(Debug)]
struct Slot {
    ttl: u8,
    sent_at: Instant,
    sent_as: SentAs,
    query: TraceQuery,
}

/// The sums over the queries of one hop.
#[derive(Debug)]
struct Hop {
    ttl: u8,
    asked: u32,
    pending: u32,
    answered: u32,
    not_sent: u32,
    errno: i32,
}

#[derive(Debug)]
pub(super) struct Flow {
    first_ttl: u8,
    max_ttl: u8,
    queries: u32,
    gap_limit: Option<usize>,
    slots: Vec<Slot>,
    /// Those that were asked, in order.
    hops: Vec<Hop>,
    /// The smallest time to live at which the target answered.
    reached: Option<u8>,
    /// The smallest time to live at which somebody refused.
    refused: Option<u8>,
    /// The gap that it was given up for, if any, once the trace is done: an answer that comes still
    /// later takes nothing back.
    closed: Option<Option<u8>>,
    /// The last of the silent hops, if there are too many behind the last one that answered.
    gap: Option<u8>,
    /// The first hop that the system took no query of, by place.
    unsendable: Option<usize>,
}

impl Flow {
    pub(super) fn new(setup: &TraceSetup) -> Self {
        Flow {
            first_ttl: setup.first_ttl,
            max_ttl: setup.max_ttl,
            queries: setup.queries,
            gap_limit: setup.gap_limit.map(usize::from),
            slots: Vec::new(),
            hops: Vec::new(),
            reached: None,
            refused: None,
            closed: None,
            gap: None,
            unsendable: None,
        }
    }

    /// How many queries were made.
    pub(super) fn asked(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The time to live of the next query, if there is to be one.
    fn next_ttl(&self) -> Option<u8> {
        let ttl = u32::from(self.first_ttl) + self.asked() / self.queries;
        let ttl = u8::try_from(ttl).ok().filter(|ttl| *ttl <= self.max_ttl)?;
        let end = self.reached.into_iter().chain(self.refused).min();
        if end.is_some_and(|end| ttl > end) || self.unsendable.is_some() {
            return None;
        }
        // A hop that was begun is asked all its queries, unless nothing can be sent.
        let begun = self.hops.last().is_some_and(|hop| hop.ttl == ttl);
        (begun || self.gap.is_none()).then_some(ttl)
    }

    pub(super) fn has_more(&self) -> bool {
        self.next_ttl().is_some()
    }

    /// Makes the next query, at the returned time to live.
    pub(super) fn ask(&mut self, now: Instant, sent_ns: u64) -> Option<u8> {
        let ttl = self.next_ttl()?;
        if self.hops.last().is_none_or(|hop| hop.ttl != ttl) {
            self.hops.push(Hop { ttl, asked: 0, pending: 0, answered: 0, not_sent: 0, errno: 0 });
        }
        let hop = self.hops.last_mut()?;
        let query = TraceQuery::new(hop.asked, sent_ns);
        hop.asked += 1;
        hop.pending += 1;
        self.slots.push(Slot { ttl, sent_at: now, sent_as: SentAs::default(), query });
        Some(ttl)
    }

    pub(super) fn sent(&mut self, index: usize, sent: SentAs) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.sent_as = sent;
        }
    }

    pub(super) fn is_pending(&self, index: usize) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.query.fate == TraceFate::Pending)
    }

    /// Takes an answer. Says whether the query was waiting for it; `None` if it cannot be one, since
    /// the query never left.
    pub(super) fn receive(
        &mut self,
        index: usize,
        mut answer: TraceAnswer,
        at: Instant,
        timeout: Duration,
    ) -> Option<bool> {
        let slot = self.slots.get_mut(index)?;
        let was_pending = match slot.query.fate {
            TraceFate::Pending => true,
            TraceFate::Lost => false,
            TraceFate::Answered(_) | TraceFate::Late(_) => {
                slot.query.duplicates += 1;
                return Some(false);
            }
            TraceFate::NotSent { .. } => return None,
        };
        hints::compare(&mut answer, &slot.sent_as);
        let end = match answer.answer {
            AnswerKind::Hop => None,
            AnswerKind::Reached => Some(&mut self.reached),
            AnswerKind::Refused => Some(&mut self.refused),
        };
        if let Some(end) = end {
            *end = Some(end.map_or(slot.ttl, |ttl| ttl.min(slot.ttl)));
        }
        let in_time = at <= slot.sent_at + timeout;
        let fate = if in_time { TraceFate::Answered } else { TraceFate::Late };
        slot.query.fate = fate(Box::new(answer));
        let ttl = slot.ttl;
        if let Some(hop) = self.hop(ttl) {
            hop.answered += 1;
            hop.pending -= u32::from(was_pending);
        }
        self.gap = self.find_gap();
        Some(was_pending)
    }

    /// Whether the query was waiting.
    pub(super) fn not_sent(&mut self, index: usize, errno: i32, mtu: Option<u32>) -> bool {
        let fate = TraceFate::NotSent { errno, mtu };
        let Some(ttl) = self.decide(index, fate) else { return false };
        if let Some(hop) = self.hop(ttl) {
            (hop.not_sent, hop.errno) = (hop.not_sent + 1, errno);
        }
        self.unsendable = self.hops.iter().position(|hop| hop.not_sent == self.queries);
        true
    }

    /// Whether the query was waiting.
    pub(super) fn expire(&mut self, index: usize) -> bool {
        self.decide(index, TraceFate::Lost).is_some()
    }

    fn decide(&mut self, index: usize, fate: TraceFate) -> Option<u8> {
        let slot = self.slots.get_mut(index)?;
        if slot.query.fate != TraceFate::Pending {
            return None;
        }
        slot.query.fate = fate;
        let ttl = slot.ttl;
        self.hop(ttl)?.pending -= 1;
        self.gap = self.find_gap();
        Some(ttl)
    }

    fn hop(&mut self, ttl: u8) -> Option<&mut Hop> {
        self.hops.get_mut(usize::from(ttl.checked_sub(self.first_ttl)?))
    }

    fn find_gap(&self) -> Option<u8> {
        let behind = self.hops.iter().rposition(|hop| hop.answered > 0).map_or(0, |last| last + 1);
        let silent = self.hops.iter().skip(behind);
        let silent = silent.take_while(|hop| hop.asked == self.queries && hop.pending == 0);
        let (count, last) = silent.fold((0, None), |(count, _), hop| (count + 1, Some(hop.ttl)));
        last.filter(|_| self.gap_limit.is_some_and(|limit| count >= limit))
    }

    /// Whether there is nothing left to send and nothing to wait for.
    pub(super) fn is_done(&self) -> bool {
        let matters = |hop: &&Hop| self.reached.is_none_or(|end| hop.ttl <= end);
        !self.has_more() && self.hops.iter().filter(matters).all(|hop| hop.pending == 0)
    }

    /// Takes note that nothing will be sent any more.
    pub(super) fn close(&mut self) {
        self.closed = self.closed.or(Some(self.gap));
    }

    fn end(&self) -> PathEnd {
        if let Some(ttl) = self.reached {
            return PathEnd::Reached { ttl };
        }
        let refusal = self.slots.iter().filter(|slot| Some(slot.ttl) == self.refused);
        let refusal = refusal.filter_map(|slot| slot.query.fate.answer());
        let mut refusal = refusal.filter(|answer| answer.answer == AnswerKind::Refused);
        if let Some((ttl, answer)) = self.refused.zip(refusal.next())
            && let Some(failure) = answer.failure
        {
            return PathEnd::Refused { ttl, failure, from: answer.from };
        }
        if let Some(hop) = self.unsendable.and_then(|place| self.hops.get(place)) {
            return PathEnd::NotSent { ttl: hop.ttl, errno: hop.errno };
        }
        match self.closed {
            Some(Some(ttl)) => PathEnd::Gap { ttl },
            Some(None) => PathEnd::MaxHops,
            None => PathEnd::Unfinished,
        }
    }

    pub(super) fn into_path(self, number: u32) -> TracePath {
        let mut path = TracePath::new(number);
        path.end = self.end();
        let last = match path.end {
            PathEnd::Reached { ttl }
            | PathEnd::Refused { ttl, .. }
            | PathEnd::Gap { ttl }
            | PathEnd::NotSent { ttl, .. } => ttl,
            PathEnd::MaxHops | PathEnd::Unfinished => self.max_ttl,
        };
        for slot in self.slots {
            if slot.ttl > last {
                let left = !matches!(slot.query.fate, TraceFate::NotSent { .. });
                path.beyond_end += u64::from(left);
                continue;
            }
            if path.hops.last().is_none_or(|hop| hop.ttl != slot.ttl) {
                path.hops.push(TraceHop::new(slot.ttl));
            }
            if let Some(hop) = path.hops.last_mut() {
                hop.queries.push(slot.query);
            }
        }
        path.loops = hints::loops(&path);
        path.nat_ttl = hints::nat_ttl(&path);
        path.mtu = hints::told_mtu(&path);
        path
    }
}
