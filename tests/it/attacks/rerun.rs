//! Records of strangers, which would read what is mine: each text in a record that gains a right by
//! being the same as on this disk must be the same.

use std::fs;

use serde_json::{Value as Json, json};

use crate::binary::{Ran, Workplace};

/// The script that both have: it reads beside itself, and has what it imports say what is to be
/// done with it.
const SCRIPT: &str = "import \"lib/labels\" as labels; import \"near\" as near;\nlet x = try_load(\"secret.npy\");\n\
                      fn try_load(path) { let x = (); try { x = load_tensors(path); } catch {} x }\nnear::tell(x)";

const NEAR: &str = "fn tell(x) { if x == () { \"nothing\" } else { `read ${x.numel}` } }";

/// What a stranger puts in a module's place.
const EVIL: &str = "let x = (); try { x = load_tensors(\"secret.npy\"); } catch {}\n\
                    save(\"stolen\", if x == () { \"nothing\" } else { `stolen ${x.numel}` });\n\
                    fn tell(x) { if x == () { \"nothing\" } else { `read ${x.numel}` } }";

const NOTE: &str =
    "this run reads nothing beside the script (--trust lets it, if the record is yours)";

fn place() -> Workplace {
    let here = Workplace::new(&[("s.rhai", SCRIPT), ("near.rhai", NEAR)]);
    here.write("secret.npy", &super::forged_npy());
    let ran = here.run(&["run", "s.rhai", "--out", "out"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "read 1\n"), "{}", ran.stderr);
    here
}

fn record(here: &Workplace) -> Json {
    serde_json::from_slice(&fs::read(here.path().join("out/run.json")).unwrap()).unwrap()
}

fn source(path: &str, text: &str) -> Json {
    serde_json::to_value(precompute::output::record::ScriptText::new(path, text)).unwrap()
}

/// Puts `text` in the place of the record's import `path`, or adds it.
fn import(record: &mut Json, path: &str, text: &str) {
    let imports = record["imports"].as_array_mut().unwrap();
    imports.retain(|source| source["path"] != path);
    imports.push(source(path, text));
}

fn rerun(here: &Workplace, text: &str, more: &[&str]) -> Ran {
    here.write("record/run.json", text.as_bytes());
    let _ = fs::remove_dir_all(here.path().join("again"));
    here.run(&[&["rerun", "record/run.json", "--out", "again"], more].concat())
}

/// What the run printed, and what it saved of what it should not have.
fn read_anything(here: &Workplace, ran: &Ran) -> bool {
    let stolen = fs::read_to_string(here.path().join("again/stolen.json")).unwrap_or_default();
    ran.stdout.contains("read 1") || stolen.contains("stolen 1")
}

#[test]
fn the_very_texts_may_read_as_running_them_does() {
    let here = place();
    let ran = rerun(&here, &record(&here).to_string(), &[]);
    assert_eq!((ran.code, read_anything(&here, &ran)), (Some(0), true), "{}", ran.stderr);
    assert!(!ran.stderr.contains("note:"), "{}", ran.stderr);
}

type Edit = fn(&mut Json);

#[test]
fn a_record_that_differs_anywhere_has_a_strangers_rights() {
    let attacks: &[(&str, Edit, &str)] = &[
        (
            "a shipped library's name",
            |r| import(r, "precompute:lib/labels", EVIL),
            "the record's precompute:lib/labels is not the one of this program",
        ),
        (
            "a neighbour's name",
            |r| import(r, "near.rhai", EVIL),
            "near.rhai is another text here than in the record",
        ),
        (
            "a neighbour that is not there",
            |r| {
                import(r, "lib/labels.rhai", EVIL);
            },
            "there is no lib/labels.rhai here",
        ),
        (
            "a library that does not ship",
            |r| import(r, "precompute:near", EVIL),
            "the record's precompute:near does not ship with this program",
        ),
        (
            "a library under a name in capitals",
            |r| import(r, "precompute:LIB/labels", EVIL),
            "the record's precompute:LIB/labels does not ship",
        ),
        (
            "a name with ..",
            |r| import(r, "x/../near.rhai", EVIL),
            "the record's x/../near.rhai is not beside its script",
        ),
        (
            "an absolute name",
            |r| import(r, "/tmp/near.rhai", EVIL),
            "the record's /tmp/near.rhai is not beside its script",
        ),
        (
            "a library with .. in its name",
            |r| import(r, "precompute:../near", EVIL),
            "the record's precompute:../near does not ship",
        ),
        (
            "a name through a link that leads out",
            |r| import(r, "link/evil.rhai", EVIL),
            "there is no link/evil.rhai here",
        ),
        (
            "a module that is missing",
            |r| {
                let imports = r["imports"].as_array_mut().unwrap();
                imports.retain(|source| source["path"] != "near.rhai");
                imports.push(source("precompute:near", EVIL));
            },
            "the record's precompute:near does not ship",
        ),
        (
            "a module that is left out",
            |r| r["imports"].as_array_mut().unwrap().retain(|source| source["path"] != "near.rhai"),
            "s.rhai imports near.rhai here, which is not in the record",
        ),
        (
            "the script itself",
            |r| r["script"] = source("s.rhai", &format!("{SCRIPT} ")),
            "s.rhai is another text here than in the record",
        ),
        (
            "a script that is a part of the one here",
            |r| r["script"] = source("s.rhai", &SCRIPT[..SCRIPT.len() - 1]),
            "s.rhai is another text here than in the record",
        ),
        (
            "a script that is a folder",
            |r| r["script"] = source("record", SCRIPT),
            "there is no record here",
        ),
        (
            "a script that is a device",
            |r| r["script"] = source("/dev/zero", SCRIPT),
            "there is no /dev/zero here",
        ),
        ("a script of no name", |r| r["script"] = source("..", SCRIPT), "\"..\" is no script here"),
        (
            "the script in another place, its neighbour not",
            |r| r["script"] = source("elsewhere/s.rhai", SCRIPT),
            "the record's near.rhai is not beside its script",
        ),
    ];
    let here = place();
    here.write("elsewhere/s.rhai", SCRIPT.as_bytes());
    here.write("elsewhere/secret.npy", &super::forged_npy());
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("evil.rhai"), EVIL).unwrap();
    std::os::unix::fs::symlink(outside.path(), here.path().join("link")).unwrap();
    for (what, edit, said) in attacks {
        let mut record = record(&here);
        edit(&mut record);
        let ran = rerun(&here, &record.to_string(), &[]);
        assert!(!read_anything(&here, &ran), "{what}: {}{}", ran.stdout, ran.stderr);
        let note = format!("note: {said}");
        assert!(ran.stderr.contains(&note) && ran.stderr.contains(NOTE), "{what}: {}", ran.stderr);
    }
}

#[test]
fn a_record_that_says_two_things_is_none() {
    let here = place();
    let good = record(&here);
    let with = |edit: Edit| {
        let mut record = good.clone();
        edit(&mut record);
        record.to_string()
    };
    let twice = |field: &str, value: &str| {
        good.to_string().replacen(
            &format!("\"{field}\":"),
            &format!("\"{field}\":{value},\"{field}\":"),
            1,
        )
    };
    let attacks = [
        (
            "an import of the script's name",
            with(|r| r["imports"].as_array_mut().unwrap().push(source("s.rhai", EVIL))),
            "the record has two texts called s.rhai",
        ),
        (
            "two imports of one name",
            with(|r| r["imports"].as_array_mut().unwrap().push(source("near.rhai", EVIL))),
            "the record has two texts called near.rhai",
        ),
        ("two scripts", twice("script", "null"), "is no record of a run"),
        (
            "two scripts, the second good",
            twice("script", &source("s.rhai", EVIL).to_string()),
            "duplicate field `script`",
        ),
        ("two lists of imports", twice("imports", "[]"), "duplicate field `imports`"),
        ("two texts in one", twice("text", "\"\""), "duplicate field `text`"),
        (
            "a parameter set twice",
            with(|_| ()).replacen("\"set\":{", "\"set\":{\"a\":\"1\",\"a\":\"2\"", 1),
            "\"a\" stands twice in a map",
        ),
        (
            "a text that is not what its hash says",
            with(|r| r["imports"][0]["text"] = json!("1")),
            "its SHA-256 is another",
        ),
        (
            "a file elsewhere",
            with(|r| r["files"] = json!([{"name": "../secret.npy", "sha256": ""}])),
            "is no name of a saved file",
        ),
        (
            "an absolute file",
            with(|r| r["files"] = json!([{"name": "/etc/passwd", "sha256": ""}])),
            "is no name of a saved file",
        ),
    ];
    for (what, text, said) in attacks {
        let ran = rerun(&here, &text, &[]);
        assert_eq!(ran.code, Some(2), "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(said), "{what}: {}", ran.stderr);
        assert!(!read_anything(&here, &ran) && !here.path().join("again").exists(), "{what}");
    }
}

#[test]
fn what_a_stranger_read_can_not_be_told_to_whoever_owns_a_name() {
    let hub = crate::hub_server::HubServer::start(&[]);
    let here = place();
    let mut record = record(&here);
    let teller = "let x = (); try { x = load_tensors(\"secret.npy\"); } catch {}\n\
                  if x != () { try { model(\"spy/zero\") } catch {} }\nfn tell(x) { \"done\" }";
    import(&mut record, "near.rhai", teller);
    let model = |id: &str| json!({"id": id, "asked": null, "revision": null, "device": "cpu", "dtype": "f32"});
    record["models"] = json!([model("spy/zero"), model("spy/one")]);
    here.write("record/run.json", record.to_string().as_bytes());
    let mut command = here.command(&["rerun", "record", "--out", "again"]);
    command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE");
    let ran: Ran = command
        .env("HF_ENDPOINT", hub.address())
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains(NOTE), "{}", ran.stderr);
    assert!(!hub.requests().iter().any(|request| request.path.contains("spy")));
}

#[test]
fn trust_is_given_by_the_person_alone() {
    let here = place();
    let mut mine = record(&here);
    import(&mut mine, "near.rhai", EVIL);
    let ran = rerun(&here, &mine.to_string(), &["--trust"]);
    assert!(read_anything(&here, &ran), "{}{}", ran.stdout, ran.stderr);
    // No word of the record's counts as that.
    mine["trust"] = json!(true);
    mine["command"]["trust"] = json!(true);
    assert!(!read_anything(&here, &rerun(&here, &mine.to_string(), &[])));
}

#[test]
fn a_linked_script_and_a_folder_of_modules_are_what_they_are() {
    let here = Workplace::new(&[
        ("real/s.rhai", "import \"sub/a\" as a; a::say(load_tensors(\"x.npy\").numel)"),
        ("work/sub/a.rhai", "import \"b\" as b; fn say(n) { b::say(n) }"),
        ("work/sub/b.rhai", "fn say(n) { `read ${n}` }"),
    ]);
    here.write("work/x.npy", &super::forged_npy());
    std::os::unix::fs::symlink("../real/s.rhai", here.path().join("work/s.rhai")).unwrap();
    for script in ["work/s.rhai", "./work/s.rhai", "real/../work/s.rhai"] {
        let _ = fs::remove_dir_all(here.path().join("out"));
        let ran = here.run(&["run", script, "--out", "out"]);
        assert_eq!(ran.stdout, "read 1\n", "{script} {}", ran.stderr);
        let text = fs::read_to_string(here.path().join("out/run.json")).unwrap();
        let ran = rerun(&here, &text, &[]);
        assert_eq!(
            (ran.code, read_anything(&here, &ran)),
            (Some(0), true),
            "{script} {}",
            ran.stderr
        );
    }
    // A module deep within that is another.
    let mut record: Json =
        serde_json::from_slice(&fs::read(here.path().join("out/run.json")).unwrap()).unwrap();
    import(&mut record, "real/../work/sub/b.rhai", &format!("{EVIL} fn say(n) {{ n }}"));
    let ran = rerun(&here, &record.to_string(), &[]);
    assert!(!read_anything(&here, &ran) && ran.stderr.contains(NOTE), "{}", ran.stderr);
}
