//! Conditions on the results of the stream probers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{TcpReport, UnixReport};
use crate::expect::{Clause, Common, Expectation};
use crate::probe::ProbeResult;
use crate::render::millis;
use crate::timing::duration_ns;
use crate::tls::TlsExpect;
use crate::verdict::FailureKind;

/// Conditions on a TCP probe, all of which must be met.
///
/// ```
/// use netsonde::tcp::TcpExpect;
///
/// let expect: TcpExpect = serde_saphyr::from_str("
/// common: {max_total: 800ms}
/// max_rtt: 50ms
/// max_syn_retransmits: 0
/// tls: {min_days_left: 14}
/// ")?;
/// # let _ = expect;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct TcpExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// The longest round trip of the TCP handshake, as the kernel measured it. Not evaluable if a
    /// SYN had to be sent again.
    #[serde(with = "crate::duration::optional")]
    pub max_rtt: Option<Duration>,
    /// How many SYN packets may have been sent again.
    pub max_syn_retransmits: Option<u32>,
    /// Conditions on TLS.
    pub tls: TlsExpect,
}

impl Expectation<TcpReport> for TcpExpect {
    fn evaluate(&self, result: &ProbeResult<TcpReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        let connection = result.report.connection.as_ref();
        if let Some(most) = self.max_rtt {
            let expected = format_args!("at most {}", crate::duration::text(most)).to_string();
            clauses.push(match connection.map(|connection| connection.rtt) {
                Some(Some(rtt)) => {
                    let met = rtt.ns <= duration_ns(most);
                    Clause::check("max_rtt", expected, millis(rtt.ns), met)
                }
                Some(None) => Clause::not_evaluable("max_rtt", expected, "no sample of the kernel"),
                None => Clause::not_evaluable("max_rtt", expected, "there was no connection"),
            });
        }
        if let Some(most) = self.max_syn_retransmits {
            let path = "max_syn_retransmits";
            let expected = format_args!("at most {most}").to_string();
            clauses.push(match connection.and_then(|connection| connection.syn_retransmits) {
                Some(seen) => Clause::check(path, expected, seen, seen <= most),
                None => Clause::not_evaluable(path, expected, "the kernel did not tell"),
            });
        }
        self.tls.evaluate_report(result.report.tls.as_ref(), result.started_at, clauses);
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}

/// Conditions on the probe of a Unix stream socket, all of which must be met.
///
/// ```
/// use netsonde::tcp::StreamExpect;
///
/// let expect: StreamExpect = serde_saphyr::from_str("common: {max_total: 50ms}")?;
/// # let _ = expect;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct StreamExpect {
    /// Conditions on the whole probe.
    pub common: Common,
    /// Conditions on TLS.
    pub tls: TlsExpect,
}

impl Expectation<UnixReport> for StreamExpect {
    fn evaluate(&self, result: &ProbeResult<UnixReport>, clauses: &mut Vec<Clause>) {
        self.common.evaluate(result, clauses);
        self.tls.evaluate_report(result.report.tls.as_ref(), result.started_at, clauses);
    }

    fn expected_failure(&self) -> Option<FailureKind> {
        self.common.failure
    }
}
