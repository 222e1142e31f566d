//! Colour: on a terminal only, and not against the user's wish.

use std::ffi::OsStr;

use clap::ValueEnum;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Whether colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// Colour by the choice, by `NO_COLOR` (set and not empty means no, <https://no-color.org>), by
    /// `TERM=dumb`, and by whether the output is a terminal.
    pub(crate) fn choose(
        choice: ColorChoice,
        no_color: Option<&OsStr>,
        term: Option<&OsStr>,
        is_terminal: bool,
    ) -> Self {
        let auto = || {
            let unwanted = no_color.is_some_and(|value| !value.is_empty());
            is_terminal && !unwanted && term != Some(OsStr::new("dumb"))
        };
        let on = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => auto(),
        };
        Style { on }
    }

    /// A text in the colour of a status: `pass`, `fail` or `unknown`.
    pub(crate) fn status(self, status: &str, text: &str) -> String {
        let code = match status {
            "pass" => 32,
            "fail" => 31,
            _ => 33,
        };
        self.paint(&format!("1;{code}"), text)
    }

    /// A heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, codes: &str, text: &str) -> String {
        if self.on { format!("\x1b[{codes}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_without_no_color() {
        let on = |choice, no_color: Option<&str>, term: Option<&str>, terminal| {
            Style::choose(choice, no_color.map(OsStr::new), term.map(OsStr::new), terminal).on
        };
        assert!(on(ColorChoice::Auto, None, Some("xterm"), true));
        assert!(on(ColorChoice::Auto, Some(""), None, true));
        assert!(!on(ColorChoice::Auto, Some("1"), None, true));
        assert!(!on(ColorChoice::Auto, None, Some("dumb"), true));
        assert!(!on(ColorChoice::Auto, None, None, false));
        assert!(on(ColorChoice::Always, Some("1"), None, false));
        assert!(!on(ColorChoice::Never, None, None, true));
    }

    #[test]
    fn without_colour_nothing_is_added() {
        assert_eq!(Style { on: false }.status("fail", "FAIL"), "FAIL");
        assert_eq!(Style { on: true }.status("fail", "FAIL"), "\x1b[1;31mFAIL\x1b[0m");
    }
}
