//! Scripts from files: YAML, with errors that say where.

use std::fmt;
use std::path::{Path, PathBuf};

use netsonde::Error;
use netsonde::script::{Dialogue, Script};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

/// Where a script comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// It came with the library.
    Ready(Dialogue),
    /// A file that was read.
    File {
        /// Its name, for messages.
        path: PathBuf,
        /// What is in it.
        text: String,
        /// The same as a script.
        script: Script,
    },
}

/// A file is no script. Shows the place and the key, never the text around it, which may hold a
/// password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    path: PathBuf,
    /// Line and column, from 1.
    place: Option<(u64, u64)>,
    /// The path of the key, such as `steps[2].expect`.
    key: String,
    why: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

/// Finds a script: a ready dialogue if it has the name of one, else a file.
///
/// # Errors
/// The file cannot be read or is no script.
pub(crate) fn find(name: &Path) -> Result<Source, FileError> {
    if let Some(dialogue) = name.to_str().and_then(Dialogue::by_name) {
        return Ok(Source::Ready(dialogue));
    }
    let path = name.to_owned();
    match std::fs::read_to_string(name) {
        Ok(text) => parse(&path, &text).map(|script| Source::File { path, text, script }),
        Err(error) => {
            Err(FileError { path, place: None, key: String::new(), why: error.to_string() })
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<Script, FileError> {
    let mut key = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error: serde_saphyr::Error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let whole = error.without_snippet().to_string();
        // The place stands in front already.
        let why = place.and_then(|(line, column)| {
            whole.strip_suffix(&format!(" at line {line}, column {column}"))
        });
        let why = why.unwrap_or(&whole).to_owned();
        let key = if key == "." { String::new() } else { key.clone() };
        FileError { path: path.to_owned(), place, key, why }
    })
}

impl Source {
    /// The dialogue and the script, of which one is set.
    pub(crate) fn parts(&self) -> (Option<Dialogue>, Script) {
        match self {
            Source::Ready(dialogue) => (Some(*dialogue), Script::default()),
            Source::File { script, .. } => (None, script.clone()),
        }
    }

    /// Whether the script starts TLS.
    pub(crate) fn starts_tls(&self) -> bool {
        match self {
            Source::Ready(dialogue) => dialogue.uses_starttls(),
            Source::File { script, .. } => script.uses_starttls(),
        }
    }

    /// The port its protocol is usual at, if it is a ready dialogue.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Source::Ready(dialogue) => Some(dialogue.port()),
            Source::File { .. } => None,
        }
    }

    /// What a prober says about the script, with the place in the file if it is from one.
    pub(crate) fn explain(&self, error: &Error) -> String {
        let (Source::File { path, text, .. }, Error::Config { key, why }) = (self, error) else {
            return with_causes(error);
        };
        let Some(key) = key.strip_prefix("script.") else { return with_causes(error) };
        let (place, key, why) = (place_of(text, key), key.to_owned(), why.clone());
        FileError { path: path.clone(), place, key, why }.to_string()
    }
}

/// An error and what caused it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out.push_str(&format!(": {error}"));
        cause = error.source();
    }
    out
}

/// Where `steps[2].expect`, or the step if it has no such key, stands in the file.
fn place_of(text: &str, key: &str) -> Option<(u64, u64)> {
    #[derive(Deserialize)]
    struct Places {
        steps: Vec<Spanned<IgnoredAny>>,
    }
    #[derive(Deserialize)]
    struct FieldPlaces {
        steps: Vec<std::collections::BTreeMap<String, Spanned<IgnoredAny>>>,
    }
    let (index, rest) = key.strip_prefix("steps[")?.split_once(']')?;
    let index: usize = index.parse().ok()?;
    let field = rest.strip_prefix('.').unwrap_or("").split(['.', '[']).next().unwrap_or("");
    let fields: Option<FieldPlaces> = serde_saphyr::from_str(text).ok();
    let field = fields.and_then(|places| {
        places.steps.get(index).and_then(|step| step.get(field)).map(|place| place.referenced)
    });
    let step = || {
        let places: Option<Places> = serde_saphyr::from_str(text).ok();
        places.and_then(|places| places.steps.get(index).map(|place| place.referenced))
    };
    field.or_else(step).map(|at| (at.line(), at.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(Path::new("a.yml"), text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_file_the_place_and_the_key() {
        for (text, wanted) in [
            ("steps:\n  - expct: '^220'\n", "a.yml:2:5: steps[0].expct: unknown field `expct`"),
            (
                "steps:\n  - send: a\n  - expect: b\n    max_lines: many\n",
                "a.yml:4:16: steps[1].max_lines: invalid u32",
            ),
            ("stps: []\n", "a.yml:1:1: stps: unknown field `stps`"),
            (
                "steps:\n  - frame: {lengt: {size: 3}}\n",
                "a.yml:2:13: steps[0].frame: unknown variant",
            ),
        ] {
            let error = refused(text);
            assert!(error.starts_with(wanted), "{error}");
            assert!(!error.contains("at line"), "{error}");
        }
    }

    #[test]
    fn errors_do_not_show_the_text_around_them() {
        let error = refused("steps:\n  - send: canary-password\n  - bad: 1\n");
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn what_a_prober_says_gets_its_place() {
        let text = "steps:\n  - send: a\n  - name: x\n    expect: '('\n".to_owned();
        let script = parse(Path::new("a.yml"), &text).unwrap();
        let source = Source::File { path: "a.yml".into(), text, script };
        let said = |key: &str| source.explain(&Error::config(key, "bad"));
        assert_eq!(said("script.steps[1].expect"), "a.yml:4:13: steps[1].expect: bad");
        assert_eq!(said("script.steps[1]"), "a.yml:3:5: steps[1]: bad");
        assert_eq!(said("script.steps[1].until"), "a.yml:3:5: steps[1].until: bad");
        assert_eq!(said("script.steps[9]"), "a.yml: steps[9]: bad");
        assert_eq!(said("timeout"), "timeout: bad");
    }

    #[test]
    fn a_dialogue_has_no_place() {
        let Source::Ready(dialogue) = find(Path::new("smtp")).unwrap() else { panic!("a file") };
        assert_eq!(dialogue.name(), "smtp");
        assert!(find(Path::new("./smtp")).is_err());
    }
}
