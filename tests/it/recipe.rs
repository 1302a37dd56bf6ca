//! Recipes: headers, references, the lock file, trust, checking, publishing, through the real
//! binary and a Hub on loopback.

use std::process::Command;

use precompute::output::record::Record;
use precompute::recipe::{Header, LockFile, LockedRecipe, Reference};
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::binary::{Ran, Workplace};
use crate::hub_server::{Fault, HubServer, Pointer, TOKEN};

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

const HEADER: &str = "//! name = \"count\"\n//! version = \"0.1.0\"\n//! license = \"MIT\"\n//! summary = \"Counts tokens\"\n\
    //! authors = [\"ann\"]\n//! requires = \"0.1\"\n//! models = [\"demo:opt\"]\n//! outputs = [\"*.json\", \"*.svg\"]\n\
    //! [params.text]\n//! default = \"When Mary\"\n//! help = \"what to count\"\n";

/// A recipe with a module beside it.
fn recipe(more: &str) -> String {
    format!(
        "{HEADER}import \"parts/words\" as words;\nlet m = model(\"demo:opt\");\n\
         let n = words::count(m, param(\"text\", \"When Mary\", \"what to count\"));\nprint(`${{n}} tokens`);\n\
         save(\"n\", n);\nplot(#{{y: [1.0, 2.0], title: \"line\"}});\n{more}"
    )
}

const WORDS: &str = "fn count(m, text) { m.encode(text).shape[1] }\n";

struct Setting {
    hub: HubServer,
    place: Workplace,
}

impl Setting {
    /// `ann/counts` has the recipe at `deep/count.rhai`.
    fn new() -> Self {
        let (hub, place) = (HubServer::start(&["opt"]), Workplace::new(&[]));
        let text = recipe("");
        let files = [
            ("deep/count.rhai", text.as_str()),
            ("deep/parts/words.rhai", WORDS),
            ("deep/other.rhai", "1"),
        ];
        hub.put("ann/counts", "main", ONE, &files);
        Self { hub, place }
    }

    fn change(&self, more: &str) {
        let text = recipe(more);
        let files = [("deep/count.rhai", text.as_str()), ("deep/parts/words.rhai", WORDS)];
        self.hub.put("ann/counts", "main", TWO, &files);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_CACHE")
            .env("HF_ENDPOINT", self.hub.address())
            .env("NO_PROXY", "127.0.0.1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(
            matches!(ran.code, Some(1 | 2)),
            "{arguments:?} {:?}\n{}\n{}",
            ran.code,
            ran.stdout,
            ran.stderr
        );
        ran.stderr
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.place.path().join("precompute.lock")).unwrap()
    }
}

const REFERENCE: &str = "hf:ann/counts/deep/count.rhai";

#[test]
fn a_strangers_recipe_is_run_once_it_is_trusted_and_pinned_to_its_commit() {
    let setting = Setting::new();
    let asked = setting.refused(&["run", REFERENCE]);
    assert!(asked.contains("has not been run here before") && asked.contains("--trust"), "{asked}");
    assert!(!setting.place.path().join("precompute.lock").exists(), "what was not run was locked");
    assert!(!setting.place.path().join("runs").exists());
    let checked = setting.run(&["recipe", "check", REFERENCE]);
    assert!(checked.stdout.contains("has not been run here before"), "{}", checked.stdout);

    assert_eq!(setting.ok(&["run", REFERENCE, "--trust"]), "4 tokens\n");
    assert_eq!(setting.hub.fetched(), ["deep/count.rhai", "deep/parts/words.rhai"]);
    let lock = LockFile::parse(&setting.lock()).unwrap();
    let locked = lock.named("count").unwrap();
    assert_eq!(
        (locked.reference.as_str(), locked.commit.as_str(), locked.files.len()),
        (REFERENCE, ONE, 2)
    );

    // From now on it needs neither word nor network, and what main stands for does not matter.
    setting.change("print(\"changed\");");
    for arguments in
        [&["run", "count"] as &[&str], &["run", REFERENCE], &["run", "count", "--offline"]]
    {
        assert_eq!(setting.ok(arguments), "4 tokens\n", "{arguments:?}");
    }
    assert!(setting.hub.fetched().is_empty());
    assert_eq!(setting.ok(&["run", "count", "--set", "text=When"]), "3 tokens\n");
}

/// What the person at a terminal is shown, and what the run prints, when the answer is this.
#[cfg(unix)]
fn asked(setting: &Setting, answer: &str) -> (String, Ran) {
    use std::io::{Read, Write};
    use std::os::fd::{FromRawFd, OwnedFd};
    let (mut near, mut far) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: both descriptors are written to by openpty, and owned by nobody else.
    let (near, far) = unsafe {
        assert_eq!(libc::openpty(&mut near, &mut far, null, null as _, null as _), 0);
        (OwnedFd::from_raw_fd(near), OwnedFd::from_raw_fd(far))
    };
    let mut command = setting.command(&["run", REFERENCE]);
    command.stdin(far.try_clone().unwrap()).stderr(far).stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let mut near = std::fs::File::from(near);
    near.write_all(answer.as_bytes()).unwrap();
    let reader = std::thread::spawn(move || {
        let (mut shown, mut block) = (Vec::new(), [0; 4096]);
        // The end is an error on Linux.
        while let Ok(n @ 1..) = near.read(&mut block) {
            shown.extend_from_slice(&block[..n]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    (reader.join().unwrap(), output.into())
}

#[cfg(unix)]
#[test]
fn a_person_at_a_terminal_is_shown_the_source_and_asked() {
    let setting = Setting::new();
    let (shown, ran) = asked(&setting, "n\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{shown}");
    for says in
        ["Counts tokens", "words::count", "fn count(m, text)", "Run it? [y/N]", "was not run"]
    {
        assert!(shown.contains(says), "{says}\n{shown}");
    }
    assert!(!setting.place.path().join("precompute.lock").exists());
    let (_, ran) = asked(&setting, "y\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "4 tokens\n"));
    let (shown, ran) = asked(&setting, "");
    assert!(ran.code == Some(0) && !shown.contains("Run it?"), "{shown}");
}

#[test]
fn a_revision_is_part_of_the_reference() {
    let setting = Setting::new();
    setting.hub.put("ann/counts", "v2", TWO, &[("deep/count.rhai", "print(\"two\");")]);
    let at = |revision: &str| setting.ok(&["run", &format!("{REFERENCE}@{revision}"), "--trust"]);
    assert_eq!(
        (at("main").as_str(), at("v2").as_str(), at(ONE).as_str()),
        ("4 tokens\n", "two\n", "4 tokens\n")
    );
    let names: Vec<String> =
        LockFile::parse(&setting.lock()).unwrap().recipes.into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["count", "count-2", "count-3"]);
    let refusal = setting.refused(&["run", &format!("{REFERENCE}@v9")]);
    assert!(refusal.contains("ann/counts has no revision \"v9\""), "{refusal}");
}

#[test]
fn what_is_not_there_is_a_sentence() {
    let setting = Setting::new();
    for (reference, says) in [
        ("hf:ann/nothing/x.rhai", "there is no repository ann/nothing on the Hub"),
        ("hf:ann/counts/x.rhai", "the repository has no x.rhai"),
        ("hf:ann/counts", "owner, repository and file are needed"),
        ("hf:ann/counts/../x.rhai", "is no reference to a recipe"),
        ("logit_lenz", "did you mean logit_lens?"),
        ("counts", "there is no recipe counts"),
        ("./counts.rhai", "there is no file ./counts.rhai"),
    ] {
        let refusal = setting.refused(&["run", reference]);
        assert!(refusal.contains(says), "{reference}\n{refusal}");
    }
}

#[test]
fn a_file_that_is_not_what_was_locked_is_refused() {
    let setting = Setting::new();
    setting.ok(&["recipe", "add", REFERENCE]);
    setting.ok(&["recipe", "verify"]);
    // Someone writes into the cache.
    let blobs = setting.place.path().join("hf/hub/models--ann--counts/blobs");
    for blob in std::fs::read_dir(&blobs).unwrap() {
        let path = blob.unwrap().path();
        if std::fs::read_to_string(&path).unwrap() == WORDS {
            std::fs::write(&path, "fn count(m, text) { 42 }\n").unwrap();
        }
    }
    let refusal = setting.refused(&["run", "count", "--trust"]);
    assert!(
        refusal.contains("deep/parts/words.rhai is not the file that precompute.lock recorded"),
        "{refusal}"
    );
    assert!(setting.run(&["recipe", "verify"]).stdout.contains("is not the file"));
    // Or the Hub gives something else for the commit.
    std::fs::remove_dir_all(setting.place.path().join("hf")).unwrap();
    setting.hub.put(
        "ann/counts",
        "main",
        ONE,
        &[("deep/count.rhai", recipe("1")), ("deep/parts/words.rhai", WORDS.to_owned())],
    );
    let refusal = setting.refused(&["run", "count", "--trust"]);
    assert!(
        refusal.contains("deep/count.rhai is not the file that precompute.lock recorded"),
        "{refusal}"
    );
    let report: Json =
        serde_json::from_str(&setting.run(&["recipe", "verify", "--json"]).stdout).unwrap();
    assert_eq!(report[0]["ok"], false);
}

#[test]
fn a_recipe_is_added_listed_updated_and_removed() {
    let setting = Setting::new();
    setting.ok(&["recipe", "add", REFERENCE, "--name", "mine"]);
    let listed = setting.ok(&["recipe", "list"]);
    assert!(listed.contains("logit_lens") && listed.contains("Counts tokens"), "{listed}");
    let place = |text: &str| listed.find(text).unwrap_or_else(|| panic!("no {text}: {listed}"));
    assert!(place("look: ") < place("  logit_lens "), "{listed}");
    assert!(place("  logit_lens ") < place("patch: ") && place("patch: ") < place("  acdc "));
    assert!(place("train: ") < place("mine"), "{listed}");
    let listed: Json = serde_json::from_str(&setting.ok(&["recipe", "list", "--json"])).unwrap();
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|recipe| recipe["name"] == "mine" && recipe["commit"] == ONE)
    );
    assert_eq!(setting.ok(&["run", "mine", "--trust"]), "4 tokens\n");

    assert!(setting.ok(&["recipe", "update"]).contains("stays at"));
    let report: Json = serde_json::from_str(&setting.ok(&["recipe", "update", "--json"])).unwrap();
    assert_eq!((&report[0]["from"], &report[0]["to"]), (&Json::from(ONE), &Json::from(ONE)));
    setting.change("print(\"changed\");");
    assert!(setting.ok(&["recipe", "show", "mine", "--update"]).contains("+print(\"changed\");"));
    assert!(setting.lock().contains(ONE));
    let updated = setting.ok(&["recipe", "update", "mine"]);
    assert!(updated.contains(TWO) && updated.contains("+print(\"changed\");"), "{updated}");
    // Its new files have not been trusted.
    assert!(setting.refused(&["run", "mine"]).contains("has not been run here before"));
    assert_eq!(setting.ok(&["run", "mine", "--trust"]), "4 tokens\nchanged\n");

    assert!(setting.refused(&["recipe", "remove", "yours"]).contains("it has mine"));
    setting.ok(&["recipe", "remove", "mine"]);
    assert!(setting.refused(&["run", "mine"]).contains("there is no recipe mine"));
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let setting = Setting::new();
    let refusal = setting.refused(&["recipe", "add", REFERENCE, "--name", "logit_lens"]);
    assert!(refusal.contains("there is a recipe logit_lens already"), "{refusal}");
    setting.ok(&["recipe", "add", REFERENCE]);
    let refusal = setting.refused(&["recipe", "add", &format!("{REFERENCE}@main")]);
    assert!(refusal.contains("there is a recipe count already"), "{refusal}");
    assert!(setting.refused(&["recipe", "add", "logit_lens"]).contains("needs no adding"));
}

#[test]
fn a_broken_lock_file_is_said_and_left_alone() {
    let setting = Setting::new();
    setting.place.write("precompute.lock", b"layout = 1\n[[recipe]]\nnam = \"x\"\n");
    let refusal = setting.refused(&["recipe", "add", REFERENCE]);
    assert!(refusal.contains("precompute.lock:3:1"), "{refusal}");
    assert!(setting.lock().contains("nam = "));
}

#[test]
fn a_recipe_is_shown_with_nothing_hidden() {
    let setting = Setting::new();
    setting.change("// \u{1b}[2K\u{202e}hidden");
    let shown = setting.ok(&["recipe", "show", REFERENCE]);
    for says in [
        "Counts tokens",
        &format!("{REFERENCE}, commit {TWO}"),
        "--set text=\"When Mary\"   what to count",
        "load      the demos, and what --model or --set names",
        "─── deep/parts/words.rhai",
        "fn count(m, text)",
        "// \\u{1b}[2K\\u{202e}hidden",
    ] {
        assert!(shown.contains(says), "{says}\n{shown}");
    }
    let shown: Json =
        serde_json::from_str(&setting.ok(&["recipe", "show", REFERENCE, "--json"])).unwrap();
    assert_eq!((&shown["header"]["name"], &shown["trusted"]), (&"count".into(), &false.into()));
    assert_eq!(shown["files"][1]["text"], WORDS);
    assert!(!setting.place.path().join("precompute.lock").exists());
    let shown = setting.ok(&["recipe", "show", "logit_lens"]);
    assert!(shown.contains("from      this program") && shown.contains("m.unembed"), "{shown}");
}

/// `model(id)` of a stranger's recipe whose header names `tiny/opt`.
#[test]
fn a_stranger_loads_only_the_models_that_are_named() {
    let setting = Setting::new();
    let text = "//! models = [\"tiny/opt\"]\nlet m = model(param(\"id\", \"demo:opt\"));\nprint(m.config.hidden_size);\n\
                try { model(\"ann/other\"); print(\"loaded\"); } catch (e) { print(e); }\n";
    setting.hub.put("ann/loads", "main", ONE, &[("x.rhai", text)]);
    setting.place.write("models/config.json", b"{}");
    let run =
        |more: &[&str]| setting.run(&[&["run", "hf:ann/loads/x.rhai", "--trust"], more].concat());
    let stdout = run(&[]).stdout;
    assert!(stdout.contains("this script is not yours") && !stdout.contains("loaded"), "{stdout}");
    assert_eq!(run(&["--set", "id=tiny/opt"]).code, Some(0));
    // A directory is the user's to name.
    let script = "let m = model(\"./models\");";
    setting.hub.put("ann/loads", "main", ONE, &[("y.rhai", script), ("x.rhai", text)]);
    let refusal = setting.refused(&["run", "hf:ann/loads/y.rhai@main", "--trust"]);
    assert!(refusal.contains("this script is not yours"), "{refusal}");
    let refusal =
        setting.refused(&["run", "hf:ann/loads/y.rhai@main", "--trust", "--model", "./models"]);
    assert!(!refusal.contains("this script is not yours"), "{refusal}");
}

#[test]
fn a_strangers_imports_stay_in_its_repository() {
    let setting = Setting::new();
    setting.place.write("secret.rhai", b"fn tell() { \"secret\" }");
    let imports = |name: &str| format!("import \"{name}\" as s;\nprint(s::tell());\n");
    for (i, name) in ["secret", "../secret", "/secret", "./../../secret"].into_iter().enumerate() {
        let file = format!("x{i}.rhai");
        setting.hub.put("ann/imports", "main", ONE, &[(&file, &imports(name))]);
        let ran = setting.run(&["run", &format!("hf:ann/imports/{file}"), "--trust"]);
        assert!(
            ran.code == Some(1) && !ran.stdout.contains("secret"),
            "{name}\n{}{}",
            ran.stdout,
            ran.stderr
        );
    }
}

#[test]
fn a_shipped_recipe_runs_by_its_name_anywhere() {
    let place = Workplace::new(&[]);
    let ran = place.run(&["run", "logit_lens"]);
    assert!(
        ran.code == Some(0) && ran.stdout.contains("after the prompt comes  Mary"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let runs: Vec<_> = std::fs::read_dir(place.path().join("runs"))
        .unwrap()
        .map(|run| run.unwrap().file_name())
        .collect();
    assert!(runs[0].to_str().unwrap().starts_with("logit_lens-"), "{runs:?}");
    assert_eq!(place.run(&["run", "logit_lens", "--help-params"]).code, Some(0));
}

#[test]
fn a_directory_is_a_recipe() {
    let place = Workplace::new(&[("d/count.rhai", &recipe("")), ("d/parts/words.rhai", WORDS)]);
    assert_eq!(place.run(&["run", "d"]).stdout, "4 tokens\n");
    place.write("d/other.rhai", b"//! name = \"other\"\n");
    assert!(place.run(&["run", "d"]).stderr.contains("d has 2 recipes"));
    assert!(place.run(&["run", "d/parts"]).stderr.contains("is a directory without a recipe"));
}

#[test]
fn a_header_that_is_wrong_stops_a_run_with_a_caret() {
    let place = Workplace::new(&[("s.rhai", "//! name = \"s\"\n//! sumary = \"x\"\nprint(1);\n")]);
    let ran = place.run(&["run", "s.rhai"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.contains("--> s.rhai:2:5") && ran.stderr.contains("did you mean summary?"),
        "{}",
        ran.stderr
    );
    place.write("s.rhai", b"//! requires = \">=99\"\nprint(1);\n");
    let ran = place.run(&["run", "s.rhai"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--> s.rhai:1:16"), "{}", ran.stderr);
}

#[test]
fn every_shipped_script_is_as_its_header_says() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts =
        std::fs::read_dir(root.join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<String> = scripts
        .filter(|path| path.extension().is_some_and(|ending| ending == "rhai"))
        .map(|path| path.display().to_string())
        .collect();
    let arguments: Vec<&str> = ["recipe", "check", "--json"]
        .into_iter()
        .chain(scripts.iter().map(String::as_str))
        .collect();
    let ran = Workplace::new(&[]).run(&arguments);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let report: Json = serde_json::from_str(&ran.stdout).unwrap();
    let recipes = report.as_array().unwrap();
    assert_eq!(recipes.len(), scripts.len());
    assert!(
        recipes.iter().all(|recipe| recipe["runs"].as_array().unwrap().len() == 2),
        "{report:#}"
    );
}

/// A recipe that takes long is checked with a value of the parameter that makes it short.
#[test]
fn a_check_runs_with_the_headers_values_for_checks() {
    let with = |check: &str| {
        let header =
            HEADER.replace("//! [params.text]", &format!("//! [params.text]\n//! check = {check}"));
        let text = "let m = model(\"demo:opt\");\nlet text = param(\"text\", \"When Mary\", \"what to count\");\n\
            if text == \"When Mary\" { throw \"this takes hours\"; }\n\
            save(\"n\", text);\nplot(#{y: [1.0, 2.0], title: \"line\"});\n";
        let place = Workplace::new(&[("s.rhai", &format!("{header}{text}"))]);
        (place.run(&["run", "s.rhai"]), place.run(&["recipe", "check", "s.rhai"]))
    };
    let (run, checked) = with("\"a \\\"b\\\"\"");
    assert!(run.code == Some(1) && run.stderr.contains("this takes hours"), "{}", run.stderr);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let (_, checked) = with("\"When Mary\"");
    assert!(
        checked.code == Some(1) && checked.stdout.contains("this takes hours"),
        "{}",
        checked.stdout
    );
    let (run, _) = with("2020-01-01");
    assert!(
        run.stderr.contains("--> s.rhai:9:14") || run.stderr.contains("is no date"),
        "{}",
        run.stderr
    );
}

#[test]
fn check_finds_what_the_header_does_not_say() {
    let found = |text: &str, says: &[&str]| {
        let place = Workplace::new(&[("s.rhai", text), ("parts/words.rhai", WORDS)]);
        let ran = place.run(&["recipe", "check", "s.rhai"]);
        let wanted = i32::from(!says.is_empty());
        assert_eq!(ran.code, Some(wanted), "{}{}", ran.stdout, ran.stderr);
        for says in says {
            assert!(ran.stdout.contains(says), "{says}\n{}", ran.stdout);
        }
    };
    found(&recipe(""), &[]);
    found("print(1);", &["has no header"]);
    found(
        "//! name = \"x\"\n",
        &["the header does not say its version, license, summary, authors, requires, models"],
    );
    found(
        &recipe("param(\"k\", 5);\nsave(\"x\", tensor([1.0]));\n"),
        &[
            "s.rhai:18:1",
            "does not have the parameter k",
            "//! [params.\"k\"]",
            "x.safetensors, which is not among",
        ],
    );
    let replaced = |from: &str, to: &str| recipe("").replacen(from, to, 1);
    found(
        &replaced("//! default = \"When Mary\"", "//! default = \"When\""),
        &["the header's default of text is \"When\""],
    );
    found(&replaced("//! default = \"When Mary\"\n", ""), &["does not have the default of text"]);
    found(
        &replaced("//! help = \"what to count\"", "//! help = \"what\""),
        &["the header's help of text is not"],
    );
    found(
        &replaced("[params.text]", "[params.txt]"),
        &["the script has no parameter txt", "s.rhai:9:5"],
    );
    found(&replaced("\"*.json\",", "\"m.json\","), &["no run saves m.json", "a run saves n.json"]);
    found(
        &replaced("//! outputs", "//! points = [\"post-mlp\"]\n//! outputs"),
        &["does not name the point post-mlp"],
    );
    found(
        &recipe(
            "m.capture(m.encode(\"When\"), \"blocks.0.hook_resid_pre\");\nhook(\"logits\", |x, ctx| x);\n",
        ),
        &["points do not have pre-block", "points do not have logits"],
    );
    found(&recipe("throw \"no\";"), &["it fails on demo:opt: no"]);
    found(&recipe("let"), &["s.rhai"]);
}

#[test]
fn a_new_recipe_is_as_its_header_says() {
    let place = Workplace::new(&[]);
    assert_eq!(place.run(&["recipe", "new", "first"]).code, Some(0));
    let ran = place.run(&["recipe", "check", "first.rhai"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        place
            .run(&["recipe", "new", "first"])
            .stderr
            .contains("there is a file ./first.rhai already")
    );
    assert!(place.run(&["recipe", "new", "a/b"]).stderr.contains("is no name of a recipe"));
}

#[test]
fn the_record_of_a_run_from_the_hub_names_its_commit() {
    let setting = Setting::new();
    setting.hub.put(
        "ann/counts",
        "v1",
        TWO,
        &[("deep/count.rhai", "print(1);\nsave(\"n\", 1);\n")],
    );
    let reference = format!("{REFERENCE}@v1");
    setting.ok(&["run", &reference, "--trust", "--out", "out"]);
    let path = setting.place.path().join("out/run.json");
    let mut record = Record::read(&path).unwrap();
    let recipe = record.recipe.clone().unwrap();
    assert_eq!((recipe.reference.as_str(), recipe.commit.as_str()), (reference.as_str(), TWO));
    assert_eq!(recipe.sha256, record.script.sha256);

    // Repeated from the record alone, whatever the Hub has by now.
    setting.hub.put("ann/counts", "v1", ONE, &[("deep/count.rhai", "throw 1;")]);
    let ran = setting.run(&["rerun", "out", "--out", "again"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let says = format!("note: the recorded run was of {reference}, at commit {TWO}");
    assert!(ran.stderr.contains(&says), "{}", ran.stderr);
    let again = Record::read(&setting.place.path().join("again/run.json")).unwrap();
    assert_eq!(again.recipe, record.recipe);

    // A run of a lock file's name is of what is locked, and a script of one's own is no recipe.
    setting.ok(&["run", "count", "--out", "named"]);
    let named = Record::read(&setting.place.path().join("named/run.json")).unwrap();
    assert_eq!(named.recipe, record.recipe);
    setting.place.write("s.rhai", b"1");
    setting.ok(&["run", "s.rhai", "--out", "own"]);
    let own = std::fs::read_to_string(setting.place.path().join("own/run.json")).unwrap();
    assert!(!own.contains("\"recipe\""), "{own}");

    // A record that says of its text what is not so is refused.
    let recipe = record.recipe.as_mut().unwrap();
    recipe.sha256 = "0".repeat(64);
    std::fs::write(&path, serde_json::to_string(&record).unwrap()).unwrap();
    let refused = setting.refused(&["rerun", "out"]);
    assert!(refused.contains("is not the text of hf:ann/counts"), "{refused}");
}

#[test]
fn what_is_published_can_be_run_by_others() {
    let setting = Setting::new();
    setting.place.write("count.rhai", recipe("").as_bytes());
    setting.place.write("parts/words.rhai", WORDS.as_bytes());
    let publish = |more: &[&str], token: Option<&str>| -> Ran {
        let arguments = [&["recipe", "publish", "count.rhai", "--to", "bob/tools"], more].concat();
        let mut command = setting.command(&arguments);
        token.map(|token| command.env("HF_TOKEN", token));
        command.output().unwrap().into()
    };
    let listed = publish(&["--dry-run"], None);
    assert!(
        listed.code == Some(0) && listed.stdout.contains("parts/words.rhai"),
        "{}{}",
        listed.stdout,
        listed.stderr
    );
    let listed = publish(&["--dry-run", "--json"], None);
    let report: Json = serde_json::from_str(&listed.stdout).unwrap();
    assert!(
        report["files"].as_array().unwrap().iter().any(|file| file["path"] == "parts/words.rhai"),
        "{report}"
    );
    assert!(publish(&["--yes"], None).stderr.contains("can't be written to without a token"));
    assert!(
        publish(&["--yes"], Some("wrong")).stderr.contains("can't be written to with this token")
    );
    assert!(publish(&[], Some(TOKEN)).stderr.contains("there is no terminal to ask at"));
    let published = publish(&["--yes"], Some(TOKEN));
    assert_eq!(published.code, Some(0), "{}{}", published.stdout, published.stderr);

    let texts = setting.hub.texts("bob/tools");
    let names: Vec<&str> = texts.keys().map(String::as_str).collect();
    assert_eq!(names, ["README.md", "count.rhai", "count.svg", "parts/words.rhai"]);
    assert_eq!(
        (texts["count.rhai"].as_str(), texts["parts/words.rhai"].as_str()),
        (recipe("").as_str(), WORDS)
    );
    assert!(texts["count.svg"].starts_with("<svg"));
    let page = &texts["README.md"];
    for says in [
        "license: mit\n",
        "# count",
        "Counts tokens",
        "![count](count.svg)",
        "precompute run hf:bob/tools/count.rhai",
        "| `text` | `\"When Mary\"` | what to count |",
    ] {
        assert!(page.contains(says), "{says}\n{page}");
    }
    let reference = published
        .stdout
        .lines()
        .last()
        .unwrap()
        .strip_prefix("published: precompute run ")
        .unwrap();
    assert_eq!(setting.ok(&["run", reference, "--trust"]), "4 tokens\n");

    // Again, over its own page; but not over another's.
    assert_eq!(publish(&["--yes"], Some(TOKEN)).code, Some(0));
    setting.hub.put("bob/tools", "main", TWO, &[("README.md", "# Mine\n")]);
    assert!(publish(&["--yes"], Some(TOKEN)).stderr.contains("that is not this recipe's"));
    assert_eq!(setting.hub.texts("bob/tools").len(), 1);
}

#[test]
fn large_files_are_published_through_the_store_of_large_files() {
    let setting = Setting::new();
    // Of such a name the Hub takes no text with the commit itself.
    let attributes = "*.rhai filter=lfs diff=lfs merge=lfs -text\n";
    setting.hub.put("bob/tools", "main", ONE, &[(".gitattributes", attributes)]);
    setting.place.write("count.rhai", recipe("").as_bytes());
    setting.place.write("parts/words.rhai", WORDS.as_bytes());
    let mut command =
        setting.command(&["recipe", "publish", "count.rhai", "--to", "bob/tools", "--yes"]);
    let published: Ran = command.env("HF_TOKEN", TOKEN).output().unwrap().into();
    assert_eq!(published.code, Some(0), "{}{}", published.stdout, published.stderr);

    let (pointers, stored) = setting.hub.stored_apart("bob/tools");
    let texts = [("count.rhai", recipe("")), ("parts/words.rhai", WORDS.to_owned())];
    assert_eq!(pointers.len(), texts.len());
    for (name, text) in &texts {
        assert_eq!(pointers[*name], Pointer::to(text.as_bytes()), "{name}");
    }
    assert_eq!(stored.len(), texts.len());
    assert!(texts.iter().all(|(_, text)| stored.contains(&text.as_bytes().to_vec())));
    let names: Vec<String> = setting.hub.texts("bob/tools").into_keys().collect();
    assert_eq!(names, [".gitattributes", "README.md", "count.svg"]);

    // The store is another host: the Hub's token stays with the Hub.
    let requests = setting.hub.requests();
    let to_store: Vec<_> = requests.iter().filter(|request| request.cdn).collect();
    assert_eq!(to_store.len(), texts.len());
    assert!(to_store.iter().all(|request| request.token.as_deref() != Some(TOKEN)), "{to_store:?}");

    // What the store has is not sent again.
    let published: Ran = command.output().unwrap().into();
    assert_eq!(published.code, Some(0), "{}{}", published.stdout, published.stderr);
    assert!(setting.hub.requests().iter().all(|request| !request.cdn));
}

#[test]
fn a_store_of_large_files_that_fails_leaves_the_repository_as_it_was() {
    let setting = Setting::new();
    let attributes = "*.rhai filter=lfs\n";
    setting.hub.put("bob/tools", "main", ONE, &[(".gitattributes", attributes)]);
    setting.place.write("count.rhai", recipe("").as_bytes());
    setting.place.write("parts/words.rhai", WORDS.as_bytes());
    for (method, path, fault, says) in [
        ("PUT", "/store/", Fault::Status(403, ""), "the Hub's store of large files answers 403"),
        ("PUT", "/store/", Fault::Drop(0), "the Hub can't be reached"),
        ("POST", "/objects/batch", Fault::Page, "does not say where large files are sent to"),
        ("POST", "/verify/", Fault::Status(404, ""), "the Hub answers 404"),
        ("POST", "/preupload/", Fault::Page, "does not say which files it stores apart"),
    ] {
        setting.hub.fail(method, path, fault, usize::MAX);
        let mut command =
            setting.command(&["recipe", "publish", "count.rhai", "--to", "bob/tools", "--yes"]);
        let ran: Ran = command.env("HF_TOKEN", TOKEN).output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{says}: {}{}", ran.stdout, ran.stderr);
        for part in ["bob/tools", says] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        assert_eq!(setting.hub.texts("bob/tools").len(), 1);
        assert!(setting.hub.stored_apart("bob/tools").0.is_empty());
        setting.hub.heal();
    }
}

#[test]
fn what_fails_its_check_is_not_published() {
    let setting = Setting::new();
    setting.place.write("s.rhai", b"//! name = \"s\"\nprint(1);\n");
    let ran = setting.run(&["recipe", "publish", "s.rhai", "--to", "bob/tools", "--yes"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("nothing was uploaded"), "{}", ran.stderr);
    assert!(setting.hub.requests().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_panic(text in any::<String>(), toml in "[a-z =\"\\[\\]{}\n.0-9#']{0,80}") {
        for text in [text.clone(), toml.clone(), format!("//! {text}"), format!("//!{}", toml.replace('\n', "\n//! "))] {
            let _ = Header::read("s", &text).map_err(|failure| failure.to_string());
            let _ = LockFile::parse(&text).map_err(|failure| failure.to_string());
            let _ = Reference::parse(&text);
        }
        let _ = Reference::parse(&format!("hf:{text}"));
    }

    #[test]
    fn a_header_is_read_back(
        name in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}",
        summary in "[^\n\r]{0,40}[^\\s\n\r\u{0}-\u{1f}\u{7f}-\u{9f}]",
        params in prop::collection::btree_map("[^\\s]{1,8}", (any::<f64>(), any::<String>()), 0..4),
    ) {
        let params: toml::Table = params.into_iter().filter(|(_, (x, _))| !x.is_nan()).map(|(name, (default, help))| {
            let param: toml::Table = [("default".into(), default.into()), ("help".into(), help.into())].into_iter().collect();
            (name, param.into())
        }).collect();
        let table: toml::Table = [
            ("name".to_owned(), name.into()), ("summary".into(), summary.into()), ("params".into(), params.into()),
        ].into_iter().collect();
        let written: String = toml::to_string(&table).unwrap().lines().map(|line| format!("//! {line}\n")).collect();
        let header = Header::read("s", &written).map_err(|e| TestCaseError::fail(format!("{e}\n{written}")))?.unwrap();
        let again = Header::read("s", &header.write()).map_err(|e| TestCaseError::fail(e.to_string()))?.unwrap();
        prop_assert_eq!(again, header);
    }

    #[test]
    fn a_reference_is_read_back(text in "hf:[a-z]{1,5}/[a-z.-]{1,5}/([a-z. ]{1,4}/){0,2}[a-z]{1,4}\\.rhai(@[a-z/.]{1,6})?") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn a_lock_file_is_read_back(
        recipes in prop::collection::btree_map("[a-z]{1,6}", ("[0-9a-f]{40}", prop::collection::btree_map("[a-zé \"=\\]]{1,6}[a-z]\\.rhai", "[0-9a-f]{64}", 0..3)), 0..4)
    ) {
        let mut lock = LockFile::default();
        for (name, (commit, mut files)) in recipes {
            files.retain(|path, _| precompute::recipe::reference::check_path(path).is_ok());
            files.insert("x.rhai".into(), "0".repeat(64));
            lock.put(LockedRecipe { name, reference: "hf:a/b/x.rhai@v1".into(), commit, files });
        }
        prop_assert_eq!(LockFile::parse(&lock.text()).map_err(|e| TestCaseError::fail(e.to_string()))?, lock);
    }
}
