//! The packets of one probe on a port.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::port::{Port, PortError, Queue, Wish};
use crate::engine::echo::{EchoEvent, FlowId, Outgoing, PrepareError};

/// Packets of one probe on a port. Dropped, it frees all of them, and those that have not left never do.
pub(in crate::io) struct Flow {
    port: Arc<Port>,
    id: FlowId,
    closed: bool,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Flow {
    /// Opens a flow.
    pub(in crate::io) fn open(port: &Arc<Port>) -> Self {
        let mut core = port.core();
        let id = core.engine.open();
        let place = id.index();
        if core.queues.len() <= place {
            core.queues.resize_with(place + 1, Queue::default);
        }
        if let Some(queue) = core.queues.get_mut(place) {
            *queue = Queue { open: true, ..Queue::default() };
        }
        drop(core);
        Flow { port: Arc::clone(port), id, closed: false }
    }

    /// Packets that came for one of ours and were not believed.
    pub(in crate::io) fn suspects(&self) -> u64 {
        self.port.core().engine.suspects(self.id)
    }

    /// Makes a packet. It leaves with those of other flows, when there are enough of them or when the
    /// port's task has its turn. False if the socket takes none at the moment; the task is woken when it
    /// does.
    ///
    /// # Errors
    /// The port has ended, or is full.
    pub(in crate::io) fn push(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing,
        address: SocketAddr,
        wish: &Wish,
    ) -> Result<bool, PortError> {
        let mut guard = self.port.core();
        let core = &mut *guard;
        if let Some(why) = core.ended {
            return Err(why);
        }
        let wanted = (wish.dont_fragment, wish.broadcast);
        if core.outbox.has_no_room(wanted) {
            self.port.send_out(core);
            core.settle();
        }
        let made = if core.outbox.has_no_room(wanted) {
            core.outbox.wait(cx.waker());
            Ok(false)
        } else {
            core.outbox.wish = wanted;
            core.largest = core.largest.max(outgoing.size);
            let (engine, batch) = (&mut core.engine, &mut core.outbox.batch);
            let socket = self.port.socket();
            let ticket = socket.add(batch, address, &wish.options, |packet| {
                engine.prepare(self.id, outgoing, packet)
            });
            match ticket {
                Ok(ticket) => {
                    if core.outbox.is_empty() {
                        core.wake.extend(core.driver.clone());
                    }
                    core.outbox.made.push((self.id, ticket));
                    Ok(true)
                }
                Err(PrepareError::Closed) => Err(PortError::Engine),
                Err(_) => Err(PortError::Full),
            }
        };
        let wake = std::mem::take(&mut core.wake);
        drop(guard);
        wake.into_iter().for_each(Waker::wake);
        made
    }

    /// Moves the events to `into`. If there are none, the task is woken when there are.
    ///
    /// # Errors
    /// The port has ended.
    pub(in crate::io) fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<EchoEvent>,
    ) -> Result<(), PortError> {
        let mut core = self.port.core();
        let ended = core.ended;
        let Some(queue) = core.queues.get_mut(self.id.index()) else { return Ok(()) };
        if queue.events.is_empty() {
            queue.waker = Some(cx.waker().clone());
            return ended.map_or(Ok(()), Err);
        }
        if into.is_empty() {
            std::mem::swap(into, &mut queue.events);
        } else {
            into.append(&mut queue.events);
        }
        Ok(())
    }

    /// Whether everything that had come in by then was looked at.
    pub(in crate::io) fn has_heard(&self, until: Instant) -> bool {
        let core = self.port.core();
        core.ended.is_some() || core.heard.is_some_and(|heard| heard >= until)
    }

    /// Ready when the clock has come so far.
    pub(in crate::io) fn poll_until(&self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        if until <= crate::io::time::now() {
            return Poll::Ready(());
        }
        self.wake_at(cx, until);
        Poll::Pending
    }

    /// Has the task woken at that time; a later call takes the place of an earlier one.
    pub(in crate::io) fn wake_at(&self, cx: &mut Context<'_>, until: Instant) {
        let mut guard = self.port.core();
        let core = &mut *guard;
        let place = self.id.index();
        let Some(queue) = core.queues.get_mut(place).filter(|_| core.ended.is_none()) else {
            // Whoever asks for events is told why.
            cx.waker().wake_by_ref();
            return;
        };
        if let Some(old) = queue.sleep.replace(until) {
            core.sleepers.remove(&(old, place));
        }
        core.sleepers.insert((until, place), cx.waker().clone());
        core.look_at(Some(until));
        let wake = std::mem::take(&mut core.wake);
        drop(guard);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Ends the flow and takes the last events; also tells which packets have left and are not decided.
    pub(in crate::io) fn close(mut self, into: &mut Vec<EchoEvent>) -> Vec<(u64, Instant)> {
        let mut core = self.port.core();
        core.engine.settle(self.id);
        let undecided = core.engine.undecided(self.id);
        drop(core);
        self.shut(Some(into));
        undecided
    }

    fn shut(&mut self, into: Option<&mut Vec<EchoEvent>>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let mut guard = self.port.core();
        let core = &mut *guard;
        core.outbox.forget(self.id);
        core.engine.close(self.id);
        core.dispatch();
        let place = self.id.index();
        if let Some(queue) = core.queues.get_mut(place).filter(|queue| queue.open) {
            if let Some(into) = into {
                into.append(&mut queue.events);
            }
            if let Some(at) = queue.sleep {
                core.sleepers.remove(&(at, place));
            }
            *queue = Queue::default();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shut(None);
    }
}
