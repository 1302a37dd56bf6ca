//! The reference's examples do what it says: each row is run and its last value printed.

use std::cell::RefCell;
use std::rc::Rc;

use precompute::script::run::random::Random;
use precompute::script::{Host, Settings, tensor};

/// Tables of `| name | what it gives | example | result |`.
const TABLES: &[(&str, &str)] = &[
    ("language.md", include_str!("../../src/script/reference/language.md")),
    ("reference.md", REFERENCE),
];

const REFERENCE: &str = include_str!("../../src/script/reference/reference.md");

/// Every name that the contract gives to tensors.
const CONTRACT: &str = "tensor zeros ones full arange linspace eye rand randn seed zeros_like shape rank dtype device len numel \
    item to_array narrow select index_select gather scatter masked_fill where nonzero reshape transpose permute unsqueeze \
    squeeze flatten cat stack split chunk repeat repeat_interleave expand flip roll tril triu abs exp log log2 sqrt rsqrt \
    sin cos tanh sigmoid relu gelu silu erf clamp round floor ceil sign minimum maximum sum mean var std min max argmin \
    argmax norm prod any all cumsum logsumexp softmax log_softmax count_nonzero quantile median topk sort histogram matmul \
    einsum dot outer cosine_similarity svd eigh qr pca lstsq layer_norm rms_norm cross_entropy kl_divergence one_hot fft \
    ifft rfft irfft fftfreq rfftfreq fftshift real imag angle conj to cpu copy";

#[test]
fn every_name_of_the_contract_has_a_row() {
    let names: Vec<String> = rows(REFERENCE).into_iter().map(|row| row.name).collect();
    let has = |wanted: &str| {
        let words = |name: &String| {
            name.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == wanted)
        };
        names.iter().any(words)
    };
    let missing: Vec<&str> = CONTRACT.split_whitespace().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The rows of `experiments.md`, which need a model and a place to save.
#[test]
fn every_experiment_gives_its_result() {
    let here = tempfile::tempdir().unwrap();
    let settings = || Settings { out: Some(here.path().join("out")), ..Settings::default() };
    let rows = rows(include_str!("../../src/script/reference/experiments.md"));
    assert!(rows.len() > 30);
    let mut wrong = Vec::new();
    for row in rows {
        let host = Host::new(settings()).unwrap();
        let text = format!(
            "let m = model(\"demo:opt\"); let ids = m.encode(\"When Mary and John went to the store\");\n\
             let value = {{ {} }}; if value == () {{ \"\" }} else {{ value.to_string() }}",
            row.example
        );
        match host.eval(&text) {
            Ok(shown) if shown.to_string() == row.result => {}
            Ok(shown) => wrong.push(format!("{}: gives {shown}, says {}", row.example, row.result)),
            Err(failure) => wrong.push(format!("{}: {failure}", row.example)),
        }
    }
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

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
                wrong.push(format!(
                    "{file}, {}: {}\n  says {}\n  gives {printed}",
                    row.name, row.example, row.result
                ));
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
        .map(|cells| Row {
            name: code(&cells[0]),
            example: code(&cells[2]),
            result: code(&cells[3]),
        })
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
