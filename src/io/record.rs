//! What a probe notes down while it runs. It outlives the futures that fill it, so that a probe that
//! is cut by its deadline keeps its evidence.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use crate::observe::Event;
use crate::probe::{Attempt, ProbeContext, ProbeResult};
use crate::target::Target;
use crate::timing::{Phase, PhaseClock, Timing};
use crate::verdict::{Failure, FailureKind, Verdict};

/// What the system tells of a single dial.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) syn_retransmits: Option<u32>,
}

/// Phases and attempts of a probe.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    cx: &'a ProbeContext,
    clock: PhaseClock,
    pub(crate) attempts: Vec<Attempt>,
}

impl<'a> Record<'a> {
    pub(crate) fn start(cx: &'a ProbeContext, now: Instant, phase: Phase) -> Self {
        cx.notify(&Event::Entered { phase, at_ns: 0 });
        Record { cx, clock: PhaseClock::start(now, phase), attempts: Vec::new() }
    }

    /// A record that goes on from a clock and attempts that were kept.
    #[cfg(all(feature = "icmp", target_os = "linux"))]
    pub(crate) fn resume(cx: &'a ProbeContext, clock: PhaseClock, attempts: Vec<Attempt>) -> Self {
        Record { cx, clock, attempts }
    }

    /// Its clock, to be kept.
    #[cfg(all(feature = "icmp", target_os = "linux"))]
    pub(crate) fn into_clock(self) -> PhaseClock {
        self.clock
    }

    /// A record of the same probe that goes on by itself from here, with its own attempts.
    pub(crate) fn fork(&self) -> Self {
        Record { cx: self.cx, clock: self.clock.clone(), attempts: Vec::new() }
    }

    pub(crate) fn cx(&self) -> &'a ProbeContext {
        self.cx
    }

    pub(crate) fn now(&self) -> Instant {
        self.cx.clock().now()
    }

    pub(crate) fn started(&self) -> Instant {
        self.clock.started()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.clock.phase()
    }

    pub(crate) fn offset_ns(&self, at: Instant) -> u64 {
        self.clock.offset_ns(at)
    }

    pub(crate) fn enter(&mut self, phase: Phase, now: Instant) {
        if phase != self.clock.phase() {
            self.clock.enter(phase, now);
            self.cx.notify(&Event::Entered { phase, at_ns: self.clock.offset_ns(now) });
        }
    }

    pub(crate) fn finish(self, now: Instant) -> (Timing, Vec<Attempt>) {
        (self.clock.finish(now), self.attempts)
    }

    /// Ends the probe now and makes its result.
    pub(crate) fn conclude<R>(
        self,
        target: &Target,
        started_at: SystemTime,
        outcome: Verdict,
        report: R,
    ) -> ProbeResult<R> {
        let cx = self.cx;
        let (timing, attempts) = self.finish(cx.clock().now());
        cx.notify(&Event::Finished { verdict: &outcome, at_ns: timing.total_ns });
        let mut result = ProbeResult::new(target.clone(), started_at, outcome, timing, report);
        result.attempts = attempts;
        result
    }

    /// Notes that an address is dialled; gives the place of the attempt.
    pub(crate) fn dialling(&mut self, address: Target) -> usize {
        self.dialling_at(address, self.now())
    }

    /// The same of a moment that was noted.
    pub(crate) fn dialling_at(&mut self, address: Target, at: Instant) -> usize {
        let at_ns = self.offset_ns(at);
        self.cx.notify(&Event::Dialling { address: &address, at_ns });
        if self.attempts.capacity() == 0 {
            // Most probes make one, and a vector would begin with room for four.
            self.attempts.reserve_exact(1);
        }
        self.attempts.push(Attempt::new(address, at_ns));
        self.attempts.len() - 1
    }

    /// Notes how an attempt ended.
    pub(crate) fn dialled(&mut self, place: usize, verdict: Verdict, facts: Facts, at: Instant) {
        let at_ns = self.offset_ns(at);
        if let Some(attempt) = self.attempts.get_mut(place) {
            let address = &attempt.address;
            self.cx.notify(&Event::Dialled { address, verdict: &verdict, at_ns });
            attempt.end_ns = at_ns.max(attempt.start_ns);
            attempt.local = facts.local;
            attempt.syn_retransmits = facts.syn_retransmits;
            attempt.verdict = Some(verdict);
        }
    }

    /// Notes which attempt was first; those still under way are given up.
    pub(crate) fn selected(&mut self, place: usize, at: Instant) {
        let at_ns = self.offset_ns(at);
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            attempt.selected = index == place;
            if attempt.verdict.is_none() {
                attempt.end_ns = at_ns.max(attempt.start_ns);
            }
        }
    }

    /// Ends the probe at its deadline: the failure names the open phase, and so do the attempts
    /// that were under way.
    pub(crate) fn timed_out(&mut self, now: Instant) -> Failure {
        let failure = Failure::new(FailureKind::Timeout).in_phase(self.phase());
        let at_ns = self.offset_ns(now);
        if self.phase() == Phase::Connect {
            for attempt in self.attempts.iter_mut().filter(|attempt| attempt.verdict.is_none()) {
                attempt.end_ns = at_ns.max(attempt.start_ns);
                attempt.verdict = Some(failure.clone().into());
            }
        }
        failure
    }
}
