//! The tables of what scripts may write, read back: for help, and for whoever else shows them.

/// Tables of `| name | what it gives | example | result |`.
const TABLES: [&str; 3] =
    [include_str!("experiments.md"), include_str!("reference.md"), include_str!("language.md")];

/// One thing that a script may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As the table has it: the code, and what follows to tell it from others of its name.
    pub title: String,
    /// The code alone: `mean`, `.shape`, `t[i]`.
    pub name: String,
    pub gives: String,
    pub example: String,
    /// What printing the example's value shows; nothing where that would be the same for every
    /// example.
    pub result: String,
}

/// Every row, in order.
pub fn entries() -> Vec<Entry> {
    TABLES.iter().flat_map(|table| table.lines()).filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let inner = line.strip_prefix('|')?.replace("\\|", "\u{1}");
    let cells: Vec<String> = inner
        .trim_end()
        .trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect();
    let [title, gives, example, result] = cells.as_slice() else { return None };
    if title == "name" || title.starts_with('-') {
        return None;
    }
    let name = title.split('`').nth(1).unwrap_or(title);
    let code = |cell: &str| cell.trim_matches('`').to_owned();
    Some(Entry {
        title: title.replace('`', ""),
        name: name.to_owned(),
        gives: gives.clone(),
        example: code(example),
        result: code(result),
    })
}

impl Entry {
    /// Whether it is what a person means by `name`: with the dot of a property or without, and by a
    /// word of its title.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.name.trim_start_matches('.') == name || self.title == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let entries = entries();
        let rows = TABLES
            .iter()
            .flat_map(|table| table.lines())
            .filter(|line| line.starts_with("| `"))
            .count();
        assert!(entries.len() >= rows && rows > 200, "{} of {rows}", entries.len());
        let or = entries.iter().find(|entry| entry.name == "|").unwrap();
        assert_eq!(
            (or.gives.as_str(), or.result.as_str()),
            ("or", "tensor [4] bool cpu: [true, false, false, true]")
        );
        assert!(entries.iter().any(|entry| entry.is("shape") && entry.name == ".shape"));
    }
}
