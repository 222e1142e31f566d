//! Several futures in one.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Runs futures side by side in this one until all have ended.
pub(in crate::io) async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    poll_fn(|cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs futures side by side in this one, at most `limit` at a time, until all have ended.
#[cfg(all(feature = "icmp", target_os = "linux"))]
pub(in crate::io) async fn bounded<F: Future<Output = ()>>(
    limit: usize,
    futures: impl Iterator<Item = F>,
) {
    let mut waiting = futures.fuse();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    poll_fn(|cx| {
        loop {
            let free = limit.saturating_sub(running.len());
            running.extend(waiting.by_ref().take(free).map(Box::pin));
            let polled = running.len();
            running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
            if polled == 0 {
                return Poll::Ready(());
            }
            // Where one has ended there is room for the next.
            if running.len() == polled {
                return Poll::Pending;
            }
        }
    })
    .await;
}

#[cfg(test)]
#[cfg(all(feature = "icmp", target_os = "linux"))]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use super::bounded;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_run_at_a_time_and_all_of_them_end() {
        let (running, most, ended) = (Cell::new(0), Cell::new(0), RefCell::new(Vec::new()));
        let futures = (0..100_u64).map(|number| {
            let (running, most, ended) = (&running, &most, &ended);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                // Some of them end at once.
                if number % 3 != 0 {
                    tokio::time::sleep(Duration::from_millis(number * 7 % 11)).await;
                }
                running.set(running.get() - 1);
                ended.borrow_mut().push(number);
            }
        });
        bounded(8, futures).await;
        ended.borrow_mut().sort_unstable();
        assert_eq!(*ended.borrow(), (0..100).collect::<Vec<_>>());
        assert_eq!((most.get(), running.get()), (8, 0));
    }
}
