//! What is read is a regular file of a bounded size: a pipe does not hold a run up, and a device
//! without an end is not read to it.

use std::os::unix::fs::symlink;

use super::forge::{ended, pipe};
use crate::binary::Workplace;
use crate::fixture::directory;

/// A workplace with a model `m`, a script that uses it, and a run that was.
fn workplace() -> Workplace {
    let here = Workplace::new(&[
        ("s.rhai", "model(\"m\").encode(\"a\")"),
        ("import.rhai", "import \"x\" as x;"),
        ("load.rhai", "load_tensors(\"x.npy\")"),
        ("named.rhai", "load_tensors(\"x.safetensors\")"),
        ("saved.rhai", "save(\"x\", [1, 2])"),
    ]);
    for entry in std::fs::read_dir(directory("gpt2")).unwrap() {
        let path = entry.unwrap().path();
        here.write(
            &format!("m/{}", path.file_name().unwrap().to_str().unwrap()),
            &std::fs::read(&path).unwrap(),
        );
    }
    here
}

/// Whether the file is a pipe or a device, the command ends by itself with a sentence.
#[track_caller]
fn refused(file: &str, commands: &[(&[&str], &str)], said: &[&str]) {
    for (what, make) in [
        ("a pipe", Box::new(|at: &std::path::Path| pipe(at)) as Box<dyn Fn(&std::path::Path)>),
        ("a device", Box::new(|at: &std::path::Path| symlink("/dev/zero", at).unwrap())),
        (
            "a link to a pipe",
            Box::new(|at: &std::path::Path| {
                let beside = at.with_extension("pipe");
                pipe(&beside);
                symlink(beside, at).unwrap();
            }),
        ),
        ("a directory", Box::new(|at: &std::path::Path| std::fs::create_dir_all(at).unwrap())),
    ] {
        let here = workplace();
        let at = here.path().join(file);
        let _ = std::fs::remove_file(&at);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        make(&at);
        for (command, input) in commands {
            let ran = ended(here.command(command), input);
            assert!(
                ran.code.is_some_and(|code| code == 1 || code == 2),
                "{file} is {what}: {command:?}: {:?} {}",
                ran.code,
                ran.stderr
            );
            let kind = what.rsplit(' ').next().unwrap();
            let named = format!("it is a {kind}");
            let meant =
                ran.stderr.contains(&named) || said.iter().any(|said| ran.stderr.contains(said));
            assert!(meant, "{file} is {what}: {command:?}: {}", ran.stderr);
            assert!(ran.peak < 1 << 30, "{file} is {what}: {command:?} took {} MB", ran.peak >> 20);
        }
    }
}

#[test]
fn a_models_files_are_files() {
    let everywhere: &[(&[&str], &str)] = &[
        (&["run", "s.rhai"], ""),
        (&["generate", "--model", "m", "--prompt", "a"], ""),
        (&["repl"], "let m = model(\"m\"); m.encode(\"a\");\n"),
        (&["repl", "--model", "m"], "m.encode(\"a\")\n"),
    ];
    refused("m/config.json", everywhere, &[]);
    refused("m/config.json", &[(&["points", "m"], "")], &[]);
    refused("m/generation_config.json", everywhere, &[]);
    refused("m/tokenizer.json", everywhere, &[]);
    refused("m/tokenizer_config.json", everywhere, &[]);
    refused("m/model.safetensors", everywhere, &["m has no weights"]);
}

#[test]
fn scripts_locks_and_records_are_files() {
    refused(
        "s.rhai",
        &[
            (&["run", "s.rhai"], ""),
            (&["repl", "s.rhai"], ""),
            (&["recipe", "show", "./s.rhai"], ""),
        ],
        &["directory"],
    );
    refused("s.rhai", &[(&["generate", "--prompt", "a", "--hooks", "s.rhai"], "")], &["directory"]);
    refused("x.rhai", &[(&["run", "import.rhai"], "")], &["there is no x.rhai"]);
    refused(
        "precompute.lock",
        &[
            (&["run", "some_recipe"], ""),
            (&["recipe", "list"], ""),
            (&["recipe", "show", "some_recipe"], ""),
        ],
        &[],
    );
    refused("run.json", &[(&["rerun", "run.json"], "")], &["/run.json can't be read"]);
    refused(
        "x.npy",
        &[(&["run", "load.rhai"], "")],
        &["\"x.npy\" is no file", "is outside what this script may read"],
    );
    refused(
        "x.safetensors",
        &[(&["run", "named.rhai"], "")],
        &["\"x.safetensors\" is no file", "is outside what this script may read"],
    );
}

/// What a run saved may be something else by the time it is repeated.
#[test]
fn a_saved_value_that_became_a_pipe_is_not_waited_for() {
    let here = workplace();
    let ran = ended(here.command(&["run", "saved.rhai", "--out", "out"]), "");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let record = here.path().join("out/run.json");
    let other = std::fs::read_to_string(&record)
        .unwrap()
        .replace("\"files\": [", "\"files\": [\n{\"name\": \"y.json\", \"sha256\": \"0\"},");
    std::fs::write(&record, other).unwrap();
    let saved = here.path().join("out/x.json");
    let text = std::fs::read_to_string(&record).unwrap();
    // Another hash, so that the value itself is asked.
    let digest = text.split("\"x.json\"").nth(1).unwrap().split('"').nth(3).unwrap().to_owned();
    std::fs::write(&record, text.replace(&digest, &"0".repeat(64))).unwrap();
    std::fs::remove_file(&saved).unwrap();
    pipe(&saved);
    let ran = ended(here.command(&["rerun", "out"]), "");
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn a_small_file_that_is_large_is_not_read() {
    for (file, command, said) in [
        ("m/config.json", &["points", "m"][..], "such a file at most 16.0 MiB"),
        ("m/generation_config.json", &["run", "s.rhai"], "such a file at most 16.0 MiB"),
        ("m/tokenizer.json", &["run", "s.rhai"], "such a file at most 256.0 MiB"),
        ("s.rhai", &["run", "s.rhai"], "such a file at most 16.0 MiB"),
        ("precompute.lock", &["recipe", "list"], "such a file at most 16.0 MiB"),
        ("run.json", &["rerun", "run.json"], "such a file at most 1.0 GiB"),
    ] {
        let here = workplace();
        std::fs::File::create(here.path().join(file)).unwrap().set_len(8 << 30).unwrap();
        let ran = ended(here.command(command), "");
        assert!(
            ran.code.is_some_and(|code| code == 1 || code == 2),
            "{file}: {:?} {}",
            ran.code,
            ran.stderr
        );
        assert!(ran.stderr.contains(said), "{file}: {}", ran.stderr);
        assert!(ran.peak < 300 << 20, "{file}: {} MB", ran.peak >> 20);
    }
}
