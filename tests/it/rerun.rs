//! `precompute rerun`: a run repeated from its record.

use std::path::PathBuf;

use precompute::output::record::Record;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::binary::Workplace;
use crate::hub_server::{HubServer, MAIN};

const SCRIPT: &str = r#"
    import "parts/words" as words;
    let m = model(param("model", "demo:opt"));
    let n = param("n", 2);
    let x = randn([n, 3]);
    if n > 3 { seed(5); }
    save("x", #{x: x, y: randn([2])});
    save("n.npy", x[0]);
    save("rows", [#{layer: 0, size: x.norm().item()}, #{layer: 1, size: 2.0}]);
    save("table.parquet", [#{layer: 0, size: x.norm().item()}]);
    save("text", words::greet(m.config.model_type));
    plot(#{y: x[0], title: "line"});
"#;

fn place() -> Workplace {
    Workplace::new(&[
        ("s.rhai", SCRIPT),
        ("parts/words.rhai", "fn greet(name) { `hello ${name}` }\n"),
    ])
}

/// The record of a run in `out`, with an edit.
fn edit(place: &Workplace, edit: impl FnOnce(&mut Json)) -> PathBuf {
    let path = place.path().join("out/run.json");
    let mut record: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut record);
    std::fs::write(&path, record.to_string()).unwrap();
    path
}

#[test]
fn a_run_is_repeated_from_its_record_alone() {
    for more in [
        &[] as &[&str],
        &["--set", "n=4", "--set", "model=demo:gpt-neox"],
        &["--seed", "9", "--dtype", "f64"],
    ] {
        let place = place();
        let ran = place.run(&[&["run", "s.rhai", "--out", "out"], more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        std::fs::remove_file(place.path().join("s.rhai")).unwrap();
        std::fs::remove_dir_all(place.path().join("parts")).unwrap();
        let ran = place.run(&["rerun", "out/run.json", "--out", "again", "--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let report: Json = serde_json::from_str(&ran.stdout).unwrap();
        let files = report["files"].as_array().unwrap();
        assert_eq!((files.len(), &report["same_parameters"]), (6, &json!(true)));
        assert!(files.iter().all(|file| file["state"] == "identical"), "{more:?} {report:#}");
        assert!(place.path().join("again/x.safetensors").exists());
        // What was repeated can be repeated.
        assert_eq!(place.run(&["rerun", "again", "--out", "third"]).code, Some(0));
    }
}

#[test]
fn another_engine_than_the_records_is_said() {
    let place = Workplace::new(&[("s.rhai", "save(\"x\", arange(3));")]);
    assert_eq!(place.run(&["run", "s.rhai", "--out", "out"]).code, Some(0));
    let ran = place.run(&["rerun", "out", "--out", "again"]);
    assert_eq!((ran.code, ran.stderr.contains("engine")), (Some(0), false), "{}", ran.stderr);
    edit(&place, |record| {
        assert!(record["engine"].is_string(), "{record:#}");
        record["engine"] = json!("sse9");
    });
    let ran = place.run(&["rerun", "out", "--out", "third"]);
    assert!(ran.stderr.contains("was computed with sse9, and this one is with"), "{}", ran.stderr);
    // Records from before there was such a field.
    edit(&place, |record| drop(record.as_object_mut().unwrap().remove("engine")));
    let ran = place.run(&["rerun", "out", "--out", "fourth"]);
    assert_eq!((ran.code, ran.stderr.contains("sse9")), (Some(0), false), "{}", ran.stderr);
}

#[test]
fn what_differs_is_said_with_how_much() {
    let place = place();
    assert_eq!(place.run(&["run", "s.rhai", "--out", "out", "--seed", "1"]).code, Some(0));
    let path = edit(&place, |record| record["first_seed"] = json!(2));
    let ran = place.run(&["rerun", path.to_str().unwrap(), "--out", "again"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let line = |name: &str| {
        ran.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned()
    };
    for name in ["x.safetensors", "n.npy", "rows.csv", "table.parquet"] {
        assert!(line(name).contains("differs by at most"), "{}", line(name));
    }
    assert!(
        line("rows.csv").contains("most in size") && line("text.json").contains("identical"),
        "{}",
        ran.stdout
    );
    let strict = place.run(&["rerun", "out", "--out", "again", "--within", "1e-6"]);
    assert!(
        strict.code == Some(1) && strict.stderr.contains("4 of 6 saved values"),
        "{}",
        strict.stderr
    );
}

#[test]
fn what_is_gone_or_new_is_said() {
    let place = place();
    assert_eq!(place.run(&["run", "s.rhai", "--out", "out"]).code, Some(0));
    edit(&place, |record| {
        let files = record["files"].as_array_mut().unwrap();
        files[0]["name"] = json!("other.npy");
    });
    let ran = place.run(&["rerun", "out", "--out", "again"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("was not saved this time"), "{}", ran.stdout);
    assert!(ran.stdout.contains("was not saved in the recorded run"), "{}", ran.stdout);
}

#[test]
fn the_models_are_those_of_the_recorded_commits() {
    let (hub, place) = (HubServer::start(&["opt"]), Workplace::new(&[]));
    place.write("s.rhai", b"let m = model(\"tiny/opt\"); save(\"name\", `${m.config}`);");
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE");
        command.env("HF_ENDPOINT", hub.address()).env("NO_PROXY", "127.0.0.1").output().unwrap()
    };
    assert!(run(&["run", "s.rhai", "--out", "out"]).status.success());
    let record = Record::read(&place.path().join("out/run.json")).unwrap();
    assert_eq!(record.models[0].revision.as_deref(), Some(MAIN));
    hub.repoint("tiny/opt", "main", crate::hub_server::V1);
    let differs = run(&["run", "s.rhai", "--out", "moved"]);
    assert!(differs.status.success());
    let again = run(&["rerun", "out", "--out", "again"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(String::from_utf8(again.stdout).unwrap().contains("identical"));
    let text =
        |run: &str| std::fs::read_to_string(place.path().join(run).join("name.json")).unwrap();
    assert_ne!(text("moved"), text("out"), "the branch did not move");
}

#[test]
fn a_record_can_do_no_more_than_a_stranger() {
    let place = place();
    place.write("models/config.json", b"{}");
    place.write("s.rhai", b"let m = model(param(\"id\", \"./models\"));");
    assert_eq!(place.run(&["run", "s.rhai", "--out", "out", "--set", "id=./models"]).code, Some(1));
    let ran = place.run(&["rerun", "out", "--out", "again"]);
    assert!(ran.stderr.contains("this script is not yours"), "{}", ran.stderr);
    assert!(
        !place
            .run(&["rerun", "out", "--out", "again", "--trust"])
            .stderr
            .contains("this script is not yours")
    );

    assert_eq!(place.run(&["run", "s.rhai", "--out", "out", "--model", "./models"]).code, Some(1));
    assert!(place.run(&["rerun", "out"]).stderr.contains("--trust allows it"));

    edit(&place, |record| record["script"]["text"] = json!("print(\"other\");"));
    assert!(place.run(&["rerun", "out"]).stderr.contains("its SHA-256 is another"));
    edit(&place, |record| {
        record["script"] =
            serde_json::to_value(precompute::output::record::ScriptText::new("s.rhai", "1"))
                .unwrap();
        record["files"] = json!([{"name": "../../x", "sha256": ""}]);
    });
    assert!(place.run(&["rerun", "out"]).stderr.contains("is no name of a saved file"));
    place.write("out/run.json", b"{}");
    assert!(place.run(&["rerun", "out"]).stderr.contains("is no record of a run"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_is_a_panic(bytes in any::<Vec<u8>>(), text in "[{}\\[\\]\",:a-z0-9]{0,60}") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            std::fs::write(&path, bytes).unwrap();
            let _ = Record::read(&path).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn a_record_is_read_back(
        path in any::<String>(), text in any::<String>(), seed in any::<u64>(), eighths in any::<u32>(),
        set in prop::collection::btree_map(any::<String>(), any::<String>(), 0..3), asked in any::<Option<String>>(),
    ) {
        use precompute::output::record::{Adapter, Command, HubData, HubRecipe, Model, Saved, ScriptText, Versions};
        let record = Record {
            script: ScriptText::new(&path, &text),
            recipe: asked.clone().map(|reference| HubRecipe {
                reference,
                commit: text.clone(),
                sha256: path.clone(),
            }),
            imports: vec![ScriptText::new(&text, &path)],
            parameters: set.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            command: Command { set, model: asked.clone(), device: None, dtype: None },
            models: vec![Model { id: path.clone(), asked, revision: None, device: "cpu".into(), dtype: "f32".into() }],
            adapters: vec![Adapter { id: text.clone(), asked: None, revision: None, model: path.clone() }],
            data: vec![HubData { id: path.clone(), asked: None, revision: text.clone() }],
            first_seed: seed,
            seed,
            versions: Versions::CURRENT,
            engine: Some(text.clone()),
            started: text.clone(),
            // serde_json reads some other numbers with an error in the last digit.
            seconds: f64::from(eighths) / 8.0,
            outcome: "done".into(),
            files: vec![Saved { name: path, sha256: text }],
        };
        let read: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        prop_assert_eq!(read, record);
    }
}
