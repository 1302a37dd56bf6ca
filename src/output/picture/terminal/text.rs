//! Coloured tokens as text: each on its colour, or with its number behind it where there is none.

use ratatui_core::style::Style;

use super::cells::key;
use super::screen::{Screen, WIDTHS, rgb};
use crate::Result;
use crate::output::picture::colour::readable_on;
use crate::output::picture::label::{trimmed, visible, width as columns_of};
use crate::output::picture::number;
use crate::output::picture::text::Text;

/// The tokens as lines of at most `width` columns.
///
/// # Errors
/// As for [`Text::validate`]; or no number is finite.
pub(in super::super) fn text(text: &Text, width: usize, colour: bool) -> Result<String> {
    let scale = text.scale()?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let tokens = text.shown((columns / 2).min(60));
    // A label, a token or a number, its column, its line and its style.
    let mut parts: Vec<(usize, usize, String, Style)> = Vec::new();
    let mut y = usize::from(!text.title.is_empty());
    for (row, values) in text.values.iter().enumerate() {
        let label = text.row_label(row);
        let mut x = if label.is_empty() { 0 } else { columns_of(&label) + 1 };
        let left = x;
        parts.push((0, y, label, Style::new()));
        for (token, &value) in tokens.iter().zip(values) {
            let (shown, style, gap) = match colour {
                true => {
                    let ground = scale.colour(value);
                    let style = Style::new().bg(rgb(ground)).fg(rgb(readable_on(ground)));
                    (token.clone(), style, 0)
                }
                false => (format!("{token}({})", number(value)), Style::new(), 1),
            };
            let wide = columns_of(&shown);
            if x + wide > columns && x > left {
                (x, y) = (left, y + 1);
            }
            parts.push((x, y, shown, style));
            x += wide + gap;
        }
        y += 1;
    }
    let mut screen = Screen::new(columns, y + 1);
    screen.centred((0, columns), 0, &trimmed(&visible(&text.title), columns), Style::new());
    for (x, y, part, style) in parts {
        screen.text(x, y, &part, style);
    }
    if colour {
        key(&mut screen, 0, y, &scale, colour);
    }
    Ok(screen.lines(width, colour))
}
