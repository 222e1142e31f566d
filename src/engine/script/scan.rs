//! Finding lines, frames and matches in the bytes at hand. Whatever is found, or refused, is the
//! same however the bytes were cut on their way.

use std::ops::Range;

use regex::bytes::Regex;

use crate::script::{ByteOrder, Frame, LengthField, ScriptFailureKind};

/// A line or a frame at the start of the pending bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// What patterns see.
    pub(super) content: Range<usize>,
    /// How many bytes it takes up.
    pub(super) length: usize,
}

/// Why there is no unit, and never will be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: ScriptFailureKind,
    /// The cap that was hit and the count at which it showed.
    pub(super) cap: Option<(usize, usize)>,
}

impl Fault {
    pub(super) fn plain(kind: ScriptFailureKind) -> Self {
        Self { kind, cap: None }
    }

    /// One more than the cap.
    pub(super) fn over(kind: ScriptFailureKind, limit: usize) -> Self {
        Self { kind, cap: Some((limit, limit.saturating_add(1))) }
    }
}

/// The next line, if it is complete. `searched` counts the pending bytes known to hold no LF, so
/// that none is looked at twice.
pub(super) fn next_line(
    pending: &[u8],
    closed: bool,
    searched: &mut usize,
    limit: usize,
) -> Result<Option<Unit>, Fault> {
    let too_long = || Fault::over(ScriptFailureKind::LineTooLong, limit);
    let fresh = pending.get(*searched..).unwrap_or_default();
    let (line, length) = match fresh.iter().position(|&byte| byte == b'\n') {
        Some(at) => {
            let end = searched.saturating_add(at);
            (pending.get(..end).unwrap_or_default(), end.saturating_add(1))
        }
        None if closed && !pending.is_empty() => (pending, pending.len()),
        None => {
            // A CR at the end is the line's only if no LF follows.
            let least = pending.strip_suffix(b"\r").unwrap_or(pending).len();
            *searched = pending.len();
            return if least > limit { Err(too_long()) } else { Ok(None) };
        }
    };
    *searched = 0;
    let content = 0..line.strip_suffix(b"\r").unwrap_or(line).len();
    if content.end > limit { Err(too_long()) } else { Ok(Some(Unit { content, length })) }
}

/// The next frame, if it is complete.
pub(super) fn next_frame(
    pending: &[u8],
    frame: Frame,
    limit: usize,
) -> Result<Option<Unit>, Fault> {
    let announced = match frame {
        Frame::Ber => ber_length(pending),
        Frame::Length(field) => field_length(pending, field),
    };
    let Some(length) = announced? else { return Ok(None) };
    if length > limit {
        return Err(Fault { kind: ScriptFailureKind::FrameTooLong, cap: Some((limit, length)) });
    }
    Ok((pending.len() >= length).then_some(Unit { content: 0..length, length }))
}

/// Header and content of a BER value (X.690 8.1.2, 8.1.3).
fn ber_length(pending: &[u8]) -> Result<Option<usize>, Fault> {
    let bad = || Fault::plain(ScriptFailureKind::BadFrame);
    let Some((tag, mut rest)) = pending.split_first() else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        // A tag number in more octets; 5 hold more than any that is in use.
        let last = rest.iter().take(5).position(|octet| octet & 0x80 == 0);
        rest = match last {
            Some(at) => rest.get(at.saturating_add(1)..).unwrap_or_default(),
            None if rest.len() < 5 => return Ok(None),
            None => return Err(bad()),
        };
    }
    let Some((&first, rest)) = rest.split_first() else { return Ok(None) };
    let header = pending.len().saturating_sub(rest.len());
    let content = match first {
        0..=0x7f => u64::from(first),
        0x81..=0x88 => {
            let Some(octets) = rest.get(..usize::from(first & 0x7f)) else { return Ok(None) };
            let content = number(octets.iter());
            return total(header.saturating_add(octets.len()), i128::from(content)).map(Some);
        }
        // The indefinite form, or more octets than a length can have.
        _ => return Err(bad()),
    };
    total(header, i128::from(content)).map(Some)
}

fn field_length(pending: &[u8], field: LengthField) -> Result<Option<usize>, Fault> {
    let start = usize::from(field.offset);
    let header = start.saturating_add(usize::from(field.size));
    let Some(octets) = pending.get(start..header) else { return Ok(None) };
    let value = match field.order {
        ByteOrder::Big => number(octets.iter()),
        ByteOrder::Little => number(octets.iter().rev()),
    };
    let content = i128::from(value) + i128::from(field.add) - header as i128;
    total(header, content).map(Some)
}

fn number<'a>(octets: impl Iterator<Item = &'a u8>) -> u64 {
    octets.fold(0, |value, &octet| value << 8 | u64::from(octet))
}

/// A message at least as long as its header, so that each takes bytes away.
fn total(header: usize, content: i128) -> Result<usize, Fault> {
    if content < 0 {
        return Err(Fault::plain(ScriptFailureKind::BadFrame));
    }
    let content = usize::try_from(content).unwrap_or(usize::MAX);
    Ok(header.saturating_add(content))
}

/// The length of the shortest prefix of `window` in which `regex` matches, given that none of up to
/// `tried` bytes does.
///
/// A pattern without assertions about what follows that matches in a prefix matches in every longer
/// one as well, so halving finds it. That is what makes the outcome independent of how many bytes
/// a read happened to bring.
pub(super) fn shortest_match(regex: &Regex, window: &[u8], tried: Option<usize>) -> Option<usize> {
    let mut high = regex.find(window)?.end();
    let mut low = tried.map_or(0, |tried| tried.saturating_add(1)).min(high);
    while low < high {
        let middle = low.midpoint(high);
        if regex.is_match(window.get(..middle).unwrap_or(window)) {
            high = middle;
        } else {
            low = middle.saturating_add(1);
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScriptFailureKind::{BadFrame, FrameTooLong};

    fn frame(frame: Frame, bytes: &[u8]) -> Result<Option<usize>, ScriptFailureKind> {
        for cut in 0..bytes.len() {
            // What is known from fewer bytes must never be contradicted by more.
            if let Ok(Some(unit)) = next_frame(&bytes[..cut], frame, 1000) {
                assert_eq!(next_frame(bytes, frame, 1000), Ok(Some(unit)));
            }
        }
        let unit = next_frame(bytes, frame, 1000).map_err(|fault| fault.kind)?;
        Ok(unit.map(|unit| unit.length))
    }

    #[test]
    fn ber_lengths_in_every_form() {
        for (bytes, expected) in [
            (&b""[..], Ok(None)),
            (b"\x30", Ok(None)),
            (b"\x30\x00", Ok(Some(2))),
            (b"\x30\x02a", Ok(None)),
            (b"\x30\x02ab", Ok(Some(4))),
            (b"\x30\x02abc", Ok(Some(4))),
            (b"\x30\x81\x02ab", Ok(Some(5))),
            (b"\x30\x84\0\0\0\x02ab", Ok(Some(8))),
            (b"\x30\x88\0\0\0\0\0\0\0\x02ab", Ok(Some(12))),
            (b"\x30\x84\0\0", Ok(None)),
            (b"\x7f\x21\x01a", Ok(Some(4))),
            (b"\x7f\x81\x21\x01a", Ok(Some(5))),
            (b"\x7f\x81\x81", Ok(None)),
            (b"\x7f\x81\x81\x81\x81\x81", Err(BadFrame)),
            (b"\x30\x80", Err(BadFrame)),
            (b"\x30\x89", Err(BadFrame)),
            (b"\x30\xff", Err(BadFrame)),
            (b"\x30\x82\x03\xe5", Err(FrameTooLong)),
            (b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", Err(FrameTooLong)),
        ] {
            assert_eq!(frame(Frame::Ber, bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn length_fields_of_either_order() {
        let mysql = LengthField { size: 3, order: ByteOrder::Little, add: 4, ..Default::default() };
        let postgres = LengthField { offset: 1, size: 4, order: ByteOrder::Big, add: 1 };
        for (field, bytes, expected) in [
            (mysql, &b"\x01\0"[..], Ok(None)),
            (mysql, b"\x01\0\0", Ok(None)),
            (mysql, b"\x01\0\0\0a", Ok(Some(5))),
            (mysql, b"\0\x01\0", Ok(None)),
            (mysql, b"\0\0\x01", Err(FrameTooLong)),
            (postgres, b"E\0\0\0\x05x", Ok(Some(6))),
            (postgres, b"E\0\0\0\x04", Ok(Some(5))),
            (postgres, b"E\0\0\0\x03", Err(BadFrame)),
            (LengthField { size: 8, ..Default::default() }, &[0xff; 8], Err(FrameTooLong)),
            (LengthField { size: 1, add: i32::MIN, ..Default::default() }, &[9; 9], Err(BadFrame)),
        ] {
            assert_eq!(frame(Frame::Length(field), bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn the_shortest_match_is_found_whatever_was_tried() {
        let window = b"xx aaab aaab";
        for (pattern, expected) in [("a+", 4), ("(?s).*b", 7), ("^", 0), ("", 0), ("b a", 9)] {
            let regex = Regex::new(pattern).unwrap();
            assert_eq!(shortest_match(&regex, window, None), Some(expected), "{pattern}");
            for tried in 0..expected {
                assert_eq!(shortest_match(&regex, window, Some(tried)), Some(expected));
            }
        }
        assert_eq!(shortest_match(&Regex::new("c").unwrap(), window, None), None);
    }
}
