//! Conditions on the results of the DNS prober.

use serde::{Deserialize, Serialize};

use super::DnsReport;
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::verdict::FailureKind;
use crate::wire::dns::Rcode;

/// Conditions on a DNS probe, all of which must be met by every exchange that
/// [decides](DnsReport::deciding).
///
/// ```
/// use netsonde::dns::DnsExpect;
///
/// let expect: DnsExpect = serde_saphyr::from_str("rcodes: [NOERROR, NXDOMAIN]")?;
/// # let _ = expect;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct DnsExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// The response codes that are fine; none for any. Default: `NOERROR`.
    pub rcodes: Vec<Rcode>,
}

impl Default for DnsExpect {
    fn default() -> Self {
        DnsExpect { common: Common::default(), rcodes: vec![Rcode::NOERROR] }
    }
}

impl Expectation<DnsReport> for DnsExpect {
    fn evaluate(&self, result: &ProbeResult<DnsReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        for exchange in result.report.deciding() {
            if !self.rcodes.is_empty() {
                let names: Vec<String> = self.rcodes.iter().map(Rcode::to_string).collect();
                let expected = names.join(", ");
                clauses.push(match exchange.rcode() {
                    Some(rcode) => {
                        Clause::check("rcodes", expected, rcode, self.rcodes.contains(&rcode))
                    }
                    None => Clause::not_evaluable("rcodes", expected, "there is no answer"),
                });
            }
        }
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}
