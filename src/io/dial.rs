//! Several addresses of one name: one alone, one after the other, or a race (RFC 8305).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use super::record::{Facts, Record};
use crate::resolve::{AddressPolicy, Dialing, interleave};
use crate::timing::Phase;
use crate::verdict::{Failure, FailureKind, Verdict};

/// How a single dial went.
pub(crate) struct Dialled<C> {
    /// The connection, or why there is none.
    pub(crate) result: Result<C, Verdict>,
    /// What the system tells of it.
    pub(crate) facts: Facts,
    /// When it was decided.
    pub(crate) at: Instant,
}

/// Dials after the policy and gives the first connection; every address that was tried is in the
/// record. The error is that of the first address that blames somebody else than this host, and
/// only if there is none a local fault.
pub(crate) async fn dial<C, F, Fut>(
    record: &mut Record<'_>,
    dialing: &Dialing,
    addresses: &[SocketAddr],
    deadline: tokio::time::Instant,
    connect: F,
) -> Result<C, Verdict>
where
    F: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = Dialled<C>>,
{
    let order = match dialing.addresses {
        AddressPolicy::HappyEyeballs => interleave(addresses),
        AddressPolicy::First => addresses.iter().copied().take(1).collect(),
        AddressPolicy::Any | AddressPolicy::All => addresses.to_vec(),
    };
    if let &[address] = order.as_slice() {
        // No race, no timers: the common case costs nothing extra.
        let place = record.dialling(address.into());
        let dialled = pin!(connect(address)).await;
        return note(record, place, dialled);
    }
    let stagger = match dialing.addresses {
        AddressPolicy::HappyEyeballs => Some(dialing.attempt_delay),
        _ => None,
    };
    let mut race = Race {
        connect,
        waiting: order.into_iter(),
        flights: Vec::new(),
        stagger,
        limit: dialing.attempt_timeout,
        timer: None,
        deadline,
    };
    poll_fn(|cx| race.poll(record, cx)).await.unwrap_or_else(|| Err(first_failure(record)))
}

fn note<C>(record: &mut Record<'_>, place: usize, dialled: Dialled<C>) -> Result<C, Verdict> {
    let Dialled { result, facts, at } = dialled;
    let verdict = result.as_ref().err().cloned().unwrap_or(Verdict::Pass);
    record.dialled(place, verdict, facts, at);
    if result.is_ok() {
        record.selected(place, at);
    }
    result
}

fn first_failure(record: &Record<'_>) -> Verdict {
    let verdicts = || record.attempts.iter().filter_map(|attempt| attempt.verdict.as_ref());
    let failed = verdicts().find(|verdict| matches!(verdict, Verdict::Fail(_)));
    failed.or_else(|| verdicts().next()).cloned().unwrap_or_else(|| {
        Failure::new(FailureKind::ResolveNoAddress).in_phase(Phase::Resolve).into()
    })
}

struct Flight<Fut> {
    place: usize,
    future: Pin<Box<Fut>>,
    limit: Option<Pin<Box<Sleep>>>,
}

struct Race<F, Fut> {
    connect: F,
    waiting: std::vec::IntoIter<SocketAddr>,
    flights: Vec<Flight<Fut>>,
    stagger: Option<Duration>,
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    deadline: tokio::time::Instant,
}

impl<C, F, Fut> Race<F, Fut>
where
    F: Fn(SocketAddr) -> Fut,
    Fut: Future<Output = Dialled<C>>,
{
    /// `Ready(None)` when every address has failed.
    fn poll(
        &mut self,
        record: &mut Record<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<C, Verdict>>> {
        loop {
            let mut index = 0;
            let mut failed = false;
            while let Some(flight) = self.flights.get_mut(index) {
                let Some(dialled) = flight.poll(record, cx) else {
                    index += 1;
                    continue;
                };
                let Flight { place, .. } = self.flights.swap_remove(index);
                if let Ok(connection) = note(record, place, dialled) {
                    return Poll::Ready(Some(Ok(connection)));
                }
                failed = true;
            }
            let due = match &mut self.timer {
                Some(timer) => timer.as_mut().poll(cx).is_ready(),
                None => false,
            };
            // RFC 8305, 5: the next dial is due when the delay is over, or at once after a failure.
            if !(failed || due || self.flights.is_empty()) {
                return Poll::Pending;
            }
            // The dials under way end by themselves at the deadline; none begins after it.
            let over = failed && tokio::time::Instant::now() >= self.deadline;
            let Some(address) = self.waiting.next().filter(|_| !over) else {
                self.timer = None;
                return if self.flights.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            let place = record.dialling(address.into());
            let future = Box::pin((self.connect)(address));
            let limit = self.limit.map(|limit| Box::pin(sleep(limit)));
            self.flights.push(Flight { place, future, limit });
            self.timer = self.stagger.map(|stagger| Box::pin(sleep(stagger)));
        }
    }
}

impl<C, Fut: Future<Output = Dialled<C>>> Flight<Fut> {
    fn poll(&mut self, record: &Record<'_>, cx: &mut Context<'_>) -> Option<Dialled<C>> {
        if let Poll::Ready(dialled) = self.future.as_mut().poll(cx) {
            return Some(dialled);
        }
        self.limit.as_mut()?.as_mut().poll(cx).is_ready().then(|| {
            let failure = Failure::new(FailureKind::Timeout).in_phase(Phase::Connect);
            Dialled { result: Err(failure.into()), facts: Facts::default(), at: record.now() }
        })
    }
}

#[cfg(test)]
mod tests;
