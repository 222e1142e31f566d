//! A bar on standard error while several targets are probed.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use netsonde::Verdict;

/// The bar, or nothing where nobody looks: standard error is no terminal, or there is one target.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    failed: u64,
    unknown: u64,
}

impl Progress {
    /// A bar for so many probes.
    pub(crate) fn new(total: usize, quiet: bool) -> Self {
        let shown = !quiet && total > 1 && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {elapsed}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            // Time goes on while slow targets are waited for.
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { bar, failed: 0, unknown: 0 }
    }

    /// One more probe has ended.
    pub(crate) fn ended(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass => {}
            Verdict::Fail(_) => self.failed += 1,
            _ => self.unknown += 1,
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(format!("{} failed, {} unknown", self.failed, self.unknown));
        }
    }

    /// Writes to the same terminal without the bar in the way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
