//! Many probes at once, but not too many.

use std::num::NonZeroUsize;

use netsonde::{Probe, ProbeContext, ProbeResult};
use tokio::task::JoinSet;

/// Runs the probes, at most `limit` at a time, and hands over each result with the place of its probe
/// in the order in which they end. The first error of `ended` ends it all: what still runs is
/// dropped.
pub(crate) async fn run<E>(
    probes: Vec<Probe>,
    cx: &ProbeContext,
    limit: NonZeroUsize,
    mut ended: impl FnMut(usize, ProbeResult) -> Result<(), E>,
) -> Result<(), E> {
    let mut waiting = probes.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < limit.get()
            && let Some((place, probe)) = waiting.next()
        {
            let cx = cx.clone();
            running.spawn(async move { (place, probe.run(&cx).await) });
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok((place, result))) => ended(place, result)?,
            // Nothing is aborted while this loop runs, so it is a panic: not ours to hide.
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => continue,
            },
        }
    }
}
