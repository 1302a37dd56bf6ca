//! The page of the gallery, scripts/README.md, is made of the recipes that ship: their headers, their
//! comments and their pictures.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use precompute::recipe::shipped::SHIPPED;
use precompute::recipe::{Group, Header};

/// The first lines of what is written.
const BEGIN: &str =
    "<!-- recipes: written by PRECOMPUTE_BLESS=1 cargo test --test it gallery_page -->\n";

/// Recipes that take too long for a picture to be made with the others'.
const WITHOUT_A_PICTURE: [&str; 1] = ["diffusion"];

/// How fast a script is read: words a minute.
const SPEED: usize = 100;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// The lines of a script after its header.
fn body(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| line.starts_with("//!"))
}

/// Whether a script is a page to read: its comments have a title.
fn is_tutorial(text: &str) -> bool {
    text.contains("\n// # ")
}

/// Minutes of reading, at least one.
fn reading_time(text: &str) -> usize {
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    body(text).flat_map(str::split_whitespace).filter(is_word).count().div_ceil(SPEED).max(1)
}

/// What the first paragraph of comments says, a tutorial's title left out.
fn what_is_computed(text: &str) -> String {
    let comment = |line: &str| line.strip_prefix("//").map(|line| line.trim().to_owned());
    let prose: Vec<String> = body(text)
        .skip_while(|line| line.is_empty())
        .map_while(comment)
        .filter(|line| !line.starts_with("# "))
        .skip_while(String::is_empty)
        .take_while(|line| !line.is_empty())
        .collect();
    html(&prose.join(" "))
}

/// Text with what Markdown would take for a tag written out.
fn html(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// The path of the picture that stands for a recipe, below scripts.
fn picture(name: &str, header: &Header) -> Option<String> {
    let folder = format!("gallery/{name}");
    let files = std::fs::read_dir(scripts().join(&folder)).ok()?;
    let names: Vec<String> = files.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    header.picture(names.iter().map(String::as_str)).map(|picture| format!("{folder}/{picture}"))
}

fn section(name: &str, text: &str, header: &Header) -> String {
    let said = |value: &Option<toml::Spanned<String>>, key: &str| -> String {
        value.as_ref().unwrap_or_else(|| panic!("{name} has no {key}")).get_ref().clone()
    };
    let mut section = format!(
        "\n### {name}\n\n**{}** [{} min](",
        html(&said(&header.summary, "summary")),
        reading_time(text)
    );
    let page = format!("gallery/{name}/README.md");
    let is_page = scripts().join(&page).exists();
    section += &if is_page { page } else { format!("{name}.rhai") };
    let _ = write!(
        section,
        ")\n\n{}\n\nChange first: {}\n\n```sh\nprecompute run {name}\n```\n",
        what_is_computed(text),
        html(&said(&header.change_first, "change_first"))
    );
    match picture(name, header) {
        Some(picture) => section += &format!("\n![{name}]({picture})\n"),
        None => assert!(WITHOUT_A_PICTURE.contains(&name), "{name} has no picture in the gallery"),
    }
    section
}

/// The recipes by group, in each the shortest first; then the modules that they share.
fn page() -> String {
    let recipes: Vec<(&str, &str, Header)> = SHIPPED
        .iter()
        .map(|(name, text)| (*name, *text, Header::read(name, text).unwrap().unwrap()))
        .collect();
    let mut page = String::new();
    let mut shown = 0;
    for group in Group::ALL {
        let mut own: Vec<_> =
            recipes.iter().filter(|(_, _, header)| header.group == Some(group)).collect();
        own.sort_by_key(|(_, text, _)| reading_time(text));
        if own.is_empty() {
            continue;
        }
        shown += own.len();
        let _ = write!(page, "\n## {group}\n\n{}\n", sentence(group.about()));
        for (name, text, header) in own {
            page += &section(name, text, header);
        }
    }
    let without: Vec<&str> = recipes
        .iter()
        .filter(|(.., header)| header.group.is_none())
        .map(|(name, ..)| *name)
        .collect();
    assert!(shown == recipes.len(), "these recipes' headers have no group: {without:?}");
    page.push_str(&modules());
    page
}

/// A line as a sentence: with a capital and a full stop.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

fn modules() -> String {
    let mut table = "\n## Modules\n\nScripts, and yours too, may import what they share: \
                     `import \"lib/labels\" as labels;`.\n\n| module | has |\n|---|---|\n"
        .to_owned();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(scripts().join("lib")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let header = Header::read(name, &text).unwrap();
        let summary = header.and_then(|header| header.summary);
        let summary = summary.unwrap_or_else(|| panic!("lib/{name} has no summary"));
        let _ = writeln!(table, "| [lib/{name}](lib/{name}.rhai) | {} |", html(summary.get_ref()));
    }
    table
}

/// PRECOMPUTE_BLESS=1 writes the page.
#[test]
fn the_gallery_is_that_of_the_recipes() {
    let path = scripts().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, shown) = text.split_once(BEGIN).unwrap();
    let page = page();
    if std::env::var_os("PRECOMPUTE_BLESS").is_some() {
        return std::fs::write(&path, format!("{before}{BEGIN}{page}")).unwrap();
    }
    assert!(
        shown == page,
        "scripts/README.md is not what the recipes say: PRECOMPUTE_BLESS=1 cargo test --test it gallery_page writes it \
         anew"
    );
}

/// A recipe is a screen of script: at most 60 lines of code, but for tutorials.
#[test]
fn a_recipe_is_a_screen_of_script() {
    for (name, text) in SHIPPED.iter().filter(|(_, text)| !is_tutorial(text)) {
        let is_code = |line: &&str| !line.trim().is_empty() && !line.starts_with("//");
        let lines = body(text).filter(is_code).count();
        assert!(lines <= 60, "{name} has {lines} lines of code");
        let computed = what_is_computed(text);
        assert!(computed.starts_with("What is computed: "), "{name} does not say what it computes");
    }
}
