//! Colours for what is being typed, and for the bracket that belongs to the one at the cursor.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use rustyline::highlight::{CmdKind, Highlighter};

use super::commands::is_command;
use super::lexer::{Kind, Token, partners, tokens};

const KEYWORD: &str = "35";
const TEXT: &str = "32";
const NUMBER: &str = "36";
const COMMENT: &str = "90";
const CALL: &str = "34";
const COMMAND: &str = "33";
/// Of a bracket and its partner, in bold.
const BRACKET: &str = "1;33";
/// A bracket that closes nothing.
const WRONG: &str = "31";

/// What is longer stays without colours: all of it is looked at whenever a key is pressed.
const LONGEST: usize = 1 << 14;

/// Where colours are not wanted (`NO_COLOR`, or no terminal), rustyline asks for none.
#[derive(Default)]
pub struct Colours {
    /// The line is done: its brackets need no showing.
    done: Cell<bool>,
}

impl Highlighter for Colours {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> Cow<'l, str> {
        if line.len() > LONGEST {
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

/// The line in colours; `cursor` is where its cursor stands.
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
            Kind::Open | Kind::Close if shown.is_some_and(|(a, b)| a == i || b == i) => {
                Some(BRACKET)
            }
            Kind::Close if !closing.contains(&i) => Some(WRONG),
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
    // A text over several lines is painted line by line: what a terminal clears keeps no colour.
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.push_str(&format!("\x1b[{colour}m{line}\x1b[0m"));
        }
    }
}

/// The pair of which one stands at the cursor, or before it.
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
