//! The names of hops.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::icmp::trace::TraceReport;
use crate::io::resolve::SystemResolver;
use crate::probe::ProbeContext;
use crate::resolve::{BoxFuture, ResolveError};

/// How long is waited for names altogether.
const LONGEST: Duration = Duration::from_secs(2);

/// Questions that are open at a time.
const AT_ONCE: usize = 16;

type Question<'a> = (IpAddr, BoxFuture<'a, Result<Option<String>, ResolveError>>);

/// Asks for the names of all that answered. What is not known in time is left out.
pub(super) async fn look_up(
    cx: &ProbeContext,
    report: &TraceReport,
    deadline: Instant,
) -> BTreeMap<IpAddr, String> {
    let resolver = cx.resolver().unwrap_or(&SystemResolver);
    let answers = report.paths.iter().flat_map(|path| path.answers());
    // In the order of the distance, so that what is left out is far away.
    let mut seen = BTreeSet::new();
    let mut waiting = answers
        .filter_map(|(_, answer)| answer.from)
        .filter(|from| seen.insert(*from))
        .collect::<Vec<_>>()
        .into_iter();
    let mut open: Vec<Question<'_>> = Vec::new();
    let mut names = BTreeMap::new();
    let asking = poll_fn(|task| {
        loop {
            while open.len() < AT_ONCE
                && let Some(address) = waiting.next()
            {
                open.push((address, resolver.reverse(address)));
            }
            let before = open.len();
            open.retain_mut(|(address, question)| match question.as_mut().poll(task) {
                Poll::Pending => true,
                Poll::Ready(answer) => {
                    names.extend(answer.ok().flatten().map(|name| (*address, name)));
                    false
                }
            });
            if open.is_empty() && waiting.len() == 0 {
                return Poll::Ready(());
            }
            // A place that has become free is taken at once.
            if open.len() == before || waiting.len() == 0 {
                return Poll::Pending;
            }
        }
    });
    let _ = timeout_at(deadline.min(Instant::now() + LONGEST), asking).await;
    names
}
