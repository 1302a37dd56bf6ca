//! The pictures and tables of a page as JSON, from which its script draws them.
//!
//! `{"version": 1, "items": […]}`; an item is `{"item": "picture", "file": …, "picture": …, …}` as
//! [`Picture`] writes it, `{"item": "table", "columns": […], "rows": [[…]]}`, or `null` for what the
//! page has in its HTML.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::output::items::{Item, Items};
use crate::output::picture::Picture;

/// The version of this form. Another number means that a key has another meaning.
const VERSION: u32 = 1;

/// The id of the element that holds the JSON.
pub const ID: &str = "data";

/// The items as JSON.
pub(super) fn json(items: &Items) -> Json {
    json!({ "version": VERSION, "items": items.iter().map(item).collect::<Vec<_>>() })
}

fn item(item: &Item) -> Json {
    match item {
        Item::Picture { file, picture } => {
            let points = |picture: &Picture| match picture {
                Picture::Line(plot) => plot.x.len(),
                _ => 0,
            };
            let drawn = picture.thinned();
            let mut json = serde_json::to_value(drawn.as_ref()).unwrap_or_default();
            json["item"] = "picture".into();
            json["file"] = file.as_str().into();
            json["about"] = picture.describe().into();
            if points(&drawn) < points(picture) {
                json["thinned_from"] = points(picture).into();
            }
            json
        }
        Item::Table(table) => json!({
            "item": "table",
            "columns": table.columns,
            "rows": table.rows,
        }),
        Item::Note(_) | Item::LeftOut(_) => Json::Null,
    }
}

/// JSON as the text of a script element, which no text in it can end.
pub fn in_element(json: &Json) -> String {
    let mut safe = String::new();
    for c in json.to_string().chars() {
        match c {
            // All of them stand in strings alone.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_element() {
        let json = json!({"</script><script>alert(1)": ["<!--<script>", "\u{2028}", "]]>&"]});
        let text = in_element(&json);
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json);
    }
}
