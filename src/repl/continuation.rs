//! Whether an input is incomplete, so that Enter begins another line of it.

use std::cell::RefCell;

use rustyline::Result;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};

use super::commands::is_command;

/// Reads an input line by line and knows after each line whether the input is complete. Each line
/// is scanned once, however long the input becomes.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The strings and comments that are open at the end of the last line, outermost first.
    within: Vec<Within>,
    /// The opening brackets without partners so far.
    open_brackets: Vec<char>,
    /// A closing bracket has no partner. The input counts as complete, and Rhai reports the error.
    unmatched: bool,
    /// A `fn` has no body yet.
    awaits_body: bool,
    /// The last line was empty.
    blank: bool,
    /// The input is a command, which has one line.
    command: bool,
    /// A line has been read.
    begun: bool,
}

/// An open string or comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// A block comment, with the number of open `/*`.
    Comment(usize),
    /// A quoted string. It ends with its line unless a backslash at the end continues it.
    Quoted { continued: bool },
    /// A string in backticks.
    Template,
    /// A `${…}` expression in such a string, with the number of open brackets.
    Expression(usize),
    /// A `${…}` expression with a quoted string that does not end: nothing can close it.
    Unclosable,
}

impl Scanner {
    /// Reads the next line, without its line end.
    pub fn line(&mut self, line: &str) {
        if self.begun {
            self.end_line();
        } else {
            self.command = is_command(line);
            self.begun = true;
        }
        self.blank = line.trim().is_empty();
        let mut rest = line;
        while !rest.is_empty() {
            let length = match self.within.last().copied() {
                None => self.script(rest),
                Some(Within::Expression(depth)) => self.expression(rest, depth),
                Some(Within::Comment(depth)) => self.comment(rest, depth),
                Some(Within::Quoted { .. }) => self.quoted(rest),
                Some(Within::Template) => self.template(rest),
                Some(Within::Unclosable) => rest.len(),
            };
            rest = &rest[length..];
        }
    }

    /// Whether a bracket, a comment or a string is open, or a `fn` has no body yet. An empty line
    /// after such a `fn` makes the input complete, so that a typo can be left.
    pub fn is_incomplete(&self) -> bool {
        if self.command {
            return false;
        }
        // A quoted string without an end is an error, which Rhai reports.
        if !matches!(self.within.as_slice(), [] | [Within::Quoted { .. }]) {
            return true;
        }
        !self.open_brackets.is_empty() && !self.unmatched || self.awaits_body && !self.blank
    }

    fn end_line(&mut self) {
        let Some(Within::Quoted { continued }) = self.within.last_mut() else { return };
        if std::mem::take(continued) {
            return;
        }
        self.within.pop();
        if let Some(expression @ Within::Expression(_)) = self.within.last_mut() {
            *expression = Within::Unclosable;
        }
    }

    fn enter(&mut self, within: Within, length: usize) -> usize {
        self.within.push(within);
        length
    }

    /// If `rest` begins with a comment, a string or a word, enters it and returns the bytes
    /// consumed.
    fn token(&mut self, rest: &str, first: char) -> Option<usize> {
        match first {
            '/' if rest.starts_with("//") => Some(rest.len()),
            '/' if rest.starts_with("/*") => Some(self.enter(Within::Comment(1), 2)),
            '"' => Some(self.enter(Within::Quoted { continued: false }, 1)),
            '`' => Some(self.enter(Within::Template, 1)),
            '\'' => Some(character(rest)),
            c if c.is_alphanumeric() || c == '_' => {
                Some(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()))
            }
            _ => None,
        }
    }

    fn script(&mut self, rest: &str) -> usize {
        let Some(first) = rest.chars().next() else { return 0 };
        if let Some(length) = self.token(rest, first) {
            self.awaits_body |= &rest[..length] == "fn";
            return length;
        }
        let partner = match first {
            ')' => '(',
            ']' => '[',
            '}' => '{',
            '(' | '[' | '{' => {
                self.awaits_body &= first != '{';
                self.open_brackets.push(first);
                return 1;
            }
            other => return other.len_utf8(),
        };
        if self.open_brackets.last() == Some(&partner) {
            self.open_brackets.pop();
        } else {
            self.unmatched = true;
        }
        1
    }

    fn expression(&mut self, rest: &str, depth: usize) -> usize {
        let Some(first) = rest.chars().next() else { return 0 };
        if let Some(length) = self.token(rest, first) {
            return length;
        }
        let depth = match first {
            '(' | '[' | '{' => depth + 1,
            ')' | ']' | '}' => depth - 1,
            other => return other.len_utf8(),
        };
        self.within.pop();
        if depth > 0 {
            self.within.push(Within::Expression(depth));
        }
        1
    }

    fn comment(&mut self, rest: &str, depth: usize) -> usize {
        let depth = match rest.as_bytes() {
            [b'/', b'*', ..] => depth + 1,
            [b'*', b'/', ..] => depth - 1,
            _ => return rest.find(['/', '*']).map_or(rest.len(), |at| at.max(1)),
        };
        self.within.pop();
        if depth > 0 {
            self.within.push(Within::Comment(depth));
        }
        2
    }

    fn quoted(&mut self, rest: &str) -> usize {
        match rest.find(['\\', '"']) {
            None => rest.len(),
            Some(at) if rest[at..].starts_with('"') => {
                self.within.pop();
                at + 1
            }
            Some(at) => match rest[at + 1..].chars().next() {
                Some(escaped) => at + 1 + escaped.len_utf8(),
                None => {
                    self.within.pop();
                    self.enter(Within::Quoted { continued: true }, rest.len())
                }
            },
        }
    }

    fn template(&mut self, rest: &str) -> usize {
        match rest.as_bytes() {
            [b'`', ..] => {
                self.within.pop();
                1
            }
            [b'$', b'{', ..] => self.enter(Within::Expression(1), 2),
            _ => {
                let first = rest.chars().next().map_or(0, char::len_utf8);
                rest[first..].find(['`', '$']).map_or(rest.len(), |at| first + at)
            }
        }
    }
}

/// The length of a character literal; 1 if the line has no second quote.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    1
}

/// Tells rustyline whether Enter ends the input. Keeps the text of the last call and its scanner,
/// as the next text most likely only adds a line.
#[derive(Default)]
pub struct ContinuationValidator(RefCell<(String, Scanner)>);

impl ContinuationValidator {
    fn is_incomplete(&self, text: &str) -> bool {
        let (known, scanner) = &mut *self.0.borrow_mut();
        let new = match text.strip_prefix(known.as_str()).and_then(|new| new.strip_prefix('\n')) {
            Some(new) if scanner.begun => new,
            _ => {
                *scanner = Scanner::default();
                text
            }
        };
        new.split('\n').for_each(|line| scanner.line(line));
        text.clone_into(known);
        scanner.is_incomplete()
    }
}

impl Validator for ContinuationValidator {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        Ok(if self.is_incomplete(context.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_incomplete(text: &str) -> bool {
        let mut scanner = Scanner::default();
        text.split('\n').for_each(|line| scanner.line(line));
        let validator = ContinuationValidator::default();
        for (at, _) in text.match_indices('\n') {
            validator.is_incomplete(&text[..at]);
        }
        assert_eq!(validator.is_incomplete(text), scanner.is_incomplete(), "{text}");
        scanner.is_incomplete()
    }

    #[test]
    fn what_is_open_goes_on() {
        for text in [
            "f(",
            "let a = [1,",
            "if x {",
            "fn f(x)",
            "fn f",
            "`a\n",
            "/* c",
            "/* /* a */ b\nc",
            "#{a: \"}\"",
            "fn f(x) {\n x",
            "`${f(\n",
            "`${\"}\n`",
            "f(\"a\\\n)\"",
            "f('(', ",
            "`${`${",
        ] {
            assert!(is_incomplete(text), "{text}");
        }
        for text in [
            "f()",
            "1 +",
            "fn f(x) { x }",
            "\"(\"",
            "// (",
            "f)",
            "([)]",
            "\"a",
            ":help (",
            "fn f(x)\n",
            "}(",
            "/* /* a */ b */",
            "/* a\nb */ 1",
            "`a ${f(\"}\", `b`)} {`",
            "'(' + '\\''",
            "\"a\\\n(\"",
            "\"a\n1",
            "1fn",
            "/**/",
            "/*/ */",
        ] {
            assert!(!is_incomplete(text), "{text}");
        }
    }
}
