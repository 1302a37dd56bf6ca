//! Tokens coloured by numbers: one text, or the same tokens under several rows of numbers.

use serde::Serialize;

use super::colour::{Bounds, Scale};
use super::heatmap::check_grid;
use super::json_number;
use super::label::{token, trimmed};
use crate::{Result, bail};

/// Tokens, each on the colour of a number.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Text {
    /// The title above the picture; may be empty.
    pub title: String,
    /// The tokens, `[n]`.
    pub tokens: Vec<String>,
    /// Their numbers, `[k][n]`: the tokens are shown once for each row.
    #[serde(serialize_with = "json_number::serialize")]
    pub values: Vec<Vec<f64>>,
    /// What each row is. Empty means its index.
    pub rows: Vec<String>,
}

impl Text {
    /// Checks that the text can be drawn.
    ///
    /// # Errors
    /// No tokens, or rows of numbers that do not fit them.
    pub fn validate(&self) -> Result<()> {
        check_grid("text", &self.values)?;
        if self.values[0].len() != self.tokens.len() {
            bail!(
                "text has {} tokens, and rows of {} numbers",
                self.tokens.len(),
                self.values[0].len()
            );
        }
        if !self.rows.is_empty() && self.rows.len() != self.values.len() {
            bail!("text has {} labels for {} rows", self.rows.len(), self.values.len());
        }
        Ok(())
    }

    /// One scale for all rows.
    pub(super) fn scale(&self) -> Result<Scale> {
        self.validate()?;
        Scale::within(self.values.iter().flatten().copied(), Bounds::default())
    }

    /// The tokens as they are shown, each at most `most` columns wide.
    pub(super) fn shown(&self, most: usize) -> Vec<String> {
        self.tokens.iter().map(|text| trimmed(&token(text), most)).collect()
    }

    /// What stands before a row; nothing before the only one that has no label.
    pub(super) fn row_label(&self, row: usize) -> String {
        match self.rows.get(row) {
            Some(label) => trimmed(&token(label), 16),
            None if self.values.len() > 1 => row.to_string(),
            None => String::new(),
        }
    }
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    #[test]
    fn tokens_stand_on_their_colours_in_every_form() {
        let text = Text {
            title: "Loss".into(),
            tokens: ["The", " cat", "猫🐈", "<img src=x>", "\n", &"long".repeat(15)]
                .map(str::to_owned)
                .into(),
            values: vec![vec![0.0, 1.0, 2.0, f64::NAN, 4.0, f64::INFINITY]; 2],
            rows: vec![],
        };
        let picture = Picture::Text(text.clone());
        let svg = picture.svg().unwrap();
        for part in ["Loss", "·cat", "猫🐈", "&lt;img src=x&gt;", "␤"] {
            assert_eq!(
                svg.lines().filter(|line| *line == part).count(),
                if part == "Loss" { 1 } else { 2 },
                "{part} in {svg}"
            );
        }
        assert!(picture.png().is_ok());
        for width in [24, 80] {
            for colour in [false, true] {
                assert!(picture.terminal(width, colour).unwrap().contains("·cat"));
            }
            let plain = picture.terminal(width, false).unwrap();
            assert!(plain.lines().all(|line| super::super::label::width(line) <= width), "{plain}");
        }
        let fewer = Text { tokens: vec!["a".into()], ..text };
        let message = Picture::Text(fewer).svg().unwrap_err().message().to_owned();
        assert_eq!(message, "text has 1 tokens, and rows of 6 numbers");
    }
}
