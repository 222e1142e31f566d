//! The caps of a script.

use serde::{Deserialize, Serialize};

/// What a script may cost, whatever the peer sends. Each cap is itself allowed; one more is a
/// failure that names the cap, its value and what was seen.
#[expect(clippy::exhaustive_structs, reason = "a configuration struct is its own builder")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptLimits {
    /// Steps in a script. Default: 64. More is an error when the script is compiled.
    pub steps: usize,
    /// Bytes of one line without its end, or of one frame. Default: 65,536.
    pub line: usize,
    /// Bytes that one `expect_raw` step may look at. Default: 16,384. Each read searches them all
    /// again: no single search is longer than this, but a peer that sends single bytes makes one
    /// step search up to half the square of it, 128 MiB by default.
    pub raw: usize,
    /// Bytes received over the whole script, before and after TLS starts, and so the most that are
    /// ever buffered. Default: 1,048,576.
    pub received: usize,
    /// Bytes of a send after its template is expanded. Default: 4,096. A send that is no template
    /// is not limited.
    pub send: usize,
    /// Bytes of each text kept for a person to read: one match, one send, all the captures of one
    /// step, one label, the last bytes received, what a failure saw. Default: 4,096. A text that
    /// was cut ends in `…`, which comes on top.
    pub evidence: usize,
    /// Bytes of one compiled pattern, and again of the tables it grows when it runs. Default:
    /// 1,048,576. A larger pattern is an error when the script is compiled.
    pub pattern: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            steps: 64,
            line: 64 * 1024,
            raw: 16 * 1024,
            received: 1024 * 1024,
            send: 4 * 1024,
            evidence: 4 * 1024,
            pattern: 1024 * 1024,
        }
    }
}
