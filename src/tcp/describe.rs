//! The reports of the stream probers for people.

use std::fmt::{self, Formatter};
use std::time::SystemTime;

use super::{PeerEnd, TcpConnection, TcpReport, UnixReport};
use crate::render::millis;
use crate::report::{AnyReport, ReportBody};
use crate::script::{ScriptReport, StepOutcome};
use crate::timing::StampSource;
use crate::tls::{CheckStatus, TlsReport};

impl AnyReport for TcpReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, at: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        // A single one stands in the verdict already.
        for refused in
            self.refused.iter().filter(|_| self.connection.is_some() || self.refused.len() > 1)
        {
            writeln!(f, "  not dialled {}: {}", refused.address, refused.why)?;
        }
        if let Some(connection) = &self.connection {
            tcp(connection, f)?;
        }
        stream(self.tls.as_ref(), self.script.as_ref(), self.peer_end, at, f)?;
        for other in &self.others {
            writeln!(
                f,
                "  {}: {} in {}",
                other.address,
                other.outcome,
                millis(other.timing.total_ns)
            )?;
        }
        Ok(())
    }
}

impl AnyReport for UnixReport {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn describe(&self, at: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(who) = self.connection.as_ref().and_then(|connection| connection.credentials) {
            let pid = who.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            writeln!(f, "  listener: process {pid}, user {}, group {}", who.uid, who.gid)?;
        }
        stream(self.tls.as_ref(), self.script.as_ref(), self.peer_end, at, f)
    }
}

fn tcp(connection: &TcpConnection, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "  {} -> {}", connection.local, connection.peer)?;
    if let Some(rtt) = connection.rtt {
        let source = if rtt.source == StampSource::TcpInfo { "kernel" } else { "user space" };
        write!(f, ", rtt {} ({source})", millis(rtt.ns))?;
    }
    match connection.syn_retransmits {
        Some(times @ 1..) => writeln!(f, ", SYN sent again {times} x"),
        _ => writeln!(f),
    }
}

fn stream(
    tls: Option<&TlsReport>,
    script: Option<&ScriptReport>,
    peer_end: Option<PeerEnd>,
    at: SystemTime,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    if let Some(tls) = tls {
        self::tls(tls, at, f)?;
    }
    if let Some(script) = script {
        self::script(script, f)?;
    }
    match peer_end {
        Some(PeerEnd::Reset) => writeln!(f, "  the peer reset the connection afterwards"),
        _ => Ok(()),
    }
}

fn tls(tls: &TlsReport, at: SystemTime, f: &mut Formatter<'_>) -> fmt::Result {
    if let Some(version) = tls.version {
        write!(f, "  {version}")?;
        for part in [&tls.cipher_suite, &tls.group].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        if let Some(alpn) = &tls.alpn {
            write!(f, " alpn {alpn}")?;
        }
        writeln!(f)?;
    }
    if let Some(alert) = &tls.alert {
        writeln!(f, "  {alert}")?;
    }
    if let Some(leaf) = tls.leaf() {
        let unknown = || "?".to_owned();
        let subject = leaf.subject.clone().filter(|text| !text.is_empty()).unwrap_or_else(unknown);
        let issuer = leaf.issuer.clone().unwrap_or_else(unknown);
        writeln!(f, "  certificate {subject}, issued by {issuer}")?;
        let names = leaf.names.shown(4);
        if !names.is_empty() {
            writeln!(f, "    for {names}")?;
        }
        if let Some(end) = leaf.not_after {
            writeln!(f, "    {}", validity(end, at))?;
        }
    }
    for check in tls.checks.iter().filter(|check| check.status == CheckStatus::Failed) {
        writeln!(f, "    {check}")?;
    }
    Ok(())
}

/// `valid until 2027-01-01T00:00:00Z, 40 days left`, or how long ago it ended.
fn validity(end: i64, at: SystemTime) -> String {
    let now = jiff::Timestamp::try_from(at).map_or(0, jiff::Timestamp::as_second);
    let date = jiff::Timestamp::from_second(end).map_or_else(|_| "?".to_owned(), |t| t.to_string());
    match end.saturating_sub(now) {
        left @ 0.. => format!("valid until {date}, {} days left", left / 86_400),
        over => format!("expired {date}, {} days ago", over.unsigned_abs() / 86_400),
    }
}

fn script(script: &ScriptReport, f: &mut Formatter<'_>) -> fmt::Result {
    for (label, value) in &script.labels {
        writeln!(f, "  {label} = {value}")?;
    }
    let stuck = script.steps.last().filter(|step| step.outcome != StepOutcome::Passed);
    if let Some(step) = stuck {
        let name = step.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let passed = script.steps.len() - 1;
        writeln!(f, "  script: {passed} steps passed, stopped in step {}{name}", step.index)?;
        if let Some(tail) = &script.tail {
            writeln!(f, "    last received: {}", crate::verdict::printable(tail, 200))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_days_count_from_the_probe() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100 * 86_400);
        assert_eq!(validity(114 * 86_400, at), "valid until 1970-04-25T00:00:00Z, 14 days left");
        assert_eq!(validity(98 * 86_400, at), "expired 1970-04-09T00:00:00Z, 2 days ago");
    }
}
