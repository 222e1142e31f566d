//! Judging a result: a pure function over data, clause by clause, that can be run again on a stored
//! result.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::probe::ProbeResult;
use crate::render::millis;
use crate::timing::{Phase, duration_ns};
use crate::verdict::{Failure, FailureKind, LocalFault, LocalFaultKind, Verdict, printable};

/// How one clause of an expectation came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClauseStatus {
    /// Met.
    Pass,
    /// Not met.
    Fail,
    /// The result does not hold what it asks about, for instance because that phase was not reached.
    NotEvaluable,
}

/// One clause of an expectation, with what was expected and what was seen.
///
/// ```
/// use netsonde::{Clause, ClauseStatus};
///
/// let clause = Clause::check("tls.version", "TLS 1.3", "TLS 1.2", false);
/// assert_eq!(clause.status, ClauseStatus::Fail);
/// assert_eq!(clause.to_string(), "tls.version: expected TLS 1.3, got TLS 1.2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Clause {
    /// The path of the expectation, as in the configuration: `tls.min_days_left`.
    pub path: String,
    /// How it came out.
    pub status: ClauseStatus,
    /// What was expected, in words.
    pub expected: String,
    /// What was seen; for [`ClauseStatus::NotEvaluable`] the reason, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

impl Clause {
    /// The most bytes of `expected` and of `actual` that are kept.
    pub const TEXT_BYTES: usize = 512;

    /// A clause that could be evaluated.
    #[must_use]
    pub fn check(
        path: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
        met: bool,
    ) -> Self {
        Clause {
            path: path.into(),
            status: if met { ClauseStatus::Pass } else { ClauseStatus::Fail },
            expected: printable(&expected.to_string(), Self::TEXT_BYTES),
            actual: Some(printable(&actual.to_string(), Self::TEXT_BYTES)),
        }
    }

    /// A clause whose subject the result does not hold.
    #[must_use]
    pub fn not_evaluable(
        path: impl Into<String>,
        expected: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> Self {
        let mut clause = Clause::check(path, expected, reason, false);
        clause.status = ClauseStatus::NotEvaluable;
        clause
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.path, self.expected)?;
        match (&self.status, &self.actual) {
            (_, None) => Ok(()),
            (ClauseStatus::NotEvaluable, Some(reason)) => write!(f, ", not evaluable: {reason}"),
            (_, Some(actual)) => write!(f, ", got {actual}"),
        }
    }
}

/// Conditions on a result, as data. The clauses of the configurations of the probers are ready-made;
/// a condition of your own is a type with this trait.
///
/// ```
/// use netsonde::{Clause, Expectation, ProbeResult, judge};
///
/// struct Quick;
///
/// impl<R> Expectation<R> for Quick {
///     fn evaluate(&self, result: &ProbeResult<R>, clauses: &mut Vec<Clause>) {
///         let total = result.timing.total();
///         clauses.push(Clause::check("total", "under 1 s", format_args!("{total:?}"), total.as_secs() < 1));
///     }
/// }
/// ```
pub trait Expectation<R> {
    /// Adds a clause for every condition that is set. Must not look at `result.verdict`, which this
    /// judgement is about to make.
    fn evaluate(&self, result: &ProbeResult<R>, clauses: &mut Vec<Clause>);

    /// The failure that the probe is meant to end with; `None` if it is meant to succeed.
    fn expected_failure(&self) -> Option<FailureKind> {
        None
    }
}

/// What an expectation makes of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// The conclusion.
    pub verdict: Verdict,
    /// Every clause, in order.
    pub clauses: Vec<Clause>,
}

/// Judges a result: pure, synchronous, and repeatable on a stored one.
///
/// What the measurement itself found ([`ProbeResult::outcome`]) goes first: a probe that could not
/// find out stays unknown, and one that failed stays failed unless just this failure was expected.
/// Then the first clause that is not met decides; a clause that could not be evaluated makes the
/// verdict unknown, since nothing speaks for it.
///
/// ```
/// use netsonde::{Common, FailureKind, ProbeResult, Report, Verdict, judge};
///
/// # fn again(stored: ProbeResult<Report>) {
/// let quick = Common { max_total: Some(std::time::Duration::from_millis(100)), ..Common::default() };
/// let judgement = judge(&stored, &quick);
/// println!("{} {:?}", judgement.verdict, judgement.clauses);
/// # }
/// ```
pub fn judge<R, E: Expectation<R> + ?Sized>(result: &ProbeResult<R>, expect: &E) -> Judgement {
    let mut clauses = Vec::new();
    expect.evaluate(result, &mut clauses);
    let verdict = verdict_of(&result.outcome, expect.expected_failure(), &clauses);
    Judgement { verdict, clauses }
}

fn verdict_of(outcome: &Verdict, expected: Option<FailureKind>, clauses: &[Clause]) -> Verdict {
    match (outcome, expected) {
        (Verdict::Unknown(_), _) => return outcome.clone(),
        (Verdict::Fail(failure), wanted) if wanted != Some(failure.kind) => return outcome.clone(),
        (Verdict::Pass, Some(wanted)) => {
            let failure = Failure::new(FailureKind::UnexpectedSuccess);
            return failure.with_detail(format!("expected {wanted}")).into();
        }
        _ => {}
    }
    if let Some(clause) = clauses.iter().find(|clause| clause.status == ClauseStatus::Fail) {
        return Failure::new(FailureKind::ExpectationFailed).with_detail(clause.to_string()).into();
    }
    match clauses.iter().find(|clause| clause.status == ClauseStatus::NotEvaluable) {
        // With an expected failure the later phases are meant to be missing.
        Some(clause) if expected.is_none() => {
            LocalFault::new(LocalFaultKind::NotEvaluable).with_detail(clause.to_string()).into()
        }
        _ => Verdict::Pass,
    }
}

/// Conditions that every prober has.
///
/// ```
/// let expect: netsonde::Common = serde_json::from_str(r#"{"max_total":"0.5s","max_phase":{"tls":"80ms"}}"#)?;
/// assert_eq!(expect.max_phase[&netsonde::Phase::Tls].as_millis(), 80);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct Common {
    /// The probe is meant to fail in just this way, by code: a closed port, a rejected client.
    pub failure: Option<FailureKind>,
    /// The longest the whole probe may take.
    #[serde(with = "crate::duration::optional")]
    pub max_total: Option<Duration>,
    /// The longest that single phases may take.
    #[serde(with = "crate::duration::map")]
    pub max_phase: BTreeMap<Phase, Duration>,
}

impl<R> Expectation<R> for Common {
    fn evaluate(&self, result: &ProbeResult<R>, clauses: &mut Vec<Clause>) {
        let clause = |path: String, most: Duration, took: Duration| {
            let most_text = crate::duration::text(most);
            let took_text = millis(duration_ns(took));
            Clause::check(path, format_args!("at most {most_text}"), took_text, took <= most)
        };
        if let Some(most) = self.max_total {
            clauses.push(clause("max_total".into(), most, result.timing.total()));
        }
        for (phase, most) in &self.max_phase {
            let path = format!("max_phase.{phase}");
            clauses.push(match result.timing.phase(*phase) {
                Some(took) => clause(path, *most, took),
                None => {
                    let most = crate::duration::text(*most);
                    let expected = format_args!("at most {most}");
                    Clause::not_evaluable(path, expected, "the phase was not reached")
                }
            });
        }
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clause(status: ClauseStatus) -> Clause {
        Clause { status, ..Clause::check("x", "a", "b", true) }
    }

    #[test]
    fn the_outcome_goes_before_the_clauses() {
        use ClauseStatus::{Fail, NotEvaluable, Pass};
        let refused = Verdict::from(Failure::new(FailureKind::Refused));
        let local = Verdict::from(LocalFault::new(LocalFaultKind::Descriptors));
        let code = |outcome: &Verdict, expected, clauses: &[ClauseStatus]| {
            let clauses: Vec<Clause> = clauses.iter().copied().map(clause).collect();
            verdict_of(outcome, expected, &clauses).code()
        };
        let pass = &Verdict::Pass;
        assert_eq!(code(pass, None, &[Pass]), None);
        assert_eq!(code(pass, None, &[Pass, Fail, NotEvaluable]), Some("expectation_failed"));
        assert_eq!(code(pass, None, &[NotEvaluable]), Some("not_evaluable"));
        assert_eq!(code(&refused, None, &[Pass]), Some("refused"));
        assert_eq!(code(&refused, Some(FailureKind::Timeout), &[]), Some("refused"));
        assert_eq!(code(&refused, Some(FailureKind::Refused), &[NotEvaluable]), None);
        assert_eq!(code(&refused, Some(FailureKind::Refused), &[Fail]), Some("expectation_failed"));
        assert_eq!(code(pass, Some(FailureKind::Refused), &[]), Some("unexpected_success"));
        assert_eq!(code(&local, Some(FailureKind::Refused), &[]), Some("local_descriptors"));
    }
}
