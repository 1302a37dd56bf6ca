//! The page of the reference on what Rhai itself does, read back: it describes no function that
//! could be declared.

use super::declaration::Row;

const PAGE: &str = include_str!("../reference/language.md");

/// The rows of the page, in order.
pub fn rows() -> impl Iterator<Item = Row> {
    PAGE.lines().filter_map(row)
}

/// Reads `| title | what it gives | example | result |`, where `\|` is a bar within a cell.
fn row(line: &str) -> Option<Row> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?.replace("\\|", "\u{1}");
    let cells: Vec<String> =
        inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
    let [title, gives, example, result] = <[String; 4]>::try_from(cells).ok()?;
    let code = |cell: &str| cell.trim_matches('`').trim().to_owned();
    let (example, result) = (code(&example), code(&result));
    (title != "name").then_some(Row { title, gives, example, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let rows: Vec<Row> = rows().collect();
        assert_eq!(rows.len(), PAGE.lines().filter(|line| line.starts_with("| ")).count() - 1);
        let closures = rows.iter().find(|row| row.title == "closures").unwrap();
        assert_eq!(
            (closures.example.as_str(), closures.result.as_str()),
            ("let f = |x| x + 1; f.call(1)", "2")
        );
        assert!(rows.iter().any(|row| row.is("try") && row.title == "`try`"));
    }
}
