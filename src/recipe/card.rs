//! The page of a published recipe, README.md, made from its header and a run of it.

use std::fmt::Write;

use super::header::Header;

/// The comment by which `publish` recognises a page that it wrote for the recipe `name`. Any other
/// page is not overwritten.
pub fn mark(name: &str) -> String {
    format!("<!-- Written by `precompute recipe publish` for {name}. -->")
}

/// Licences for which the Hub's metadata has an identifier.
const KNOWN: [&str; 14] = [
    "mit",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "isc",
    "mpl-2.0",
    "gpl-2.0",
    "gpl-3.0",
    "agpl-3.0",
    "lgpl-3.0",
    "unlicense",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
];

/// The page of the recipe that `reference` names. `picture` is a path in the same repository.
pub fn page(header: &Header, reference: &str, picture: Option<&str>) -> String {
    let text = |value: &Option<toml::Spanned<String>>| {
        value.as_ref().map(|v| v.get_ref().clone()).unwrap_or_default()
    };
    let name = text(&header.name);
    let mut page = format!(
        "---\n{}library_name: precompute\ntags:\n- precompute\n- interpretability\n---\n",
        licence(&text(&header.license))
    );
    let _ = write!(
        page,
        "{}\n\n# {}\n\n{}\n",
        mark(&name),
        plain(&name),
        plain(&text(&header.summary))
    );
    if let Some(picture) = picture {
        let _ = write!(page, "\n![{}]({picture})\n\nFrom a run on a demo model.\n", plain(&name));
    }
    let _ = write!(
        page,
        "\n## Run it\n\n```sh\nprecompute recipe show {reference}\nprecompute run {reference}\n```\n\n\
         The first shows what it is and does, the second runs it.\n"
    );
    if !header.params.is_empty() {
        page += "\n## Parameters\n\n| `--set` | default | |\n|---|---|---|\n";
        for (name, param) in &header.params {
            let param = param.get_ref();
            let default = param
                .default
                .as_ref()
                .map(|d| format!("`{}`", code(&d.to_string())))
                .unwrap_or_default();
            let help = plain(param.help.as_deref().unwrap_or_default());
            let _ = writeln!(page, "| `{}` | {default} | {help} |", code(name));
        }
    }
    let list = |values: &[toml::Spanned<String>]| -> String {
        values.iter().map(|v| format!("`{}`", code(v.get_ref()))).collect::<Vec<_>>().join(", ")
    };
    if let Some(change) = &header.change_first {
        let _ = write!(page, "\nChange first: {}\n", plain(change.get_ref()));
    }
    page += "\n## What it does\n\n";
    for (what, values) in [
        ("Works on", &header.models),
        ("Reads or changes", &header.points),
        ("Saves", &header.outputs),
    ] {
        if !values.is_empty() {
            let _ = writeln!(page, "- {what} {}", list(values));
        }
    }
    let authors: Vec<String> =
        header.authors.iter().map(|author| plain(author.get_ref())).collect();
    let _ = write!(
        page,
        "- Requires precompute {}\n- Version {}, {}, by {}\n",
        plain(&text(&header.requires)),
        plain(&text(&header.version)),
        plain(&text(&header.license)),
        authors.join(", ")
    );
    page
}

/// The licence in the metadata of the Hub: its identifier, or `other` with a name.
fn licence(spdx: &str) -> String {
    let lower = spdx.to_lowercase();
    if KNOWN.contains(&lower.as_str()) {
        return format!("license: {lower}\n");
    }
    let slug: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    format!("license: other\nlicense_name: \"{slug}\"\n")
}

/// A text with everything escaped that Markdown or HTML would interpret.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '\n' | '\r' => out.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '!' | '#' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// A text as a code span in a Markdown table.
fn code(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_can_put_nothing_else_into_the_page() {
        let text = "//! name = \"lens\"\n//! license = \"x\\\"\\ny: 1\"\n";
        assert!(Header::read("s", text).is_err());
        let text = "//! name = \"lens\"\n//! license = \"MIT OR Apache-2.0\"\n//! summary = \"<script> a|b [x](y)\"\n\
                    //! [params.k]\n//! default = \"a|b`\"\n//! help = \"one\\n# two\"\n";
        let page =
            page(&Header::read("s", text).unwrap().unwrap(), "hf:a/b/lens.rhai", Some("lens.svg"));
        assert!(
            page.starts_with("---\nlicense: other\nlicense_name: \"mit-or-apache-2.0\"\n"),
            "{page}"
        );
        assert!(page.contains("&lt;script&gt; a\\|b \\[x\\](y)"), "{page}");
        assert!(page.contains("| `k` | `\"a\\|b'\"` | one \\# two |"), "{page}");
    }
}
