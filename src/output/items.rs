//! What a run shows, in order: notes, pictures and tables. Its page is made of them.

use super::format::table::Table;
use super::picture::Picture;

/// The most numbers, cells and characters that are kept of a run, all together. A page of so many
/// is some 20 MB, which browsers open in seconds.
const MOST: usize = 2_000_000;

/// One thing that a run shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Prose, in Markdown.
    Note(String),
    /// A picture, and the file that it was saved in.
    Picture {
        /// The file's name.
        file: String,
        /// The picture.
        picture: Picture,
    },
    /// A table that was printed.
    Table(Table),
    /// Something that was too large to be kept: what it was called.
    LeftOut(String),
}

impl Item {
    /// How many numbers, cells and characters it has.
    fn size(&self) -> usize {
        match self {
            Self::Note(text) | Self::LeftOut(text) => text.len() / 8,
            Self::Picture { picture, .. } => picture.size(),
            Self::Table(table) => table.rows.len() * table.columns.len(),
        }
    }

    /// About how many bytes it takes in a page.
    pub fn bytes(&self) -> usize {
        8 * self.size()
    }

    fn name(self) -> String {
        match self {
            Self::Note(_) => "a note".into(),
            Self::Picture { file, .. } => file,
            Self::Table(table) => format!("a table of {} rows", table.rows.len()),
            Self::LeftOut(name) => name,
        }
    }
}

/// The items of a run, of which large ones are left out once there are many.
#[derive(Debug, Default)]
pub struct Items {
    list: Vec<Item>,
    size: usize,
}

impl Items {
    /// Adds an item.
    pub fn push(&mut self, item: Item) {
        let size = item.size() + 16;
        let fits = self.size + size <= MOST;
        self.size += if fits { size } else { 16 };
        // Even names have an end: a script may draw for hours.
        match item {
            item if fits => self.list.push(item),
            item if self.size <= 2 * MOST => self.list.push(Item::LeftOut(item.name())),
            _ => {}
        }
    }

    /// Whether nothing was shown.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The items, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Item> {
        self.list.iter()
    }

    /// The tables, in order.
    pub fn tables(&self) -> Vec<Table> {
        let table = |item: &Item| match item {
            Item::Table(table) => Some(table.clone()),
            _ => None,
        };
        self.list.iter().filter_map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_named() {
        let mut items = Items::default();
        let rows = vec![vec![serde_json::Value::Null; 10]; MOST / 10];
        let columns = vec![String::new(); 10];
        items.push(Item::Note("first".into()));
        items.push(Item::Table(Table { columns, rows }));
        items.push(Item::Note("last".into()));
        let kept: Vec<_> = items.iter().collect();
        assert_eq!(kept[1], &Item::LeftOut(format!("a table of {} rows", MOST / 10)));
        assert!(matches!(kept[2], Item::Note(_)) && items.tables().is_empty());
    }
}
