//! Templates and the values they take.

use std::collections::BTreeMap;

use crate::script::CaptureScope;

/// A parsed template. The rules are on [`Script`](crate::script::Script).
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Group(usize),
    Name(String),
}

impl Template {
    pub(super) fn parse(template: &[u8]) -> Self {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.iter().position(|&byte| byte == b'$') {
            let (before, after) = rest.split_at(at);
            literal.extend_from_slice(before);
            rest = after.get(1..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix(b"$") {
                literal.push(b'$');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(
                    group_number(name).map_or_else(|| Piece::Name(name.to_owned()), Piece::Group),
                );
                rest = after;
            } else {
                literal.push(b'$');
            }
        }
        literal.extend_from_slice(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Self { pieces }
    }

    /// The text with `values` put in, if it has at most `max` bytes.
    pub(super) fn expand(&self, values: &Values, max: usize) -> Option<Expanded> {
        let mut expanded = Expanded::default();
        for piece in &self.pieces {
            let bytes = match piece {
                Piece::Literal(bytes) => bytes,
                Piece::Group(_) | Piece::Name(_) => {
                    let Some(value) = values.find(piece) else { continue };
                    expanded.secret |= value.secret;
                    if expanded.line_break.is_none() && value.has_line_break() {
                        expanded.line_break = Some(value.bytes.clone());
                    }
                    &value.bytes
                }
            };
            if expanded.bytes.len().saturating_add(bytes.len()) > max {
                return None;
            }
            expanded.bytes.extend_from_slice(bytes);
        }
        Some(expanded)
    }
}

/// `name` or `{name}` at the start of `bytes`, and what comes after it.
fn reference(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let braced = bytes.strip_prefix(b"{");
    let bytes = braced.unwrap_or(bytes);
    let mut length = 0;
    while let Some(c) = bytes.get(length..).and_then(first_char) {
        if !is_name_char(c) {
            break;
        }
        length += c.len_utf8();
    }
    let (name, rest) = bytes.split_at_checked(length)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    match braced {
        Some(_) => Some((name, rest.strip_prefix(b"}")?)),
        None => Some((name, rest)),
    }
}

fn first_char(bytes: &[u8]) -> Option<char> {
    (1..=4).find_map(|length| {
        std::str::from_utf8(bytes.get(..length)?).ok().and_then(|text| text.chars().next())
    })
}

fn is_name_char(c: char) -> bool {
    c == '_' || c.is_ascii_digit() || c.is_alphabetic()
}

/// Digits only, and no zero before others: `01` is a name, which no group has.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let padded = name.len() > 1 && name.starts_with('0');
    (is_number && !padded).then(|| name.parse().unwrap_or(usize::MAX))
}

/// Whether `name` can be told from a group's number and is one name in a template.
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name_char) && group_number(name).is_none()
}

/// A template with its values put in.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub(super) bytes: Vec<u8>,
    /// A secret value is in it.
    pub(super) secret: bool,
    /// The first value in it that holds CR or LF.
    pub(super) line_break: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) secret: bool,
}

impl Value {
    fn has_line_break(&self) -> bool {
        self.bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
    }
}

/// The groups of one match: number, name, value if the group took part.
pub(super) type Groups = Vec<(Option<String>, Option<Value>)>;

/// What templates can refer to.
#[derive(Debug)]
pub(super) struct Values {
    scope: CaptureScope,
    latest: Vec<Option<Value>>,
    named: BTreeMap<String, Value>,
    /// Set by the prober, or else by the script. There are few, often one: a map would take more
    /// memory than the rest of a waiting conversation.
    variables: Vec<(String, Value)>,
}

impl Values {
    pub(super) fn new(scope: CaptureScope) -> Self {
        Self { scope, latest: Vec::new(), named: BTreeMap::new(), variables: Vec::new() }
    }

    pub(super) fn set_variable(&mut self, name: String, bytes: Vec<u8>) {
        let value = Value { bytes, secret: false };
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => {
                self.variables.reserve_exact(1);
                self.variables.push((name, value));
            }
        }
    }

    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Takes over the groups of a match, the whole match first.
    pub(super) fn set_groups(&mut self, groups: Groups) {
        if self.scope == CaptureScope::Latest {
            self.named.clear();
        }
        self.latest.clear();
        for (name, value) in groups {
            if let Some(name) = name {
                match value.clone() {
                    Some(value) => self.named.insert(name, value),
                    None => self.named.remove(&name),
                };
            }
            self.latest.push(value);
        }
    }

    fn find(&self, piece: &Piece) -> Option<&Value> {
        match piece {
            Piece::Literal(_) => None,
            Piece::Group(index) => self.latest.get(*index)?.as_ref(),
            Piece::Name(name) => self.named.get(name).or_else(|| self.variable(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let value = |text: &str| Some(Value { bytes: text.into(), secret: false });
        let mut values = Values::new(CaptureScope::Script);
        values.set_groups(vec![
            (None, value("all")),
            (None, value("one")),
            (Some("name".into()), value("two")),
            (Some("gone".into()), None),
        ]);
        values.set_variable("host".into(), b"example.org".to_vec());
        values
    }

    fn expand(template: &str) -> String {
        let expanded = Template::parse(template.as_bytes()).expand(&values(), 4096).unwrap();
        String::from_utf8(expanded.bytes).unwrap()
    }

    #[test]
    fn references_follow_the_rules_of_go() {
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$0 $1 ${2} $name ${name}", "all one two two two"),
            ("got ${1} here, ${1} on $2.", "got one here, one on two."),
            ("$1z ${1}z $namex", " onez "),
            ("$3 $4 $gone $nosuch $01 ${00}", "     "),
            ("$$1 $$$1 $$", "$1 $one $"),
            ("$ $- ${} ${name ${na-me} $", "$ $- ${} ${name ${na-me} $"),
            ("é$1é", "é"),
            ("$99999999999999999999999", ""),
            ("$host", "example.org"),
        ] {
            assert_eq!(expand(template), expected, "{template}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_pass_through() {
        let template = Template::parse(b"\xff$1\xfe$\xc3$");
        assert_eq!(template.expand(&values(), 99).unwrap().bytes, b"\xffone\xfe$\xc3$");
    }

    #[test]
    fn the_limit_counts_expanded_bytes() {
        let template = Template::parse(b"ab$1");
        assert_eq!(template.expand(&values(), 5).unwrap().bytes, b"abone");
        assert!(template.expand(&values(), 4).is_none());
    }

    #[test]
    fn a_later_match_replaces_names_by_scope() {
        for (scope, expected) in [(CaptureScope::Script, "two"), (CaptureScope::Latest, "")] {
            let mut values = Values { scope, ..values() };
            values.set_groups(vec![(None, None)]);
            let expanded = Template::parse(b"$name$1").expand(&values, 99).unwrap();
            assert_eq!(expanded.bytes, expected.as_bytes());
        }
    }
}
