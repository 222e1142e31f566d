//! From a script as written to one that can run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::template::{Template, is_variable_name};
use crate::script::{
    CaptureScope, Frame, Label, Script, ScriptError, ScriptLimits, Step, StepKind, StepProblem,
};

/// A script that was checked and whose patterns are compiled. One serves any number of
/// [`ScriptEngine`](super::ScriptEngine)s at once.
pub struct CompiledScript {
    pub(super) steps: Vec<CompiledStep>,
    pub(super) variables: BTreeMap<String, Template>,
    pub(super) captures: CaptureScope,
    pub(super) limits: ScriptLimits,
}

impl fmt::Debug for CompiledScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The steps may hold secrets, and as bytes they tell nobody anything.
        f.debug_struct("CompiledScript").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

impl CompiledScript {
    /// Checks and compiles a script.
    ///
    /// # Errors
    ///
    /// When the script has too many steps, when a step is of no kind or of several, when a field
    /// does not apply to its step, when a pattern is malformed or too large, when hexadecimal or a
    /// label's or variable's name is malformed, when a label is set twice, or when TLS would start
    /// twice.
    ///
    /// ```
    /// use netsonde::engine::script::CompiledScript;
    /// use netsonde::script::{Script, ScriptLimits, Step};
    ///
    /// let script = Script::new([Step::expect("ok"), Step { send: Some("x".into()), ..Step::starttls() }]);
    /// let error = CompiledScript::new(&script, &ScriptLimits::default()).unwrap_err();
    /// let expected = "steps[1]: a step does one thing, and this has send and starttls";
    /// assert_eq!(error.to_string(), expected);
    /// ```
    pub fn new(script: &Script, limits: &ScriptLimits) -> Result<Self, ScriptError> {
        if script.steps.len() > limits.steps {
            let steps = script.steps.len();
            return Err(ScriptError::TooManySteps { limit: limits.steps, steps });
        }
        let mut variables = BTreeMap::new();
        for (name, value) in &script.variables {
            if !is_variable_name(name) {
                return Err(ScriptError::VariableName { name: name.clone() });
            }
            variables.insert(name.clone(), Template::parse(value.as_bytes()));
        }
        let mut compiler = Compiler { limits, first_starttls: None, labels: BTreeSet::new() };
        let mut steps = Vec::with_capacity(script.steps.len());
        for (index, step) in script.steps.iter().enumerate() {
            let compiled = compiler.step(index, step).map_err(|problem| match problem {
                // The parser quotes the pattern.
                StepProblem::Pattern { field, .. } if step.secret => {
                    StepProblem::Pattern { field, message: "not well formed".to_owned() }
                }
                problem => problem,
            });
            steps.push(compiled.map_err(|problem| ScriptError::Step { index, problem })?);
        }
        Ok(Self { steps, variables, captures: script.captures, limits: *limits })
    }

    /// The step that starts TLS, counted from 0.
    pub fn starttls_step(&self) -> Option<usize> {
        self.steps.iter().position(|step| matches!(step.op, Op::StartTls))
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step, so that the script passes at once.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

pub(super) struct CompiledStep {
    pub(super) name: Option<String>,
    pub(super) kind: StepKind,
    pub(super) secret: bool,
    pub(super) labels: Vec<(String, Template)>,
    pub(super) op: Op,
}

pub(super) enum Op {
    Bytes(Vec<u8>),
    /// The empty pattern: matches without looking.
    Nothing,
    Raw {
        expect: Regex,
        reject: Option<Regex>,
    },
    Send(Vec<u8>),
    SendTemplate {
        template: Template,
        allow_line_breaks: bool,
    },
    StartTls,
    /// Lines or frames.
    Units(Units),
}

pub(super) struct Units {
    pub(super) frame: Option<Frame>,
    pub(super) expect: Regex,
    pub(super) reject: Option<Regex>,
    pub(super) until: Option<Regex>,
    pub(super) max: Option<u32>,
}

struct Compiler<'a> {
    limits: &'a ScriptLimits,
    first_starttls: Option<usize>,
    labels: BTreeSet<String>,
}

impl Compiler<'_> {
    fn step(&mut self, index: usize, step: &Step) -> Result<CompiledStep, StepProblem> {
        let fields = kinds(step);
        if fields.len() > 1 {
            return Err(StepProblem::SeveralKinds { fields });
        }
        check_placement(step)?;
        let (kind, op) = if let Some(pattern) = &step.expect {
            (StepKind::Expect, self.expect(step, pattern)?)
        } else if let Some(pattern) = &step.expect_raw {
            (StepKind::ExpectRaw, self.expect_raw(step, pattern)?)
        } else if let Some(text) = &step.expect_bytes {
            (StepKind::ExpectBytes, Op::Bytes(text.clone().into_bytes()))
        } else if let Some(digits) = &step.expect_hex {
            (StepKind::ExpectBytes, Op::Bytes(unhex("expect_hex", digits)?))
        } else if let Some(text) = &step.send {
            (StepKind::Send, send(step, text.clone().into_bytes()))
        } else if let Some(digits) = &step.send_hex {
            (StepKind::Send, send(step, unhex("send_hex", digits)?))
        } else if step.starttls {
            if let Some(first) = self.first_starttls {
                return Err(StepProblem::SecondStartTls { first });
            }
            self.first_starttls = Some(index);
            (StepKind::StartTls, Op::StartTls)
        } else {
            return Err(StepProblem::NoKind);
        };
        let labels = step.labels.iter().map(|label| self.label(label));
        Ok(CompiledStep {
            name: step.name.clone(),
            kind,
            secret: step.secret,
            labels: labels.collect::<Result<_, _>>()?,
            op,
        })
    }

    fn expect(&self, step: &Step, pattern: &str) -> Result<Op, StepProblem> {
        if pattern.is_empty() && step.until.is_none() {
            return Ok(Op::Nothing);
        }
        if let Some(Frame::Length(field)) = step.frame
            && !(1..=8).contains(&field.size)
        {
            return Err(StepProblem::Range { field: "frame", allowed: "of a size of 1 to 8" });
        }
        if step.max_lines == Some(0) {
            return Err(StepProblem::Range { field: "max_lines", allowed: "at least 1" });
        }
        Ok(Op::Units(Units {
            frame: step.frame,
            expect: self.regex("expect", pattern)?,
            reject: self.optional("reject", step.reject.as_deref())?,
            until: self.optional("until", step.until.as_deref())?,
            max: step.max_lines,
        }))
    }

    fn expect_raw(&self, step: &Step, pattern: &str) -> Result<Op, StepProblem> {
        let raw = [("expect_raw", Some(pattern)), ("reject", step.reject.as_deref())];
        for (field, pattern) in raw {
            if let Some(assertion) = pattern.and_then(look_ahead) {
                return Err(StepProblem::LookAhead { field, assertion });
            }
        }
        if pattern.is_empty() {
            return Ok(Op::Nothing);
        }
        Ok(Op::Raw {
            expect: self.regex("expect_raw", pattern)?,
            reject: self.optional("reject", step.reject.as_deref())?,
        })
    }

    fn optional(
        &self,
        field: &'static str,
        pattern: Option<&str>,
    ) -> Result<Option<Regex>, StepProblem> {
        pattern.map(|pattern| self.regex(field, pattern)).transpose()
    }

    fn regex(&self, field: &'static str, pattern: &str) -> Result<Regex, StepProblem> {
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(self.limits.pattern)
            .dfa_size_limit(self.limits.pattern)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => StepProblem::PatternSize { field, limit },
                error => StepProblem::Pattern { field, message: error.to_string() },
            })
    }

    fn label(&mut self, label: &Label) -> Result<(String, Template), StepProblem> {
        let name = label.name.clone();
        let mut letters = label.name.bytes();
        let first = letters.next().is_some_and(|c| c == b'_' || c.is_ascii_alphabetic());
        if !first || !letters.all(|c| c == b'_' || c.is_ascii_alphanumeric()) {
            return Err(StepProblem::LabelName { name });
        }
        if !self.labels.insert(name.clone()) {
            return Err(StepProblem::LabelDuplicate { name });
        }
        Ok((name, Template::parse(label.value.as_bytes())))
    }
}

/// The fields of a step that each make it one of a kind.
fn kinds(step: &Step) -> Vec<&'static str> {
    let set = [
        step.expect.is_some(),
        step.expect_bytes.is_some(),
        step.expect_hex.is_some(),
        step.expect_raw.is_some(),
        step.send.is_some(),
        step.send_hex.is_some(),
        step.starttls,
    ];
    StepKind::FIELDS.into_iter().zip(set).filter_map(|(field, set)| set.then_some(field)).collect()
}

/// Refuses fields that would have no effect.
fn check_placement(step: &Step) -> Result<(), StepProblem> {
    let expects = step.expect.is_some();
    let matches = expects || step.expect_raw.is_some();
    let looks =
        step.expect.as_deref().is_some_and(|pattern| !pattern.is_empty() || step.until.is_some());
    let rejects = looks || step.expect_raw.as_deref().is_some_and(|pattern| !pattern.is_empty());
    let sends = step.send.is_some() || step.send_hex.is_some();
    let rules = [
        ("reject", step.reject.is_some(), rejects, "expect or expect_raw that is not empty"),
        ("until", step.until.is_some(), expects, "expect"),
        ("frame", step.frame.is_some(), looks, "expect that is not empty"),
        ("max_lines", step.max_lines.is_some(), looks, "expect that is not empty"),
        ("labels", !step.labels.is_empty(), matches, "expect or expect_raw"),
        ("labels", !step.labels.is_empty(), !step.secret, "a step that is not secret"),
        ("expand", step.expand, sends, "send or send_hex"),
        ("allow_line_breaks", step.allow_line_breaks, step.expand, "expand"),
        ("secret", step.secret, !step.starttls, "a step other than starttls"),
    ];
    for (field, set, allowed, needs) in rules {
        if set && !allowed {
            return Err(StepProblem::Misplaced { field, needs });
        }
    }
    Ok(())
}

fn send(step: &Step, bytes: Vec<u8>) -> Op {
    if step.expand {
        let template = Template::parse(&bytes);
        Op::SendTemplate { template, allow_line_breaks: step.allow_line_breaks }
    } else {
        Op::Send(bytes)
    }
}

fn unhex(field: &'static str, text: &str) -> Result<Vec<u8>, StepProblem> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (offset, c) in text.char_indices() {
        match (c.to_digit(16), high) {
            (Some(digit), None) => high = Some((offset, digit)),
            (Some(digit), Some((_, high_digit))) => {
                // Two digits of 16 fit into a byte.
                bytes.push((high_digit << 4 | digit) as u8);
                high = None;
            }
            (None, None) if c.is_ascii_whitespace() => {}
            (None, _) => return Err(StepProblem::Hex { field, offset }),
        }
    }
    match high {
        Some((offset, _)) => Err(StepProblem::Hex { field, offset }),
        None => Ok(bytes),
    }
}

/// The first assertion in a pattern that looks at what follows. The `regex` crate does not say, so
/// this reads the pattern; in a comment of `(?x)` it may find one where there is none.
fn look_ahead(pattern: &str) -> Option<String> {
    let mut chars = pattern.chars().peekable();
    let mut classes = 0_usize;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next()?;
                if classes == 0 && matches!(escaped, 'z' | 'b' | 'B' | '<' | '>') {
                    return Some(format!("\\{escaped}"));
                }
            }
            '[' => {
                classes = classes.saturating_add(1);
                // A bracket right after the opening one, or after its `^`, is a literal.
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
            }
            ']' => classes = classes.saturating_sub(1),
            '$' if classes == 0 => return Some("$".to_owned()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{look_ahead, unhex};
    use crate::script::StepProblem;

    #[test]
    fn assertions_about_what_follows_are_found() {
        for (pattern, expected) in [
            ("a$", Some("$")),
            (r"a\$", None),
            (r"[$\]$]", None),
            ("[]$]", None),
            ("[^]$]", None),
            ("[a&&[^$]]", None),
            ("[a&&[^b]]$", Some("$")),
            (r"\\$", Some("$")),
            (r"(?m)^x\b", Some(r"\b")),
            (r"x\z", Some(r"\z")),
            (r"\x24\n(?:a|b)*", None),
            ("x\\", None),
            ("[:alpha:]$", Some("$")),
            ("[[:alpha:]$]", None),
        ] {
            assert_eq!(look_ahead(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn hexadecimal_is_pairs_of_digits_with_space_between() {
        assert_eq!(unhex("x", "00 fF\n7e "), Ok(vec![0, 0xff, 0x7e]));
        assert_eq!(unhex("x", ""), Ok(vec![]));
        for (text, offset) in [("0", 0), ("00f", 2), ("0 0", 1), ("00 0x", 4), ("é0", 0)] {
            assert_eq!(unhex("x", text), Err(StepProblem::Hex { field: "x", offset }), "{text}");
        }
    }
}
