//! Coloured tokens, laid out and drawn.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Draw, Type};
use super::heatmap::bar;
use crate::Result;
use crate::output::picture::colour::{FAINT, INK, Scale, readable_on};
use crate::output::picture::label::{trimmed, visible, width};
use crate::output::picture::text::Text;

const SIZE: f64 = 15.0;
/// The width of one column of a token; fonts of viewers differ, and letters of the East take two.
const COLUMN: i32 = 10;
const LINE: i32 = 26;
const WIDTH: i32 = 860;
const LONGEST: usize = 60;

/// Tokens broken into lines, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    text: &'a Text,
    scale: Scale,
    tokens: Vec<String>,
    /// The place of each token from the left, and its line.
    places: Vec<(i32, i32)>,
    left: i32,
    top: i32,
    lines: i32,
}

impl<'a> Layout<'a> {
    /// Lays the tokens out.
    ///
    /// # Errors
    /// As for [`Text::validate`]; or no number is finite.
    pub fn new(text: &'a Text) -> Result<Self> {
        let scale = text.scale()?;
        let tokens = text.shown(LONGEST);
        let labels = (0..text.values.len()).map(|row| width(&text.row_label(row)) as i32);
        let left = 16 + labels.max().filter(|&most| most > 0).map_or(0, |most| most * 9 + 10);
        let (mut x, mut line) = (left, 0);
        let places = tokens
            .iter()
            .map(|token| {
                let wide = room(token);
                if x + wide > left + WIDTH && x > left {
                    (x, line) = (left, line + 1);
                }
                x += wide;
                (x - wide, line)
            })
            .collect();
        let top = if text.title.is_empty() { 16 } else { 56 };
        Ok(Self { text, scale, tokens, places, left, top, lines: line + 1 })
    }

    /// The height of one row of numbers, with the space below it.
    fn row(&self) -> i32 {
        self.lines * LINE + 10
    }

    fn height(&self) -> i32 {
        self.row() * self.text.values.len() as i32
    }
}

/// The width of a token with the space around it.
fn room(token: &str) -> i32 {
    width(token) as i32 * COLUMN + 6
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        (self.left + WIDTH + 100, self.top + self.height().max(120) + 12)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (row, values) in self.text.values.iter().enumerate() {
            let top = self.top + row as i32 * self.row();
            let label = Type::new(13.0, FAINT).mono().across(HPos::Right);
            canvas.text(&self.text.row_label(row), (self.left - 8, top + LINE / 2), label)?;
            for ((token, &value), &(x, line)) in self.tokens.iter().zip(values).zip(&self.places) {
                let (ground, y) = (self.scale.colour(value), top + line * LINE);
                canvas.fill((x, y), (x + room(token) - 2, y + LINE - 3), ground)?;
                let kind = Type::new(SIZE, readable_on(ground)).mono();
                canvas.text(token, (x + 2, y + LINE / 2 - 1), kind)?;
            }
        }
        let (width, _) = self.size();
        let bottom = self.top + self.height().clamp(110, 300);
        bar(canvas, width - 80, self.top, bottom, &self.scale)?;
        let title = Type::new(22.0, INK).across(HPos::Center);
        canvas.text(&trimmed(&visible(&self.text.title), 80), (width / 2, 28), title)
    }
}
