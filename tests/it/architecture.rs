//! The folders of `src/` import each other as ARCHITECTURE.md says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// The line of each folder, from the table that follows `heading`. The order of imports is that of
/// the lines.
fn lines_after(heading: &str) -> BTreeMap<String, usize> {
    let (_, rest) = ARCHITECTURE.split_once(heading).unwrap();
    let table = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[2].trim_matches('`').to_owned(), cells[1].parse().unwrap())
    })
    .collect()
}

/// Every Rust file below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file is: `script::hook::tap` as its three names.
fn module(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let names = inside.components().map(|part| part.as_os_str().to_str().unwrap().to_owned());
    names.filter(|name| name != "mod" && name != "lib" && name != "main").collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a file: no comments, and no tests, which may import what they like.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path from the crate's root that the code of `module` names, without the crate itself.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let path = &code[at..];
        let ups = path.split("::").take_while(|name| *name == "super").count();
        let start: Vec<String> = match ups {
            0 => Vec::new(),
            ups => module[..module.len().saturating_sub(ups)].to_vec(),
        };
        let rest = path.splitn(ups.max(1) + 1, "::").last().unwrap_or_default();
        collect(rest, start, &mut found);
    }
    found
}

/// The leaves of a tree of imports, `a::{b, c::d}`, as far as it is one.
fn collect(tree: &str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    loop {
        if tree[at..].starts_with('{') {
            at += 1;
            loop {
                at += tree[at..].len() - tree[at..].trim_start_matches([',', ' ', '\n']).len();
                if at >= tree.len() || tree[at..].starts_with('}') {
                    return at + 1;
                }
                let used = collect(&tree[at..], path.clone(), found);
                if used == 0 {
                    return at;
                }
                at += used;
            }
        }
        let word = tree[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
        let end = word.map_or(tree.len(), |length| at + length);
        if end == at {
            found.push(path);
            return at;
        }
        path.push(tree[at..end].to_owned());
        at = end;
        if !tree[at..].starts_with("::") {
            found.push(path);
            return at;
        }
        at += 2;
    }
}

/// What a table forbids: imports from a folder below `below` into one on the same or a later line.
fn wrong(below: &[&str], lines: &BTreeMap<String, usize>) -> Vec<String> {
    let mut all = Vec::new();
    files(&root().join("src").join(below.join("/")), &mut all);
    let mut wrong = Vec::new();
    for file in all {
        let module = module(&file);
        let Some(from) = module.get(below.len()) else { continue };
        // A file beside the folders is no folder.
        let Some(line) = lines.get(from) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        for path in paths(&code(&text), &module) {
            let inside = path.len() > below.len() && path.iter().zip(below).all(|(a, b)| a == b);
            let Some(to) = path.get(below.len()).filter(|_| inside) else { continue };
            if to != from && lines.get(to).is_some_and(|other| other >= line) {
                wrong.push(format!("{} imports {}", file.display(), path.join("::")));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn folders_import_downwards() {
    let lines = lines_after("## The folders");
    assert!(lines.len() > 10, "{lines:?}");
    for folder in std::fs::read_dir(root().join("src")).unwrap() {
        let folder = folder.unwrap();
        // src/docs has pages alone.
        if folder.path().join("mod.rs").is_file() {
            let name = folder.file_name().into_string().unwrap();
            assert!(lines.contains_key(&name), "ARCHITECTURE.md says nothing of src/{name}");
        }
    }
    let wrong = wrong(&[], &lines);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_folders_of_script_import_downwards() {
    let lines = lines_after("Within `script`, likewise:");
    assert!(lines.len() > 5, "{lines:?}");
    let wrong = wrong(&["script"], &lines);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paths_are_found_in_trees_of_imports() {
    let module: Vec<String> = ["script", "hook", "tap"].map(str::to_owned).to_vec();
    let of = |code: &str| -> Vec<String> {
        paths(code, &module).into_iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(
        of("use crate::tensor::{a, b::{c, d}, e};"),
        ["tensor::a", "tensor::b::c", "tensor::b::d", "tensor::e"]
    );
    assert_eq!(
        of("let x = super::super::reuse::store(crate::hook::Point::ALL);"),
        ["hook::Point::ALL", "script::reuse::store"]
    );
    assert_eq!(of("use super::Tap;"), ["script::hook::Tap"]);
}
