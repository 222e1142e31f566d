//! Conditions on the path MTU.

use serde::{Deserialize, Serialize};

use super::{Evidence, MtuEnd, MtuReport};
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::verdict::FailureKind;

/// Conditions on a discovery of the path MTU, all of which must be met.
///
/// ```
/// use netsonde::icmp::mtu::MtuExpect;
///
/// let expect: MtuExpect = serde_saphyr::from_str("min_mtu: 1500")?;
/// assert!(!expect.no_black_hole);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct MtuExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// Packets of this size pass, in bytes with the IP header.
    pub min_mtu: Option<u32>,
    /// The figure is [confirmed](MtuReport::confirmed).
    pub confirmed: bool,
    /// Nothing looks like a [black hole](MtuReport::black_hole).
    pub no_black_hole: bool,
}

impl Expectation<MtuReport> for MtuExpect {
    fn evaluate(&self, result: &ProbeResult<MtuReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        let report = &result.report;
        if let Some(least) = self.min_mtu {
            let expected = format_args!("at least {least}").to_string();
            clauses.push(match report.mtu {
                Some(mtu) if mtu >= least || report.refused_size.is_some_and(|no| no <= least) => {
                    Clause::check("min_mtu", expected, mtu, mtu >= least)
                }
                Some(mtu) => {
                    let seen = format_args!("at least {mtu}, and nothing is known beyond");
                    Clause::not_evaluable("min_mtu", expected, seen)
                }
                None => Clause::not_evaluable("min_mtu", expected, "there was no answer"),
            });
        }
        if self.confirmed {
            let expected = "a confirmed figure";
            clauses.push(match report.mtu {
                Some(mtu) if report.confirmed => Clause::check("confirmed", expected, mtu, true),
                Some(_) if report.evidence == Some(Evidence::Silence) => {
                    Clause::check("confirmed", expected, "larger packets vanish", false)
                }
                Some(_) => Clause::check("confirmed", expected, "not confirmed", false),
                None => Clause::not_evaluable("confirmed", expected, "there was no answer"),
            });
        }
        if self.no_black_hole {
            let (path, expected) = ("no_black_hole", "no packets that vanish for their size");
            clauses.push(match (report.mtu, report.end) {
                (Some(_), _) if report.black_hole => {
                    Clause::check(path, expected, "larger packets vanish", false)
                }
                (Some(_), MtuEnd::Found) => Clause::check(path, expected, "none", true),
                (Some(_), _) => Clause::not_evaluable(path, expected, "the discovery did not end"),
                (None, _) => Clause::not_evaluable(path, expected, "there was no answer"),
            });
        }
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}
