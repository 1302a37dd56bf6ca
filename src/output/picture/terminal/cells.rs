//! Heatmaps and attention patterns as text: coloured cells, or characters of different density
//! without colour.

use ratatui_core::style::Style;

use super::screen::{Screen, WIDTHS, rgb};
use crate::Result;
use crate::output::picture::attention::Attention;
use crate::output::picture::colour::{MISSING, Scale, readable_on};
use crate::output::picture::heatmap::{Heatmap, coarser};
use crate::output::picture::label::{
    all_trimmed, grid_trimmed, of_places, trimmed, visible, width as columns_of,
};
use crate::output::picture::number;

const SHADES: [&str; 10] = [" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"];
const UNKNOWN: &str = "?";
/// The largest number of rows; a taller grid is reduced.
const TALLEST: usize = 64;
/// The longest label that is written from top to bottom.
const DEEPEST: usize = 8;

/// The heatmap as lines of at most `width` columns.
///
/// # Errors
/// As for [`Heatmap::validate`].
pub(in super::super) fn heatmap(heatmap: &Heatmap, width: usize, colour: bool) -> Result<String> {
    let scale = heatmap.scale()?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let (rows, places) = (heatmap.values.len(), heatmap.values[0].len());
    let (y, x) = (of_places(&heatmap.y, rows), of_places(&heatmap.x, places));
    let left = widest(&y).min(columns / 3) + 1;
    let grid = Grid::fit(&heatmap.values, heatmap.texts(), y, x, columns - left, 8);

    let mut screen = Screen::new(columns, 4 + grid.height());
    let mut row = 0;
    for text in [&heatmap.title, &heatmap.ylabel].into_iter().filter(|text| !text.is_empty()) {
        let text = trimmed(&visible(text), columns);
        match row {
            0 if !heatmap.title.is_empty() => {
                screen.centred((left, left + grid.width()), row, &text, Style::new())
            }
            _ => screen.text(0, row, &text, Style::new()),
        }
        row += 1;
    }
    grid.rows_named(&mut screen, left - 1, row);
    grid.draw(&mut screen, left, row, &scale, colour);
    row += grid.values.len() + grid.columns_named(&mut screen, left, row + grid.values.len());
    if !heatmap.xlabel.is_empty() {
        screen.centred(
            (left, left + grid.width()),
            row,
            &trimmed(&visible(&heatmap.xlabel), columns),
            Style::new(),
        );
        row += 1;
    }
    key(&mut screen, left, row, &scale, colour);
    Ok(screen.lines(width, colour))
}

/// The heads as lines of at most `width` columns, as many side by side as fit.
///
/// # Errors
/// As for [`Attention::validate`].
pub(in super::super) fn attention(
    attention: &Attention,
    width: usize,
    colour: bool,
) -> Result<String> {
    let scale = attention.scale()?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let (queries, keys) = attention.labels(10);
    let left = widest(&queries).min(columns / 3) + 1;
    let grids: Vec<Grid> = attention
        .heads
        .iter()
        .map(|head| Grid::fit(head, vec![], queries.clone(), keys.clone(), columns - left, 2))
        .collect();
    let panel = grids[0].width().max("head 00".len()) + 2;
    let beside = ((columns - left + 2) / panel).max(1);

    let named = usize::from(!attention.title.is_empty());
    let tall = 1 + grids[0].height();
    let mut screen = Screen::new(columns, named + grids.len().div_ceil(beside) * (tall + 1) + 1);
    screen.centred((0, columns), 0, &trimmed(&visible(&attention.title), columns), Style::new());
    let mut row = named;
    for (line, beside_each_other) in grids.chunks(beside).enumerate() {
        let mut deepest = 0;
        for (place, grid) in beside_each_other.iter().enumerate() {
            let at = left + place * panel;
            screen.text(at, row, &format!("head {}", line * beside + place), Style::new());
            grid.draw(&mut screen, at, row + 1, &scale, colour);
            deepest = grid.columns_named(&mut screen, at, row + 1 + grid.values.len());
        }
        grids[0].rows_named(&mut screen, left - 1, row + 1);
        row += 1 + grids[0].values.len() + deepest + 1;
    }
    key(&mut screen, left, row - 1, &scale, colour);
    Ok(screen.lines(width, colour))
}

/// Values reduced to the room that they have, and their labels.
struct Grid {
    values: Vec<Vec<f64>>,
    /// The texts of the cells; may be empty.
    texts: Vec<Vec<String>>,
    rows: Vec<String>,
    columns: Vec<String>,
    /// Columns per cell.
    cell: usize,
}

impl Grid {
    /// A grid at most `room` columns wide, whose cells have at most `most` columns: as many as
    /// their labels need.
    fn fit(
        given: &[Vec<f64>],
        texts: Vec<Vec<String>>,
        rows: Vec<String>,
        columns: Vec<String>,
        room: usize,
        most: usize,
    ) -> Self {
        let values = coarser(given, TALLEST, room);
        // A cell that is the mean of several has no text.
        let texts = if values.len() == given.len() && values[0].len() == given[0].len() {
            texts
        } else {
            vec![]
        };
        let (height, width) = (values.len(), values[0].len());
        let thinned = |labels: Vec<String>, count: usize| {
            let every = labels.len().div_ceil(count);
            labels.into_iter().step_by(every).collect::<Vec<_>>()
        };
        let (rows, columns) = (thinned(rows, height), thinned(columns, width));
        let text = texts.iter().map(|row| widest(row)).max().unwrap_or(0);
        let cell = (widest(&columns).max(text) + 1).clamp(2, most).min(room / width).max(1);
        let texts = grid_trimmed(&texts, cell.min(most - 1));
        Self { values, texts, rows, columns, cell }
    }

    fn width(&self) -> usize {
        self.cell * self.columns.len()
    }

    fn height(&self) -> usize {
        self.values.len() + widest(&self.columns).clamp(1, DEEPEST)
    }

    fn draw(&self, screen: &mut Screen, left: usize, top: usize, scale: &Scale, colour: bool) {
        for (i, row) in self.values.iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                let (x, y) = (left + j * self.cell, top + i);
                match (scale.fraction(value), colour) {
                    (Some(part), true) => {
                        screen.text(
                            x,
                            y,
                            &" ".repeat(self.cell),
                            Style::new().bg(rgb(scale.at(part))),
                        );
                    }
                    (None, true) => {
                        screen.text(x, y, &UNKNOWN.repeat(self.cell), Style::new().bg(rgb(MISSING)))
                    }
                    (Some(part), false) => {
                        screen.text(x, y, &shade(part).repeat(self.cell), Style::new())
                    }
                    (None, false) => screen.text(x, y, &UNKNOWN.repeat(self.cell), Style::new()),
                }
                if let Some(text) = self.texts.get(i).and_then(|row| row.get(j)) {
                    let ground = scale.colour(value);
                    let style = Style::new().bg(rgb(ground)).fg(rgb(readable_on(ground)));
                    let text = format!("{text:0$}", self.cell);
                    screen.text(x, y, &text, if colour { style } else { Style::new() });
                }
            }
        }
    }

    /// Writes the labels of the rows, ending before column `right`.
    fn rows_named(&self, screen: &mut Screen, right: usize, top: usize) {
        for (i, label) in all_trimmed(&self.rows, right).into_iter().enumerate() {
            screen.text(right.saturating_sub(columns_of(&label)), top + i, &label, Style::new());
        }
    }

    /// Writes the labels of the columns, from top to bottom if they do not fit side by side.
    /// Returns how many rows they took.
    fn columns_named(&self, screen: &mut Screen, left: usize, top: usize) -> usize {
        if widest(&self.columns) < self.cell || self.columns.len() == 1 {
            for (j, label) in self.columns.iter().enumerate() {
                screen.centred(
                    (left + j * self.cell, left + (j + 1) * self.cell),
                    top,
                    label,
                    Style::new(),
                );
            }
            return 1;
        }
        for (j, label) in all_trimmed(&self.columns, DEEPEST).into_iter().enumerate() {
            for (down, letter) in label.chars().enumerate() {
                screen.text(left + j * self.cell, top + down, &letter.to_string(), Style::new());
            }
        }
        widest(&self.columns).min(DEEPEST)
    }
}

/// Writes the line that explains the colours or characters.
pub(super) fn key(screen: &mut Screen, left: usize, row: usize, scale: &Scale, colour: bool) {
    let (low, high) = (number(scale.lo), number(scale.hi));
    let steps = if colour { 20 } else { SHADES.len() };
    let left = if left + low.len() + steps + high.len() + 4 > screen.width() { 0 } else { left };
    screen.text(left, row, &format!("{low} ["), Style::new());
    let start = left + low.len() + 2;
    for step in 0..steps {
        let part = step as f64 / (steps - 1) as f64;
        match colour {
            true => screen.text(start + step, row, " ", Style::new().bg(rgb(scale.at(part)))),
            false => screen.text(start + step, row, shade(part), Style::new()),
        }
    }
    screen.text(start + steps, row, &format!("] {high}"), Style::new());
}

fn shade(part: f64) -> &'static str {
    SHADES[((part * SHADES.len() as f64) as usize).min(SHADES.len() - 1)]
}

fn widest(labels: &[String]) -> usize {
    labels.iter().map(|label| columns_of(label)).max().unwrap_or(0)
}
