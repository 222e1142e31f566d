//! Threads that answer frames, or carry them from one device to another.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::packet::{Frame, Tap};

/// How long a thread waits for a frame before it looks whether it is to end.
const TURN: Duration = Duration::from_millis(20);

/// A thread that ends with its handle.
#[derive(Debug)]
struct Loop {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Loop {
    fn start(mut turn: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                turn();
            }
        };
        let thread = std::thread::Builder::new().name("support-packets".to_owned()).spawn(work);
        Self { stop, thread: Some(thread.expect("a thread can be started")) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the thread that handled the packets has panicked: see above");
        }
    }
}

/// Answers frames with frames until dropped.
#[derive(Debug)]
pub struct Responder(#[expect(dead_code, reason = "held for its drop")] Loop);

impl Responder {
    /// Hands each frame that comes in to `answer`, and sends what that returns.
    pub fn start(
        tap: Tap,
        mut answer: impl FnMut(&Frame) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        Self(Loop::start(move || {
            let Some(frame) = tap.receive(TURN) else { return };
            if !frame.outgoing
                && let Some(answer) = answer(&frame)
            {
                tap.send(&answer);
            }
        }))
    }
}

/// What becomes of a frame on a [`Wire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives so much later; those behind it do not wait.
    Delay(Duration),
    /// It arrives twice.
    Twice,
    /// Something else arrives in its place.
    Replace(Vec<u8>),
}

/// Joins two devices of one namespace, frame by frame, as a bridge would that a test can program: a
/// delay line, a lossy line. The devices need no addresses.
///
/// ```no_run
/// # fn test() {
/// use std::time::Duration;
/// use netsonde_support::Lab;
/// use netsonde_support::packet::{Passage, Tap, Wire};
///
/// let Some(lab) = Lab::new("slow") else { return };
/// let (a, middle, b) = (lab.namespace("a"), lab.namespace("m"), lab.namespace("b"));
/// let (_, left) = lab.link((&a, "10.1.0.1/24"), (&middle, ""));
/// let (right, _) = lab.link((&middle, ""), (&b, "10.1.0.2/24"));
/// let mut first = true;
/// let _wire = Wire::join(Tap::open(&left), Tap::open(&right), move |frame, to_right| {
///     // The first SYN from the left is lost, all else takes 10 ms.
///     if to_right && std::mem::take(&mut first) && frame.tcp().is_some_and(|tcp| tcp.is_syn()) {
///         return Passage::Drop;
///     }
///     Passage::Delay(Duration::from_millis(10))
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct Wire {
    #[expect(dead_code, reason = "held for its drop")]
    directions: [Loop; 2],
}

/// A frame that waits for its time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: std::cmp::Reverse<(Instant, u64)>,
    frame: Vec<u8>,
}

impl Wire {
    /// Joins them; `judge` sees each frame and whether it is on its way to the right.
    pub fn join(
        left: Tap,
        right: Tap,
        judge: impl FnMut(&Frame, bool) -> Passage + Send + 'static,
    ) -> Self {
        let judge = Arc::new(std::sync::Mutex::new(judge));
        let (left, right) = (Arc::new(left), Arc::new(right));
        let direction = |from: &Arc<Tap>, to: &Arc<Tap>, to_right: bool| {
            let (from, to, judge) = (Arc::clone(from), Arc::clone(to), Arc::clone(&judge));
            let mut waiting = BinaryHeap::new();
            let mut count = 0;
            Loop::start(move || {
                let next = waiting.peek().map(|next: &Waiting| next.due.0.0);
                let turn = next.map_or(TURN, |due| due.saturating_duration_since(Instant::now()));
                if let Some(frame) = from.receive(turn.min(TURN))
                    && !frame.outgoing
                {
                    let passage = {
                        let mut judge = judge.lock().expect("the judge does not panic");
                        judge(&frame, to_right)
                    };
                    let (delay, copies) = match &passage {
                        Passage::Drop => (Duration::ZERO, 0),
                        Passage::Twice => (Duration::ZERO, 2),
                        Passage::Delay(delay) => (*delay, 1),
                        Passage::Pass | Passage::Replace(_) => (Duration::ZERO, 1),
                    };
                    let bytes = match passage {
                        Passage::Replace(other) => other,
                        _ => frame.bytes,
                    };
                    for _ in 0..copies {
                        count += 1;
                        let due = std::cmp::Reverse((Instant::now() + delay, count));
                        waiting.push(Waiting { due, frame: bytes.clone() });
                    }
                }
                while waiting.peek().is_some_and(|next| next.due.0.0 <= Instant::now()) {
                    if let Some(next) = waiting.pop() {
                        to.send(&next.frame);
                    }
                }
            })
        };
        Self { directions: [direction(&left, &right, true), direction(&right, &left, false)] }
    }
}
