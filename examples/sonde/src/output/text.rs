//! Results for people: the library's own waterfall, with colour on the status and its code.

use netsonde::ProbeResult;

use crate::style::Style;

/// A result as the library shows it.
pub(crate) fn render(result: &ProbeResult, style: Style) -> String {
    let text = result.to_string();
    let status = result.verdict.status();
    let Some((word, rest)) = text.split_once(' ') else { return text };
    let mut out = style.status(status, word);
    out.push(' ');
    // The code stands at the start of the second line.
    let code = result.verdict.code().and_then(|code| {
        let (head, tail) = rest.split_once('\n')?;
        Some((head, code, tail.strip_prefix("  ")?.strip_prefix(code)?))
    });
    match code {
        Some((head, code, tail)) => {
            out.push_str(head);
            out.push_str("\n  ");
            out.push_str(&style.status(status, code));
            out.push_str(tail);
        }
        None => out.push_str(rest),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}
