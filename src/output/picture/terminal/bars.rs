//! Bars, histograms and box plots as text: one line for each bar or box, from left to right.

use ratatui_core::style::Style;

use super::screen::{Screen, WIDTHS, rgb};
use crate::Result;
use crate::output::picture::axis::Reach;
use crate::output::picture::bars::Bars;
use crate::output::picture::boxes::Boxes;
use crate::output::picture::colour::of_series;
use crate::output::picture::label::{all_trimmed, trimmed, visible, width as columns_of};
use crate::output::picture::number;

/// The most lines; of more bars the first are shown, and the number of the others.
const TALLEST: usize = 64;

/// Eighths of a character, from none to a whole one.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// The bars as lines of at most `width` columns: name, bar, value.
///
/// # Errors
/// As for [`Bars::validate`].
pub(in super::super) fn bars(bars: &Bars, width: usize, colour: bool) -> Result<String> {
    bars.validate()?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let count = bars.series.len();
    let several = bars.series.iter().any(|series| !series.label.is_empty());
    let lines: Vec<(String, usize, f64)> = bars
        .names()
        .into_iter()
        .enumerate()
        .flat_map(|(i, name)| {
            bars.series.iter().enumerate().map(move |(s, series)| {
                let label = if s == 0 { name.clone() } else { String::new() };
                let label =
                    if several { format!("{label} {}", visible(&series.label)) } else { label };
                (label, s, series.y[i])
            })
        })
        .collect();
    let shown = &lines[..lines.len().min(TALLEST)];
    let labels: Vec<String> = shown.iter().map(|(label, ..)| label.clone()).collect();
    let labels = all_trimmed(&labels, columns / 3);
    let numbers: Vec<String> = shown.iter().map(|&(.., value)| number(value)).collect();
    let left = widest(&labels) + 1;
    let right = widest(&numbers) + 1;
    let room = columns.saturating_sub(left + right).max(1);
    let finite = || shown.iter().map(|&(.., value)| value).filter(|value| value.is_finite());
    let (lo, hi) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    // Halved, so that the difference of two huge numbers does not overflow.
    let half = (hi / 2.0 - lo / 2.0).max(f64::MIN_POSITIVE);
    let place = |value: f64| (value / 2.0 - lo / 2.0) / half * room as f64;

    let named = usize::from(!bars.title.is_empty());
    let more = lines.len() - shown.len();
    let mut screen = Screen::new(columns, named + shown.len() + 2);
    screen.centred((0, columns), 0, &trimmed(&visible(&bars.title), columns), Style::new());
    for (row, (label, &(_, series, value))) in labels.iter().zip(shown).enumerate() {
        let y = named + row;
        screen.text(left - 1 - columns_of(label), y, label, Style::new());
        screen.text(columns + 1 - right, y, &numbers[row], Style::new());
        if !value.is_finite() {
            continue;
        }
        let style =
            if colour { Style::new().fg(rgb(of_series(series, count))) } else { Style::new() };
        let (from, to) = (place(value.min(0.0)), place(value.max(0.0)));
        // A bar to the left of zero begins within a character, which no character shows.
        let whole = from.round() as usize;
        let eighths = ((to - whole as f64).max(0.0) * 8.0).round() as usize;
        let bar = EIGHTHS[8].repeat(eighths / 8) + EIGHTHS[eighths % 8];
        screen.text(left + whole, y, &bar, style);
    }
    let mut below = named + shown.len();
    if more > 0 {
        screen.text(0, below, &format!("… and {more} more"), Style::new());
        below += 1;
    }
    screen.centred((0, columns), below, &trimmed(&visible(&bars.xlabel), columns), Style::new());
    Ok(screen.lines(width, colour))
}

/// The boxes as lines of at most `width` columns.
///
/// # Errors
/// As for [`Boxes::axis`].
pub(in super::super) fn boxes(boxes: &Boxes, width: usize, colour: bool) -> Result<String> {
    let axis = boxes.axis(Reach::None, 2)?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let shown = &boxes.boxes[..boxes.boxes.len().min(TALLEST)];
    let labels = all_trimmed(&boxes.names()[..shown.len()], columns / 3);
    let left = widest(&labels) + 1;
    let room = columns - left;
    let place =
        |value: f64| left + (axis.place(value).unwrap_or(0.0) * (room - 1) as f64).round() as usize;
    let named = usize::from(!boxes.title.is_empty());
    let mut screen = Screen::new(columns, named + shown.len() + 3);
    screen.centred((0, columns), 0, &trimmed(&visible(&boxes.title), columns), Style::new());
    let style = if colour { Style::new().fg(rgb(of_series(0, 1))) } else { Style::new() };
    for (row, (label, of)) in labels.iter().zip(shown).enumerate() {
        let y = named + row;
        screen.text(left - 1 - columns_of(label), y, label, Style::new());
        for &outlier in &of.outliers {
            screen.text(place(outlier), y, "·", Style::new());
        }
        let [low, q1, median, q3, high] = of.numbers().map(place);
        screen.text(low, y, &"─".repeat(high + 1 - low), Style::new());
        screen.text(low, y, "├", Style::new());
        screen.text(high, y, "┤", Style::new());
        screen.text(q1, y, &"█".repeat(q3 + 1 - q1), style);
        screen.text(median, y, "┃", Style::new());
    }
    let mut below = named + shown.len();
    let more = boxes.boxes.len() - shown.len();
    if more > 0 {
        screen.text(0, below, &format!("… and {more} more"), Style::new());
        below += 1;
    }
    let (low, high) = (axis.label_at(0.0), axis.label_at(1.0));
    screen.text(left, below, &low, Style::new());
    screen.text(columns.saturating_sub(high.len()), below, &high, Style::new());
    let name = trimmed(&visible(&boxes.ylabel), columns);
    screen.centred((0, columns), below + 1, &name, Style::new());
    Ok(screen.lines(width, colour))
}

fn widest(labels: &[String]) -> usize {
    labels.iter().map(|label| columns_of(label)).max().unwrap_or(0)
}
