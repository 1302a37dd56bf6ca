//! Whether what has been typed goes on on the next line.

use std::cell::RefCell;

use rustyline::Result;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};

use super::commands::is_command;

/// Reads lines one after the other, each once, and knows after each whether the input goes on.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What the end of the last line is within, the outermost first; nothing where it is plain
    /// script.
    within: Vec<Within>,
    /// The brackets that wait for their partners.
    waiting: Vec<char>,
    /// Whether a bracket closes none: a mistake, which Rhai explains.
    closes_none: bool,
    /// Whether a `fn` has no body yet.
    header: bool,
    blank: bool,
    command: bool,
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Comments stand within each other, so many deep.
    Comment(usize),
    /// A text that ends with its line, unless a backslash stands before that.
    Quoted { carried: bool },
    /// A text between backticks.
    Template,
    /// An expression in one, so many brackets deep.
    Expression(usize),
    /// An expression in one with a text that does not end: nothing closes it.
    Lost,
}

impl Scanner {
    /// Takes the next line, without its end.
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
                Some(Within::Lost) => rest.len(),
            };
            rest = &rest[length..];
        }
    }

    /// Whether a bracket, a comment or a text is open at the end, or a `fn` has no body yet. An
    /// empty line ends a `fn` without one, so that nobody is caught in it.
    pub fn goes_on(&self) -> bool {
        if self.command {
            return false;
        }
        // That a text between quotes does not end is a mistake, which Rhai explains.
        if !matches!(self.within.as_slice(), [] | [Within::Quoted { .. }]) {
            return true;
        }
        !self.waiting.is_empty() && !self.closes_none || self.header && !self.blank
    }

    fn end_line(&mut self) {
        let Some(Within::Quoted { carried }) = self.within.last_mut() else { return };
        if std::mem::take(carried) {
            return;
        }
        self.within.pop();
        if let Some(expression @ Within::Expression(_)) = self.within.last_mut() {
            *expression = Within::Lost;
        }
    }

    fn enter(&mut self, within: Within, length: usize) -> usize {
        self.within.push(within);
        length
    }

    /// What begins here is a comment, a text or a word: its length, or that of what begins it.
    fn word(&mut self, rest: &str, first: char) -> Option<usize> {
        match first {
            '/' if rest.starts_with("//") => Some(rest.len()),
            '/' if rest.starts_with("/*") => Some(self.enter(Within::Comment(1), 2)),
            '"' => Some(self.enter(Within::Quoted { carried: false }, 1)),
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
        if let Some(length) = self.word(rest, first) {
            self.header |= &rest[..length] == "fn";
            return length;
        }
        let partner = match first {
            ')' => '(',
            ']' => '[',
            '}' => '{',
            '(' | '[' | '{' => {
                self.header &= first != '{';
                self.waiting.push(first);
                return 1;
            }
            other => return other.len_utf8(),
        };
        if self.waiting.last() == Some(&partner) {
            self.waiting.pop();
        } else {
            self.closes_none = true;
        }
        1
    }

    fn expression(&mut self, rest: &str, depth: usize) -> usize {
        let Some(first) = rest.chars().next() else { return 0 };
        if let Some(length) = self.word(rest, first) {
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
                    self.enter(Within::Quoted { carried: true }, rest.len())
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

/// The length of a character between quotes; 1 where the line has no second quote.
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

/// Enter begins a new line where the input goes on.
#[derive(Default)]
pub struct Balance(RefCell<(String, Scanner)>);

impl Balance {
    /// Whether a text goes on, of which the beginning was most likely asked about before.
    fn goes_on(&self, text: &str) -> bool {
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
        scanner.goes_on()
    }
}

impl Validator for Balance {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        Ok(if self.goes_on(context.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(text: &str) -> bool {
        let mut scanner = Scanner::default();
        text.split('\n').for_each(|line| scanner.line(line));
        let balance = Balance::default();
        for (at, _) in text.match_indices('\n') {
            balance.goes_on(&text[..at]);
        }
        assert_eq!(balance.goes_on(text), scanner.goes_on(), "{text}");
        scanner.goes_on()
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
            assert!(goes_on(text), "{text}");
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
            assert!(!goes_on(text), "{text}");
        }
    }
}
