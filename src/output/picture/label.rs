//! Text prepared to be shown in or beside a picture.

use ratatui_core::text::Span;

/// `text` with control characters replaced by visible symbols.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(picture_of).collect()
}

/// The label of a token: [`visible`], with a dot for each space at its ends, and `∅` for an empty
/// text.
pub(super) fn token(text: &str) -> String {
    let inner = text.trim_matches(' ');
    if text.is_empty() {
        return "∅".into();
    }
    if inner.is_empty() {
        return "·".repeat(text.len());
    }
    let (before, after) = (
        text.len() - text.trim_start_matches(' ').len(),
        text.len() - text.trim_end_matches(' ').len(),
    );
    format!("{}{}{}", "·".repeat(before), visible(inner), "·".repeat(after))
}

/// `text` cut to `most` columns; an ellipsis marks what was left out.
pub(super) fn trimmed(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) + 1 > most {
            kept.pop();
            break;
        }
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

/// The width of `text` in terminal columns.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The labels of `count` positions: `given` as tokens, or the indices if `given` is empty.
pub(super) fn of_places(given: &[String], count: usize) -> Vec<String> {
    if given.is_empty() {
        (0..count).map(|i| i.to_string()).collect()
    } else {
        given.iter().map(|t| token(t)).collect()
    }
}

fn picture_of(c: char) -> char {
    match c {
        '\n' => '␤',
        '\u{7f}' => '␡',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('�'),
        // Characters that XML does not allow, and those that change the direction of the
        // surrounding text.
        '\u{80}'..='\u{9f}'
        | '\u{fffe}'
        | '\u{ffff}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}' => '�',
        '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => '�',
        '\u{a0}' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        assert_eq!(token(" the"), "·the");
        assert_eq!(token("  "), "··");
        assert_eq!(token("\n\n"), "␤␤");
        assert_eq!(token("a\tb "), "a␉b·");
        assert_eq!(token(""), "∅");
        assert_eq!(visible("\u{1b}[0m"), "␛[0m");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(trimmed("elephant", 8), "elephant");
        assert_eq!(trimmed("elephants", 8), "elephan…");
        assert_eq!(trimmed("中文字", 4), "中…");
        assert_eq!(trimmed("ab", 1), "…");
        assert_eq!(trimmed("ab", 0), "");
    }
}
