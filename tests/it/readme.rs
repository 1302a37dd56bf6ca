//! Every command and script in the README and its pages does what it says.

use std::path::Path;
use std::process::Output;

use precompute::hook::Dim;
use precompute::model::point_list;

use crate::binary::Workplace;
use crate::run::precompute;

/// The README and the pages that it leads to, by their paths in the repository.
const PAGES: [(&str, &str); 15] = [
    ("README.md", include_str!("../../README.md")),
    ("ARCHITECTURE.md", include_str!("../../ARCHITECTURE.md")),
    ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
    ("benches/README.md", include_str!("../../benches/README.md")),
    ("src/docs/data.md", include_str!("../../src/docs/data.md")),
    ("src/docs/files.md", include_str!("../../src/docs/files.md")),
    ("src/docs/gpu.md", include_str!("../../src/docs/gpu.md")),
    ("src/docs/gradients.md", include_str!("../../src/docs/gradients.md")),
    ("src/docs/models.md", include_str!("../../src/docs/models.md")),
    ("src/docs/pages.md", include_str!("../../src/docs/pages.md")),
    (POINTS.0, POINTS.1),
    ("src/docs/python.md", include_str!("../../src/docs/python.md")),
    ("src/docs/recipes.md", include_str!("../../src/docs/recipes.md")),
    ("src/docs/sandbox.md", include_str!("../../src/docs/sandbox.md")),
    ("src/docs/sessions.md", include_str!("../../src/docs/sessions.md")),
];

const POINTS: (&str, &str) = ("src/docs/points.md", include_str!("../../src/docs/points.md"));

/// The fenced blocks with this info string, page after page.
fn blocks(info: &str) -> Vec<&'static str> {
    let fence = format!("```{info}\n");
    let of_page = |text: &'static str| {
        let blocks = text.split(fence.as_str()).skip(1);
        blocks.filter_map(|rest| rest.split("\n```").next()).collect::<Vec<_>>()
    };
    PAGES.iter().flat_map(|(_, text)| of_page(text)).collect()
}

/// A directory that looks like the repository, to run the README's commands in.
fn clone() -> tempfile::TempDir {
    let clone = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(clone.path().join("scripts")).unwrap();
    for entry in std::fs::read_dir(root.join("scripts")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rhai") {
            std::fs::copy(&path, clone.path().join("scripts").join(path.file_name().unwrap()))
                .unwrap();
        }
    }
    std::fs::write(clone.path().join("experiment.rhai"), blocks("rhai")[0]).unwrap();
    clone
}

fn run(directory: &Path, command: &str) -> Output {
    let arguments = command
        .strip_prefix("cargo run -- ")
        .or_else(|| command.strip_prefix("precompute "))
        .unwrap();
    // Words as a shell has them: what stands in quotation marks is one.
    let mut words: Vec<String> = Vec::new();
    for (i, part) in arguments.split('"').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    precompute(directory).args(words).output().unwrap()
}

#[test]
fn every_command_runs() {
    let clone = clone();
    let mut ran = 0;
    for command in
        blocks("sh").into_iter().flat_map(str::lines).filter(|command| *command != "cargo test")
    {
        let output = run(clone.path(), command);
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran >= 5);
    assert!(
        include_str!("../../.ci/run").lines().any(|line| line == "cargo test"),
        "CI runs another test command"
    );
}

#[test]
fn a_command_that_needs_the_network_gets_as_far_as_the_network() {
    let clone = clone();
    for command in blocks("sh network").into_iter().flat_map(str::lines) {
        let error = String::from_utf8(run(clone.path(), command).stderr).unwrap();
        assert!(error.contains("and this run is offline"), "{command}\n{error}");
    }
}

#[test]
fn every_script_runs_on_both_demos() {
    for script in blocks("rhai") {
        for model in ["demo:opt", "demo:gpt-neox"] {
            crate::run::script(script, &["--set", &format!("model={model}")]).ok();
        }
    }
}

#[test]
fn every_script_over_rows_runs_on_both_demos() {
    let scripts = blocks("rhai rows");
    assert!(!scripts.is_empty());
    let rows = "{\"text\": \"When Mary and John went\"}\n{\"text\": \"The keys\"}\n";
    for script in scripts {
        let place = Workplace::new(&[("s.rhai", script), ("prompts.jsonl", rows)]);
        for model in ["demo:opt", "demo:gpt-neox"] {
            let ran = place.run(&["run", "s.rhai", "--set", &format!("model={model}")]);
            assert_eq!(ran.code, Some(0), "{script}\n{}", ran.stderr);
        }
    }
}

#[test]
fn what_is_shown_is_what_is_printed() {
    let shown = blocks("text");
    let clone = clone();
    let lens =
        String::from_utf8(run(clone.path(), "precompute run scripts/logit_lens.rhai").stdout)
            .unwrap();
    // Numbers may differ in their last digit between processors.
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(words(shown[0]), words(&lens), "{lens}");

    let wrong = "let m = model(\"demo:opt\");\nlet ids = m.encode(\"When\");\n\
                 m.forward(ids, context([hook(\"post-mpl\", |x, ctx| x)]));\n";
    std::fs::write(clone.path().join("experiment.rhai"), wrong).unwrap();
    let error =
        String::from_utf8(run(clone.path(), "precompute run experiment.rhai").stderr).unwrap();
    assert_eq!(shown[1].trim(), error.trim());
}

#[test]
fn the_session_that_is_shown_is_had() {
    let [shown] = blocks("console")[..] else { panic!("one session is shown") };
    let typed: String = shown
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .map(|line| format!("{line}\n"))
        .collect();
    let clone = clone();
    std::fs::write(clone.path().join("typed"), typed).unwrap();
    let output = precompute(clone.path())
        .args(["repl", "--model", "demo:opt"])
        .stdin(std::fs::File::open(clone.path().join("typed")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    // Times differ.
    let lines = |text: &str| -> Vec<String> {
        let line = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.ends_with('s')).collect::<String>()
        };
        text.lines().filter(|line| !line.starts_with("> ")).map(line).collect()
    };
    assert_eq!(lines(&printed), lines(shown), "{printed}");
}

/// PRECOMPUTE_BLESS=1 writes the table of points into its page.
#[test]
fn the_table_of_points_is_that_of_the_program() {
    let begin = "<!-- points: written by PRECOMPUTE_BLESS=1 cargo test --test it readme -->\n";
    let (before, rest) = POINTS.1.split_once(begin).unwrap();
    let (shown, after) = rest.split_once("<!-- /points -->").unwrap();
    let table = table_of_points();
    if std::env::var_os("PRECOMPUTE_BLESS").is_some() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(POINTS.0);
        let text = format!("{before}{begin}{table}<!-- /points -->{after}");
        return std::fs::write(page, text).unwrap();
    }
    assert!(
        shown == table,
        "the table of points is not the program's: PRECOMPUTE_BLESS=1 cargo test --test it readme writes it anew"
    );
}

fn table_of_points() -> String {
    let letters = Dim::LETTERS.map(|dim| format!("`{}` {}", dim.letter(), dim.meaning()));
    let mut table = format!("{}.\n\n", letters.join(", "));
    let rows = point_list::rows(None).into_iter().enumerate();
    for (at, [name, shape, holds, alias]) in rows {
        let code = |text: String| if at == 0 || text == "—" { text } else { format!("`{text}`") };
        table += &format!("| {} | {shape} | {holds} | {} |\n", code(name), code(alias));
        if at == 0 {
            table += "|---|---|---|---|\n";
        }
    }
    table
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, text) in PAGES {
        let folder = root.join(page).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            assert!(folder.join(target).exists(), "{page} leads to {target}");
        }
    }
}

/// `cargo test` builds the examples beside the binary.
#[test]
fn the_examples_run() {
    let built = Path::new(env!("CARGO_BIN_EXE_precompute")).with_file_name("examples");
    for (example, says) in [("capture", "after block 3: "), ("ablate", "layer 3 head 3: ")] {
        let output = std::process::Command::new(built.join(example)).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && stdout.contains(says), "{example}: {stdout}");
    }
}
