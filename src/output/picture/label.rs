//! Text prepared to be shown in or beside a picture.

use std::collections::{HashMap, HashSet};

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

/// `text` cut in the middle to `most` columns; an ellipsis marks what was left out.
pub(super) fn trimmed(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    cut(text, room.div_ceil(2), room / 2, most)
}

/// Labels that are shown together, each cut to `most` columns. What differs among them is kept: if
/// their beginnings and ends are the same, the cuts are elsewhere.
pub(super) fn all_trimmed(labels: &[String], most: usize) -> Vec<String> {
    let room = most.saturating_sub(1);
    let middle = room.div_ceil(2);
    // In the middle, or else where the labels can be told apart: at the end, or at the beginning.
    let places = (0..=room).map(|from_middle| match from_middle % 2 {
        0 => middle.saturating_sub(from_middle / 2),
        _ => (middle + from_middle.div_ceil(2)).min(room),
    });
    let cuts = places.map(|before| -> Vec<String> {
        labels.iter().map(|label| cut(label, before, room - before, most)).collect()
    });
    // A part that all long labels share says nothing: the window begins behind it.
    let long: Vec<&String> = labels.iter().filter(|label| width(label) > most).collect();
    let shared = shared_beginning(&long);
    let window = labels.iter().map(|label| match width(label) > most {
        true => format!("…{}", cut(&label[shared..], room - 1, 0, room)),
        false => label.clone(),
    });
    let mut best: Option<(usize, Vec<String>)> = None;
    for cut in cuts.chain((shared > 0 && room > 1).then(|| window.collect())) {
        let alike = alike(labels, &cut);
        if best.as_ref().is_none_or(|(least, _)| alike < *least) {
            best = Some((alike, cut));
        }
        if alike == 0 {
            break;
        }
    }
    best.map(|(_, cut)| cut).unwrap_or_default()
}

/// The texts of a grid's cells, cut as [`all_trimmed`] cuts labels.
pub(super) fn grid_trimmed(texts: &[Vec<String>], most: usize) -> Vec<Vec<String>> {
    let mut cut = all_trimmed(&texts.concat(), most).into_iter();
    texts.iter().map(|row| cut.by_ref().take(row.len()).collect()).collect()
}

/// How many labels look like another one that is not the same.
fn alike(labels: &[String], cut: &[String]) -> usize {
    let mut seen: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (label, cut) in labels.iter().zip(cut) {
        seen.entry(cut).or_default().insert(label);
    }
    seen.values().map(|of| of.len() - 1).sum()
}

/// How many bytes all of them begin with.
fn shared_beginning(labels: &[&String]) -> usize {
    let Some((first, others)) = labels.split_first() else { return 0 };
    let shared = |at: usize, c: char| others.iter().all(|other| other[at..].starts_with(c));
    first.char_indices().find(|(at, c)| !shared(*at, *c)).map_or(first.len(), |(at, _)| at)
}

/// `text` with at most `before` columns of its beginning and `after` of its end, if it has more than
/// `most`.
fn cut(text: &str, before: usize, after: usize, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    if most == 0 {
        return String::new();
    }
    // Each end is measured anew, and a letter may have any number of marks without a width.
    let letters = |columns: usize| 16 * (columns + 1);
    let begin = text.char_indices().map(|(at, c)| at + c.len_utf8()).take(letters(before));
    let begin = begin.take_while(|&at| width(&text[..at]) <= before).last().unwrap_or(0);
    let end = text.char_indices().rev().map(|(at, _)| at).take(letters(after));
    let end = end.take_while(|&at| width(&text[at..]) <= after).last().unwrap_or(text.len());
    format!("{}…{}", &text[..begin], &text[end.max(begin)..])
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
    fn long_text_is_cut_in_the_middle() {
        assert_eq!(trimmed("elephant", 8), "elephant");
        assert_eq!(trimmed("elephants", 8), "elep…nts");
        assert_eq!(trimmed("中文字", 4), "中…");
        assert_eq!(trimmed("中文字", 5), "中…字");
        assert_eq!(trimmed("ab", 1), "…");
        assert_eq!(trimmed("ab", 0), "");
    }

    #[test]
    fn labels_keep_what_differs() {
        let cut = |labels: &[&str], most: usize| {
            let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
            let cut = all_trimmed(&labels, most);
            assert!(cut.iter().all(|label| width(label) <= most), "{cut:?}");
            cut
        };
        assert_eq!(
            cut(&["model.layers.10.mlp", "model.layers.11.mlp", "short"], 10),
            ["mode…0.mlp", "mode…1.mlp", "short"]
        );
        let beginnings = ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z", "blocks.12.attn.hook_z"];
        let ends = ["the same beginning a", "the same beginning b"];
        let middles = [
            "a beginning that all share 1 and an end that they all share",
            "a beginning that all share 2 and an end that they all share",
        ];
        for labels in [&beginnings[..], &ends, &middles] {
            for most in 6..24 {
                let cut = cut(labels, most);
                let different: HashSet<&String> = cut.iter().collect();
                assert_eq!(different.len(), labels.len(), "{most}: {cut:?}");
            }
        }
        assert_eq!(cut(&["same", "same"], 2), ["s…", "s…"]);
        assert_eq!(cut(&[], 4), Vec::<String>::new());
        assert_eq!(cut(&["ab", "cd"], 0), ["", ""]);
        assert_eq!(cut(&["ab", "cd"], 1), ["…", "…"]);
    }
}
