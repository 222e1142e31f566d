//! Packets of all flows of a port that wait to be handed to the system together.

use std::task::Waker;

use crate::engine::echo::{FlowId, Ticket};
use crate::icmp::DontFragment;
use crate::io::socket::SendBatch;

/// See the [module](self). What was made lies in the batch in the same order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) batch: SendBatch,
    pub(super) made: Vec<(FlowId, Ticket)>,
    /// What all of them want of the socket: it cannot be said with each packet.
    pub(super) wish: (DontFragment, bool),
    /// The socket takes no packets at the moment.
    blocked: bool,
    /// Who has packets for which there is no room.
    waiters: Vec<Waker>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Whether a packet with this wish has to wait until the others have left.
    pub(super) fn has_no_room(&self, wish: (DontFragment, bool)) -> bool {
        !self.made.is_empty() && (self.batch.is_full() || self.wish != wish)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn block(&mut self) {
        self.blocked = true;
    }

    /// The socket takes packets again: who is to be told.
    pub(super) fn unblock(&mut self) -> Vec<Waker> {
        self.blocked = false;
        std::mem::take(&mut self.waiters)
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiters.iter().any(|other| other.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
    }

    /// Takes out the first `count`, which have been dealt with.
    pub(super) fn done(&mut self, count: usize) {
        self.made.drain(..count.min(self.made.len()));
        self.batch.done(count);
    }

    /// Takes out the packets of a flow, which nobody waits for any more.
    pub(super) fn forget(&mut self, flow: FlowId) {
        if self.made.iter().any(|(owner, _)| *owner == flow) {
            let mut owners = self.made.iter().map(|(owner, _)| *owner);
            self.batch.retain(|| owners.next() != Some(flow));
            self.made.retain(|(owner, _)| *owner != flow);
        }
    }

    /// Takes out all of them: who waits is to be told.
    pub(super) fn clear(&mut self) -> Vec<Waker> {
        self.made.clear();
        self.batch.clear();
        self.unblock()
    }
}
