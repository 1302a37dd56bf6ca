//! The error type of the whole crate: one sentence for the user, and what to try.

use std::fmt;

/// A result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as one sentence for the user, and optionally what to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    kind: Kind,
    message: String,
    help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// An ordinary error, which a script may catch.
    Failed,
    /// The user interrupted the work.
    Interrupted,
    /// A limit of the whole run was reached.
    Ended,
}

impl Error {
    /// An ordinary error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into(), help: None }
    }

    /// The error of work that the user interrupted with Ctrl-C.
    pub fn interrupted() -> Self {
        Self { kind: Kind::Interrupted, message: "interrupted".into(), help: None }
    }

    /// The error of a run that has reached a limit. No script can catch it.
    pub fn ended(message: impl Into<String>) -> Self {
        Self { kind: Kind::Ended, message: message.into(), help: None }
    }

    /// Adds what to try.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts the place of the error before its message: `place: message`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The sentence, without the help.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to try.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether the user interrupted the work.
    pub fn is_interrupted(&self) -> bool {
        self.kind == Kind::Interrupted
    }

    /// Whether the error ends the run: a script can't catch it.
    pub fn ends_the_run(&self) -> bool {
        self.kind != Kind::Failed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        // With RUST_BACKTRACE candle appends a backtrace on further lines.
        Self::new(error.to_string().lines().next().unwrap_or_default())
    }
}

/// The message of a JSON or TOML parser, with the names of Rust types replaced by words of those
/// formats: `u64` becomes "a whole number that is not negative".
pub fn without_rust_types(message: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut all = message.split(' ');
    while let Some(word) = all.next() {
        match word.trim_end_matches([',', ';', '.']) {
            "struct" | "enum" | "tuple" => {
                all.next();
                words.push("a map");
            }
            "u8" | "u16" | "u32" | "u64" | "usize" => {
                words.push("a whole number that is not negative")
            }
            "i8" | "i16" | "i32" | "i64" | "isize" => words.push("a whole number"),
            "f32" | "f64" => words.push("a number"),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

/// An [`Error`] from a format string: `error!("no point called {name}")`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::Error::new(format!($($arg)*)) };
}

/// Returns an [`Error`] from a format string: `bail!("no point called {name}")`.
#[macro_export]
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::error!($($arg)*)) };
}

/// The at most three names that are most similar to `name`, best first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = name.to_lowercase();
    let near = |known: &str| strsim::jaro_winkler(&lower, &known.to_lowercase());
    let mut scored: Vec<(f64, &str)> =
        known.into_iter().map(|k| (near(k), k)).filter(|(score, _)| *score > 0.8).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    // A name that differs only in capitals is certainly meant.
    if scored.first().is_some_and(|(score, _)| *score == 1.0) {
        scored.truncate(1);
    }
    scored.into_iter().take(3).map(|(_, k)| k).collect()
}

/// `did you mean a, b or c?`; if no name is similar, the whole list if it is short.
pub fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    match nearest(name, known.clone()).as_slice() {
        [] => {
            let all: Vec<&str> = known.into_iter().collect();
            (!all.is_empty() && all.len() <= 40).then(|| format!("there are {}", all.join(", ")))
        }
        [one] => Some(format!("did you mean {one}?")),
        [rest @ .., last] => Some(format!("did you mean {} or {last}?", rest.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_data_is_said_without_types_of_rust() {
        for (said, words) in [
            (
                "invalid type: string \"a\", expected u64 at line 1",
                "invalid type: string \"a\", expected a whole number that is not negative at line 1",
            ),
            (
                "invalid type: integer `1`, expected struct Record at line 1",
                "invalid type: integer `1`, expected a map at line 1",
            ),
            ("invalid type: null, expected f64", "invalid type: null, expected a number"),
            ("missing field `f64_count`", "missing field `f64_count`"),
        ] {
            assert_eq!(without_rust_types(said), words);
        }
    }
}
