//! Results in the text format of Prometheus (version 0.0.4): a pure function of results.
//!
//! A verdict that is unknown says nothing about the target, so it gives no `netsonde_probe_success`
//! sample rather than a zero. Labels come from bounded sets, apart from the target itself and the
//! labels that a script exports.

use std::collections::HashMap;
use std::fmt::Write as _;

use netsonde::icmp::EchoStats;
use netsonde::script::ScriptReport;
use netsonde::tcp::TcpConnection;
use netsonde::tls::TlsReport;
use netsonde::{ProbeResult, Report, Verdict};

/// One page with the metrics of all results, each family once. Where a target was probed several
/// times in one way, its last result counts: two equal series would void the page.
pub(crate) fn page(results: &[ProbeResult]) -> String {
    let mut last = HashMap::new();
    for (index, result) in results.iter().enumerate() {
        last.insert((kind(result), result.target.to_string()), index);
    }
    let distinct = results.iter().enumerate().filter(|(index, result)| {
        last.get(&(kind(result), result.target.to_string())) == Some(index)
    });
    let mut page =
        Page { results: distinct.map(|(_, result)| result).collect(), out: String::new() };
    page.probe_families();
    page.stream_families();
    page.tls_families();
    page.icmp_families();
    page.mtu_families();
    page.out
}

fn kind(result: &ProbeResult) -> &'static str {
    netsonde::AnyReport::kind(&result.report)
}

type Label<'a> = (&'a str, &'a str);

struct Page<'a> {
    results: Vec<&'a ProbeResult>,
    out: String,
}

/// Takes the samples of one result.
struct Samples<'a> {
    name: &'a str,
    kind: &'static str,
    target: String,
    lines: &'a mut String,
}

impl Samples<'_> {
    fn push(&mut self, labels: &[Label<'_>], value: impl std::fmt::Display) {
        let own = [("kind", self.kind), ("target", &self.target)];
        let mut separator = '{';
        self.lines.push_str(self.name);
        for (name, text) in own.iter().chain(labels) {
            let _ = write!(self.lines, "{separator}{name}=\"{}\"", escaped(text));
            separator = ',';
        }
        let _ = writeln!(self.lines, "}} {value}");
    }
}

impl<'a> Page<'a> {
    /// A family of gauges; left out if no result has a sample for it.
    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        sample: impl Fn(&'a ProbeResult, &mut Samples<'_>),
    ) {
        let mut lines = String::new();
        for result in &self.results {
            let target = result.target.to_string();
            let mut samples = Samples { name, kind: kind(result), target, lines: &mut lines };
            sample(result, &mut samples);
        }
        if !lines.is_empty() {
            let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
        }
    }

    fn probe_families(&mut self) {
        self.gauges(
            "netsonde_probe_success",
            "1 if the probe passed, 0 if it failed; absent if this host could not find out.",
            |result, samples| match result.verdict {
                Verdict::Pass => samples.push(&[], 1),
                Verdict::Fail(_) => samples.push(&[], 0),
                _ => {}
            },
        );
        self.gauges(
            "netsonde_probe_unknown",
            "1 if this host could not find out about the target, else 0.",
            |result, samples| {
                samples.push(&[], u8::from(matches!(result.verdict, Verdict::Unknown(_))));
            },
        );
        self.gauges(
            "netsonde_probe_failure",
            "1, with the code of the verdict and the phase it was decided in; absent if it passed.",
            |result, samples| {
                if let Some(code) = result.verdict.code() {
                    let phase = result.verdict.phase().map_or("", |phase| phase.as_str());
                    samples.push(&[("code", code), ("phase", phase)], 1);
                }
            },
        );
        self.gauges(
            "netsonde_probe_duration_seconds",
            "From the start of the probe to its verdict.",
            |result, samples| samples.push(&[], seconds(result.timing.total_ns)),
        );
        self.gauges(
            "netsonde_probe_phase_seconds",
            "Time spent in a phase of a hop; absent if the phase was not reached.",
            |result, samples| {
                let mut spent: Vec<((u32, netsonde::Phase), u64)> = Vec::new();
                for span in &result.timing.spans {
                    let took = span.end_ns.saturating_sub(span.start_ns);
                    let key = (span.hop, span.phase);
                    match spent.iter_mut().find(|(seen, _)| *seen == key) {
                        Some((_, sum)) => *sum = sum.saturating_add(took),
                        None => spent.push((key, took)),
                    }
                }
                for ((hop, phase), took) in spent {
                    let hop = hop.to_string();
                    samples.push(&[("hop", &hop), ("phase", phase.as_str())], seconds(took));
                }
            },
        );
        self.gauges(
            "netsonde_probe_attempts",
            "Addresses that were dialled.",
            |result, samples| samples.push(&[], result.attempts.len()),
        );
    }

    fn icmp_families(&mut self) {
        fn stats(result: &ProbeResult) -> Option<&EchoStats> {
            match &result.report {
                Report::Icmp(report) => report.stats.as_ref(),
                _ => None,
            }
        }
        self.gauges(
            "netsonde_icmp_packets",
            "Echo requests by what became of them.",
            |result, samples| {
                let Some(stats) = stats(result) else { return };
                for (fate, count) in [
                    ("answered", stats.received),
                    ("late", stats.late),
                    ("corrupt", stats.corrupt),
                    ("refused", stats.refused),
                    ("lost", stats.lost),
                    ("not_sent", stats.not_sent),
                    ("lost_locally", stats.lost_locally),
                    ("pending", stats.pending),
                ] {
                    samples.push(&[("fate", fate)], count);
                }
            },
        );
        self.gauges(
            "netsonde_icmp_loss_ratio",
            "Share of the echo requests that left this host and were lost; absent if none left.",
            |result, samples| {
                if let Some(loss) = stats(result).and_then(|stats| stats.loss) {
                    samples.push(&[], loss);
                }
            },
        );
        self.gauges(
            "netsonde_icmp_rtt_seconds",
            "Round trips of the echo requests answered in time; absent if there is none.",
            |result, samples| {
                let Some(rtt) = stats(result).and_then(|stats| stats.rtt) else { return };
                for (stat, ns) in [
                    ("min", rtt.min_ns),
                    ("avg", rtt.avg_ns),
                    ("median", rtt.median_ns),
                    ("max", rtt.max_ns),
                ] {
                    samples.push(&[("stat", stat)], seconds(ns));
                }
            },
        );
    }

    fn mtu_families(&mut self) {
        self.gauges(
            "netsonde_path_mtu_bytes",
            "Largest packet that was answered in full size, with its IP header; absent if none was.",
            |result, samples| {
                if let Report::Mtu(report) = &result.report
                    && let Some(mtu) = report.mtu
                {
                    samples.push(&[], mtu);
                }
            },
        );
        self.gauges(
            "netsonde_path_mtu_confirmed",
            "Whether a packet one byte larger is known not to pass.",
            |result, samples| {
                if let Report::Mtu(report) = &result.report
                    && report.mtu.is_some()
                {
                    samples.push(&[], u8::from(report.confirmed));
                }
            },
        );
    }

    fn stream_families(&mut self) {
        self.gauges(
            "netsonde_tcp_handshake_rtt_seconds",
            "Round trip of the TCP handshake as the kernel measured it.",
            |result, samples| {
                if let Some(rtt) = connection(result).and_then(|connection| connection.rtt) {
                    samples.push(&[], seconds(rtt.ns));
                }
            },
        );
        self.gauges(
            "netsonde_tcp_syn_retransmits",
            "SYN packets that had to be sent again.",
            |result, samples| {
                let connection = connection(result);
                if let Some(count) = connection.and_then(|connection| connection.syn_retransmits) {
                    samples.push(&[], count);
                }
            },
        );
        self.gauges(
            "netsonde_script_labels",
            "1, with the labels that the script exported.",
            |result, samples| {
                let Some(script) = script(result).filter(|script| !script.labels.is_empty()) else {
                    return;
                };
                // The prefix keeps them apart from `kind` and `target`.
                let named: Vec<(String, &String)> = script
                    .labels
                    .iter()
                    .map(|(name, value)| (format!("label_{name}"), value))
                    .collect();
                let labels: Vec<Label<'_>> =
                    named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                samples.push(&labels, 1);
            },
        );
    }

    fn tls_families(&mut self) {
        self.gauges(
            "netsonde_tls_info",
            "1, with what the handshake agreed on.",
            |result, samples| {
                let Some(tls) = tls(result) else { return };
                let Some(version) = tls.version else { return };
                let version = version.to_string();
                let labels = [
                    ("version", version.as_str()),
                    ("cipher", tls.cipher_suite.as_deref().unwrap_or("")),
                    ("group", tls.group.as_deref().unwrap_or("")),
                    ("alpn", tls.alpn.as_deref().unwrap_or("")),
                ];
                samples.push(&labels, 1);
            },
        );
        self.gauges(
            "netsonde_tls_earliest_expiry_timestamp_seconds",
            "When the first of the served certificates expires.",
            |result, samples| {
                if let Some(expiry) = tls(result).and_then(|tls| tls.earliest_expiry) {
                    samples.push(&[], expiry);
                }
            },
        );
        self.gauges(
            "netsonde_tls_chain_expiry_timestamp_seconds",
            "When the longest lasting verified chain breaks; absent if there is none or its root has no date.",
            |result, samples| {
                if let Some(expiry) = tls(result).and_then(|tls| tls.best_chain_expiry) {
                    samples.push(&[], expiry);
                }
            },
        );
    }
}

fn connection(result: &ProbeResult) -> Option<&TcpConnection> {
    match &result.report {
        Report::Tcp(report) => report.connection.as_ref(),
        _ => None,
    }
}

fn tls(result: &ProbeResult) -> Option<&TlsReport> {
    match &result.report {
        Report::Tcp(report) => report.tls.as_ref(),
        Report::Unix(report) => report.tls.as_ref(),
        _ => None,
    }
}

fn script(result: &ProbeResult) -> Option<&ScriptReport> {
    match &result.report {
        Report::Tcp(report) => report.script.as_ref(),
        Report::Unix(report) => report.script.as_ref(),
        _ => None,
    }
}

/// A label value as the format wants it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

/// Exact: nine digits, without the zeros at the end.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
