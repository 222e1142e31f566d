//! What the packets so far say, and what follows from it. It is worked out anew from all of them each
//! time, so that what comes late counts as if it had come in time.

use std::collections::BTreeMap;

use super::MtuSetup;
use crate::icmp::EchoError;
use crate::icmp::mtu::{Evidence, MtuEnd, MtuFate, MtuReport, MtuStep};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send a packet of this size.
    Try(u32),
    /// Stop.
    End(MtuEnd),
}

#[derive(Debug)]
pub(super) struct Search<'a> {
    setup: &'a MtuSetup,
    steps: &'a [MtuStep],
    sizes: BTreeMap<u32, Tally>,
    /// The largest size that passed.
    good: Option<u32>,
    /// The smallest larger size that did not, and why.
    bad: Option<(u32, Evidence)>,
    pub(super) next: Next,
}

/// What happened to the packets of one size.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed: bool,
    by_router: bool,
    by_host: bool,
    silent: u32,
    refused: u32,
    not_sent: u32,
}

impl Tally {
    fn add(&mut self, step: &MtuStep) {
        match &step.fate {
            MtuFate::Answered(answer) if answer.size >= step.size => self.passed = true,
            MtuFate::Answered(_) | MtuFate::Lost => self.silent += 1,
            MtuFate::TooBig(_) => self.by_router = true,
            MtuFate::TooBigHere { .. } => self.by_host = true,
            MtuFate::Refused(_) => self.refused += 1,
            MtuFate::NotSent { .. } => self.not_sent += 1,
            MtuFate::Pending => {}
        }
    }

    /// Packets that neither passed nor were too big.
    fn in_vain(&self) -> u32 {
        self.silent + self.refused + self.not_sent
    }

    fn evidence(&self, tries: u32) -> Option<Evidence> {
        match self {
            Tally { passed: true, .. } => None,
            Tally { by_host: true, .. } => Some(Evidence::Host),
            Tally { by_router: true, .. } => Some(Evidence::Router),
            _ => (self.in_vain() >= tries).then_some(Evidence::Silence),
        }
    }
}

impl<'a> Search<'a> {
    pub(super) fn of(setup: &'a MtuSetup, steps: &'a [MtuStep]) -> Self {
        let mut sizes: BTreeMap<u32, Tally> = BTreeMap::new();
        for step in steps {
            sizes.entry(step.size).or_default().add(step);
        }
        let good = sizes.iter().rev().find(|(_, tally)| tally.passed).map(|(size, _)| *size);
        let above = sizes.iter().filter(|(size, _)| good.is_none_or(|good| **size > good));
        let mut above =
            above.filter_map(|(size, tally)| Some((*size, tally.evidence(setup.tries)?)));
        let bad = above.next();
        let mut search = Search { setup, steps, sizes, good, bad, next: Next::Try(setup.ceiling) };
        search.next = search.decide();
        search
    }

    fn decide(&self) -> Next {
        let wanted = match self.wanted() {
            Next::Try(size) => size,
            end @ Next::End(_) => return end,
        };
        if self.steps.len() >= self.setup.packets as usize {
            return Next::End(MtuEnd::Packets);
        }
        Next::Try(wanted)
    }

    fn wanted(&self) -> Next {
        let Some(last) = self.steps.last() else { return Next::Try(self.setup.ceiling) };
        let tally = self.tally(last.size);
        let open = self.good.is_none_or(|good| last.size > good);
        if open && tally.evidence(self.setup.tries).is_none() {
            return Next::Try(last.size);
        }
        // Trouble that has nothing to do with size will not go away with another size.
        let other = !tally.passed && !tally.by_router && !tally.by_host && tally.silent == 0;
        if let Some(end) = self.other_end(last.size).filter(|_| other) {
            return Next::End(end);
        }
        match (self.good, self.bad) {
            (None, _) => self.first_answer(),
            (Some(good), _) if good >= self.setup.ceiling => Next::End(MtuEnd::Found),
            (Some(good), Some((bad, _))) if bad <= good + 1 => Next::End(MtuEnd::Found),
            (Some(good), bad) => {
                let bad = bad.map_or(self.setup.ceiling + 1, |(bad, _)| bad);
                Next::Try(self.told_between(good, bad).unwrap_or(good + (bad - good) / 2))
            }
        }
    }

    /// Nothing has passed yet: what an error told is tried, or else what every link must carry.
    fn first_answer(&self) -> Next {
        let floor = self.setup.floor;
        let smallest_bad = self.bad.map_or(self.setup.ceiling + 1, |(bad, _)| bad);
        if smallest_bad > floor {
            return Next::Try(self.told_between(floor - 1, smallest_bad).unwrap_or(floor));
        }
        Next::End(match self.bad {
            Some((_, Evidence::Silence)) => self.other_end(floor).unwrap_or(MtuEnd::NoAnswer),
            _ => MtuEnd::BelowMinimum,
        })
    }

    /// A size above `good` and below `bad` that an error or this host told, or one byte more than a
    /// told size that passed.
    fn told_between(&self, good: u32, bad: u32) -> Option<u32> {
        let told = self.steps.iter().filter_map(|step| match &step.fate {
            MtuFate::TooBig(EchoError { mtu, mtu_implausible: None, .. })
            | MtuFate::TooBigHere { mtu, mtu_implausible: None } => *mtu,
            _ => None,
        });
        let told = told.take(self.setup.told as usize);
        let between = |size: &u32| *size > good && *size < bad && !self.sizes.contains_key(size);
        let sizes: Vec<u32> = told.collect();
        // The last error knows best: it comes from furthest away.
        let told = sizes.iter().rev().copied().find(between);
        told.or_else(|| sizes.contains(&good).then_some(good + 1).filter(between))
    }

    fn tally(&self, size: u32) -> Tally {
        self.sizes.get(&size).copied().unwrap_or_default()
    }

    /// How it ends if all packets of this size were refused or not sent.
    fn other_end(&self, size: u32) -> Option<MtuEnd> {
        self.steps.iter().rev().filter(|step| step.size == size).find_map(|step| match &step.fate {
            MtuFate::Refused(error) => Some(MtuEnd::Refused {
                failure: error.failure,
                icmp_type: error.icmp_type,
                code: error.code,
                from: error.from,
            }),
            MtuFate::NotSent { errno } => Some(MtuEnd::NotSent { errno: *errno }),
            _ => None,
        })
    }

    pub(super) fn report(&self) -> MtuReport {
        let setup = self.setup;
        let mut report = MtuReport { mtu: self.good, ..MtuReport::default() };
        report.end = match self.next {
            Next::End(end) => end,
            Next::Try(_) => MtuEnd::Unfinished,
        };
        let Some(good) = self.good else { return report };
        let said = |tally: &Tally| tally.by_router || tally.by_host;
        report.contradictory = self.sizes.iter().any(|(size, t)| *size <= good && said(t));
        let at_bound = good >= setup.ceiling;
        let found = at_bound || self.bad.is_some_and(|(bad, _)| bad == good + 1);
        let (size, evidence) = match self.bad {
            _ if at_bound => (setup.ceiling + 1, setup.bound),
            Some(bad) => bad,
            None => return report,
        };
        let silent = self.tally(size).silent >= setup.tries;
        if evidence == Evidence::Silence && !silent {
            // Some of its packets were refused or not sent for other reasons: that says nothing.
            return report;
        }
        report.evidence = Some(evidence);
        report.refused_size = (evidence != Evidence::Configured).then_some(size);
        report.reported_by = self.steps.iter().find_map(|step| match &step.fate {
            MtuFate::TooBig(error) if step.size == size => error.from,
            _ => None,
        });
        report.black_hole = evidence == Evidence::Silence;
        let sure = matches!(evidence, Evidence::Router | Evidence::Host | Evidence::Protocol);
        report.confirmed = found && sure && !report.contradictory;
        report
    }
}
