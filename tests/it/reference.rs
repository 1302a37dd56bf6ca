//! The reference's examples do what it says: each row is run and its last value printed.

use std::cell::RefCell;
use std::rc::Rc;

use precompute::script::random::Random;
use precompute::script::tensor;

/// Tables of `| name | what it gives | example | result |`.
const TABLES: &[(&str, &str)] = &[
    ("language.md", include_str!("../../src/script/language.md")),
    ("elements.md", include_str!("../../src/script/tensor/elements.md")),
    ("analysis.md", include_str!("../../src/script/tensor/analysis.md")),
    ("spectra.md", include_str!("../../src/script/tensor/spectra.md")),
];

struct Row {
    name: String,
    example: String,
    result: String,
}

#[test]
fn every_example_gives_its_result() {
    let mut wrong = Vec::new();
    for (file, table) in TABLES {
        let rows = rows(table);
        assert!(!rows.is_empty(), "{file} has no rows");
        for row in rows {
            let printed = printed(&row.example);
            if printed != row.result {
                wrong.push(format!("{file}, {}: {}\n  says {}\n  gives {printed}", row.name, row.example, row.result));
            }
        }
    }
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What `print` shows of the example's last value, or the error it ends in.
fn printed(example: &str) -> String {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let mut engine = rhai::Engine::new();
    tensor::install(&mut engine, &Random::new(Some(0)));
    let sink = lines.clone();
    engine.on_print(move |line| sink.borrow_mut().push(line.to_owned()));
    match engine.run(&format!("let value = {{ {example} }}; print(value);")) {
        Ok(()) => lines.borrow().join(" "),
        Err(error) => format!("error: {error}"),
    }
}

fn rows(table: &str) -> Vec<Row> {
    let lines = table.lines().filter(|line| line.starts_with('|'));
    lines
        .map(cells)
        .filter(|cells| cells.len() == 4 && cells[0] != "name" && !cells[0].starts_with('-'))
        .map(|cells| Row { name: code(&cells[0]), example: code(&cells[2]), result: code(&cells[3]) })
        .collect()
}

/// A table line's cells; `\|` is a bar within one.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{1}");
    inner.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

fn code(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}
