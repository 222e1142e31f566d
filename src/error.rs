//! What can go wrong before anything is sent: configuration and set-up.

use std::fmt;

/// A prober could not be built. Once it is built, nothing is an `Err` any more: a failed probe is a
/// [`ProbeResult`](crate::ProbeResult) whose verdict says what, where and whose.
///
/// ```
/// use netsonde::Error;
///
/// let error = Error::config("timeout", "must be longer than zero");
/// assert_eq!(error.to_string(), "timeout: must be longer than zero");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value in a configuration that cannot be used.
    Config {
        /// The path of the key, such as `tls.min_version` or `script.steps[3].expect`.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration asks for something that this build does not contain.
    Feature {
        /// The path of the key.
        key: String,
        /// The feature of this crate that has it.
        feature: &'static str,
    },
    /// A file that the configuration names could not be read or used.
    File {
        /// The path of the key.
        key: String,
        /// The file.
        path: std::path::PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl Error {
    /// A value that cannot be used.
    #[must_use]
    pub fn config(key: impl Into<String>, why: impl fmt::Display) -> Self {
        Error::Config { key: key.into(), why: why.to_string() }
    }

    /// Something that another build would have.
    #[must_use]
    pub fn feature(key: impl Into<String>, feature: &'static str) -> Self {
        Error::Feature { key: key.into(), feature }
    }

    /// A file that could not be used.
    #[must_use]
    pub fn file(
        key: impl Into<String>,
        path: impl Into<std::path::PathBuf>,
        source: std::io::Error,
    ) -> Self {
        Error::File { key: key.into(), path: path.into(), source }
    }

    /// The same error with `prefix.` in front of its key.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        let (Error::Config { key, .. } | Error::Feature { key, .. } | Error::File { key, .. }) =
            &mut self;
        *key = if key.is_empty() { prefix.to_owned() } else { format!("{prefix}.{key}") };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config { key, why } => write!(f, "{key}: {why}"),
            Error::Feature { key, feature } => {
                write!(f, "{key}: this build lacks the feature `{feature}`")
            }
            Error::File { key, path, .. } => write!(f, "{key}: cannot use {}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
