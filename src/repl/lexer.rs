//! The tokens of a line being typed. Rhai's own lexer reads complete scripts only.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier.
    Word,
    /// One of [`KEYWORDS`].
    Keyword,
    /// A number.
    Number,
    /// A string or a character.
    Text,
    /// A comment.
    Comment,
    /// An opening bracket.
    Open,
    /// A closing bracket.
    Close,
    /// Any other character.
    Other,
}

/// A token's kind and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// The position of its first byte.
    pub start: usize,
    /// The position after its last byte.
    pub end: usize,
    /// Whether a string or a comment has its end; true for other tokens.
    pub closed: bool,
}

/// Rhai's keywords.
pub const KEYWORDS: &[&str] = &[
    "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in",
    "continue", "break", "fn", "private", "return", "throw", "try", "catch", "import", "export",
    "as", "global", "this", "true", "false",
];

/// The tokens of `text`, in order, without white space.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length, closed) = token(&text[at..], first);
        tokens.push(Token { kind, start: at, end: at + length, closed });
        at += length;
    }
    tokens
}

/// Whether `text` ends with a semicolon, so that its value is not shown.
pub fn is_statement(text: &str) -> bool {
    let tokens = tokens(text);
    let last = tokens.iter().rfind(|token| token.kind != Kind::Comment);
    last.is_some_and(|last| &text[last.start..last.end] == ";")
}

/// The kind and length in bytes of the token that `rest` begins with, and whether it is closed.
fn token(rest: &str, first: char) -> (Kind, usize, bool) {
    let open = |kind: Kind, length: usize| (kind, length, true);
    if rest.starts_with("//") {
        return open(Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        let (length, closed) = comment(rest);
        return (Kind::Comment, length, closed);
    }
    match first {
        '"' => {
            let (length, closed) = quoted(rest, '"');
            (Kind::Text, length, closed)
        }
        '`' => {
            let (length, closed) = template(rest);
            (Kind::Text, length, closed)
        }
        // A character literal. Rhai reports anything else with this quote.
        '\'' => match quoted(rest, '\'') {
            (length, true) => open(Kind::Text, length),
            _ => open(Kind::Other, 1),
        },
        '(' | '[' | '{' => open(Kind::Open, 1),
        ')' | ']' | '}' => open(Kind::Close, 1),
        c if c.is_ascii_digit() => open(Kind::Number, number(rest)),
        c if c.is_alphabetic() || c == '_' => {
            let length =
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let kind = if KEYWORDS.contains(&&rest[..length]) { Kind::Keyword } else { Kind::Word };
            open(kind, length)
        }
        c => open(Kind::Other, c.len_utf8()),
    }
}

/// The length of a block comment, which may contain others, and whether it is closed.
fn comment(rest: &str) -> (usize, bool) {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return (at, true);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    (rest.len(), false)
}

/// The length of a quoted string, and whether it is closed. A backslash before a line end continues
/// it on the next line.
fn quoted(rest: &str, quote: char) -> (usize, bool) {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\n' => return (at, false),
            c if c == quote => return (at + 1, true),
            _ => {}
        }
    }
    (rest.len(), false)
}

/// The length of a string in backticks, with its `${…}` expressions, and whether it is closed.
fn template(rest: &str) -> (usize, bool) {
    let mut at = 1;
    while let Some(c) = rest[at..].chars().next() {
        if c == '`' {
            return (at + 1, true);
        }
        if rest[at..].starts_with("${") {
            let Some(length) = expression(&rest[at + 1..]) else { return (rest.len(), false) };
            at += 1 + length;
            continue;
        }
        at += c.len_utf8();
    }
    (rest.len(), false)
}

/// The length of an expression in braces, including both braces; nothing if it is not closed.
fn expression(rest: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    while let Some(first) = rest[at..].chars().next() {
        let (kind, length, closed) = token(&rest[at..], first);
        if !closed {
            return None;
        }
        at += length;
        match kind {
            Kind::Open => depth += 1,
            Kind::Close if depth == 1 => return Some(at),
            Kind::Close => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The length of a number such as `1_000`, `0xff` or `1.5e-3`. The dots of `0..3` and of `1.abs()`
/// do not belong to it.
fn number(rest: &str) -> usize {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(rest.len(), |length| from + length)
    };
    let mut end = digits(0);
    let after_point = rest[end..].strip_prefix('.').and_then(|fraction| fraction.chars().next());
    if after_point.is_some_and(|c| c.is_ascii_digit()) {
        end = digits(end + 1);
    }
    let exponent = rest[..end].ends_with(['e', 'E']) && !rest.starts_with("0x");
    if exponent && rest[end..].starts_with(['+', '-']) {
        end = digits(end + 1);
    }
    end
}

/// The matching brackets, as pairs of positions in `tokens`.
pub fn partners(text: &str, tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut waiting: Vec<usize> = Vec::new();
    let mut pairs = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => waiting.push(i),
            Kind::Close => {
                let Some(&open) = waiting.last() else { continue };
                let pair =
                    (&text[tokens[open].start..tokens[open].end], &text[token.start..token.end]);
                if matches!(pair, ("(", ")") | ("[", "]") | ("{", "}")) {
                    waiting.pop();
                    pairs.push((open, i));
                }
            }
            _ => {}
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).into_iter().map(|token| (token.kind, &text[token.start..token.end])).collect()
    }

    #[test]
    fn a_statement_ends_with_a_semicolon() {
        for (text, is) in [
            ("f();", true),
            ("f(); // shown?", true),
            ("f()", false),
            ("\";\"", false),
            ("// ;", false),
            ("", false),
        ] {
            assert_eq!(is_statement(text), is, "{text}");
        }
    }

    #[test]
    fn words_numbers_and_texts_are_told_apart() {
        use Kind::*;
        assert_eq!(
            shown("let é1 = 0..3 + 1.5e-3 * x.abs() // (end"),
            [
                (Keyword, "let"),
                (Word, "é1"),
                (Other, "="),
                (Number, "0"),
                (Other, "."),
                (Other, "."),
                (Number, "3"),
                (Other, "+"),
                (Number, "1.5e-3"),
                (Other, "*"),
                (Word, "x"),
                (Other, "."),
                (Word, "abs"),
                (Open, "("),
                (Close, ")"),
                (Comment, "// (end"),
            ]
        );
        assert_eq!(shown(r#""a\"(" '{' `x ${f("}`")} [`"#).len(), 3);
        assert_eq!(shown("/* a /* b */ ( */ 1").len(), 2);
    }

    #[test]
    fn what_has_no_end_is_not_closed() {
        for text in ["/* a /* b */", "`x ${1", "`a", "\"a"] {
            assert!(!tokens(text).last().unwrap().closed, "{text}");
        }
    }

    #[test]
    fn brackets_in_texts_have_no_partner() {
        let text = "f(\"(\", [1])";
        let tokens = tokens(text);
        let pairs: Vec<(usize, usize)> = partners(text, &tokens)
            .into_iter()
            .map(|(a, b)| (tokens[a].start, tokens[b].start))
            .collect();
        assert_eq!(pairs, [(7, 9), (1, 10)]);
    }
}
