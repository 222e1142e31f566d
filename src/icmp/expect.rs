//! Conditions on the results of the ICMP prober.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EchoStats, IcmpReport, RttStats};
use crate::Error;
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::render::millis;
use crate::timing::duration_ns;
use crate::verdict::FailureKind;

/// Conditions on an ICMP probe, all of which must be met.
///
/// ```
/// use netsonde::icmp::IcmpExpect;
///
/// let expect: IcmpExpect = serde_saphyr::from_str("
/// max_loss: 0.05
/// max_p95: 40ms
/// max_jitter: 5ms
/// ")?;
/// expect.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct IcmpExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// The largest share of packets lost on the way, 0 to 1: [`EchoStats::loss`].
    pub max_loss: Option<f64>,
    /// The largest share of packets without an answer in time, 0 to 1: [`EchoStats::unanswered`].
    pub max_unanswered: Option<f64>,
    /// How many answers beyond the first to each packet there may be.
    pub max_duplicates: Option<u64>,
    /// The longest that any round trip may take.
    #[serde(with = "crate::duration::optional")]
    pub max_rtt: Option<Duration>,
    /// The longest that the mean round trip may take.
    #[serde(with = "crate::duration::optional")]
    pub max_avg: Option<Duration>,
    /// The longest that 95 in 100 round trips may take.
    #[serde(with = "crate::duration::optional")]
    pub max_p95: Option<Duration>,
    /// The largest jitter (RFC 3550).
    #[serde(with = "crate::duration::optional")]
    pub max_jitter: Option<Duration>,
    /// The smallest time to live or hop limit that any answer may have left.
    pub min_ttl: Option<u8>,
}

impl IcmpExpect {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        for (key, share) in [("max_loss", self.max_loss), ("max_unanswered", self.max_unanswered)] {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(Error::config(key, "must lie in 0..=1"));
            }
        }
        Ok(())
    }
}

impl Expectation<IcmpReport> for IcmpExpect {
    fn evaluate(&self, result: &ProbeResult<IcmpReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        let stats = result.report.stats.as_ref();
        let share = |path, most: Option<f64>, get: fn(&EchoStats) -> Option<f64>| {
            let most = most?;
            let expected = format_args!("at most {most}").to_string();
            Some(match stats.and_then(get) {
                Some(seen) => Clause::check(path, expected, seen, seen <= most),
                None => Clause::not_evaluable(path, expected, "nothing was sent"),
            })
        };
        clauses.extend(share("max_loss", self.max_loss, |stats| stats.loss));
        clauses.extend(share("max_unanswered", self.max_unanswered, |stats| stats.unanswered));
        if let Some(most) = self.max_duplicates {
            let expected = format_args!("at most {most}").to_string();
            clauses.push(match stats {
                Some(stats) => {
                    let seen = stats.duplicates;
                    Clause::check("max_duplicates", expected, seen, seen <= most)
                }
                None => Clause::not_evaluable("max_duplicates", expected, "nothing was sent"),
            });
        }
        let rtt = stats.and_then(|stats| stats.rtt.as_ref());
        let time = |path, most: Option<Duration>, get: fn(&RttStats) -> Option<u64>| {
            let most = most?;
            let expected = format_args!("at most {}", crate::duration::text(most)).to_string();
            Some(match rtt.map(get) {
                Some(Some(ns)) => {
                    Clause::check(path, expected, millis(ns), ns <= duration_ns(most))
                }
                Some(None) => Clause::not_evaluable(path, expected, "fewer than two answers"),
                None => Clause::not_evaluable(path, expected, "there was no answer"),
            })
        };
        clauses.extend(time("max_rtt", self.max_rtt, |rtt| Some(rtt.max_ns)));
        clauses.extend(time("max_avg", self.max_avg, |rtt| Some(rtt.avg_ns)));
        clauses.extend(time("max_p95", self.max_p95, |rtt| Some(rtt.p95_ns)));
        clauses.extend(time("max_jitter", self.max_jitter, |rtt| rtt.jitter_ns));
        if let Some(least) = self.min_ttl {
            let answers = result.report.packets.iter().filter_map(|packet| packet.fate.answer());
            let seen = answers.filter_map(|answer| answer.ttl).min();
            let expected = format_args!("at least {least}").to_string();
            clauses.push(match seen {
                Some(ttl) => Clause::check("min_ttl", expected, ttl, ttl >= least),
                None => Clause::not_evaluable("min_ttl", expected, "no answer tells"),
            });
        }
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}
