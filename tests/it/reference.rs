//! The reference is what is declared of each function, and its examples do what it says.

use std::path::{Path, PathBuf};

use precompute::script::declare::{OnGpu, Page, Row};
use precompute::script::{Host, Settings};

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
    let names: Vec<String> = rows(&host()).iter().map(|row| row.name().to_owned()).collect();
    let has = |wanted: &str| {
        let words = |name: &String| {
            name.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == wanted)
        };
        names.iter().any(words)
    };
    let missing: Vec<&str> = CONTRACT.split_whitespace().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Operators and what prints a value need none: those of numbers are Rhai's.
#[test]
fn every_function_and_property_has_a_row() {
    let host = host();
    let rows = rows(&host);
    for declared in host.declarations().iter() {
        let called = declared.name.trim_start_matches('.');
        let is_name = called.chars().all(|c| c.is_alphanumeric() || c == '_');
        let needs_none = ["to_string", "to_debug", "blob"].contains(&called)
            // What a record has of a map is Rhai's own.
            || declared.parameters.is_empty() && !declared.name.starts_with('.');
        if is_name && !needs_none {
            assert!(rows.iter().any(|row| row.name() == declared.name), "{}", declared.name);
        }
    }
}

/// Each example is run in a host of its own place: a row may save.
#[test]
fn every_example_gives_its_result() {
    let here = tempfile::tempdir().unwrap();
    let settings = Settings { out: Some(here.path().join("out")), ..Settings::default() };
    let host = Host::new(settings).unwrap();
    let rows = rows(&host);
    assert!(rows.len() > 250);
    let mut wrong = Vec::new();
    for row in rows {
        match host.eval(&script(&row)) {
            Ok(shown) if shown.to_string() == row.result => {}
            Ok(shown) => wrong.push(format!("{}: gives {shown}, says {}", row.example, row.result)),
            Err(failure) => wrong.push(format!("{}: {failure}", row.example)),
        }
    }
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// With `PRECOMPUTE_BLESS=1` the pages are written.
#[test]
fn the_pages_are_what_is_declared() {
    let declarations = host().declarations();
    for page in Page::ALL {
        check(&root().join(page.file()), &declarations.page(page));
    }
}

/// With `PRECOMPUTE_BLESS=1` the table is written.
#[test]
fn the_page_of_gpus_says_where_functions_run() {
    let path = root().join("src/docs/gpu.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let heading = "| operation | where it runs for a tensor on a GPU |\n";
    let (before, table) = page.split_once(heading).unwrap();
    let (_, after) = table.split_once("\n\n").unwrap();
    let declarations = host().declarations();
    check(&path, &format!("{before}{}\n{after}", declarations.gpu_table()));
    for declared in declarations.iter().filter(|declared| declared.on_gpu != OnGpu::NO_TENSORS) {
        assert!(!declared.on_gpu.0.contains('|'), "{}", declared.name);
    }
}

fn host() -> Host {
    Host::new(Settings::default()).unwrap()
}

fn rows(host: &Host) -> Vec<Row> {
    host.declarations().rows().collect()
}

/// A script that gives what printing the example's last value shows.
fn script(row: &Row) -> String {
    let words = |word: &str| {
        let mut words = row.example.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|known| known == word)
    };
    let model = match words("m") || words("ids") {
        true => {
            "let m = model(\"demo:opt\"); let ids = m.encode(\"When Mary and John went to the store\");"
        }
        false => "",
    };
    format!(
        "{model}\nlet value = {{ {} }}; if type_of(value) == \"()\" {{ \"\" }} else {{ value.to_string() }}",
        row.example
    )
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Compares a file with what it is to hold, or writes it.
fn check(path: &Path, wanted: &str) {
    if std::env::var_os("PRECOMPUTE_BLESS").is_some() {
        std::fs::write(path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    let differs = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "{} is not what is declared, first at {differs:?}: PRECOMPUTE_BLESS=1 writes it",
        path.display()
    );
}
