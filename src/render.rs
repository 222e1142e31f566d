//! A result for people: a waterfall with bars drawn to scale.

use std::fmt;

use crate::expect::ClauseStatus;
use crate::probe::ProbeResult;
use crate::report::AnyReport;
use crate::timing::Span;
use crate::verdict::Verdict;

/// Columns of the bars.
const WIDTH: u64 = 40;

/// `Display` with the alternate flag (`{:#}`) leaves out the bars.
impl<R: AnyReport> fmt::Display for ProbeResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.verdict.status().to_uppercase();
        write!(
            f,
            "{status} {} {} in {}",
            self.report.kind(),
            self.target,
            millis(self.timing.total_ns)
        )?;
        match &self.verdict {
            Verdict::Pass => writeln!(f)?,
            Verdict::Fail(failure) => writeln!(f, "\n  {}: {failure}", failure.code())?,
            Verdict::Unknown(fault) => writeln!(f, "\n  {}: {fault}", fault.code())?,
        }
        for span in &self.timing.spans {
            write!(f, "  {:<10} {:>12}", span.phase, millis(span.end_ns - span.start_ns))?;
            if f.alternate() {
                writeln!(f)?;
            } else {
                writeln!(f, "  |{}|", bar(span, self.timing.total_ns))?;
            }
        }
        let untold = self.attempts.len() > 1
            || self.attempts.iter().any(|a| !a.selected && a.address != self.target);
        for attempt in self.attempts.iter().filter(|_| untold) {
            let end = match &attempt.verdict {
                Some(verdict) => verdict.code().unwrap_or("connected"),
                None => "given up, another address was first",
            };
            let took = millis(attempt.end_ns.saturating_sub(attempt.start_ns));
            writeln!(
                f,
                "  tried {} at {}, {took}: {end}",
                attempt.address,
                millis(attempt.start_ns)
            )?;
        }
        self.report.describe(self.started_at, f)?;
        // The first one stands in the verdict already.
        let missed = self.clauses.iter().filter(|clause| clause.status != ClauseStatus::Pass);
        let told = matches!(self.verdict.code(), Some("expectation_failed" | "not_evaluable"));
        for clause in missed.skip(usize::from(told)) {
            writeln!(f, "  {clause}")?;
        }
        Ok(())
    }
}

/// The span as a stretch of the whole, at least a sliver wide: eighths of a column, by Unicode's
/// left blocks.
fn bar(span: &Span, total_ns: u64) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let at = |ns: u64| {
        let units = u128::from(ns) * u128::from(WIDTH * 8) / u128::from(total_ns.max(1));
        u64::try_from(units).unwrap_or(WIDTH * 8)
    };
    // A left block cannot begin inside a column: the start is rounded down to one.
    let first = (at(span.start_ns) / 8).min(WIDTH - 1);
    let units = at(span.end_ns).saturating_sub(first * 8).max(1);
    let full = units / 8;
    let part = EIGHTHS.get((units % 8) as usize).copied().unwrap_or(' ');
    let mut out = " ".repeat(first as usize) + &"█".repeat(full as usize);
    if units % 8 != 0 {
        out.push(part);
    }
    let width = WIDTH as usize;
    let used = out.chars().count();
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    out
}

/// Three digits behind the point: microseconds matter on fast paths.
pub(crate) fn millis(ns: u64) -> String {
    format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Phase;

    fn drawn(start_ns: u64, end_ns: u64, total: u64) -> String {
        let start = std::time::Instant::now();
        let mut clock = crate::PhaseClock::start(start, Phase::Resolve);
        clock.enter(Phase::Connect, start + std::time::Duration::from_nanos(start_ns));
        clock.enter(Phase::Close, start + std::time::Duration::from_nanos(end_ns));
        let timing = clock.finish(start + std::time::Duration::from_nanos(total));
        bar(&timing.spans[1], total)
    }

    #[test]
    fn bars_are_drawn_to_scale() {
        assert_eq!(drawn(0, 100, 100), "█".repeat(40));
        assert_eq!(drawn(50, 100, 100), " ".repeat(20) + &"█".repeat(20));
        assert_eq!(drawn(25, 75, 100), " ".repeat(10) + &"█".repeat(20) + &" ".repeat(10));
        assert_eq!(drawn(0, 0, 100), "▏".to_owned() + &" ".repeat(39));
        assert_eq!(drawn(100, 100, 100).chars().count(), 40);
        assert_eq!(drawn(0, 0, 0).chars().count(), 40);
        assert_eq!(drawn(0, u64::MAX, u64::MAX), "█".repeat(40));
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert_eq!(millis(1_234_567), "1.234 ms");
        assert_eq!(millis(999), "0.000 ms");
    }
}
