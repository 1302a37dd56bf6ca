//! What scripts may call, as the `.d.rhai` files that Rhai's language server reads: every function
//! with its parameters' names and types and what it does.

use std::collections::BTreeMap;
use std::fmt::Write;

use rhai::Engine;

use super::tables::{Entry, entries};
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
        let Some(line) = line(&function, &gives, known.get(function.name.as_str())) else {
            continue;
        };
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
    if ["to_string", "to_debug"].contains(&function.name.as_str())
        || function.name.starts_with("index$")
    {
        return None;
    }
    if function.name.starts_with("set$") {
        return None;
    }
    // Blobs are no values of scripts, and the server's grammar has var for a word of the language.
    if ["blob", "var"].contains(&function.name.as_str()) {
        return None;
    }
    let named = |names: &[&str]| {
        // The last name that is no map's stands for all that follow.
        let listed = names.iter().rposition(|name| *name != "options").map_or(0, |at| at + 1);
        let parameters = types.iter().enumerate().map(|(i, of)| {
            let name = match names.get(i) {
                _ if of == "map" && i + 1 == types.len() && names.contains(&"options") => {
                    "options".to_owned()
                }
                Some(name) if i < listed || types.len() <= names.len() => (*name).to_owned(),
                _ => match listed.checked_sub(1).and_then(|last| names.get(last)) {
                    Some(name) => format!("{name}_{}", i + 1),
                    None => format!("value_{}", i + 1),
                },
            };
            format!("{name}: {}", type_name(of))
        });
        parameters.collect::<Vec<_>>().join(", ")
    };
    let gives = match type_name(gives) {
        // Of what takes its arguments in many ways, the examples tell.
        "?" if gives_tensors(&function.name) => "tensor",
        known => known,
    };
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
        other if other.ends_with("Dynamic") => "?",
        other => other,
    }
}

/// A function with its parameters' names, and what it does where no other table says.
pub fn signature(name: &str) -> Option<String> {
    let known = signatures();
    let Known { parameters, does } = known.get(name)?;
    let does =
        if does.is_empty() { String::new() } else { format!(": {}", does.replace("\\|", "|")) };
    Some(format!("{name}({}){does}", parameters.join(", ")))
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
        let gives = if entry.result.is_empty() {
            String::new()
        } else {
            format!(" gives {}", entry.result)
        };
        [format!("{}: {}", entry.title, entry.gives), format!("  {}{gives}", entry.example)]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether every example of a function gives a tensor.
fn gives_tensors(name: &str) -> bool {
    let rows: Vec<Entry> = entries().into_iter().filter(|entry| entry.name == name).collect();
    // An example may go on with what it gets.
    let gives =
        |entry: &Entry| !entry.example.contains(';') && entry.result.starts_with("tensor [");
    !rows.is_empty() && rows.iter().all(gives)
}
