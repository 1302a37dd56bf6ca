//! Attention patterns: for each head, how much weight each query gives to each key.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Draw, Type};
use super::colour::{INK, Scale};
use super::heatmap::{bar, cells, check_grid, coarser, every, part};
use super::label::{of_places, trimmed, visible};
use crate::{Result, bail};

/// The attention patterns of some heads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attention {
    /// The tokens of the queries. Empty means that queries are labelled by index.
    pub tokens: Vec<String>,
    /// The tokens of the keys: those of the queries, after those of a cache if there is one. Empty
    /// means that keys are labelled by index.
    pub keys: Vec<String>,
    /// The weights, `[head][query][key]`.
    pub heads: Vec<Vec<Vec<f64>>>,
    /// The title above the picture; may be empty.
    pub title: String,
}

impl Attention {
    /// Checks that the attention can be drawn.
    ///
    /// # Errors
    /// No heads, heads of different shapes, or tokens and keys whose numbers do not fit the heads.
    pub fn validate(&self) -> Result<()> {
        if self.heads.is_empty() {
            bail!("attention needs at least one head");
        }
        for (h, head) in self.heads.iter().enumerate() {
            check_grid(&format!("head {h}"), head)?;
            let (n, m) = (head.len(), head[0].len());
            let (queries, keys) = (self.heads[0].len(), self.heads[0][0].len());
            if (n, m) != (queries, keys) {
                bail!("head {h} is [{n}, {m}] where head 0 is [{queries}, {keys}]");
            }
            if (!self.tokens.is_empty() && self.tokens.len() != n)
                || (!self.keys.is_empty() && self.keys.len() != m)
            {
                let (tokens, keys) = (self.tokens.len(), self.keys.len());
                bail!(
                    "attention over {tokens} tokens and {keys} keys needs heads of [{tokens}, {keys}], not [{n}, {m}]"
                );
            }
        }
        Ok(())
    }

    /// One scale for all heads, which makes them comparable. It includes zero.
    pub(super) fn scale(&self) -> Result<Scale> {
        self.validate()?;
        Ok(Scale::of(self.heads.iter().flatten().flatten().copied())?.with_zero())
    }

    /// The labels of queries and keys, each at most `most` columns wide.
    pub(super) fn labels(&self, most: usize) -> (Vec<String>, Vec<String>) {
        let short = |given, count| {
            of_places(given, count).iter().map(|label| trimmed(label, most)).collect()
        };
        (short(&self.tokens, self.heads[0].len()), short(&self.keys, self.heads[0][0].len()))
    }
}

const TICK: f64 = 13.0;
const GAP: i32 = 18;
const HEAD: i32 = 28;
const BAR: i32 = 90;

/// The heads laid out in a grid, ready to be drawn.
pub(super) struct Layout<'a> {
    attention: &'a Attention,
    heads: Vec<Vec<Vec<f64>>>,
    scale: Scale,
    queries: Vec<String>,
    keys: Vec<String>,
    /// Width and height of one head's cells.
    panel: (i32, i32),
    columns: usize,
    left: i32,
    top: i32,
    below: i32,
}

impl<'a> Layout<'a> {
    /// Lays the heads out.
    ///
    /// # Errors
    /// As for [`Attention::validate`]; or no weight is finite.
    pub fn new(attention: &'a Attention) -> Result<Self> {
        let scale = attention.scale()?;
        let (queries, keys) = attention.labels(12);
        let count = attention.heads.len();
        let columns = match count {
            1..=4 => count,
            _ => (((count as f64) * 1.6).sqrt().ceil() as usize).clamp(4, 8),
        };
        let side = |n: usize| {
            let most = if columns == 1 { 520 } else { 1680 / columns as i32 };
            (n.min(99) as i32 * 16).clamp(
                if columns == 1 { 320 } else { 160 },
                most.clamp(160, 360 + 160 / columns as i32),
            )
        };
        let panel = (side(keys.len()), side(queries.len()));
        let kind = Type::new(TICK, INK).mono();
        let widest =
            |labels: &[String]| labels.iter().map(|label| kind.width(label)).max().unwrap_or(0);
        // Browsers fail on an SVG document with a million rectangles.
        let most =
            ((120_000.0 / count as f64).sqrt() as usize).clamp(16, panel.0.min(panel.1) as usize);
        let heads = attention.heads.iter().map(|head| coarser(head, most, most)).collect();
        let (left, below) = (24 + widest(&queries), 20 + widest(&keys));
        let top = if attention.title.is_empty() { 12 } else { 52 };
        Ok(Self { attention, heads, scale, queries, keys, panel, columns, left, top, below })
    }

    fn rows(&self) -> i32 {
        self.heads.len().div_ceil(self.columns) as i32
    }

    fn corner(&self, head: usize) -> (i32, i32) {
        let (row, column) = ((head / self.columns) as i32, (head % self.columns) as i32);
        (
            self.left + column * (self.panel.0 + GAP),
            self.top + HEAD + row * (self.panel.1 + HEAD + 6),
        )
    }

    fn labels<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, head: usize) -> Result<()> {
        let kind = Type::new(TICK, INK).mono().across(HPos::Right);
        let ((left, top), (width, height)) = (self.corner(head), self.panel);
        let middle = |length, i, count| (part(length, i, count) + part(length, i + 1, count)) / 2;
        if head.is_multiple_of(self.columns) {
            for (i, label) in
                self.queries.iter().enumerate().step_by(every(self.queries.len(), height, 13))
            {
                canvas.text(
                    label,
                    (left - 7, top + middle(height, i, self.queries.len())),
                    kind,
                )?;
            }
        }
        // Only the lowest head of each column has labels for the keys.
        if head + self.columns >= self.heads.len() {
            for (j, label) in
                self.keys.iter().enumerate().step_by(every(self.keys.len(), width, 13))
            {
                canvas.text(
                    label,
                    (left + middle(width, j, self.keys.len()), top + height + 7),
                    kind.upwards(),
                )?;
            }
        }
        Ok(())
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        let columns = self.columns as i32;
        let width = self.left + columns * self.panel.0 + (columns - 1) * GAP + BAR;
        (width, self.top + self.rows() * (self.panel.1 + HEAD + 6) + self.below)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (h, head) in self.heads.iter().enumerate() {
            let (left, top) = self.corner(h);
            let name = Type::new(15.0, INK).across(HPos::Center);
            canvas.text(&format!("head {h}"), (left + self.panel.0 / 2, top - 12), name)?;
            cells(canvas, (left, top), self.panel, head, &self.scale)?;
            self.labels(canvas, h)?;
        }
        let (width, _) = self.size();
        let (_, last) = self.corner(self.heads.len() - 1);
        let top = self.top + HEAD;
        bar(canvas, width - BAR + 20, top, (last + self.panel.1).min(top + 400), &self.scale)?;
        let title = Type::new(22.0, INK).across(HPos::Center);
        canvas.text(
            &trimmed(&visible(&self.attention.title), (width / 12) as usize),
            (width / 2, 28),
            title,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn attention(heads: usize, n: usize, m: usize) -> Attention {
        let names = |count: usize| (0..count).map(|i| format!(" t{i}")).collect();
        let row =
            |i: usize| (0..m).map(|j| if j <= i { 1.0 / (i + 1) as f64 } else { 0.0 }).collect();
        let head: Vec<Vec<f64>> = (0..n).map(row).collect();
        Attention {
            tokens: names(n),
            keys: names(m),
            heads: vec![head; heads],
            title: "Layer 3".into(),
        }
    }

    #[test]
    fn each_head_is_named() {
        let svg = Picture::Attention(attention(6, 4, 4)).svg().unwrap();
        for text in ["Layer 3", "head 0", "head 5", "·t3", "0.4"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
    }

    #[test]
    fn any_number_of_heads_and_tokens_is_drawn() {
        for (heads, n, m) in [(1, 1, 1), (1, 1, 9), (3, 2, 5), (32, 20, 20), (5, 300, 300)] {
            let picture = Picture::Attention(attention(heads, n, m));
            assert!(picture.svg().unwrap().len() < 30_000_000);
            assert!(picture.png().is_ok());
            for width in [10, 79] {
                let text = picture.terminal(width, false).unwrap();
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
                assert!(width < 20 || text.matches("head").count() == heads, "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let message = |attention: Attention| {
            Picture::Attention(attention).svg().unwrap_err().message().to_owned()
        };
        assert_eq!(message(Attention::default()), "attention needs at least one head");
        let mut uneven = attention(2, 3, 3);
        uneven.heads[1].pop();
        assert_eq!(message(uneven), "head 1 is [2, 3] where head 0 is [3, 3]");
        let mut unnamed = attention(1, 3, 4);
        unnamed.tokens.pop();
        let expected = "attention over 2 tokens and 4 keys needs heads of [2, 4], not [3, 4]";
        assert_eq!(message(unnamed), expected);
    }
}
