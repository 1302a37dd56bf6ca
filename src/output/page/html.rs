//! HTML as it is written: every text escaped.

use std::fmt::{Display, Write};

/// A document, or a part of one.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Adds markup of this program.
    pub fn markup(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: impl Display) -> &mut Self {
        for c in text.to_string().chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c if is_hidden(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds an element that holds a text. `tag` is its name, and attributes of this program.
    pub fn element(&mut self, tag: &str, text: impl Display) -> &mut Self {
        let name = tag.split(' ').next().unwrap_or(tag);
        let _ = write!(self.0, "<{tag}>");
        self.text(text);
        let _ = writeln!(self.0, "</{name}>");
        self
    }

    /// Adds a link to a file that lies beside the page.
    pub fn file(&mut self, name: &str) -> &mut Self {
        self.markup("<a download href=\"./");
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    self.0.push(char::from(byte))
                }
                byte => {
                    let _ = write!(self.0, "%{byte:02X}");
                }
            }
        }
        self.markup("\">").text(name).markup("</a>")
    }

    /// What was written.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Whether a character would not be seen, or would change how those beside it are: controls, and
/// what turns the direction of a line.
fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_no_markup() {
        let mut html = Html::default();
        html.element("td class=\"x\"", "<img src=x onerror=alert(1)> \"'&\u{202e}\0");
        html.file("a b/<\"#?%>.csv");
        let expected = "<td class=\"x\">&lt;img src=x onerror=alert(1)&gt; &quot;&#39;&amp;\u{fffd}\u{fffd}</td>\n\
             <a download href=\"./a%20b/%3C%22%23%3F%25%3E.csv\">a b/&lt;&quot;#?%&gt;.csv</a>";
        assert_eq!(html.into_string(), expected);
    }
}
