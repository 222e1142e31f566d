//! Bytes from the peer as text for people.

use std::fmt::Write as _;

/// Escapes `bytes` so that they show and do no harm on a terminal, and cuts the result to `max`
/// bytes, at an escape's edge, with `…` after it when something is missing.
pub(super) fn printable(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    let mut piece = String::new();
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().chars().map(Ok);
        for part in valid.chain(chunk.invalid().iter().copied().map(Err)) {
            piece.clear();
            // Writing to a String cannot fail.
            let _ = match part {
                Ok(c) if is_plain(c) => write!(piece, "{c}"),
                Ok(c) => write!(piece, "{}", c.escape_default()),
                Err(byte) => write!(piece, "\\x{byte:02x}"),
            };
            if text.len().saturating_add(piece.len()) > max {
                text.push('…');
                return text;
            }
            text.push_str(&piece);
        }
    }
    text
}

/// The same, but keeps the end of the text and puts `…` before it when something is missing.
pub(super) fn printable_end(bytes: &[u8], max: usize) -> String {
    let text = printable(bytes, usize::MAX);
    let surplus = text.len().saturating_sub(max);
    if surplus == 0 {
        return text;
    }
    let start = (surplus..text.len()).find(|&at| text.is_char_boundary(at));
    format!("…{}", start.and_then(|at| text.get(at..)).unwrap_or_default())
}

/// Neither a control character nor one that reorders or hides the text around it (Unicode UAX 9).
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        && c != '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_end};

    #[test]
    fn ordinary_text_stays_and_the_rest_is_escaped() {
        assert_eq!(printable("220 é ✓ C:\\x".as_bytes(), 99), "220 é ✓ C:\\x");
        assert_eq!(printable(b"a\tb\r\n\0\x1b[2J\x7f", 99), "a\\tb\\r\\n\\u{0}\\u{1b}[2J\\u{7f}");
        assert_eq!(printable(b"\xff\xc3(\xe2\x82", 99), "\\xff\\xc3(\\xe2\\x82");
        assert_eq!(printable("\u{202e}".as_bytes(), 99), "\\u{202e}");
    }

    #[test]
    fn a_cut_never_splits_an_escape() {
        assert_eq!(printable(b"abc", 3), "abc");
        assert_eq!(printable(b"abcd", 3), "abc…");
        assert_eq!(printable(b"ab\n", 3), "ab…");
        assert_eq!(printable("aé".as_bytes(), 2), "a…");
        assert_eq!(printable(b"a", 0), "…");
        assert_eq!(printable(b"", 0), "");
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        assert_eq!(printable_end(b"abc", 3), "abc");
        assert_eq!(printable_end(b"abcd", 3), "…bcd");
        assert_eq!(printable_end("aéb".as_bytes(), 2), "…b");
        assert_eq!(printable_end(b"abc", 0), "…");
    }
}
