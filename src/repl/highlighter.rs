//! Syntax colours for the line being typed, with the bracket at the cursor and its partner in bold.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use rustyline::highlight::{CmdKind, Highlighter};

use super::commands::is_command;
use super::lexer::{Kind, Token, partners, tokens};

// SGR parameters of ANSI escape sequences.
const KEYWORD: &str = "35";
const TEXT: &str = "32";
const NUMBER: &str = "36";
const COMMENT: &str = "90";
const CALL: &str = "34";
const COMMAND: &str = "33";
/// The bracket at the cursor and its partner.
const PAIR: &str = "1;33";
/// A closing bracket without an opening one.
const UNMATCHED: &str = "31";

/// The longest line, in bytes, that gets colours: each key press highlights the whole line anew.
const MAX_BYTES: usize = 1 << 14;

/// Colours script text. rustyline does not call it if colours are not wanted (`NO_COLOR`, or no
/// terminal).
#[derive(Default)]
pub struct ScriptHighlighter {
    /// The line was entered: the cursor's bracket is no longer shown.
    done: Cell<bool>,
}

impl Highlighter for ScriptHighlighter {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> Cow<'l, str> {
        if line.len() > MAX_BYTES {
            return line.into();
        }
        let at = (!self.done.get()).then_some(at);
        coloured(line, at).into()
    }

    fn highlight_char(&self, _line: &str, _at: usize, kind: CmdKind) -> bool {
        self.done.set(kind == CmdKind::ForcedRefresh);
        true
    }
}

/// The line with escape sequences for colours. `cursor` is the cursor's position in bytes, if its
/// bracket is to be shown.
pub fn coloured(line: &str, cursor: Option<usize>) -> String {
    let mut command = 0;
    let mut out = String::new();
    if is_command(line) {
        let start = line.len() - line.trim_start().len();
        command =
            line[start..].find(char::is_whitespace).map_or(line.len(), |length| start + length);
        paint(&mut out, COMMAND, &line[..command]);
    }
    let rest = &line[command..];
    let tokens = tokens(rest);
    let pairs = partners(rest, &tokens);
    let closing: BTreeSet<usize> = pairs.iter().map(|&(_, close)| close).collect();
    let cursor = cursor.and_then(|cursor| cursor.checked_sub(command));
    let shown = cursor.and_then(|cursor| pair_at(&tokens, &pairs, cursor));
    let mut at = 0;
    for (i, token) in tokens.iter().enumerate() {
        out.push_str(&rest[at..token.start]);
        let text = &rest[token.start..token.end];
        let colour = match token.kind {
            Kind::Open | Kind::Close if shown.is_some_and(|(a, b)| a == i || b == i) => Some(PAIR),
            Kind::Close if !closing.contains(&i) => Some(UNMATCHED),
            Kind::Keyword => Some(KEYWORD),
            Kind::Text => Some(TEXT),
            Kind::Number => Some(NUMBER),
            Kind::Comment => Some(COMMENT),
            Kind::Word if rest[token.end..].starts_with('(') => Some(CALL),
            _ => None,
        };
        match colour {
            Some(colour) => paint(&mut out, colour, text),
            None => out.push_str(text),
        }
        at = token.end;
    }
    out.push_str(&rest[at..]);
    out
}

fn paint(out: &mut String, colour: &str, text: &str) {
    // Each line of a multi-line token is painted separately: a terminal that clears a line drops
    // its colour.
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.push_str(&format!("\x1b[{colour}m{line}\x1b[0m"));
        }
    }
}

/// The pair of brackets, as positions in `tokens`, one of which is at the cursor or just before it.
fn pair_at(tokens: &[Token], pairs: &[(usize, usize)], cursor: usize) -> Option<(usize, usize)> {
    let touches = |at: usize| tokens[at].start == cursor;
    let follows = |at: usize| tokens[at].end == cursor;
    let find =
        |test: &dyn Fn(usize) -> bool| pairs.iter().find(|&&(a, b)| test(a) || test(b)).copied();
    find(&touches).or_else(|| find(&follows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.split('\x1b')
            .enumerate()
            .map(|(i, part)| if i == 0 { part } else { part.split_once('m').unwrap().1 })
            .collect()
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        for line in
            ["let a = f(\"x\", 1.5); // é", "`a\n${b}`", ":time f(1)", "f))", "", "  :run a b"]
        {
            assert_eq!(plain(&coloured(line, Some(line.len()))), line);
        }
    }

    #[test]
    fn the_bracket_that_belongs_to_the_one_at_the_cursor_is_shown() {
        let line = "f([1], \"(\")";
        assert_eq!(coloured(line, Some(line.len())).matches("\x1b[1;33m").count(), 2);
        assert!(coloured(line, Some(line.len())).contains("\x1b[1;33m(\x1b[0m[\x1b[36m1"));
        assert!(!coloured(line, None).contains("\x1b[1;33m"));
        assert!(coloured("f())", None).ends_with("\x1b[31m)\x1b[0m"));
    }
}
