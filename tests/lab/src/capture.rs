//! A packet capture with the kernel's stamps: the truth that measured times are held against.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use netsonde_support::netns::Device;
use netsonde_support::packet::{Seen, Statistics, Trunk};

use crate::marks::Marks;

/// How often the thread looks. One that waited for frames would have to be woken for each, in the midst
/// of what is measured; the kernel's stamps are the same however late they are read.
const TURN: Duration = Duration::from_millis(10);

/// Captures what passes a device, in a thread that ends with this handle.
///
/// ```no_run
/// # fn test() {
/// use netsonde_lab::{Capture, Net, Topology};
///
/// let Some(net) = Net::build("example", &Topology::default()) else { return };
/// let capture = Capture::start(&net.near);
/// net.client.exec("ping", "-c 1 10.80.0.2");
/// let marks = capture.end();
/// assert_eq!(marks.echoes.len(), 1);
/// # }
/// ```
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Turns that have begun.
    begun: AtomicU64,
    /// Turns that are over.
    over: AtomicU64,
    marks: Mutex<Marks>,
    statistics: Mutex<Statistics>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Starts one; frames from now on are in it.
    pub fn start(device: &Device) -> Self {
        Self::start_with(device, |_| {})
    }

    /// Starts one that shows each frame to a closure as well, in the thread that reads them.
    pub fn start_with(device: &Device, mut also: impl FnMut(&Seen<'_>) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let (told, mut trunk) = (Arc::clone(&shared), Trunk::open(device));
        let work = move || {
            let mut is_last = false;
            while !is_last {
                is_last = told.stop.load(Ordering::SeqCst);
                told.begun.fetch_add(1, Ordering::SeqCst);
                // A turn has an end even where frames come faster than they are read.
                for _ in 0..4096 {
                    let mut marks = lock(&told.marks);
                    let count = trunk.receive(|seen| {
                        marks.note(&seen);
                        also(&seen);
                    });
                    if count == 0 {
                        break;
                    }
                }
                *lock(&told.statistics) = trunk.statistics();
                told.over.fetch_add(1, Ordering::SeqCst);
                if !is_last {
                    std::thread::sleep(TURN);
                }
            }
        };
        let thread = std::thread::Builder::new().name("lab-capture".to_owned()).spawn(work);
        Self { shared, thread: Some(thread.expect("a thread can be started")) }
    }

    /// Waits until all that has passed the device by now is noted.
    pub fn settle(&self) {
        // A turn that has begun already may have read before.
        let wanted = self.shared.begun.load(Ordering::SeqCst) + 1;
        let is_running = || self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        while self.shared.over.load(Ordering::SeqCst) < wanted && is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// From the first request with this identifier and sequence number to its first reply, as far as
    /// noted: see [`Capture::settle`].
    pub fn echo_rtt(&self, id: u16, seq: u16, target: IpAddr) -> Option<Duration> {
        lock(&self.shared.marks).echo_rtt(id, seq, target)
    }

    /// Looks at what is noted so far, or takes it. The capture waits meanwhile, and loses nothing as
    /// long as that is short.
    pub fn with<T>(&self, look: impl FnOnce(&mut Marks) -> T) -> T {
        look(&mut lock(&self.shared.marks))
    }

    /// Frames seen, and frames that the kernel had no room for. A test whose capture has lost frames
    /// has no truth to hold anything against.
    pub fn statistics(&self) -> Statistics {
        *lock(&self.shared.statistics)
    }

    /// Notes what is left, and ends.
    ///
    /// # Panics
    ///
    /// Frames were lost.
    pub fn end(mut self) -> Marks {
        self.stop();
        let lost = self.statistics().dropped;
        assert_eq!(lost, 0, "frames that the capture has lost");
        self.with(std::mem::take)
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the thread that captured has panicked: see above");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}
