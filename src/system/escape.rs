//! Escapes text from files, models and servers, so that it can't control the terminal it is shown
//! on.

use std::borrow::Cow;
use std::io::IsTerminal;

/// The text with control characters escaped if `stream` is a terminal, else unchanged: a pipe gets
/// the exact text.
pub fn for_stream(text: &str, stream: impl IsTerminal) -> Cow<'_, str> {
    if stream.is_terminal() { control_characters(text) } else { text.into() }
}

/// The text with control characters replaced: C0 ones and DEL by their pictures (U+2400…), C1 ones
/// and those that change the writing direction by U+FFFD. Newlines and tabs stay.
pub fn control_characters(text: &str) -> Cow<'_, str> {
    let escaped = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\u{1f}' => {
            char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c => c,
    };
    if text.chars().all(|c| escaped(c) == c) {
        text.into()
    } else {
        text.chars().map(escaped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_shown() {
        assert_eq!(
            control_characters("a\x1b]0;title\x07b\r\x7f\u{9b}2J\u{202e}"),
            "a␛]0;title␇b␍␡\u{fffd}2J\u{fffd}"
        );
        assert!(matches!(control_characters("plain\n\ttext ünïcödé"), Cow::Borrowed(_)));
    }
}
