//! What the fuzz targets check. Each target is one call into here.

pub mod ops;

use netsonde::engine::script::CompiledScript;
use netsonde::script::{Script, ScriptLimits};

/// A script file parses or not, compiles or not, and what parsed survives being written.
pub fn script_file(text: &str) {
    let Ok(script) = serde_saphyr::from_str::<Script>(text) else { return };
    // Compiling a pattern of the usual limit is too slow to do millions of times.
    let limits = ScriptLimits { pattern: 64 * 1024, ..ScriptLimits::default() };
    let _ = CompiledScript::new(&script, &limits).map_err(|error| error.to_string());
    let written = serde_saphyr::to_string(&script).expect("a script can be written");
    let again = serde_saphyr::from_str::<Script>(&written).expect("what was written can be read");
    assert_eq!(script, again, "{written}");
}
