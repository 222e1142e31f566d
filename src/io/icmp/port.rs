//! One socket, shared by all packets of its family, and the task that listens on it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::arrival;
use super::outbox::Outbox;
use super::socket::{IcmpSocket, SendOptions};
use crate::engine::echo::{EchoEngine, EchoEvent, Reading, Received, Stamp};
use crate::icmp::{DontFragment, EngineStats, SocketMode};
use crate::io::socket::{ExtendedError, HiResTimer, ReceiveBatch, clock_pair};

/// What a packet is to be sent with.
#[derive(Clone, Debug, Default)]
pub(in crate::io) struct Wish {
    pub(in crate::io) options: SendOptions,
    pub(in crate::io) dont_fragment: DontFragment,
    pub(in crate::io) broadcast: bool,
}

/// Why a port is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum PortError {
    /// The engine was dropped.
    Engine,
    /// The runtime that it ran on has ended.
    Runtime,
    /// Every identifier and sequence number is in use.
    Full,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortError::Engine => "the ICMP engine was dropped",
            PortError::Runtime => "the runtime of the ICMP engine has ended",
            PortError::Full => "every identifier and sequence number is in use",
        })
    }
}

/// A socket with all that is on its way.
pub(in crate::io) struct Port {
    socket: IcmpSocket,
    core: Mutex<Core>,
}

pub(super) struct Core {
    pub(super) engine: EchoEngine,
    pub(super) queues: Vec<Queue>,
    /// Who waits for the clock: by time, then by flow.
    pub(super) sleepers: BTreeMap<(Instant, usize), Waker>,
    pub(super) driver: Option<Waker>,
    /// When the driver looks at the clock next; `None` for not at all.
    armed: Option<Instant>,
    /// Whatever had come in by then has been looked at.
    pub(super) heard: Option<Instant>,
    pub(super) ended: Option<PortError>,
    dont_fragment: DontFragment,
    /// Which packet has which number, on systems that count by themselves.
    numbered: VecDeque<u32>,
    first_number: u32,
    stats: EngineStats,
    overflow: u32,
    pub(super) wake: Vec<Waker>,
    /// The largest payload that an answer may have.
    pub(super) largest: u32,
    broadcast: bool,
    /// Packets, and entries of the error queue, read since both were empty.
    run: usize,
    /// Packets sent since anything was read.
    unheard: usize,
    packets: ReceiveBatch,
    errors: ReceiveBatch,
    /// The payload that `packets` has room for.
    sized_for: u32,
    pub(super) outbox: Outbox,
}

/// What a flow has not taken yet.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) events: Vec<EchoEvent>,
    pub(super) waker: Option<Waker>,
    pub(super) sleep: Option<Instant>,
    pub(super) open: bool,
}

/// Packets that a busy sender sends before it looks itself at what has come in: send stamps would fill
/// the memory of the socket, answers its queue.
const UNHEARD: usize = 128;

/// Batches that are read before others have their turn.
const TURNS: usize = 16;

/// How often a send is tried again because the socket reported an error that belongs to another packet.
const FOREIGN_ERRORS: usize = 16;

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Port {
    /// A port on this socket. [`drive`] must run for anything to be heard.
    pub(in crate::io) fn new(socket: IcmpSocket, engine: EchoEngine) -> Arc<Self> {
        let core = Core {
            engine,
            queues: Vec::new(),
            sleepers: BTreeMap::new(),
            driver: None,
            armed: None,
            heard: None,
            ended: None,
            dont_fragment: DontFragment::System,
            numbered: VecDeque::new(),
            first_number: 0,
            stats: EngineStats::default(),
            overflow: 0,
            wake: Vec::new(),
            largest: 0,
            broadcast: false,
            run: 0,
            unheard: 0,
            packets: IcmpSocket::receive_batch(0),
            errors: IcmpSocket::error_batch(),
            sized_for: 0,
            outbox: Outbox::default(),
        };
        Arc::new(Port { socket, core: Mutex::new(core) })
    }

    pub(in crate::io) fn mode(&self) -> SocketMode {
        self.socket.mode()
    }

    pub(super) fn socket(&self) -> &IcmpSocket {
        &self.socket
    }

    pub(in crate::io) fn is_over(&self) -> bool {
        self.core().ended.is_some()
    }

    pub(in crate::io) fn stats(&self) -> EngineStats {
        let core = self.core();
        let mut stats = core.stats.clone();
        stats.strays = *core.engine.strays();
        stats.waiting = core.engine.waiting() as u64;
        stats
    }

    /// Ends everything that waits here.
    pub(in crate::io) fn end(&self, why: PortError) {
        let mut core = self.core();
        core.ended.get_or_insert(why);
        let mut wake = std::mem::take(&mut core.wake);
        wake.extend(core.driver.take());
        wake.extend(std::mem::take(&mut core.sleepers).into_values());
        wake.extend(core.queues.iter_mut().filter_map(|queue| queue.waker.take()));
        wake.extend(core.outbox.clear());
        drop(core);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Nothing that can panic runs under the lock but the engine, whose state a panic leaves sound.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches what has been stamped, and the errors of the path where they come this way. True if there
    /// was such an error, which the socket then may have held against another packet as well.
    fn take_stamps(&self, core: &mut Core) -> bool {
        let mut batch = std::mem::take(&mut core.errors);
        let errors = self.read_stamps(core, &mut batch);
        core.errors = batch;
        errors
    }

    fn read_stamps(&self, core: &mut Core, batch: &mut ReceiveBatch) -> bool {
        let mut errors = false;
        for _ in 0..TURNS {
            let Ok(count) = self.socket.receive_errors(batch) else { break };
            if count == 0 {
                break;
            }
            // They take of the memory of the receive queue.
            core.run += count;
            let now = clock_pair();
            let mut previous = None;
            for message in batch.messages() {
                if let Some((number, stamp)) = message.send_stamp() {
                    let slot = match self.socket.names_stamps() {
                        true => Some(number),
                        false => core.slot_of_number(number),
                    };
                    if let Some(slot) = slot {
                        core.engine.transmit_stamp(slot, stamp, previous);
                    }
                    previous = Some(stamp.wall_ns);
                    continue;
                }
                let origin = message.error().map(|error| error.origin);
                errors |= matches!(origin, Some(ExtendedError::ICMP | ExtendedError::ICMPV6));
                let received = received(now, message.receive_stamp());
                let kind = (self.socket.mode(), self.socket.id());
                arrival::take_queued(&mut core.engine, kind, &message, &received);
            }
            if count < batch.capacity() {
                break;
            }
        }
        errors
    }

    /// Reads what has come in. True if there is nothing more for now.
    fn take_packets(&self, core: &mut Core) -> bool {
        if core.largest > core.sized_for {
            core.sized_for = core.largest;
            core.packets = IcmpSocket::receive_batch(core.sized_for);
        }
        core.unheard = 0;
        let mut batch = std::mem::take(&mut core.packets);
        let drained = self.read_packets(core, &mut batch);
        core.packets = batch;
        drained
    }

    fn read_packets(&self, core: &mut Core, batch: &mut ReceiveBatch) -> bool {
        for _ in 0..TURNS {
            let count = match self.socket.receive(batch) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.end_run(core);
                    return true;
                }
                Err(_) => {
                    // An error of the path that the socket reports in place of data: the error queue
                    // has it whole.
                    core.stats.receive_errors += 1;
                    continue;
                }
            };
            let now = clock_pair();
            core.stats.received += count as u64;
            for message in batch.messages() {
                if let Some(dropped) = message.overflow() {
                    let full = self.socket.can_overflow(core.run + count, core.largest);
                    core.count_drops(dropped, full, now.mono);
                }
                match arrival::of_packet(&self.socket, &message) {
                    Ok(arrival) => {
                        let received = received(now, message.receive_stamp());
                        let _ = core.engine.receive(arrival, &received);
                    }
                    Err(why) => core.engine.count_stray(why),
                }
            }
            core.run += count;
            if count < batch.capacity() {
                self.end_run(core);
                return true;
            }
        }
        false
    }

    /// The receive queue is empty. If it may have been full, what did not fit was dropped behind the last
    /// packet that has told the counter, and the next one comes too late to tell, or never.
    fn end_run(&self, core: &mut Core) {
        if self.socket.can_overflow(core.run, core.largest)
            && let Some(dropped) = self.socket.dropped()
        {
            core.count_drops(dropped, true, crate::io::time::now());
        }
        core.run = 0;
    }

    /// Hands what was made to the system.
    pub(super) fn send_out(&self, core: &mut Core) {
        if core.outbox.is_empty() || core.outbox.is_blocked() {
            return;
        }
        let wish = core.outbox.wish;
        if (core.dont_fragment, core.broadcast) != wish {
            match self.socket.set_wishes(wish.0, wish.1) {
                Ok(()) => (core.dont_fragment, core.broadcast) = wish,
                Err(error) => {
                    for (_, ticket) in core.outbox.made.drain(..) {
                        core.engine.not_sent(ticket, error.raw_os_error().unwrap_or(0), None);
                    }
                    core.outbox.batch.clear();
                }
            }
        }
        let mut at = 0;
        let (mut foreign, mut doubted) = (0, None);
        while at < core.outbox.made.len() {
            let before = clock_pair();
            let (count, error) = self.socket.send(&core.outbox.batch, at);
            let after = crate::io::time::now();
            for (_, ticket) in core.outbox.made.iter().skip(at).take(count) {
                core.engine.sent(*ticket, before, after);
                if self.socket.stamps_sends() && !self.socket.names_stamps() {
                    core.numbered.push_back(ticket.slot);
                }
            }
            core.stats.sent += count as u64;
            at += count;
            let Some(error) = error else { continue };
            match error.raw_os_error() {
                _ if error.kind() == io::ErrorKind::Interrupted => {}
                _ if error.kind() == io::ErrorKind::WouldBlock => {
                    core.outbox.block();
                    // It waits until the socket takes packets again.
                    core.wake.extend(core.driver.clone());
                    break;
                }
                // The error may be another packet's, which the socket has kept for the next caller. One may
                // be kept whose entry of the error queue was read just before; a packet's own error comes
                // again.
                number
                    if foreign < FOREIGN_ERRORS
                        && (self.take_stamps(core)
                            || (may_be_kept(number) && doubted.replace(at) != Some(at))) =>
                {
                    foreign += 1;
                }
                number => {
                    if let Some((_, ticket)) = core.outbox.made.get(at) {
                        let too_big = number == Some(libc::EMSGSIZE);
                        let to = core.outbox.batch.address(at).filter(|_| too_big);
                        let mtu = to.and_then(|to| self.socket.mtu_to(to));
                        core.engine.not_sent(*ticket, number.unwrap_or(0), mtu);
                        core.stats.send_errors += 1;
                    }
                    at += 1;
                }
            }
        }
        core.outbox.done(at);
        core.unheard += at;
        if core.unheard >= UNHEARD {
            self.take_stamps(core);
            self.take_packets(core);
        }
    }

    fn poll_drive(self: &Arc<Self>, driver: &mut Driver, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let mut core = self.core();
            if core.ended.is_some() {
                return Poll::Ready(());
            }
            if !core.driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                core.driver = Some(cx.waker().clone());
            }
            if core.outbox.is_blocked() && driver.poll_writable(self, cx) {
                let wake = core.outbox.unblock();
                core.wake.extend(wake);
            }
            self.send_out(&mut core);
            let blocked = core.outbox.is_blocked();
            // Stamps first: answers then find those of their requests.
            self.take_stamps(&mut core);
            let readable = self.socket.poll_readable(cx).is_ready();
            // Before anything is given up the socket itself is asked: after a stall the runtime may not
            // have heard of what came in meanwhile.
            let due = core.engine.poll_timeout();
            let asked = crate::io::time::now();
            let due = due.is_some_and(|due| due <= asked);
            let drained = if readable || due {
                self.take_packets(&mut core)
            } else {
                self.end_run(&mut core);
                true
            };
            if drained {
                // What came in by then is heard.
                core.engine.handle_timeout(asked);
                core.heard = Some(asked);
            }
            core.wake_sleepers(asked);
            core.dispatch();
            let next = core.next_due();
            core.armed = next;
            let wake = std::mem::take(&mut core.wake);
            drop(core);
            wake.into_iter().for_each(Waker::wake);
            let due = next.is_some_and(|due| driver.timer.poll_until(cx, due).is_ready());
            let queued = self.mode() == SocketMode::Datagram && driver.poll_queue(self, cx);
            // Asked again, so that the task is woken by what comes next.
            let more = !drained || (readable && self.socket.poll_readable(cx).is_ready());
            // What keeps the socket from taking packets is looked at in the next round, to be woken by it.
            let blocked = blocked && driver.writable.is_none();
            if !(more || due || queued || blocked) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn received(now: Reading, stamp: Option<Stamp>) -> Received {
    let mut received = Received::at(now);
    received.stamp = stamp;
    received
}

impl Core {
    /// So many packets were dropped since the socket was opened; `full` if for want of room.
    fn count_drops(&mut self, dropped: u32, full: bool, now: Instant) {
        let new = dropped.wrapping_sub(self.overflow);
        // A packet that was queued before the counter was last looked at tells an older state.
        if new == 0 || new > u32::MAX / 2 {
            return;
        }
        self.overflow = dropped;
        if full {
            self.stats.dropped_here += u64::from(new);
            self.engine.overflowed(new.into(), now);
        }
    }

    /// The packet that the kernel has numbered so.
    fn slot_of_number(&mut self, number: u32) -> Option<u32> {
        let place = number.wrapping_sub(self.first_number) as usize;
        let slot = self.numbered.get(place).copied()?;
        // Stamps come in order: earlier ones are not waited for.
        self.numbered.drain(..=place);
        self.first_number = number.wrapping_add(1);
        Some(slot)
    }

    fn next_due(&self) -> Option<Instant> {
        let sleeper = self.sleepers.first_key_value().map(|((at, _), _)| *at);
        [self.engine.poll_timeout(), sleeper].into_iter().flatten().min()
    }

    fn wake_sleepers(&mut self, now: Instant) {
        while let Some(entry) = self.sleepers.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, flow), waker) = entry.remove_entry();
            if let Some(queue) = self.queues.get_mut(flow) {
                queue.sleep = None;
            }
            self.wake.push(waker);
        }
    }

    /// Hands out what became known by sending, and has the clock looked at for it.
    pub(super) fn settle(&mut self) {
        self.dispatch();
        let next = self.engine.poll_timeout();
        self.look_at(next);
    }

    /// Hands out what the engine has to say.
    pub(super) fn dispatch(&mut self) {
        while let Some((flow, event)) = self.engine.poll_event() {
            let Some(queue) = self.queues.get_mut(flow.index()).filter(|queue| queue.open) else {
                continue;
            };
            queue.events.push(event);
            self.wake.extend(queue.waker.take());
        }
    }

    /// Has the driver look at the clock no later than this.
    pub(super) fn look_at(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.wake.extend(self.driver.clone());
        }
    }
}

/// Something to wait for.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What only the driver needs.
struct Driver {
    timer: HiResTimer,
    /// Waits for the error queue, where the errors of the path come that way.
    queue: Option<Waiting>,
    /// Waits until the socket takes packets again.
    writable: Option<Waiting>,
}

impl Driver {
    /// Whether the socket takes packets again.
    fn poll_writable(&mut self, port: &Arc<Port>, cx: &mut Context<'_>) -> bool {
        let writable = self.writable.get_or_insert_with(|| {
            let port = Arc::clone(port);
            Box::pin(async move { port.socket.writable().await })
        });
        let ready = writable.as_mut().poll(cx).is_ready();
        if ready {
            self.writable = None;
        }
        ready
    }

    /// Whether there is something on the error queue.
    fn poll_queue(&mut self, port: &Arc<Port>, cx: &mut Context<'_>) -> bool {
        let queue = self.queue.get_or_insert_with(|| {
            let port = Arc::clone(port);
            Box::pin(async move { port.socket.errors().await })
        });
        let ready = queue.as_mut().poll(cx).is_ready();
        if ready {
            self.queue = None;
        }
        ready
    }
}

/// Ends the port when the task that drives it is dropped, for instance with its runtime.
struct Guard(Arc<Port>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end(PortError::Runtime);
    }
}

/// Listens until the port has ended. If this is dropped, even before it has begun, the port ends.
pub(in crate::io) fn drive(
    port: Arc<Port>,
    timer: HiResTimer,
) -> impl Future<Output = ()> + Send + 'static {
    let guard = Guard(port);
    async move {
        let port = &guard.0;
        let mut driver = Driver { timer, queue: None, writable: None };
        poll_fn(|cx| port.poll_drive(&mut driver, cx)).await;
    }
}

/// Whether a socket may keep this error from an ICMP error for a later call (`icmp_err_convert` and
/// `icmpv6_err_convert` of Linux).
fn may_be_kept(number: Option<i32>) -> bool {
    matches!(
        number,
        Some(
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENOPROTOOPT
                | libc::ECONNREFUSED
                | libc::EMSGSIZE
                | libc::EOPNOTSUPP
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EACCES
                | libc::EPROTO
        )
    )
}
