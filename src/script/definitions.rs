//! What scripts may call, as the `.d.rhai` files that Rhai's language server reads: every function with its parameters'
//! names and types and what it does.

use std::collections::BTreeMap;
use std::fmt::Write;

use rhai::Engine;

use super::reference::entries;
use super::vocabulary::{Function, is_name, of_this_program};

const SIGNATURES: &str = include_str!("signatures.md");

/// The files, by name: Rhai's own functions, and those of this program.
pub fn files(engine: &Engine) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Engine::new().definitions().iter_files().collect();
    files.push(("precompute.d.rhai".into(), own(engine)));
    files
}

/// A row of the table of signatures, or of the reference.
struct Known {
    parameters: Vec<&'static str>,
    does: String,
}

fn own(engine: &Engine) -> String {
    let known = signatures();
    let mut text = String::from("module static;\n");
    for (function, gives) in of_this_program(engine) {
        let Some(line) = line(&function, &gives, known.get(function.name.as_str())) else { continue };
        let property = function.name.strip_prefix("get$").map(|name| format!(".{name}"));
        let does = match known.get(function.name.as_str()).map(|known| known.does.as_str()) {
            Some(does) if !does.is_empty() => does.to_owned(),
            _ => reference(property.as_deref().unwrap_or(&function.name)),
        };
        text.push('\n');
        does.lines().for_each(|line| {
            let _ = writeln!(text, "/// {line}");
        });
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Its declaration; nothing of what a script does not call by a name or an operator.
fn line(function: &Function, gives: &str, known: Option<&Known>) -> Option<String> {
    let types = &function.parameters;
    if ["to_string", "to_debug"].contains(&function.name.as_str()) || function.name.starts_with("index$") {
        return None;
    }
    if function.name.starts_with("set$") {
        return None;
    }
    let named = |names: &[&str]| {
        let last = types.len().saturating_sub(1);
        let parameters = types.iter().enumerate().map(|(i, of)| {
            let name = match names.get(i).or(names.last()) {
                // The last of several is the map of options, wherever it stands.
                _ if i == last && of == "map" && names.contains(&"options") => "options".to_owned(),
                Some(name) if i >= names.len() => format!("{name}_{}", i + 1),
                Some(&"options") => format!("value_{}", i + 1),
                Some(name) => (*name).to_owned(),
                None => format!("value_{}", i + 1),
            };
            format!("{name}: {}", type_name(of))
        });
        parameters.collect::<Vec<_>>().join(", ")
    };
    let gives = type_name(gives);
    if let Some(property) = function.name.strip_prefix("get$") {
        return Some(format!("fn get {property}({}) -> {gives};", named(&["of"])));
    }
    if is_name(&function.name) {
        let names = known.map_or(&[] as &[&str], |known| &known.parameters);
        return Some(format!("fn {}({}) -> {gives};", function.name, named(names)));
    }
    if function.name.contains('$') {
        return None;
    }
    let types: Vec<&str> = types.iter().map(|of| type_name(of)).collect();
    Some(format!("op {}({}) -> {gives};", function.name, types.join(", ")))
}

/// A type as the language server knows it.
fn type_name(word: &str) -> &str {
    match word {
        "string" => "String",
        "array" => "Array",
        "map" => "Map",
        "function" => "Fn",
        "nothing" => "()",
        "value" => "?",
        other => other,
    }
}

fn signatures() -> BTreeMap<&'static str, Known> {
    let rows = SIGNATURES.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.filter_map(|(signature, does)| {
        let (name, parameters) = signature.strip_suffix(')')?.split_once('(')?;
        let parameters = parameters.split(", ").collect();
        Some((name, Known { parameters, does: does.trim_end_matches('|').trim().to_owned() }))
    })
    .collect()
}

/// What the reference says of a name: a line for each of its rows, and its examples.
fn reference(name: &str) -> String {
    let rows = entries().into_iter().filter(|entry| entry.name == name);
    let lines = rows.flat_map(|entry| {
        let gives = if entry.result.is_empty() { String::new() } else { format!(" gives {}", entry.result) };
        [format!("{}: {}", entry.title, entry.gives), format!("  {}{gives}", entry.example)]
    });
    lines.collect::<Vec<_>>().join("\n")
}
