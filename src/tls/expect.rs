//! Conditions on what TLS has shown.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::TlsReport;
use crate::expect::Clause;

/// Conditions on TLS, all of which must be met. What is `None` or empty is not asked.
///
/// ```
/// use netsonde::tls::TlsExpect;
///
/// let expect = TlsExpect { min_days_left: Some(14), ..TlsExpect::default() };
/// # let _ = expect;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TlsExpect {
    /// Days that the served certificate that ends first must still be valid.
    pub min_days_left: Option<u32>,
}

impl TlsExpect {
    /// Adds the clauses. `at` is when the probe started.
    pub(crate) fn evaluate_report(
        &self,
        report: Option<&TlsReport>,
        at: SystemTime,
        clauses: &mut Vec<Clause>,
    ) {
        if let Some(least) = self.min_days_left {
            let path = "tls.min_days_left";
            let expected = format_args!("at least {least} days").to_string();
            let now = jiff::Timestamp::try_from(at).map_or(0, jiff::Timestamp::as_second);
            clauses.push(match report.map(|report| report.earliest_expiry) {
                Some(Some(end)) => {
                    let left = end.saturating_sub(now);
                    let days = format_args!("{} days", left.div_euclid(86_400)).to_string();
                    Clause::check(path, expected, days, left >= i64::from(least) * 86_400)
                }
                Some(None) => Clause::not_evaluable(path, expected, "no certificate was seen"),
                None => Clause::not_evaluable(path, expected, "there was no TLS"),
            });
        }
    }
}
