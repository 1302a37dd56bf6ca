//! The text that describes a recipe to the user: its header, what it may access, and its source
//! with control characters escaped.

use crate::Result;
use crate::recipe::{Header, Origin, Recipe};
use crate::script::{Failure, Host, Settings};

/// The files of a recipe as pairs of path and text, the script first. Modules that ship with this
/// program are left out.
///
/// # Errors
/// The recipe can't be read or does not compile.
pub fn sources(recipe: &Recipe) -> Result<Vec<(String, String)>, Failure> {
    if let Origin::Hub { locked, texts, .. } = &recipe.origin {
        let main = locked.remote().map_err(Failure::usage)?.path;
        let mut all: Vec<(String, String)> = texts.clone().into_iter().collect();
        all.sort_by_key(|(path, _)| *path != main);
        return Ok(all);
    }
    let host =
        Host::new(Settings { silent: true, ..Settings::default() }).map_err(Failure::usage)?;
    let sources = host.describe(&recipe.program())?.sources;
    Ok(sources
        .into_iter()
        .enumerate()
        .filter(|(i, (id, _))| *i == 0 || !id.starts_with("precompute:"))
        .map(|(_, s)| s)
        .collect())
}

/// The lines of the whole description.
///
/// # Errors
/// As [`sources`].
pub fn describe(recipe: &Recipe) -> Result<Vec<String>, Failure> {
    let mut lines = head(recipe);
    lines.push(String::new());
    lines.push("It may".into());
    lines.extend(
        permissions(recipe).into_iter().map(|(what, which)| format!("  {what:<9} {which}")),
    );
    for (path, text) in sources(recipe)? {
        lines.push(String::new());
        lines.push(format!("─── {}", visible(&path)));
        lines.extend(text.lines().map(visible));
    }
    Ok(lines)
}

/// The lines of the header.
fn head(recipe: &Recipe) -> Vec<String> {
    let Some(header) = &recipe.header else {
        return vec![format!("{} (a script without a header)", visible(&recipe.id))];
    };
    let one = |value: &Option<toml::Spanned<String>>| {
        value.as_ref().map(|v| v.get_ref().clone()).unwrap_or_default()
    };
    let many = |values: &[toml::Spanned<String>]| {
        values.iter().map(|value| value.get_ref().clone()).collect::<Vec<_>>().join(", ")
    };
    let from = match &recipe.origin {
        Origin::Hub { locked, .. } => format!("{}, commit {}", locked.reference, locked.commit),
        Origin::Shipped(_) => "this program".into(),
        Origin::File(path) => path.display().to_string(),
    };
    let mut lines = vec![
        format!("{} {}", recipe.name(), one(&header.version)).trim_end().to_owned(),
        one(&header.summary),
    ];
    let rows = [
        ("from", from),
        ("group", header.group.map(|group| group.to_string()).unwrap_or_default()),
        ("licence", one(&header.license)),
        ("authors", many(&header.authors)),
        ("requires", one(&header.requires)),
        ("models", many(&header.models)),
        ("points", many(&header.points)),
        ("files", many(&header.files)),
        ("outputs", many(&header.outputs)),
    ];
    lines.extend(
        rows.into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(what, text)| format!("  {what:<9} {text}")),
    );
    for (name, param) in &header.params {
        let param = param.get_ref();
        let default = param.default.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
        let help = param.help.as_deref().unwrap_or_default();
        lines.push(format!("  --set {name}={default}   {help}").trim_end().to_owned());
    }
    if let Some(change) = &header.change_first {
        lines.push(format!("  Change first: {}", change.get_ref()));
    }
    lines.iter().filter(|line| !line.is_empty()).map(|line| visible(line)).collect()
}

/// What the recipe may load, fetch, read and write, as the host enforces it: pairs of a verb and
/// its objects.
pub fn permissions(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let stranger = matches!(recipe.origin, Origin::Hub { .. });
    let named: Vec<&str> = models(recipe.header.as_ref());
    let load = match (stranger, named.is_empty()) {
        (false, _) => "any model: it is not a stranger's".to_owned(),
        (true, true) => "the demos, and what --model or --set names".into(),
        (true, false) => {
            format!("the demos, {}, and what --model or --set names", named.join(", "))
        }
    };
    let read = match &recipe.origin {
        Origin::File(_) => {
            "files of data beside itself and below --read, and of the Hub".to_owned()
        }
        Origin::Shipped(_) => "files of data below --read, and of the Hub".into(),
        Origin::Hub { .. } => match files(recipe.header.as_ref()).as_slice() {
            [] => "files of data below --read".into(),
            files => format!("files of data below --read, and {}", files.join(", ")),
        },
    };
    vec![
        ("load", load),
        ("fetch", "those models and files from the Hub, and nothing else from any network".into()),
        ("read", read),
        ("write", "into its run's output directory".into()),
    ]
}

/// The files and data sets of the Hub in a header.
fn files(header: Option<&Header>) -> Vec<&str> {
    let all = header.into_iter().flat_map(|header| &header.files);
    all.map(|file| file.get_ref().as_str()).collect()
}

/// The models in a header that are not demos.
fn models(header: Option<&Header>) -> Vec<&str> {
    let all = header.into_iter().flat_map(|header| &header.models).map(|id| id.get_ref().as_str());
    all.filter(|id| !id.starts_with("demo:")).collect()
}

/// A line with every character written out that would move the cursor, change colours, or hide or
/// reorder text.
pub fn visible(line: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    line.chars().fold(String::new(), |mut shown, c| {
        match hides(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_is_hidden_from_who_reads_a_source() {
        assert_eq!(visible("let x = 1;\t// é"), "let x = 1;\t// é");
        assert_eq!(visible("a\u{1b}[2Kb\rc"), "a\\u{1b}[2Kb\\u{d}c");
        assert_eq!(visible("a\u{202e}b\u{200b}"), "a\\u{202e}b\\u{200b}");
    }
}
