//! Line plots as text, with braille characters as a grid of dots.

use ratatui_core::layout::Alignment;
use ratatui_core::style::Style;
use ratatui_core::symbols::Marker;
use ratatui_widgets::chart::{Axis as Side, Chart, Dataset, GraphType};

use super::screen::{Screen, WIDTHS, rgb};
use crate::Result;
use crate::output::picture::axis::Reach;
use crate::output::picture::colour::of_series;
use crate::output::picture::label::{all_trimmed, trimmed, visible, width as columns_of};
use crate::output::picture::line::{Kind, LinePlot};

/// The characters that tell several series apart without colour.
const MARKS: [char; 8] = ['•', '+', 'x', 'o', '*', '#', '@', '%'];

/// The plot as lines of at most `width` columns.
///
/// # Errors
/// As for [`LinePlot::validate`].
pub(in super::super) fn line(plot: &LinePlot, width: usize, colour: bool) -> Result<String> {
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let height = (columns / 4).clamp(8, 18);
    let steps = if height < 12 { 2 } else { 4 };
    let (x, y) =
        plot.axes((Reach::None, 2), (if plot.log_y { Reach::None } else { Reach::Tick }, steps))?;
    let count = plot.series.len();
    let mark = |i: usize| {
        if colour || count == 1 { Marker::Braille } else { Marker::Custom(MARKS[i % MARKS.len()]) }
    };
    let graph = match plot.kind {
        Kind::Line => GraphType::Line,
        Kind::Scatter => GraphType::Scatter,
    };
    let style =
        |i: usize| if colour { Style::new().fg(rgb(of_series(i, count))) } else { Style::new() };

    let runs: Vec<(usize, Vec<(f64, f64)>)> = plot
        .series
        .iter()
        .enumerate()
        .flat_map(|(i, series)| plot.runs(series, &x, &y).into_iter().map(move |run| (i, run)))
        .collect();
    let datasets = runs
        .iter()
        .map(|(i, run)| {
            Dataset::default().marker(mark(*i)).graph_type(graph).style(style(*i)).data(run)
        })
        .collect();
    // The chart widget spaces its labels evenly, as only linear ticks are.
    let names = match plot.log_y {
        true => (0..=steps).map(|i| y.label_at(i as f64 / steps as f64)).collect(),
        false => y.ticks.iter().map(|(_, label)| label.clone()).collect(),
    };
    let side = |labels: Vec<String>| Side::default().bounds([0.0, 1.0]).labels(labels);
    let chart = Chart::new(datasets)
        .x_axis(side([0.0, 0.5, 1.0].map(|at| x.label_at(at)).to_vec()))
        .y_axis(side(names).labels_alignment(Alignment::Right))
        .legend_position(None);

    let legend = legend(plot, columns, colour);
    let named = usize::from(!plot.title.is_empty());
    let above = named + usize::from(!plot.ylabel.is_empty());
    let below = usize::from(!plot.xlabel.is_empty());
    let mut screen = Screen::new(columns, above + height + below + legend.len());
    screen.centred((0, columns), 0, &trimmed(&visible(&plot.title), columns), Style::new());
    screen.text(0, named, &trimmed(&visible(&plot.ylabel), columns), Style::new());
    screen.widget(chart, above, height);
    screen.centred(
        (0, columns),
        above + height,
        &trimmed(&visible(&plot.xlabel), columns),
        Style::new(),
    );
    for (row, entries) in legend.into_iter().enumerate() {
        for (at, i, text) in entries {
            screen.text(at, above + height + below + row, &text, style(i));
        }
    }
    Ok(screen.lines(width, colour))
}

/// The rows of the legend: column, series and text of each entry.
fn legend(plot: &LinePlot, columns: usize, colour: bool) -> Vec<Vec<(usize, usize, String)>> {
    let mut rows: Vec<Vec<(usize, usize, String)>> = vec![];
    let mut at = columns;
    let labels: Vec<String> = plot.series.iter().map(|series| visible(&series.label)).collect();
    let labels = all_trimmed(&labels, 24).into_iter().enumerate();
    for (i, label) in labels.filter(|(_, label)| !label.is_empty()) {
        let mark = if colour || plot.series.len() == 1 { '─' } else { MARKS[i % MARKS.len()] };
        let text = format!("{mark} {label}");
        let wide = columns_of(&text);
        if at + wide > columns {
            rows.push(vec![]);
            at = 2;
        }
        if let Some(row) = rows.last_mut() {
            row.push((at, i, text));
        }
        at += wide + 3;
    }
    rows
}
