//! The report of the DNS prober for people, who will know dig.

use std::fmt::{self, Formatter};
use std::time::SystemTime;

use super::{
    DnsAttempt, DnsChain, DnsExchange, DnsFate, DnsHeader, DnsReport, EdnsOptionReport, EdnsReport,
};
use crate::render::millis;
use crate::report::{AnyReport, ReportBody};
use crate::timing::StampSource;
use crate::verdict::{Verdict, printable};
use crate::wire::dns::{Opcode, Section};

/// Records of a section that are shown.
const RECORDS: usize = 100;
/// Octets of a line.
const LINE: usize = 1000;

impl AnyReport for DnsReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, _at: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        for refused in &self.refused {
            writeln!(f, "  not asked {}: {}", refused.address, refused.why)?;
        }
        self.exchanges().try_for_each(|exchange| describe(exchange, f))
    }
}

fn describe(exchange: &DnsExchange, f: &mut Formatter<'_>) -> fmt::Result {
    let Some(question) = &exchange.question else { return Ok(()) };
    write!(f, "  {question}")?;
    if let Some(server) = exchange.server {
        write!(f, " @{server}")?;
    }
    match (&exchange.header, &exchange.outcome) {
        (Some(_), Some(Verdict::Pass) | None) | (None, None) => writeln!(f)?,
        (_, Some(outcome)) => writeln!(f, ": {outcome}")?,
    }
    if let Some(found) = &exchange.header {
        header(found, exchange, f)?;
    }
    if let Some(told) = &exchange.edns {
        edns(told, f)?;
    }
    if let Some(error) = &exchange.edns_error {
        writeln!(f, "    edns cannot be read: {}", printable(error, LINE))?;
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        let records = exchange.section(section);
        if !records.is_empty() {
            writeln!(f, "    {section}:")?;
        }
        for record in records.iter().take(RECORDS) {
            let text = printable(&record.presentation, LINE);
            let cut = if text.len() < record.presentation.len() { " ..." } else { "" };
            writeln!(f, "      {text}{cut}")?;
        }
        if let Some(more @ 1..) = records.len().checked_sub(RECORDS) {
            writeln!(f, "      and {more} more")?;
        }
    }
    if exchange.records_left_out > 0 {
        writeln!(f, "    {} records are left out of the report", exchange.records_left_out)?;
    }
    if let Some(chain) = &exchange.chain {
        self::chain(chain, f)?;
    }
    if exchange.trailing_bytes > 0 {
        writeln!(f, "    {} octets follow the last record", exchange.trailing_bytes)?;
    }
    if !exchange.conflict.is_empty() {
        writeln!(f, "    a second answer differs, of {} octets", exchange.conflict.len())?;
    }
    if let Some(status) = exchange.http_status {
        writeln!(f, "    http status {status}")?;
    }
    attempts(exchange, f)
}

fn header(header: &DnsHeader, exchange: &DnsExchange, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "    {}, id {}, flags: qr", header.rcode, header.id)?;
    for (flag, is_set) in [
        ("aa", header.authoritative),
        ("tc", header.truncated),
        ("rd", header.recursion_desired),
        ("ra", header.recursion_available),
        ("ad", header.authentic_data),
        ("cd", header.checking_disabled),
    ] {
        if is_set {
            write!(f, " {flag}")?;
        }
    }
    if header.opcode != Opcode::QUERY {
        write!(f, ", opcode {}", header.opcode)?;
    }
    write!(
        f,
        ", answer {}, authority {}, additional {}",
        header.answers, header.authorities, header.additionals
    )?;
    match exchange.size {
        Some(size) => writeln!(f, ", {size} octets"),
        None => writeln!(f),
    }
}

fn edns(edns: &EdnsReport, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "    edns version {}, udp {}", edns.version, edns.udp_payload)?;
    if edns.dnssec_ok {
        f.write_str(", do")?;
    }
    for option in &edns.options {
        match option {
            EdnsOptionReport::Nsid { text, .. } => {
                write!(f, ", nsid \"{}\"", printable(text, LINE))?;
            }
            EdnsOptionReport::ClientSubnet { source, scope } => {
                write!(f, ", subnet {} scope {scope}", printable(source, LINE))?;
            }
            EdnsOptionReport::Cookie { client, server } => {
                write!(f, ", cookie {}", hex(client))?;
                write!(f, "{}{}", if server.is_empty() { "" } else { " " }, hex(server))?;
            }
            EdnsOptionReport::Keepalive { timeout_ms: Some(ms) } => {
                write!(f, ", keepalive {ms} ms")?;
            }
            EdnsOptionReport::Keepalive { timeout_ms: None } => write!(f, ", keepalive")?,
            EdnsOptionReport::Padding { octets } => write!(f, ", padding {octets}")?,
            EdnsOptionReport::ExtendedError { code, number, text } => {
                write!(f, ", extended error {number} ({code})")?;
                if !text.is_empty() {
                    write!(f, " \"{}\"", printable(text, LINE))?;
                }
            }
            EdnsOptionReport::Other { code, data, error } => {
                write!(f, ", {code} {}", hex(data))?;
                if let Some(error) = error {
                    write!(f, " (cannot be read: {})", printable(error, LINE))?;
                }
            }
        }
    }
    writeln!(f)
}

/// The first octets in hexadecimal digits.
fn hex(octets: &[u8]) -> String {
    const SHOWN: usize = 40;
    let mut text: String = octets.iter().take(SHOWN).map(|octet| format!("{octet:02x}")).collect();
    if octets.len() > SHOWN {
        text.push_str("...");
    }
    text
}

fn chain(chain: &DnsChain, f: &mut Formatter<'_>) -> fmt::Result {
    if chain.ring {
        writeln!(f, "    the aliases run in a ring, at {}", chain.canonical_name)?;
    }
    if chain.too_long {
        writeln!(f, "    more than {} aliases", DnsChain::MAX_ALIASES)?;
    }
    if chain.no_data {
        writeln!(f, "    no data: the name has no record of the type")?;
    }
    for (count, what) in [
        (chain.out_of_zone, "about a name outside the zone of the server"),
        (chain.unrelated, "about names that nobody asked for"),
        (chain.other_class, "of another class"),
        (chain.special_addresses, "with an address of no use from afar"),
    ] {
        if count > 0 {
            writeln!(f, "    {count} in the answer section {what}")?;
        }
    }
    Ok(())
}

fn attempts(exchange: &DnsExchange, f: &mut Formatter<'_>) -> fmt::Result {
    if let [only] = exchange.attempts.as_slice() {
        return attempt(only, "    ", f);
    }
    for (place, tried) in exchange.attempts.iter().enumerate() {
        attempt(tried, &format!("    attempt {}: ", place + 1), f)?;
    }
    Ok(())
}

fn attempt(attempt: &DnsAttempt, head: &str, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{head}{} to {}", attempt.transport, attempt.server)?;
    if let Some(port) = attempt.port {
        write!(f, " from port {port}")?;
    }
    write!(f, ", id {}", attempt.id)?;
    if !attempt.edns {
        f.write_str(", without edns")?;
    }
    let fate = match attempt.fate {
        DnsFate::Answered => "answered",
        DnsFate::Truncated => "cut short",
        DnsFate::Refused => "failed",
        DnsFate::TimedOut => "no answer",
        DnsFate::Unfinished => "not ended",
    };
    write!(f, ": {fate}")?;
    match (&attempt.network, attempt.end_ns) {
        (Some(network), _) => {
            let source = match network.source {
                StampSource::Hardware => "hardware",
                StampSource::User => "user space",
                StampSource::UserSend => "sent in user space",
                _ => "kernel",
            };
            write!(f, " in {} ({source})", millis(network.ns))?;
        }
        (None, Some(end)) => {
            write!(f, " after {}", millis(end.saturating_sub(attempt.start_ns)))?;
        }
        (None, None) => {}
    }
    // That of an exchange stands in its first line already.
    if let Some(Verdict::Fail(failure)) = &attempt.verdict {
        write!(f, ", {}", failure.code())?;
    }
    for (why, count) in &attempt.mismatches {
        write!(f, ", {count} x not believed ({})", printable(why, 40))?;
    }
    if let Some(other) = attempt.other_source {
        write!(f, ", something came from {other}")?;
    }
    for (count, what) in [
        (attempt.duplicates, "duplicates"),
        (attempt.conflicts, "conflicts"),
        (attempt.errors, "icmp errors"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)
}
