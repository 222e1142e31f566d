//! A thread that takes frames from some devices, and sends frames when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use netsonde_support::netns::Device;
use netsonde_support::packet::{Seen, Statistics, Trunk, run_first};

/// How early it wakes for a frame that is due: a sleep ends late by less than this, mostly.
const SPIN: Duration = Duration::from_micros(60);

/// How long it sleeps at most, and so how long it takes to end.
const TURN: Duration = Duration::from_millis(10);

/// A frame that waits for its time.
#[derive(Debug)]
struct Waiting<T> {
    due: Reverse<(Instant, u64)>,
    leg: usize,
    frame: Vec<u8>,
    tag: T,
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

/// Where a [`Handler`] puts the frames that it wants sent.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    waiting: BinaryHeap<Waiting<T>>,
    count: u64,
    /// Empty buffers for the next frames.
    spare: Vec<Vec<u8>>,
    /// The two clocks, read together.
    now: (Instant, SystemTime),
}

impl<T> Outbox<T> {
    /// A kernel stamp on the monotonic clock. One that is a second away is that of a wall clock which
    /// was stepped: now is nearer.
    pub(crate) fn instant(&self, at: SystemTime) -> Instant {
        let (now, wall) = self.now;
        let near = |distance: &Duration| distance.as_secs() < 1;
        let instant = match wall.duration_since(at) {
            Ok(age) => Some(age).filter(near).and_then(|age| now.checked_sub(age)),
            // It came while this batch was read.
            Err(ahead) => Some(ahead.duration()).filter(near).map(|ahead| now + ahead),
        };
        instant.unwrap_or(now)
    }

    /// Has a frame sent on a leg when it is due.
    pub(crate) fn send(&mut self, leg: usize, due: Instant, frame: Vec<u8>, tag: T) {
        self.count += 1;
        self.waiting.push(Waiting { due: Reverse((due, self.count)), leg, frame, tag });
    }

    /// A copy of some bytes, in a buffer that may have been used before.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

/// Decides on the frames that come in.
pub(crate) trait Handler: Send + 'static {
    /// Goes with each frame.
    type Tag: Send;

    /// A frame has come in on a leg.
    fn frame(&mut self, leg: usize, seen: Seen<'_>, out: &mut Outbox<Self::Tag>);

    /// A frame has been sent at this time, and whether the device took it.
    fn sent(&mut self, tag: Self::Tag, at: Instant, taken: bool);

    /// A turn is over: a good time to hand on what was noted.
    fn turn(&mut self) {}
}

/// The thread, which ends with this handle.
#[derive(Debug)]
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_first: AtomicBool,
    refused: AtomicU64,
    statistics: Mutex<Vec<Statistics>>,
}

/// How a delay line or a responder is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it runs before all ordinary threads (`SCHED_FIFO`).
    pub is_first: bool,
    /// Frames that a device did not take.
    pub refused: u64,
    /// Frames that came in, and those lost on the way in, for each device.
    pub devices: Vec<Statistics>,
}

impl Health {
    /// Frames that were lost before the program had a say.
    pub fn lost(&self) -> u64 {
        self.refused + self.devices.iter().map(|device| device.dropped).sum::<u64>()
    }
}

impl Pump {
    /// Starts it on some devices, which become legs 0, 1, ...
    pub(crate) fn start<H: Handler>(name: &str, devices: &[&Device], handler: H) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared::default());
        let legs: Vec<Trunk> = devices.iter().map(|device| Trunk::open_incoming(device)).collect();
        let (stopped, told) = (Arc::clone(&stop), Arc::clone(&shared));
        let builder = std::thread::Builder::new().name(name.chars().take(15).collect());
        let thread = builder.spawn(move || run(legs, handler, &stopped, &told));
        Self { stop, thread: Some(thread.expect("a thread can be started")), shared }
    }

    /// How it is doing. The figures of the devices are up to 10 ms old.
    pub(crate) fn health(&self) -> Health {
        Health {
            is_first: self.shared.is_first.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            devices: self.shared.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the thread that handled the packets has panicked: see above");
        }
    }
}

fn run<H: Handler>(mut legs: Vec<Trunk>, mut handler: H, stop: &AtomicBool, shared: &Shared) {
    shared.is_first.store(run_first(), Ordering::Relaxed);
    let mut out =
        Outbox { waiting: BinaryHeap::new(), count: 0, spare: Vec::new(), now: both_clocks() };
    let mut told = out.now.0;
    while !stop.load(Ordering::Relaxed) {
        let mut came = 0;
        for index in 0..legs.len() {
            out.now = both_clocks();
            came += legs[index].receive(|seen| handler.frame(index, seen, &mut out));
            send_due(&legs, &mut handler, &mut out, shared);
        }
        handler.turn();
        if out.now.0.duration_since(told) >= TURN {
            told = out.now.0;
            let statistics = legs.iter_mut().map(Trunk::statistics).collect();
            *shared.statistics.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
        }
        let left = out
            .waiting
            .peek()
            .map_or(TURN, |next| next.due.0.0.saturating_duration_since(Instant::now()).min(TURN));
        if came == 0 && left > SPIN {
            Trunk::wait(&legs.iter().collect::<Vec<_>>(), left - SPIN);
        }
    }
}

/// Both clocks at one moment. A thread that is held up between the two readings would send early by as
/// much, so they are taken again.
fn both_clocks() -> (Instant, SystemTime) {
    let mut now = Instant::now();
    for _ in 0..10 {
        let wall = SystemTime::now();
        let after = Instant::now();
        if after.duration_since(now) < Duration::from_micros(1) {
            return (now, wall);
        }
        now = after;
    }
    (now, SystemTime::now())
}

fn send_due<H: Handler>(
    legs: &[Trunk],
    handler: &mut H,
    out: &mut Outbox<H::Tag>,
    shared: &Shared,
) {
    /// Enough that a peer which keeps answering cannot keep the thread from reading.
    const AT_ONCE: usize = 64;
    for _ in 0..AT_ONCE {
        let at = Instant::now();
        if out.waiting.peek().is_none_or(|next| next.due.0.0 > at) {
            return;
        }
        let Some(next) = out.waiting.pop() else { return };
        let taken = legs[next.leg].send(&next.frame).is_ok();
        if !taken {
            shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        handler.sent(next.tag, at, taken);
        if out.spare.len() < 1024 && next.frame.capacity() <= 4096 {
            out.spare.push(next.frame);
        }
    }
}
