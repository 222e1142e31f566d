//! The engine against a slow reading of its rules, and every way to cut the input.

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;

/// Steps that need no other fields. The patterns share few letters so that chance meets them.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::sample::select(vec!["^a", "b$", "^$", "a.*b", "", "(?:)", "^\\r", "[^a]"])
            .prop_map(Step::expect),
        prop::sample::select(vec!["a\nb", "ab+", "(?s)b.*a", "\n", "^a|^b", "b|a*"])
            .prop_map(Step::expect_raw),
        prop::sample::select(vec!["a", "ab", "b\n", "\r", ""]).prop_map(Step::expect_bytes),
        prop::sample::select(vec!["", "x", "xyz"]).prop_map(Step::send),
        Just(Step::expect("^aa").with_reject("^b")),
        Just(Step::expect("b").with_until("^a")),
        Just(Step::expect_raw("ba").with_reject("aa|\r")),
        Just(Step::expect("^aaa").with_max_lines(2)),
    ]
}

fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![b'a', b'a', b'b', b'b', b'\n', b'\n', b'\r']);
    prop::collection::vec(byte, 0..40)
}

/// What each step matched, and whether all passed. Knows the whole input from the start.
fn reference(steps: &[Step], input: &[u8], closed: bool) -> (Vec<Vec<u8>>, bool) {
    let regex = |pattern: &str| Regex::new(&format!("(?-u){pattern}")).unwrap();
    let is = |pattern: &Option<String>, bytes: &[u8]| {
        pattern.as_deref().is_some_and(|pattern| regex(pattern).is_match(bytes))
    };
    let mut rest = input;
    let mut matched = Vec::new();
    for step in steps {
        if step.send.is_some() || step.expect.as_deref() == Some("") {
            continue;
        } else if let Some(expected) = &step.expect_bytes {
            let Some(left) = rest.strip_prefix(expected.as_bytes()) else {
                return (matched, false);
            };
            rest = left;
            matched.push(expected.clone().into_bytes());
        } else if let Some(pattern) = &step.expect_raw {
            let prefixes = (0..=rest.len()).map(|length| &rest[..length]);
            let mut found = None;
            for prefix in prefixes {
                if is(&step.expect_raw, prefix) {
                    found = Some(prefix);
                    break;
                }
                if is(&step.reject, prefix) {
                    break;
                }
            }
            let Some(prefix) = found else { return (matched, false) };
            rest = &rest[prefix.len()..];
            matched.push(regex(pattern).find(prefix).unwrap().as_bytes().to_vec());
        } else {
            let mut hit: Option<Vec<u8>> = None;
            let mut lines = 0;
            loop {
                let end = rest.iter().position(|&byte| byte == b'\n');
                let line = match end {
                    Some(end) => &rest[..end],
                    None if closed && !rest.is_empty() => rest,
                    None => return (matched, false),
                };
                rest = end.map_or(&[], |end| &rest[end + 1..]);
                lines += 1;
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if hit.is_none() && is(&step.expect, line) {
                    hit = Some(line.to_vec());
                } else if is(&step.reject, line) {
                    return (matched, false);
                }
                let last = if step.until.is_some() { is(&step.until, line) } else { hit.is_some() };
                if last {
                    break;
                }
                if step.max_lines == Some(lines) {
                    return (matched, false);
                }
            }
            let Some(hit) = hit else { return (matched, false) };
            matched.push(hit);
        }
    }
    (matched, true)
}

fn cut<'a>(mut input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = input.split_at((*cut).min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces.push(input);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_engine_agrees_with_the_reference(
        steps in prop::collection::vec(any_step(), 0..6),
        input in any_input(),
        cuts in prop::collection::vec(0_usize..6, 0..12),
        close: bool,
    ) {
        let then = if close { Then::Close } else { Then::Silence };
        let (matched, passed) = reference(&steps, &input, close);
        let played = play(engine(steps.clone()), cut(&input, &cuts), then);
        prop_assert_eq!(played.passed, passed);
        prop_assert_eq!(close && played.waits(), false);
        let done = played.report.steps.iter().filter(|step| step.outcome == StepOutcome::Passed);
        let texts = done.filter_map(|step| step.matched.clone());
        let expected = matched.iter().map(|bytes| String::from_utf8_lossy(bytes).escape_default().to_string());
        prop_assert_eq!(texts.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let sends = steps.iter().filter_map(|step| step.send.as_deref());
        prop_assert!(sends.collect::<String>().as_bytes().starts_with(&played.sent));
    }
}
