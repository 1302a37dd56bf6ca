//! Whether what has been typed goes on on the next line.

use rustyline::Result;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};

use super::lexer::{Kind, partners, tokens};

/// Whether a bracket, a comment or a text is open at the end, or a `fn` has no body yet. An empty line ends a `fn` without
/// one, so that nobody is caught in it.
pub fn goes_on(text: &str) -> bool {
    if super::commands::is_command(text) {
        return false;
    }
    let tokens = tokens(text);
    // A text between quotes ends with its line: that it does not is a mistake, which Rhai explains.
    if tokens.last().is_some_and(|last| !last.closed && !text[last.start..].starts_with('"')) {
        return true;
    }
    let pairs = partners(text, &tokens);
    let opened = tokens.iter().filter(|token| token.kind == Kind::Open).count();
    let closed = tokens.iter().filter(|token| token.kind == Kind::Close).count();
    if opened > pairs.len() && closed <= pairs.len() {
        return true;
    }
    let word = |token: &super::lexer::Token| &text[token.start..token.end];
    let Some(header) = tokens.iter().rposition(|token| token.kind == Kind::Keyword && word(token) == "fn") else {
        return false;
    };
    let has_body = tokens[header..].iter().any(|token| word(token) == "{");
    !has_body && !text.split('\n').next_back().is_some_and(|last| last.trim().is_empty())
}

/// Enter begins a new line where the input goes on.
pub struct Balance;

impl Validator for Balance {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        Ok(if goes_on(context.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

#[cfg(test)]
mod tests {
    use super::goes_on;

    #[test]
    fn what_is_open_goes_on() {
        for text in ["f(", "let a = [1,", "if x {", "fn f(x)", "fn f", "`a\n", "/* c", "#{a: \"}\"", "fn f(x) {\n x"] {
            assert!(goes_on(text), "{text}");
        }
        for text in ["f()", "1 +", "fn f(x) { x }", "\"(\"", "// (", "f)", "([)]", "\"a", ":help (", "fn f(x)\n", "}("]
        {
            assert!(!goes_on(text), "{text}");
        }
    }
}
