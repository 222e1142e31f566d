//! Every cap in one place. What a peer sends can never make a probe grow beyond them.

use serde::{Deserialize, Serialize};

use crate::script::ScriptLimits;

/// The caps of a prober, each with its default; those of TLS stand in
/// [`TlsLimits`](crate::tls::TlsLimits). All can be changed; a cap that is hit is a failure
/// that says which one, its value and what was seen, except where a list is merely kept short: then
/// the report says how much was left out.
///
/// ```
/// let limits = netsonde::Limits { addresses: 8, ..Default::default() };
/// assert_eq!(limits.script.line, 65_536);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
pub struct Limits {
    /// Addresses of one name that are considered; more are left out and counted. Default 64.
    pub addresses: usize,
    /// The caps of expect/send scripts.
    pub script: ScriptLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { addresses: 64, script: ScriptLimits::default() }
    }
}
