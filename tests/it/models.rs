//! The models that scripts name: by `--model`, and by paths that lead nowhere.

use serde_json::Value as Json;

use crate::binary::Workplace;
use crate::fixture::directory;

const TWO: &str = r#"
let a = model("demo:opt");
let b = model(param("other", "demo:gpt-neox"));
print([a.id, b.id, a.config.model_type, b.config.model_type]);
"#;

fn run(text: &str, arguments: &[&str]) -> (Option<i32>, String, String, Workplace) {
    let here = Workplace::new(&[
        ("s.rhai", text),
        ("lib.rhai", "fn second() { model(\"demo:gpt-neox\") }"),
    ]);
    let ran = here.run(&[&["run", "s.rhai", "--out", "out"], arguments].concat());
    (ran.code, ran.stdout, ran.stderr, here)
}

#[test]
fn one_model_is_not_put_in_the_place_of_two() {
    let imported =
        "import \"lib\" as lib; let a = model(\"demo:opt\"); let b = lib::second(); print(a.id);";
    let variable = "let name = param(\"model\", \"demo:opt\"); let a = model(name); let b = model(\"demo:gpt-neox\"); print(1);";
    for text in [TWO, imported, variable] {
        let (code, stdout, stderr, here) = run(text, &["--model", "demo:opt"]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{text}\n{stderr}");
        assert!(
            stderr.contains("would take the place of every model that the script names: "),
            "{stderr}"
        );
        assert!(stderr.contains("say of which, as in --model "), "{stderr}");
        assert!(!here.path().join("out").exists());
    }
    // What is worked out is met as it is loaded; nothing in the script goes on after it.
    let worked_out = "for id in [\"demo:opt\", \"demo:gpt-neox\"] { try { print(model(id).id); } catch { print(\"caught\"); } }";
    let (code, stdout, stderr, _) = run(worked_out, &["--model", "demo:opt"]);
    assert_eq!((code, stdout.as_str()), (Some(2), "demo:opt\n"), "{stderr}");
    assert!(
        stderr.contains("every model that the script names: demo:opt and demo:gpt-neox"),
        "{stderr}"
    );
}

#[test]
fn one_model_takes_the_place_of_one_however_often_it_is_named() {
    for text in [
        "let a = model(\"demo:opt\"); let b = model(\"demo:opt\"); print([a.id, b.id]);",
        "let a = model(\"demo:opt\"); let b = model(param(\"model\", \"demo:opt\")); print([a.id, b.id]);",
        "let m = []; for id in [\"demo:opt\", \"demo:opt\"] { m.push(model(id).id); } print(m);",
    ] {
        let (code, stdout, stderr, _) = run(text, &["--model", "demo:gpt-neox"]);
        assert_eq!(
            (code, stdout.as_str()),
            (Some(0), "[\"demo:gpt-neox\", \"demo:gpt-neox\"]\n"),
            "{stderr}"
        );
    }
}

#[test]
fn models_are_given_by_the_names_that_the_script_has_for_them() {
    let neox = "[\"demo:gpt-neox\", \"demo:opt\", \"gpt_neox\", \"opt\"]\n";
    let both = "[\"demo:gpt-neox\", \"demo:gpt-neox\", \"gpt_neox\", \"gpt_neox\"]\n";
    let (code, stdout, stderr, _) = run(TWO, &["--model", "demo:opt=demo:gpt-neox"]);
    assert_eq!((code, stdout.as_str()), (Some(0), both), "{stderr}");
    let mine = directory("opt").display().to_string();
    let (code, stdout, stderr, _) =
        run(TWO, &["--model", "demo:opt=demo:gpt-neox", "--model", &format!("other={mine}")]);
    assert_eq!((code, stdout), (Some(0), neox.replace("demo:opt", &mine)), "{stderr}");
    for arguments in [
        &["--model", "demo:opt=demo:gpt-neox", "--model", "other=demo:opt"] as &[&str],
        // The rest has the one that is for no name.
        &["--model", "demo:gpt-neox", "--model", "other=demo:opt"],
        &["--model", "other=demo:opt", "--model", "demo:gpt-neox"],
    ] {
        let (code, stdout, stderr, _) = run(TWO, arguments);
        assert_eq!((code, stdout.as_str()), (Some(0), neox), "{arguments:?}\n{stderr}");
    }
    let (_, stdout, stderr, _) = run(TWO, &["--model", "other=demo:opt"]);
    assert_eq!(stdout, "[\"demo:opt\", \"demo:opt\", \"opt\", \"opt\"]\n", "{stderr}");
    // A directory may have an equals sign in its name.
    let here = Workplace::new(&[("s.rhai", "print(model(\"demo:opt\").id);")]);
    std::fs::create_dir(here.path().join("a=b")).unwrap();
    for entry in std::fs::read_dir(directory("opt")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, here.path().join("a=b").join(path.file_name().unwrap())).unwrap();
    }
    let ran = here.run(&["run", "s.rhai", "--model", "a=b"]);
    assert_eq!(ran.stdout, "a=b\n", "{}", ran.stderr);
}

#[test]
fn names_that_are_wrong_are_found_before_anything_loads() {
    for (arguments, said) in [
        (
            &["--model", "othr=demo:opt"] as &[&str],
            "the script names no model othr\n  help: did you mean other?",
        ),
        (
            &["--model", "cutoff=demo:opt"],
            "the script names no model cutoff\n  help: it names demo:opt, other",
        ),
        (
            &["--model", "demo:opt", "--model", "demo:gpt-neox"],
            "--model says both demo:opt and demo:gpt-neox",
        ),
        (&["--model", "other=a", "--model", "other=b"], "--model says both other=a and other=b"),
        (&["--model", "=demo:opt"], "a model is given as ID or as NAME=ID"),
        (&["--model", "other="], "a model is given as ID or as NAME=ID"),
        (
            &["--model", "other=demo:opt", "--set", "other=demo:opt"],
            "say two things of the parameter other",
        ),
    ] {
        let (code, stdout, stderr, _) = run(TWO, arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}\n{stderr}");
        assert!(stderr.contains(said), "{arguments:?}\n{stderr}");
    }
    // Of a script that works names out, afterwards.
    let text = "let id = [\"demo:opt\"][0]; print(model(id).id);";
    let (code, _, stderr, _) = run(text, &["--model", "nothing=demo:opt"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("the script names no model nothing"), "{stderr}");
    let (code, stdout, stderr, _) = run(text, &["--model", "demo:opt=demo:gpt-neox"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "demo:gpt-neox\n"), "{stderr}");
}

#[test]
fn a_run_says_which_models_it_had_and_rerun_has_them_again() {
    let text = format!(
        "{TWO}\nlet ids = a.encode(\"When\"); save(\"x\", #{{a: a.forward(ids).logits, b: b.forward(ids).logits}});"
    );
    let (code, _, stderr, here) =
        run(&text, &["--model", "demo:opt=demo:gpt-neox", "--model", "other=demo:opt"]);
    assert_eq!(code, Some(0), "{stderr}");
    let record: Json =
        serde_json::from_slice(&std::fs::read(here.path().join("out/run.json")).unwrap()).unwrap();
    assert_eq!(record["command"]["model"], "demo:opt=demo:gpt-neox\nother=demo:opt");
    assert_eq!(record["parameters"]["other"], "demo:opt");
    let again = here.run(&["rerun", "out/run.json", "--out", "again"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("identical"), "{}", again.stdout);
    assert!(!again.stderr.contains("other parameters"), "{}", again.stderr);
}

#[test]
fn a_session_gives_its_scripts_the_models_of_the_command_line() {
    let here = Workplace::new(&[("two.rhai", TWO)]);
    here.write("typed", b":run two.rhai\nprint(model(\"demo:opt\").config.model_type)\n");
    let typed = || std::fs::File::open(here.path().join("typed")).unwrap();
    let arguments = ["repl", "--model", "demo:opt=demo:gpt-neox"];
    let output = here.command(&arguments).stdin(typed()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    // What a person names in the session is what was named.
    assert_eq!(
        stdout, "[\"demo:gpt-neox\", \"demo:gpt-neox\", \"gpt_neox\", \"gpt_neox\"]\nopt\n",
        "{:?}",
        output.stderr
    );
    let output = here.command(&["repl", "--model", "demo:opt"]).stdin(typed()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("would take the place of every model"), "{stderr}");
}

#[test]
fn generate_takes_models_for_its_hooks_too() {
    let hooks = "let m = model(param(\"steer\", \"demo:opt\")); [hook(\"post-mlp\", |x, ctx| x)]";
    let here = Workplace::new(&[
        ("h.rhai", hooks),
        ("two.rhai", "let a = model(\"demo:opt\"); let b = model(\"demo:gpt-neox\"); []"),
    ]);
    let base = ["generate", "--prompt", "When", "--max-new-tokens", "2", "--hooks"];
    let with = |rest: &[&str]| here.run(&[&base[..], rest].concat());
    for rest in [
        &["h.rhai"] as &[&str],
        &["h.rhai", "--model", "demo:gpt-neox"],
        &["h.rhai", "--model", "demo:gpt-neox", "--model", "steer=demo:opt"],
        &["two.rhai", "--model", "demo:opt=demo:opt"],
    ] {
        let ran = with(rest);
        assert_eq!(ran.code, Some(0), "{rest:?}\n{}", ran.stderr);
    }
    let ran = with(&["two.rhai", "--model", "demo:opt"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[test]
fn recipes_of_two_models_are_checked_with_both() {
    let header = "//! name = \"two\"\n//! version = \"0.1.0\"\n//! license = \"MIT\"\n//! summary = \"Two models\"\n\
                  //! authors = [\"A\"]\n//! requires = \"0.1\"\n//! models = [\"demo:opt\", \"demo:gpt-neox\"]\n\
                  //! outputs = [\"x.json\"]\n//!\n//! [params.other]\n//! default = \"demo:gpt-neox\"\n//! help = \"a model\"\n";
    let body = "let a = model(\"demo:opt\");\nlet b = model(param(\"other\", \"demo:gpt-neox\", \"a model\"));\n\
                save(\"x\", [a.config.model_type, b.config.model_type]);\n";
    let here = Workplace::new(&[("two.rhai", &format!("{header}{body}"))]);
    let ran = here.run(&["recipe", "check", "two.rhai"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("runs on the models that it names in "), "{}", ran.stdout);
    let ran = here.run(&["recipe", "check", "two.rhai", "--model", "other=demo:opt"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("runs on other=demo:opt in "), "{}", ran.stdout);
}

#[test]
fn a_path_that_leads_nowhere_is_said_before_the_hub_is() {
    let here = Workplace::new(&[
        ("s.rhai", "model(param(\"id\", \"\"))"),
        ("models/empty/note.txt", ""),
        ("file", ""),
    ]);
    for (id, said) in [
        (
            "dir/that/is/not/there",
            "there is no directory \"dir/that/is/not/there\", and it is no Hub id",
        ),
        (
            "./models/nope",
            "there is no directory \"./models/nope\" (./models has no nope), and it is no Hub id",
        ),
        (
            "models/nope",
            "there is no directory \"models/nope\" (models has no nope), and as a model of the Hub: ",
        ),
        ("models/nope/deeper", "there is no directory \"models/nope/deeper\" (models has no nope)"),
        ("/nowhere/at/all", "there is no directory \"/nowhere/at/all\" (/ has no nowhere)"),
        ("~/model", "a shell puts your home directory in the place of ~"),
        ("models/empty", "models/empty has no config.json, so it is no model"),
        (
            "models/empty/note.txt",
            "models/empty/note.txt is a file: a model is a GGUF file, or a directory",
        ),
        ("./file", "./file is a file"),
        ("owner/name", "owner/name is not in the cache"),
        ("", "there is no directory \"\""),
    ] {
        let ran = here.run(&["run", "s.rhai", "--set", &format!("id={id}")]);
        assert_eq!(ran.code, Some(1), "{id}\n{}", ran.stderr);
        assert!(
            ran.stderr.starts_with(&format!("error: {said}")) || ran.stderr.contains(said),
            "{id}\n{}",
            ran.stderr
        );
    }
}
