//! Work that keeps processors busy, and packets busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use netsonde_support::netns::Device;

use crate::blast::paced;

/// Threads that compute until dropped, each as much as a processor lets it: what a prober has to share
/// the machine with.
#[derive(Debug)]
pub struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    /// Starts so many.
    pub fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let stopped = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut word = 1_u64;
                while !stopped.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        word = std::hint::black_box(word.wrapping_mul(6_364_136_223_846_793_005));
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            _ = thread.join();
        }
    }
}

/// A [`blast`](crate::blast::blast) in the background, until dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends frames through a device, as many a second as said; `frame` makes each from its number.
    pub fn start(
        device: &Device,
        per_second: u32,
        frame: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, device) = (Arc::clone(&stop), Arc::clone(&sent), device.clone());
        let work = move || {
            paced(&device, per_second, frame, |sent| {
                counted.store(sent, Ordering::Relaxed);
                if stopped.load(Ordering::Relaxed) { 0 } else { u64::MAX }
            });
        };
        let thread = std::thread::Builder::new().name("lab-flood".to_owned()).spawn(work);
        let thread = Some(thread.expect("a thread can be started"));
        Self { stop, sent, began: Instant::now(), thread }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Frames a second so far.
    pub fn rate(&self) -> f64 {
        self.sent() as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the thread that sent the flood has panicked: see above");
        }
    }
}
