//! Conditions on traces.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{PathEnd, TraceReport};
use crate::Error;
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::render::millis;
use crate::timing::duration_ns;
use crate::verdict::FailureKind;

/// Conditions on a trace, all of which must be met.
///
/// ```
/// use netsonde::icmp::trace::TraceExpect;
///
/// let expect: TraceExpect = serde_saphyr::from_str("
/// max_hops: 12
/// max_rtt: 40ms
/// required: [192.0.2.0/24]
/// forbidden: [198.51.100.0/24, '2001:db8:dead::/48']
/// ")?;
/// expect.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TraceExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// The target answers on every path. Default true.
    pub reached: bool,
    /// The most hops to the target on any path, 1 to 255.
    pub max_hops: Option<u16>,
    /// Networks of which each has a hop on some path.
    pub required: Vec<IpNet>,
    /// Networks that no hop of any path lies in. A hop that stays silent tells nothing.
    pub forbidden: Vec<IpNet>,
    /// The longest that any round trip to the target may take.
    #[serde(with = "crate::duration::optional")]
    pub max_rtt: Option<Duration>,
}

impl Default for TraceExpect {
    fn default() -> Self {
        TraceExpect {
            common: Common::default(),
            reached: true,
            max_hops: None,
            required: Vec::new(),
            forbidden: Vec::new(),
            max_rtt: None,
        }
    }
}

impl TraceExpect {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key whose value can never work.
    pub fn check(&self) -> Result<(), Error> {
        if self.max_hops.is_some_and(|hops| !(1..=255).contains(&hops)) {
            return Err(Error::config("max_hops", "must lie in 1..=255"));
        }
        Ok(())
    }
}

impl Expectation<TraceReport> for TraceExpect {
    fn evaluate(&self, result: &ProbeResult<TraceReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        let report = &result.report;
        if self.reached {
            clauses.push(reached(report));
        }
        if let Some(most) = self.max_hops {
            let expected = format_args!("at most {most}").to_string();
            let seen = report.paths.iter().filter_map(|path| path.reached()).max();
            clauses.push(match seen {
                Some(hops) => Clause::check("max_hops", expected, hops, u16::from(hops) <= most),
                None => Clause::not_evaluable("max_hops", expected, "the target was not reached"),
            });
        }
        let hops = || report.paths.iter().flat_map(|path| path.answers());
        let lies_in = |net: &IpNet| {
            hops().find_map(|(ttl, answer)| {
                answer.from.filter(|from| net.contains(from)).map(|from| (ttl, from))
            })
        };
        for (place, net) in self.required.iter().enumerate() {
            let path = format!("required[{place}]");
            let expected = format_args!("a hop in {net}").to_string();
            clauses.push(match lies_in(net) {
                Some((_, from)) => Clause::check(path, expected, from, true),
                None if hops().next().is_none() => {
                    Clause::not_evaluable(path, expected, "no hop answered")
                }
                None => Clause::check(path, expected, "none", false),
            });
        }
        for (place, net) in self.forbidden.iter().enumerate() {
            let path = format!("forbidden[{place}]");
            let expected = format_args!("no hop in {net}").to_string();
            clauses.push(match lies_in(net) {
                Some((ttl, from)) => {
                    Clause::check(path, expected, format_args!("{from} at hop {ttl}"), false)
                }
                None if hops().next().is_none() => {
                    Clause::not_evaluable(path, expected, "no hop answered")
                }
                None => Clause::check(path, expected, "none", true),
            });
        }
        if let Some(most) = self.max_rtt {
            let expected = format_args!("at most {}", crate::duration::text(most)).to_string();
            let at_target = report.paths.iter().flat_map(|path| {
                path.answers().filter(|(ttl, answer)| {
                    path.reached() == Some(*ttl) && answer.answer == super::AnswerKind::Reached
                })
            });
            let slowest = at_target.filter_map(|(_, answer)| answer.rtt).map(|rtt| rtt.ns).max();
            clauses.push(match slowest {
                Some(ns) => Clause::check("max_rtt", expected, millis(ns), ns <= duration_ns(most)),
                None => Clause::not_evaluable("max_rtt", expected, "the target was not reached"),
            });
        }
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}

fn reached(report: &TraceReport) -> Clause {
    let expected = "an answer of the target on every path";
    let missed = report.paths.iter().find(|path| path.reached().is_none());
    match missed.map(|path| (path.flow, path.end)) {
        None if report.paths.is_empty() => {
            Clause::not_evaluable("reached", expected, "nothing was sent")
        }
        None => Clause::check("reached", expected, "reached", true),
        Some((_, PathEnd::NotSent { .. })) => {
            Clause::not_evaluable("reached", expected, "this host did not send")
        }
        Some((_, PathEnd::Unfinished)) => {
            Clause::not_evaluable("reached", expected, "the trace did not end")
        }
        Some((flow, end)) => {
            Clause::check("reached", expected, format_args!("{end}, flow {flow}"), false)
        }
    }
}
