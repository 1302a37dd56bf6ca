//! Tables as text for a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets};

use super::label::visible;

/// Aligns rows in columns, without borders. With `width` the cells wrap so that a line fits, except
/// those of the first column, which are names.
pub fn columns<R: Into<Row>>(
    rows: impl IntoIterator<Item = R>,
    width: Option<usize>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    if let Some(width) = width {
        arrange(&mut table, width.saturating_sub(1));
        if let Some(names) = table.column_mut(0) {
            names.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.lines().map(|line| format!(" {}", line.trim_end())).collect()
}

/// Lets the cells wrap so that a line has at most `width` characters.
fn arrange(table: &mut Table, width: usize) {
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.clamp(1, usize::from(u16::MAX)) as u16);
}

/// A table with thin borders. Numbers are aligned to the right, a row with fewer cells than there
/// are columns is filled up, and with `width` cells wrap so that the table fits.
pub fn draw(columns: &[String], rows: &[Vec<String>], width: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).chain([columns.len()]).max().unwrap_or(0);
    if count == 0 {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    match width {
        Some(width) => arrange(&mut table, width),
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    if !columns.is_empty() {
        let numeric = |column: usize| {
            let mut cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .filter(|cell| !cell.is_empty())
                .peekable();
            cells.peek().is_some() && cells.all(|cell| is_number(cell))
        };
        table.set_header((0..count).map(|i| aligned(columns.get(i), numeric(i))));
    }
    for row in rows {
        table.add_row(
            (0..count).map(|i| aligned(row.get(i), row.get(i).is_some_and(|cell| is_number(cell)))),
        );
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn aligned(text: Option<&String>, right: bool) -> Cell {
    let cell = Cell::new(text.map(|text| visible(text)).unwrap_or_default());
    cell.set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [strings(&["Paris", "0.81", "7"]), strings(&["a\nb", "-12.5"])];
        let expected = "\
┌───────┬───────┬───────┐
│ token ┆ logit ┆ layer │
╞═══════╪═══════╪═══════╡
│ Paris ┆  0.81 ┆     7 │
│ a␤b   ┆ -12.5 ┆       │
└───────┴───────┴───────┘";
        assert_eq!(draw(&strings(&["token", "logit", "layer"]), &rows, None), expected);
    }

    #[test]
    fn a_table_keeps_to_its_width() {
        let rows = [strings(&["the quick brown fox jumps over the lazy dog", "1"])];
        let drawn = draw(&strings(&["text", "n"]), &rows, Some(24));
        assert!(drawn.lines().all(|line| line.chars().count() <= 24), "{drawn}");
        assert!(drawn.contains("quick"));
    }

    #[test]
    fn columns_wrap_beside_their_names() {
        let rows = [["a-name-of-22-characters", "what stands there in many words"], ["b", "c"]];
        let lines = columns(rows, Some(40));
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert_eq!(lines[0], "  a-name-of-22-characters  what stands");
        assert_eq!(lines.last().unwrap(), "  b                        c");
        assert_eq!(columns(rows, None).len(), 2);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(draw(&[], &[], None), "");
        assert!(draw(&strings(&["only"]), &[], None).contains("only"));
    }
}
