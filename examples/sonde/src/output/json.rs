//! Results as JSON, in the library's versioned form.

use std::io;

use serde::Serialize;

/// One line for one result.
///
/// # Errors
/// Those of serialising; a result has nothing that JSON could not hold.
pub(crate) fn line(result: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(result)?;
    line.push('\n');
    Ok(line)
}

/// One object if there was one target, else an array: the shape follows from what was asked, not
/// from what came of it.
///
/// # Errors
/// As [`line()`].
pub(crate) fn document(results: &[impl Serialize], targets: usize) -> io::Result<String> {
    let mut text = match results {
        [result] if targets == 1 => serde_json::to_string_pretty(result)?,
        results => serde_json::to_string_pretty(results)?,
    };
    text.push('\n');
    Ok(text)
}
