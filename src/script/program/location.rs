//! A place in a script, shown as its line with a caret below it.

use std::fmt;

use ratatui_core::text::Span;
use rhai::Position;

use super::source::Sources;

/// The columns of a source line that are shown around a caret.
const WIDTH: usize = 110;

/// A position in a script, with its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The script's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters; `None` if only the line is known.
    pub column: Option<usize>,
    /// The text of the line.
    pub text: String,
}

impl Location {
    /// The place of `position` in the script `file`; `None` if Rhai does not know the position.
    pub fn of(sources: &Sources, file: &str, position: Position) -> Option<Self> {
        // A text of this program's own has no name and is not shown.
        if file.is_empty() {
            return None;
        }
        let at = sources.at(file, position)?;
        let mut line = at.line;
        let mut column = position.position();
        let text_of = |line: usize| {
            at.source.as_ref().and_then(|source| source.line(line)).unwrap_or_default()
        };
        while at.source.is_some() && line > 1 && text_of(line).trim().is_empty() {
            // Something is missing at the end of the script: the place is the end of the last line
            // that is not blank.
            line -= 1;
            column = Some(text_of(line).trim_end().chars().count() + 1);
        }
        let text = text_of(line).to_owned();
        if let Some(at) = column {
            // Rhai reports an unknown property at the dot before it.
            let mut chars = text.chars().skip(at - 1);
            if chars.next() == Some('.') && chars.next().is_some_and(char::is_alphabetic) {
                column = Some(at + 1);
            }
        }
        Some(Self { file: at.id.clone(), line: at.before + line, column, text })
    }

    /// `file:line:column`.
    pub fn short(&self) -> String {
        match self.column {
            Some(column) => format!("{}:{}:{column}", self.file, self.line),
            None => format!("{}:{}", self.file, self.line),
        }
    }

    /// The identifier, or the single character, at the place.
    pub fn token(&self) -> String {
        let rest = || self.text.chars().skip(self.column.unwrap_or(1) - 1);
        let word: String = rest().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if word.is_empty() { rest().take(1).collect() } else { word }
    }

    /// Whether `=` follows: the token is assigned to.
    pub fn is_assigned(&self) -> bool {
        let skipped = self.column.unwrap_or(1) - 1 + self.token().chars().count();
        let after: String = self.text.chars().skip(skipped).collect();
        let after = after.trim_start();
        after.starts_with('=') && !after.starts_with("==")
    }

    /// Whether `(` follows: the token is called.
    pub fn is_called(&self) -> bool {
        let skipped = self.column.unwrap_or(1) - 1 + self.token().chars().count();
        self.text.chars().nth(skipped) == Some('(')
    }

    /// Whether the token follows a `.`: it is a method or a property.
    pub fn after_dot(&self) -> bool {
        let before: String = self.text.chars().take(self.column.unwrap_or(1) - 1).collect();
        before.trim_end().ends_with('.')
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "  {gutter}--> {}", self.short())?;
        let Some(column) = self.column else {
            return write!(f, "  {gutter} |\n  {number} | {}", self.text.trim_end());
        };
        let expand = |text: String| text.replace('\t', "    ");
        let width = |text: &str| Span::raw(text).width();
        let before = expand(self.text.chars().take(column - 1).collect());
        let after = expand(self.text.chars().skip(column - 1).collect());
        // Only a part of a long line is shown, around the place.
        let before: String = match before.chars().count() {
            long if long > WIDTH / 2 => {
                format!("…{}", before.chars().skip(long - WIDTH / 2).collect::<String>())
            }
            _ => before,
        };
        let after = after.trim_end();
        let room = WIDTH.saturating_sub(before.chars().count());
        let after: String = match after.chars().count() {
            long if long > room => format!("{}…", after.chars().take(room).collect::<String>()),
            _ => after.to_owned(),
        };
        let carets = "^".repeat(width(&self.token()).max(1));
        writeln!(f, "  {gutter} |\n  {number} | {before}{after}")?;
        write!(f, "  {gutter} | {}{carets}", " ".repeat(width(&before)))
    }
}
