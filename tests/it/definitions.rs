//! `definitions DIR`: what an editor learns about scripts.

use crate::binary::Workplace;

fn written() -> (Workplace, String) {
    let here = Workplace::new(&[]);
    let ran = here.run(&["definitions", "a/b"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for file in ["__builtin__.d.rhai", "__static__.d.rhai", "precompute.d.rhai"] {
        assert!(ran.stdout.lines().any(|line| line == format!("a/b/{file}")), "{}", ran.stdout);
    }
    let text = std::fs::read_to_string(here.path().join("a/b/precompute.d.rhai")).unwrap();
    (here, text)
}

#[test]
fn every_function_has_its_parameters_names_and_says_what_it_does() {
    let (_here, text) = written();
    assert!(text.starts_with("module static;\n"));
    for declared in [
        "fn narrow(x: tensor, dim: ?, start: ?, len: ?) -> tensor;",
        "fn forward(model: model, ids: ?, ctx: context, options: Map) -> output;",
        "fn forward(model: model, ids: ?, options: Map) -> output;",
        "fn hook(point: String, function: Fn) -> hook;",
        "fn get shape(of: tensor) -> Array;",
        "fn param(name: String, otherwise: ?, help: String) -> ?;",
    ] {
        assert!(text.contains(declared), "{declared}\n{text}");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("fn ") && !line.starts_with("fn get "))
    {
        assert!(!line.contains("value_"), "a parameter of {line} has no name");
        assert!(lines[at - 1].starts_with("/// "), "nothing says what {line} does");
    }
    assert!(
        text.contains("/// narrow: so many slices along a dim, from a start: (dim, start, len)\n")
    );
    assert!(text.contains("///   arange(6).narrow(0, 2, 3) gives tensor [3] i64 cpu: [2, 3, 4]\n"));
}

/// The language server's grammar is Rhai's own with bodies left out: with bodies put in, Rhai reads
/// each line.
#[test]
fn rhai_reads_what_is_declared() {
    let (_here, text) = written();
    let engine = rhai::Engine::new();
    for line in text.lines().filter(|line| line.starts_with("fn ") && !line.starts_with("fn get "))
    {
        let (name, rest) = line.trim_start_matches("fn ").split_once('(').unwrap();
        let parameters: Vec<&str> = rest
            .split_once(") -> ")
            .unwrap()
            .0
            .split(", ")
            .map(|p| p.split(':').next().unwrap())
            .collect();
        let script = format!("fn {name}({}) {{ }}", parameters.join(", "));
        engine.compile(&script).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_a_sentence() {
    let here = Workplace::new(&[("file", "")]);
    let ran = here.run(&["definitions", "file/x"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.starts_with("error: file/x can't be written: "), "{}", ran.stderr);
}
