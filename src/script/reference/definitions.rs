//! What scripts may call, as the `.d.rhai` files that Rhai's language server reads: every function
//! with its parameters' names and types, what it does, and whether it is differentiable.

use std::fmt::Write;

use rhai::Engine;

use super::vocabulary::{Native, is_name, of_this_program};
use crate::script::declare::{Declarations, Row};

/// The files, by name: Rhai's own functions, and those of this program.
pub fn files(engine: &Engine) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Engine::new().definitions().iter_files().collect();
    files.push(("precompute.d.rhai".into(), own(engine)));
    files
}

fn own(engine: &Engine) -> String {
    let declarations = Declarations::of(engine);
    let rows: Vec<Row> = declarations.rows().collect();
    let mut text = String::from("module static;\n");
    for native in of_this_program(engine) {
        let declared = declarations.overload(&native.function.name, &native.types);
        let parameters = declared.map_or(&[] as &[&str], |declared| &declared.parameters);
        let Some(line) = line(&native, parameters, &rows) else { continue };
        let name = declared.map_or(native.function.name.as_str(), |declared| declared.name);
        text.push('\n');
        described(name, &rows).lines().for_each(|line| {
            let _ = writeln!(text, "/// {line}");
        });
        if let Some(sentence) = declared.and_then(|declared| declared.gradient.sentence()) {
            let _ = writeln!(text, "/// {sentence}");
        }
        let _ = writeln!(text, "{line}");
    }
    text
}

/// An overload as it is declared to the server; nothing of what a script does not call by a name or
/// an operator.
fn line(native: &Native, parameters: &[&str], rows: &[Row]) -> Option<String> {
    let (name, types) = (native.function.name.as_str(), &native.function.parameters);
    let hidden = ["to_string", "to_debug"].contains(&name)
        || name.starts_with("index$")
        || name.starts_with("set$");
    // Blobs are no values of scripts, and the server's grammar has var for a word of the language.
    if hidden || ["blob", "var"].contains(&name) {
        return None;
    }
    let gives = match type_name(&native.gives) {
        // Of what takes its arguments in many ways, the examples tell.
        "?" if gives_tensors(name, rows) => "tensor",
        known => known,
    };
    if let Some(property) = name.strip_prefix("get$") {
        return Some(format!("fn get {property}({}) -> {gives};", named(&["of"], types)));
    }
    if is_name(name) {
        return Some(format!("fn {name}({}) -> {gives};", named(parameters, types)));
    }
    if name.contains('$') {
        return None;
    }
    let types: Vec<&str> = types.iter().map(|of| type_name(of)).collect();
    Some(format!("op {name}({}) -> {gives};", types.join(", ")))
}

/// An overload's parameters with their types. The last name that is not `options` stands for all
/// that follow.
fn named(names: &[&str], types: &[String]) -> String {
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

/// What the reference says of a name: a line for each of its rows, and its examples.
fn described(name: &str, rows: &[Row]) -> String {
    let lines = rows.iter().filter(|row| row.name() == name).flat_map(|row| {
        let gives = match row.result.as_str() {
            "" => String::new(),
            result => format!(" gives {result}"),
        };
        [format!("{}: {}", row.plain_title(), row.gives), format!("  {}{gives}", row.example)]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether every example of a function gives a tensor.
fn gives_tensors(name: &str, rows: &[Row]) -> bool {
    let mut of_that_name = rows.iter().filter(|row| row.name() == name).peekable();
    // An example may go on with what it gets.
    of_that_name.peek().is_some()
        && of_that_name.all(|row| !row.example.contains(';') && row.result.starts_with("tensor ["))
}
