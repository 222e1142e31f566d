//! A line for every host while it is pinged, on a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use netsonde::icmp::{EchoFate, EchoRecord};
use netsonde::{Target, Verdict};

/// Hosts that have a line of their own. More of them share one.
const LINES: usize = 20;

/// The lines, on standard error, or nothing where nobody looks.
#[derive(Debug)]
pub(crate) struct Live {
    screen: Option<MultiProgress>,
    /// A line for each host, or one for all.
    lines: Vec<Line>,
    shared: bool,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    host: Tally,
}

/// What is known of a host, or of all.
#[derive(Debug, Default)]
struct Tally {
    decided: u64,
    answered: u64,
    last_ns: u64,
    best_ns: Option<u64>,
    worst_ns: u64,
    sum_ns: u64,
    other: u64,
}

impl Live {
    /// Lines for these hosts, each of which gets so many packets.
    pub(crate) fn new(hosts: &[Target], count: u32, shown: bool) -> Self {
        if !shown {
            return Live { screen: None, lines: Vec::new(), shared: false };
        }
        let screen = MultiProgress::new();
        let shared = hosts.len() > LINES;
        let width = hosts.iter().take(LINES).map(|host| host.to_string().len()).max().unwrap_or(0);
        let add = |name: String, total: u64| {
            let bar = screen.add(ProgressBar::new(total));
            if let Ok(style) = ProgressStyle::with_template("{prefix} {pos:>3}/{len} {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(200));
            Line { bar, host: Tally::default() }
        };
        let lines = if shared {
            vec![add(format!("{} hosts", hosts.len()), u64::from(count) * hosts.len() as u64)]
        } else {
            hosts.iter().map(|host| add(format!("{host:width$}"), count.into())).collect()
        };
        Live { screen: Some(screen), lines, shared }
    }

    /// Something new is known of a packet.
    pub(crate) fn packet(&mut self, place: usize, packet: &EchoRecord) {
        let place = if self.shared { 0 } else { place };
        let Some(Line { bar, host }) = self.lines.get_mut(place) else { return };
        // Duplicates and late answers are of packets that were counted.
        if packet.duplicates > 0 || matches!(packet.fate, EchoFate::Pending) {
            return;
        }
        host.count(&packet.fate);
        bar.set_position(host.decided);
        bar.set_message(host.text());
    }

    /// A host is done.
    pub(crate) fn done(&mut self, place: usize, verdict: &Verdict) {
        if self.shared {
            return;
        }
        if let Some(Line { bar, host }) = self.lines.get(place) {
            let code = verdict.code().map(|code| format!(" {code}")).unwrap_or_default();
            bar.finish_with_message(format!("{}{code}", host.text()));
        }
    }

    /// Writes to the same terminal without the lines in the way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.screen {
            Some(screen) => screen.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            // What stays is on standard output. If it cannot be cleared, nobody looks any more.
            let _ = screen.clear();
        }
    }
}

impl Tally {
    fn count(&mut self, fate: &EchoFate) {
        match fate {
            EchoFate::Answered(answer) => {
                let ns = answer.rtt.ns;
                (self.answered, self.last_ns) = (self.answered + 1, ns);
                self.best_ns = Some(self.best_ns.map_or(ns, |best| best.min(ns)));
                self.worst_ns = self.worst_ns.max(ns);
                self.sum_ns = self.sum_ns.saturating_add(ns);
            }
            _ => self.other += 1,
        }
        self.decided += 1;
    }

    fn text(&self) -> String {
        let ms = |ns: u64| ns as f64 / 1e6;
        let unanswered = self.other * 100 / self.decided.max(1);
        let mut text = format!("{unanswered}% unanswered");
        if let Some(best) = self.best_ns {
            let avg = self.sum_ns / self.answered.max(1);
            text.push_str(&format!(
                ", last {:.3}, best {:.3}, avg {:.3}, worst {:.3} ms",
                ms(self.last_ns),
                ms(best),
                ms(avg),
                ms(self.worst_ns)
            ));
        }
        text
    }
}
