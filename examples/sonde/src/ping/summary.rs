//! What users of ping and fping know: a line for each packet of a single host, a line for each of many
//! hosts, and the figures at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

use netsonde::icmp::{EchoFate, EchoRecord, EchoStats, IcmpReport};
use netsonde::{ProbeResult, StampSource, Verdict};

use crate::style::Style;

/// Writes what is known of the hosts, in their order.
#[derive(Debug)]
pub(crate) struct Summary<W: Write> {
    hosts: usize,
    style: Style,
    out: W,
    /// What cannot be written yet.
    kept: BTreeMap<usize, ProbeResult<IcmpReport>>,
    next: usize,
    totals: Totals,
    started: Instant,
}

/// Figures over all hosts.
#[derive(Debug, Default)]
struct Totals {
    answered: usize,
    failed: usize,
    unknown: usize,
    sent: u64,
    received: u64,
    lost: u64,
    min_ns: Option<u64>,
    max_ns: u64,
    sum_ns: u128,
}

impl<W: Write> Summary<W> {
    /// For so many hosts.
    pub(crate) fn new(hosts: usize, style: Style, out: W) -> Self {
        let (kept, totals) = (BTreeMap::new(), Totals::default());
        Summary { hosts, style, out, kept, next: 0, totals, started: Instant::now() }
    }

    /// Shows the packet of a single host.
    ///
    /// # Errors
    /// Those of the output, a closed pipe among them.
    pub(crate) fn packet(&mut self, packet: &EchoRecord) -> io::Result<()> {
        if self.hosts != 1 {
            return Ok(());
        }
        let seq = packet.number;
        match &packet.fate {
            EchoFate::Answered(answer) | EchoFate::Late(answer) | EchoFate::Corrupt(answer) => {
                let bytes = answer.payload_bytes + 8;
                write!(self.out, "{bytes} bytes from {}: seq={seq}", answer.from)?;
                if let Some(ttl) = answer.ttl {
                    write!(self.out, " ttl={ttl}")?;
                }
                write!(self.out, " time={} ms", ms(answer.rtt.ns))?;
                match packet.fate {
                    EchoFate::Late(_) => write!(self.out, " (too late)")?,
                    EchoFate::Corrupt(_) => write!(self.out, " (payload changed on the way)")?,
                    _ => {}
                }
            }
            fate => write!(self.out, "seq={seq} {fate}")?,
        }
        if packet.duplicates > 0 {
            write!(self.out, " (DUP!)")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }

    /// A host is done.
    ///
    /// # Errors
    /// As [`Summary::packet`].
    pub(crate) fn done(&mut self, place: usize, result: ProbeResult<IcmpReport>) -> io::Result<()> {
        self.totals.add(&result);
        if self.hosts == 1 {
            self.single(&result)?;
            return self.out.flush();
        }
        self.kept.insert(place, result);
        let before = self.next;
        while let Some(result) = self.kept.remove(&self.next) {
            self.line(&result)?;
            self.next += 1;
        }
        // Not for each of thousands that end at once.
        if self.next > before && self.kept.len() < 16 && self.hosts < 64 {
            self.out.flush()?;
        }
        Ok(())
    }

    /// Writes the figures over all hosts.
    ///
    /// # Errors
    /// As [`Summary::packet`].
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.hosts > 1 {
            let Totals { answered, failed, unknown, sent, received, lost, .. } = self.totals;
            writeln!(self.out)?;
            writeln!(
                self.out,
                "{} hosts: {answered} passed, {failed} failed, {unknown} unknown",
                self.hosts
            )?;
            let took = self.started.elapsed().as_secs_f64();
            write!(self.out, "{sent} packets transmitted, {received} received")?;
            write!(self.out, ", {}% packet loss", percent(lost, sent))?;
            writeln!(self.out, ", time {took:.2} s")?;
            if let Some(min) = self.totals.min_ns {
                let avg = self.totals.sum_ns / u128::from(received.max(1));
                let avg = u64::try_from(avg).unwrap_or(u64::MAX);
                let max = self.totals.max_ns;
                writeln!(self.out, "rtt min/avg/max = {}/{}/{} ms", ms(min), ms(avg), ms(max))?;
            }
        }
        self.out.flush()
    }

    /// The figures of a single host, as ping has them.
    fn single(&mut self, result: &ProbeResult<IcmpReport>) -> io::Result<()> {
        let out = &mut self.out;
        if let Some(stats) = &result.report.stats {
            writeln!(out)?;
            let head = format!("--- {} ping statistics ---", result.target);
            writeln!(out, "{}", self.style.bold(&head))?;
            write!(out, "{} packets transmitted, {} received", stats.sent, stats.received)?;
            for (count, what) in beyond(stats) {
                write!(out, ", {count} {what}")?;
            }
            if let Some(loss) = stats.loss {
                write!(out, ", {}% packet loss", share(loss))?;
            }
            writeln!(out, ", time {} ms", result.timing.total_ns / 1_000_000)?;
            if let Some(rtt) = &stats.rtt {
                let mdev = rtt.mdev_ns.map_or_else(String::new, |ns| format!("/{}", ms(ns)));
                let what = if rtt.mdev_ns.is_some() { "min/avg/max/mdev" } else { "min/avg/max" };
                let (min, avg, max) = (ms(rtt.min_ns), ms(rtt.avg_ns), ms(rtt.max_ns));
                write!(out, "rtt {what} = {min}/{avg}/{max}{mdev} ms")?;
                if rtt.samples > 1 {
                    write!(out, ", median {}, p95 {}", ms(rtt.median_ns), ms(rtt.p95_ns))?;
                }
                if let Some(jitter) = rtt.jitter_ns {
                    write!(out, ", jitter {}", ms(jitter))?;
                }
                writeln!(out)?;
            }
        }
        if let Some((source, good_to)) = result.quality.stamp.zip(result.quality.uncertainty_ns) {
            let stamps = match source {
                StampSource::Hardware => "the network card",
                StampSource::Kernel => "the kernel",
                StampSource::UserSend => "the kernel on arrival, this process on departure",
                _ => "this process",
            };
            writeln!(out, "times by {stamps}, good to {} ms", ms(good_to))?;
        }
        if result.report.forgery_suspects > 0 {
            writeln!(out, "{} packets posed as answers", result.report.forgery_suspects)?;
        }
        self.verdict(result)
    }

    fn verdict(&mut self, result: &ProbeResult<IcmpReport>) -> io::Result<()> {
        if result.verdict == Verdict::Pass {
            return Ok(());
        }
        let status = result.verdict.status();
        writeln!(self.out, "{}: {}", self.style.status(status, status), result.verdict)
    }

    /// One of many hosts, as fping has it.
    fn line(&mut self, result: &ProbeResult<IcmpReport>) -> io::Result<()> {
        let out = &mut self.out;
        write!(out, "{}", result.target)?;
        if let Some(stats) = &result.report.stats {
            let (sent, received) = (stats.sent, stats.received);
            write!(out, " : xmt/rcv/%loss = {sent}/{received}/{}%", percent(stats.lost, sent))?;
            for (count, what) in beyond(stats) {
                write!(out, ", {count} {what}")?;
            }
            if let Some(rtt) = &stats.rtt {
                let (min, avg, max) = (ms(rtt.min_ns), ms(rtt.avg_ns), ms(rtt.max_ns));
                write!(out, ", min/avg/max = {min}/{avg}/{max} ms")?;
            }
        }
        match &result.verdict {
            Verdict::Pass => writeln!(out),
            verdict => {
                let (status, text) = (verdict.status(), verdict.to_string());
                writeln!(out, " : {}", self.style.status(status, &text))
            }
        }
    }
}

impl Totals {
    fn add(&mut self, result: &ProbeResult<IcmpReport>) {
        match &result.verdict {
            Verdict::Pass => self.answered += 1,
            Verdict::Fail(_) => self.failed += 1,
            _ => self.unknown += 1,
        }
        let Some(stats) = &result.report.stats else { return };
        self.sent += stats.sent;
        self.received += stats.received;
        self.lost += stats.lost;
        if let Some(rtt) = &stats.rtt {
            self.min_ns = Some(self.min_ns.map_or(rtt.min_ns, |min| min.min(rtt.min_ns)));
            self.max_ns = self.max_ns.max(rtt.max_ns);
            self.sum_ns += u128::from(rtt.avg_ns) * u128::from(rtt.samples);
        }
    }
}

/// What is neither sent, received nor lost.
fn beyond(stats: &EchoStats) -> impl Iterator<Item = (u64, &'static str)> {
    [
        (stats.late, "late"),
        (stats.corrupt, "corrupt"),
        (stats.refused, "refused"),
        (stats.duplicates, "duplicates"),
        (stats.reordered, "reordered"),
        (stats.not_sent, "not sent"),
        (stats.lost_locally, "dropped on this host"),
        (stats.pending, "not decided"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
}

fn ms(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    // Three digits behind the point, as ping has it, until they are noise.
    if ms < 100.0 { format!("{ms:.3}") } else { format!("{ms:.1}") }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { share(part as f64 / whole as f64) }
}

/// A share as a percentage with no more digits than it needs.
fn share(share: f64) -> String {
    let percent = (share * 10_000.0).round() / 100.0;
    percent.to_string()
}
