//! Every cap in one place. What a peer sends can never make a probe grow beyond them.

use serde::{Deserialize, Serialize};

/// The caps of a prober, each with its default. All can be changed; a cap that is hit is a failure
/// that says which one, its value and what was seen, except where a list is merely kept short: then
/// the report says how much was left out.
///
/// ```
/// let limits = netsonde::Limits { addresses: 8, ..Default::default() };
/// assert_eq!(limits.evidence_bytes, 4096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct Limits {
    /// Addresses of one name that are considered; more are left out and counted. Default 64.
    pub addresses: usize,
    /// Bytes of what the peer sent that are kept as evidence of a failure. Default 4,096.
    pub evidence_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { addresses: 64, evidence_bytes: 4096 }
    }
}
