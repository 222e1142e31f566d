//! What a probe left behind: descriptors, tasks, threads, memory.
//!
//! Descriptors and threads are counted for the whole process, so a test that uses [`Leaks`] runs its
//! body in a process of its own: [`isolated`].
//!
//! Timers have no counter in tokio: one lives inside the `Sleep` that a future holds and leaves the
//! wheel when that is dropped, so only a leaked task can keep it, and tasks are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

/// More polls than any probe needs; a future that takes more never ends.
const MAX_POLLS: usize = 10_000;

/// Set in the process that [`isolated`] starts, to the name of the test that is to run there.
const ISOLATED: &str = "NETSONDE_ISOLATED_TEST";

/// Runs the body of a test on a single-threaded runtime, in a process where no other test runs: the
/// test program is started once more for this one test.
///
/// ```no_run
/// // In a #[test] function, without #[tokio::test]:
/// netsonde_support::leaks::isolated(async || {
///     let leaks = netsonde_support::Leaks::baseline();
///     leaks.assert_back_to_base(std::time::Duration::from_secs(1)).await;
/// });
/// ```
///
/// # Panics
///
/// The body panics, or it is not written inside of a `#[test]` function.
pub fn isolated<F: AsyncFnOnce()>(body: F) {
    isolated_blocking_named(&test_name::<F>(), || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime can be made").block_on(body());
    });
}

/// [`isolated`] for a body that is not async, or that makes its own runtime.
///
/// # Panics
///
/// As there.
pub fn isolated_blocking<F: FnOnce()>(body: F) {
    isolated_blocking_named(&test_name::<F>(), body);
}

/// The test that a closure is written in: its type is named after it.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split("::{{").next().unwrap_or(path);
    path.split_once("::").map_or(path, |(_crate_name, test)| test).to_owned()
}

fn isolated_blocking_named(test: &str, body: impl FnOnce()) {
    if std::env::var(ISOLATED).as_deref() == Ok(test) {
        return body();
    }
    let program = std::env::current_exe().expect("the test program");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(ISOLATED, test)
        .output()
        .expect("the test program can be started");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for line in text.lines() {
        // Marked, so that nobody takes the inner run's totals for those of this one.
        let mark = if line.starts_with("skipped: ") { "" } else { "| " };
        println!("{mark}{line}");
    }
    assert!(text.contains("running 1 test\n"), "{test} is not the name of a test");
    assert!(output.status.success(), "{test} failed in its own process: see above");
}

/// What the process holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The open descriptors and what each of them is (`socket:[12345]`, a path, ...).
    pub descriptors: BTreeMap<u32, String>,
    /// The tasks alive in the current tokio runtime; 0 outside of one.
    pub tasks: usize,
    /// The threads of the process.
    pub threads: usize,
}

impl Counts {
    /// Counts now.
    pub fn now() -> Self {
        let tasks = tokio::runtime::Handle::try_current()
            .map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        Self { descriptors: descriptors(), tasks, threads: threads() }
    }
}

/// The open descriptors of the process, without the one that reads the list.
fn descriptors() -> BTreeMap<u32, String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            // The list's own descriptor is gone by the time that its link is read.
            let target = std::fs::read_link(&path).ok()?.display().to_string();
            (!target.ends_with("/fd")).then_some((number, target))
        })
        .collect()
}

/// The number after a name in `/proc/self/status`.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a known name");
    line.trim_start_matches(':').split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn threads() -> usize {
    usize::try_from(status("Threads")).unwrap_or(usize::MAX)
}

/// The resident memory of the process (`VmRSS`), in bytes.
pub fn resident_bytes() -> u64 {
    status("VmRSS") * 1024
}

/// The highest that [`resident_bytes`] ever was (`VmHWM`), in bytes.
pub fn peak_resident_bytes() -> u64 {
    status("VmHWM") * 1024
}

/// Sets how many descriptors the process may have open (the soft `RLIMIT_NOFILE`), at most as many as
/// the hard limit allows, and returns what it is now. It is the whole process's limit: use it inside
/// of [`isolated`].
///
/// # Panics
///
/// The kernel refuses.
pub fn set_descriptor_limit(limit: u64) -> u64 {
    let (_, hard) = crate::sys::descriptor_limits().expect("the limit can be read");
    let limit = limit.min(hard);
    crate::sys::set_descriptor_limit(limit).expect("the soft limit can be set");
    limit
}

/// The state to come back to.
///
/// ```
/// use std::time::Duration;
/// use netsonde_support::Leaks;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let leaks = Leaks::baseline();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// assert_eq!(leaks.found().len(), 1);
/// drop(listener);
/// leaks.assert_back_to_base(Duration::from_secs(1)).await;
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Leaks {
    base: Counts,
    resident: u64,
}

impl Leaks {
    /// Takes the state of now for the base. Start servers and runtimes before, and run one probe, so
    /// that what the process makes once is there.
    pub fn baseline() -> Self {
        Self { base: Counts::now(), resident: resident_bytes() }
    }

    /// What is there beyond the base, each as a line of text; empty when nothing is.
    pub fn found(&self) -> Vec<String> {
        let now = Counts::now();
        let mut found: Vec<String> = now
            .descriptors
            .iter()
            .filter(|(number, target)| self.base.descriptors.get(number) != Some(target))
            .map(|(number, target)| format!("descriptor {number}: {target}"))
            .collect();
        let mut count = |what: &str, base: usize, now: usize| {
            if now > base {
                found.push(format!("{} more {what} ({base} before, {now} now)", now - base));
            }
        };
        count("tasks", self.base.tasks, now.tasks);
        count("threads", self.base.threads, now.threads);
        found
    }

    /// How much more memory is resident than at the base, in bytes.
    pub fn growth(&self) -> u64 {
        resident_bytes().saturating_sub(self.resident)
    }

    /// Waits until nothing is there beyond the base.
    ///
    /// # Panics
    ///
    /// Something still is after `timeout` (of real time); the message lists it.
    pub async fn assert_back_to_base(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        while self.still_found(end, timeout) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// [`Leaks::assert_back_to_base`] for code that is not async.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn blocking_assert_back_to_base(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        while self.still_found(end, timeout) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn still_found(&self, end: Instant, timeout: Duration) -> bool {
        let found = self.found();
        assert!(
            found.is_empty() || Instant::now() < end,
            "left behind after {timeout:?}: {}",
            Lines(&found)
        );
        !found.is_empty()
    }
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Drops a future at each of its await points: makes it, polls it once and drops it; makes it again,
/// polls it twice and drops it; and so on until it completes. `after_drop` is called after each drop
/// with the number of polls. Between two polls the future is left alone until it asks to be polled.
///
/// Returns how many polls the future took to complete.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use netsonde_support::leaks::poll_each_await;
///
/// let mut drops = 0;
/// let probe = || async {
///     tokio::task::yield_now().await;
///     tokio::task::yield_now().await;
/// };
/// let polls = poll_each_await(probe, async |_| drops += 1).await;
/// assert_eq!((polls, drops), (3, 2));
/// # });
/// ```
///
/// # Panics
///
/// The future does not complete within 10,000 polls.
pub async fn poll_each_await<F: Future>(
    mut make: impl FnMut() -> F,
    mut after_drop: impl AsyncFnMut(usize),
) -> usize {
    for limit in 1..MAX_POLLS {
        let completed = {
            let mut future = pin!(make());
            let mut polls = 0;
            std::future::poll_fn(|context| {
                polls += 1;
                match future.as_mut().poll(context) {
                    Poll::Ready(_) => Poll::Ready(true),
                    Poll::Pending if polls == limit => Poll::Ready(false),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        if completed {
            return limit;
        }
        after_drop(limit).await;
    }
    panic!("the future did not complete in {MAX_POLLS} polls");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_await_point_is_reached_and_dropped() {
        struct OnDrop<'a>(&'a std::cell::Cell<usize>);
        impl Drop for OnDrop<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let dropped = std::cell::Cell::new(0);
        let reached = std::cell::RefCell::new(Vec::new());
        let make = || async {
            let _guard = OnDrop(&dropped);
            for point in 0..3 {
                reached.borrow_mut().push(point);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let mut limits = Vec::new();
        let polls = poll_each_await(make, async |limit| limits.push(limit)).await;
        assert_eq!(polls, limits.len() + 1);
        assert_eq!(dropped.get(), polls);
        assert_eq!(reached.borrow().iter().filter(|point| **point == 2).count(), 2);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert!(resident_bytes() > 100_000);
        assert!(peak_resident_bytes() >= resident_bytes() / 2);
    }
}
