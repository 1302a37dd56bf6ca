//! Heatmaps: a grid of values shown as colours.

use serde::Serialize;

use super::colour::{Bounds, Scale};
use super::json_number;
use super::label::token;
use crate::{Result, bail};

/// A grid of values to be shown as colours, the first row on top.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Heatmap {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the columns are; may be empty.
    pub xlabel: String,
    /// What the rows are; may be empty.
    pub ylabel: String,
    /// The labels of the columns. Empty means their indices.
    pub x: Vec<String>,
    /// The labels of the rows. Empty means their indices.
    pub y: Vec<String>,
    /// The values, `[row][column]`.
    #[serde(serialize_with = "json_number::serialize")]
    pub values: Vec<Vec<f64>>,
    /// Texts for the cells, `[row][column]`. Empty means the values, if they fit.
    pub text: Vec<Vec<String>>,
    /// Ends of the colour scale that are fixed.
    pub bounds: Bounds,
}

impl Heatmap {
    /// Checks that the heatmap can be drawn.
    ///
    /// # Errors
    /// No values, rows of different lengths, or labels or texts whose number does not fit the
    /// values.
    pub fn validate(&self) -> Result<()> {
        check_grid("a heatmap", &self.values)?;
        check_labels("x", &self.x, "columns", self.values[0].len())?;
        check_labels("y", &self.y, "rows", self.values.len())?;
        let (rows, columns) = (self.values.len(), self.values[0].len());
        let fits = self.text.is_empty()
            || self.text.len() == rows && self.text.iter().all(|row| row.len() == columns);
        if !fits {
            let widest = self.text.iter().map(Vec::len).max().unwrap_or(0);
            bail!(
                "a heatmap has text for {} rows of {widest} cells, and {rows} of {columns}",
                self.text.len()
            );
        }
        Ok(())
    }

    /// The texts of the cells.
    pub(super) fn texts(&self) -> Vec<Vec<String>> {
        self.text.iter().map(|row| row.iter().map(|text| token(text)).collect()).collect()
    }

    /// The colour scale of the values.
    pub(super) fn scale(&self) -> Result<Scale> {
        self.validate()?;
        Scale::within(self.values.iter().flatten().copied(), self.bounds)
    }
}

/// Checks that there is at least one number, and that all rows are equally long. `what` is for
/// messages.
pub(super) fn check_grid(what: &str, rows: &[Vec<f64>]) -> Result<()> {
    let Some(first) = rows.first().filter(|row| !row.is_empty()) else {
        bail!("{what} needs at least one row of at least one number");
    };
    match rows.iter().position(|row| row.len() != first.len()) {
        Some(i) => {
            bail!("row {i} of {what} has {} numbers where row 0 has {}", rows[i].len(), first.len())
        }
        None => Ok(()),
    }
}

fn check_labels(axis: &str, labels: &[String], what: &str, count: usize) -> Result<()> {
    if !labels.is_empty() && labels.len() != count {
        bail!("a heatmap has {} labels on {axis} for {count} {what}", labels.len());
    }
    Ok(())
}

/// Reduces `values` to at most `rows` by `columns` cells. Each is the mean of the finite values of
/// a block, or NaN if there are none.
pub(super) fn coarser(values: &[Vec<f64>], rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let (rows, columns) = (rows.max(1), columns.max(1));
    let width = values.first().map_or(0, Vec::len);
    if values.len() <= rows && width <= columns {
        return values.to_vec();
    }
    let (down, across) = (values.len().div_ceil(rows), width.div_ceil(columns));
    let mean = |block: &[Vec<f64>], from: usize| {
        let to = (from + across).min(width);
        let finite: Vec<f64> = block
            .iter()
            .flat_map(|row| &row[from..to])
            .copied()
            .filter(|x| x.is_finite())
            .collect();
        if finite.is_empty() {
            f64::NAN
        } else {
            finite.iter().map(|x| x / finite.len() as f64).sum()
        }
    };
    values
        .chunks(down)
        .map(|block| (0..width).step_by(across).map(|from| mean(block, from)).collect())
        .collect()
}

/// Where the `i`th of `count` equal parts of `length` begins.
pub(super) fn part(length: i32, i: usize, count: usize) -> i32 {
    (f64::from(length) * i as f64 / count as f64).round() as i32
}

/// The step between labels if `count` labels share `length` and each needs `room`.
pub(super) fn every(count: usize, length: i32, room: i32) -> usize {
    (count * room.max(1) as usize).div_ceil(length.max(1) as usize).max(1)
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn heatmap(values: &[&[f64]]) -> Heatmap {
        Heatmap {
            title: "Scores".into(),
            values: values.iter().map(|row| row.to_vec()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn svg_has_cells_labels_and_numbers() {
        let mut heatmap = heatmap(&[&[0.0, 0.5], &[f64::NAN, 1.0]]);
        heatmap.x = vec![" the".into(), "\n".into()];
        let svg = Picture::Heatmap(heatmap).svg().unwrap();
        for text in ["Scores", "·the", "␤", "0.50", "nan"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("fill=\"#BEBEBE\"").count(), 1, "NaN is grey");
        assert!(
            svg.contains("fill=\"#440154\"") && svg.contains("fill=\"#FDE725\""),
            "the ends of viridis"
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let message =
            |heatmap: Heatmap| Picture::Heatmap(heatmap).svg().unwrap_err().message().to_owned();
        assert_eq!(
            message(heatmap(&[])),
            "a heatmap needs at least one row of at least one number"
        );
        assert_eq!(
            message(heatmap(&[&[]])),
            "a heatmap needs at least one row of at least one number"
        );
        assert_eq!(
            message(heatmap(&[&[1.0, 2.0], &[1.0]])),
            "row 1 of a heatmap has 1 numbers where row 0 has 2"
        );
        let labelled = Heatmap { x: vec!["a".into()], ..heatmap(&[&[1.0, 2.0]]) };
        assert_eq!(message(labelled), "a heatmap has 1 labels on x for 2 columns");
        assert_eq!(
            message(heatmap(&[&[f64::NAN]])),
            "there is nothing to draw: no value is finite"
        );
    }

    #[test]
    fn odd_and_large_grids_are_drawn() {
        let wide: Vec<f64> = (0..3000).map(f64::from).collect();
        let grids: [&[&[f64]]; 4] =
            [&[&[3.0, 3.0]], &[&[f64::INFINITY, 1.0, -1e308]], &[&[5e-324]], &[&wide]];
        for grid in grids {
            let picture = Picture::Heatmap(heatmap(grid));
            assert!(picture.svg().unwrap().len() < 2_000_000);
            assert!(picture.png().is_ok());
            assert!(picture.terminal(40, true).is_ok());
        }
    }

    #[test]
    fn coarser_cells_are_means() {
        let values =
            vec![vec![1.0, 3.0, 5.0], vec![f64::NAN, f64::NAN, f64::NAN], vec![f64::NAN; 3]];
        assert_eq!(coarser(&values, 2, 2)[0], [2.0, 5.0]);
        assert!(coarser(&values, 2, 2)[1][0].is_nan());
        assert_eq!(coarser(&values[..1], 1, 3), values[..1]);
    }
}
