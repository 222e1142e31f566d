//! Rust text as the rules see it: code, comments and test modules told apart.

use std::fs;
use std::path::Path;

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the root of the tree.
    pub(crate) path: String,
    lines: Vec<Line>,
}

struct Line {
    /// Without comments and without what stands in quotes.
    code: String,
    comment: String,
    in_test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut lines = split(text);
        mark_tests(&mut lines);
        Source { path: path.to_owned(), lines }
    }

    pub(crate) fn is_under(&self, folder: &str) -> bool {
        let rest = self.path.strip_prefix(folder);
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") && !self.path.starts_with("tests/support/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }

    /// Line numbers and code.
    pub(crate) fn code(&self, with_tests: bool) -> impl Iterator<Item = (usize, &str)> {
        let wanted = with_tests || !self.is_test();
        let lines = self.lines.iter().zip(1..).filter(move |_| wanted);
        let lines = lines.filter(move |(line, _)| with_tests || !line.in_test);
        lines.map(|(line, number)| (number, line.code.as_str()))
    }

    /// Line numbers and comments.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().zip(1..).map(|(line, number)| (number, line.comment.as_str()))
    }

    pub(crate) fn lines_without_tests(&self) -> usize {
        self.lines.iter().filter(|line| !line.in_test).count()
    }
}

/// Every Rust file of the tree, build folders left out.
pub(crate) fn tree(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "examples", "tests", "benches", "fuzz"] {
        walk(root, folder, &mut |path, text| {
            if path.ends_with(".rs") {
                files.push(Source::new(path, text));
            }
        });
    }
    files
}

/// Every file that a reader of the project opens, with its path.
pub(crate) fn documents(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut keep = |path: &str, text: &str| files.push((path.to_owned(), text.to_owned()));
    for folder in ["docs", "src", "examples", "tests", "benches", ".ci"] {
        walk(root, folder, &mut keep);
    }
    for file in ["README.md", "CHANGELOG.md", "Cargo.toml", "deny.toml"] {
        if let Ok(text) = fs::read_to_string(root.join(file)) {
            keep(file, &text);
        }
    }
    files
}

fn walk(root: &Path, folder: &str, visit: &mut impl FnMut(&str, &str)) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            if !["fuzz/target", "fuzz/corpus"].contains(&path.as_str()) {
                walk(root, &path, visit);
            }
        } else if let Ok(text) = fs::read_to_string(root.join(&path)) {
            visit(&path, &text);
        }
    }
}

/// Lines that name a home folder.
pub(crate) fn machine_paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: [&str; 3] =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    text.lines().filter(|line| {
        FOLDERS.iter().any(|folder| {
            line.match_indices(folder).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c))
            })
        })
    })
}

/// Whether the word stands in the line by itself. Spaces do not matter: `a :: b` is `a::b`, and
/// `crate::{a, b::c}` holds `crate::a` and `crate::b`.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let line = line.split("::").map(str::trim).collect::<Vec<_>>().join("::");
    if stands(&line, word) {
        return true;
    }
    let Some((base, last)) = word.rsplit_once("::") else { return false };
    let group = format!("{base}::{{");
    line.match_indices(&group).any(|(at, _)| stands(&line[at + group.len()..], last))
}

fn stands(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let runs_on = |outside, inside| part(outside) && part(inside);
        let cut = runs_on(before, word.chars().next()) || runs_on(after, word.chars().next_back());
        !cut
    })
}

/// The name of the function that the line declares.
pub(crate) fn function_name(line: &str) -> Option<&str> {
    let at = line.find("fn ").filter(|at| *at == 0 || line[..*at].ends_with(' '))?;
    let name = line[at + 3..].trim_start();
    Some(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())])
}

/// Tells code from comments and blanks what stands in quotes.
fn split(text: &str) -> Vec<Line> {
    enum In {
        Code,
        LineComment,
        BlockComment(u32),
        Text,
        RawText(usize),
    }
    let mut lines = vec![Line { code: String::new(), comment: String::new(), in_test: false }];
    let mut state = In::Code;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut step = c.len_utf8();
        let line = lines.last_mut().expect("never empty");
        match &mut state {
            In::Code if rest.starts_with("//") => state = In::LineComment,
            In::Code if rest.starts_with("/*") => {
                state = In::BlockComment(1);
                step = 2;
            }
            In::Code if c == '"' => state = In::Text,
            In::Code if raw_hashes(&line.code, rest).is_some() => {
                let hashes = raw_hashes(&line.code, rest).unwrap_or(0);
                state = In::RawText(hashes);
                step = hashes + 2;
            }
            In::Code if char_literal(rest).is_some() => {
                step = char_literal(rest).unwrap_or(step);
            }
            In::Code if c != '\n' => line.code.push(c),
            In::LineComment if c == '\n' => state = In::Code,
            In::BlockComment(depth) if rest.starts_with("*/") => {
                *depth -= 1;
                step = 2;
                if *depth == 0 {
                    state = In::Code;
                }
            }
            In::BlockComment(depth) if rest.starts_with("/*") => {
                *depth += 1;
                step = 2;
            }
            In::LineComment | In::BlockComment(_) => line.comment.push(c),
            In::Text if c == '\\' => {
                step += rest[1..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
            }
            In::Text if c == '"' => state = In::Code,
            In::RawText(hashes) if c == '"' && rest[1..].starts_with(&"#".repeat(*hashes)) => {
                step += *hashes;
                state = In::Code;
            }
            In::Code | In::Text | In::RawText(_) => {}
        }
        if c == '\n' {
            lines.push(Line { code: String::new(), comment: String::new(), in_test: false });
        }
        rest = &rest[step..];
    }
    if text.ends_with('\n') || text.is_empty() {
        lines.pop();
    }
    lines
}

/// How many hashes open the raw string that begins here, if one does.
fn raw_hashes(before: &str, rest: &str) -> Option<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let tail = rest.strip_prefix('r')?;
    let before = before.strip_suffix('b').or(before.strip_suffix('c')).unwrap_or(before);
    let hashes = tail.bytes().take_while(|b| *b == b'#').count();
    (tail[hashes..].starts_with('"') && !before.ends_with(word)).then_some(hashes)
}

/// The bytes of the character literal that begins here; a lifetime is none.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    let skip =
        if first == '\\' { 1 + inner[1..].chars().next()?.len_utf8() } else { first.len_utf8() };
    match first {
        '\\' => inner[skip..].find('\'').map(|end| 1 + skip + end + 1),
        _ => inner[skip..].starts_with('\'').then_some(skip + 2),
    }
}

/// Marks the modules under `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        if lines[at].code.replace(' ', "").contains("#[cfg(test)]") {
            let mut depth = 0_i32;
            let mut opened = false;
            while let Some(line) = lines.get_mut(at) {
                line.in_test = true;
                for c in line.code.chars() {
                    match c {
                        '{' => (depth, opened) = (depth + 1, true),
                        '}' => depth -= 1,
                        _ => {}
                    }
                }
                let without_body = !opened && line.code.trim_end().ends_with(';');
                if without_body || (opened && depth <= 0) {
                    break;
                }
                at += 1;
            }
        }
        at += 1;
    }
}
