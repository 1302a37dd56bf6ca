//! Files and data sets of a Hub, which is a server on loopback: what is asked of it, that a run says
//! what it read, and that a stranger's recipe reads only what it names.

use std::path::Path;

use crate::binary::{Ran, Workplace};
use crate::hub_server::{HubServer, MAIN, V1};

const SET: &str = "datasets/me/texts";
const OTHER: &str = "cccccccccccccccccccccccccccccccccccccccc";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name))
        .unwrap()
}

/// A Hub with a data set: three splits by the names of files on `main`, one more row on `v1`.
fn hub() -> HubServer {
    let hub = HubServer::start(&[]);
    let line = |i: usize| format!("{{\"id\": {i}}}\n").into_bytes();
    let files = |validation: Vec<u8>| {
        [
            ("README.md", b"# texts".to_vec()),
            ("data/train-00000-of-00002.jsonl", line(0)),
            ("data/train-00001-of-00002.jsonl", line(1)),
            ("data/validation-00000-of-00001.jsonl", validation),
            ("data/test-00000-of-00001.parquet", fixture("rows-zstd-v1.parquet")),
        ]
    };
    hub.put(SET, "main", MAIN, &files(line(2)));
    hub.put(SET, "v1", V1, &files([line(2), line(3)].concat()));
    hub
}

fn run(hub: &HubServer, place: &Workplace, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE");
    command.env("HF_ENDPOINT", hub.address()).env("NO_PROXY", "127.0.0.1").output().unwrap().into()
}

/// The ids of what a call of `load_rows` reads; or what is said, if it fails.
fn ids(hub: &HubServer, place: &Workplace, load: &str) -> String {
    let script =
        format!("let ids = []; for row in load_rows({load}) {{ ids.push(row.id); }} print(ids);");
    place.write("s.rhai", script.as_bytes());
    let ran = run(hub, place, &["run", "s.rhai", "--out", "out"]);
    if ran.code == Some(0) { ran.stdout.trim().to_owned() } else { ran.stderr }
}

#[test]
fn a_split_is_read_file_by_file_and_only_its_files_are_fetched() {
    let (hub, place) = (hub(), Workplace::new(&[]));
    assert_eq!(ids(&hub, &place, "\"hf:datasets/me/texts\", #{split: \"train\"}"), "[0, 1]");
    assert_eq!(
        hub.fetched(),
        ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"]
    );
    assert_eq!(
        ids(&hub, &place, "\"hf:datasets/me/texts@v1\", #{split: \"validation\"}"),
        "[2, 3]"
    );
    assert_eq!(
        ids(&hub, &place, "\"hf:datasets/me/texts/data/validation-00000-of-00001.jsonl@v1\""),
        "[2, 3]"
    );
    // A file further on is fetched when a loop comes to it.
    let place = Workplace::new(&[]);
    hub.requests();
    assert_eq!(ids(&hub, &place, "\"hf:datasets/me/texts\", #{split: \"train\"}).take(1"), "[0]");
    assert_eq!(hub.fetched(), ["data/train-00000-of-00002.jsonl"]);
    for (load, sentence) in [
        ("\"hf:datasets/me/texts\"", "has several splits: test, train, validation"),
        ("\"hf:datasets/me/texts\", #{split: \"valid\"}", "did you mean validation?"),
        ("\"hf:datasets/me/texts\", #{split: \"test\", config: \"en\"}", "has no config \"en\""),
        (
            "\"hf:datasets/me/none\", #{split: \"test\"}",
            "there is no data set datasets/me/none on the Hub",
        ),
        ("\"hf:datasets/me/texts/none.jsonl\"", "none.jsonl"),
        ("\"hf:me/texts\"", "it names no file of the repository"),
        (
            "\"hf:datasets/me/texts/data/train-00000-of-00002.jsonl\", #{split: \"test\"}",
            "config and split are those of a data set",
        ),
    ] {
        let said = ids(&hub, &place, load);
        assert!(said.contains(sentence), "{load}\n{said}");
    }
}

#[test]
fn what_the_hub_converted_is_read_where_there_is_nothing_else() {
    let (hub, place) = (hub(), Workplace::new(&[]));
    hub.put("datasets/me/loader", "main", MAIN, &[("loader.py", "print()")]);
    let parquet = fixture("rows-snappy-v1.parquet");
    let files =
        [("plain/train/0000.parquet", parquet.clone()), ("plain/test/0000.parquet", parquet)];
    hub.put("datasets/me/loader", "refs%2Fconvert%2Fparquet", OTHER, &files);
    place.write("s.rhai", b"let rows = load_rows(\"hf:datasets/me/loader\", #{split: \"test\"}); print(rows.len); for row in rows.take(1) { print(row.text); }");
    let ran = run(&hub, &place, &["run", "s.rhai", "--out", "out"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "25\nThe cat sat.\n"), "{}", ran.stderr);
    let record = std::fs::read_to_string(place.path().join("out/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let read = serde_json::json!([
        {"id": "datasets/me/loader", "asked": null, "revision": MAIN},
        {"id": "datasets/me/loader", "asked": "refs/convert/parquet", "revision": OTHER},
    ]);
    assert_eq!(record["data"], read);
}

#[test]
fn a_rerun_reads_the_commit_that_was_read() {
    let (hub, place) = (hub(), Workplace::new(&[]));
    place.write("s.rhai", b"let n = 0; for row in load_rows(\"hf:datasets/me/texts\", #{split: \"validation\"}) { n += 1; } save(\"n.json\", n); n");
    assert_eq!(run(&hub, &place, &["run", "s.rhai", "--out", "out"]).stdout, "1\n");
    hub.repoint(SET, "main", V1);
    assert_eq!(run(&hub, &place, &["run", "s.rhai", "--out", "new"]).stdout, "2\n");
    let again = run(&hub, &place, &["rerun", "out/run.json", "--out", "again"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("n.json") && again.stdout.starts_with("1\n"), "{}", again.stdout);
}

#[test]
fn a_strangers_recipe_reads_what_its_header_names() {
    let (hub, place) = (hub(), Workplace::new(&[]));
    let header = |files: &str| {
        format!(
            "//! name = \"reader\"\n{files}let from = param(\"from\", \"hf:datasets/me/texts\"); let n = 0; for row in load_rows(from, #{{split: \"train\"}}) {{ n += 1; }} n"
        )
    };
    let named = header("//! files = [\"hf:datasets/me/texts\"]\n");
    let files = [("named.rhai", named), ("silent.rhai", header(""))];
    hub.put("someone/recipes", "main", MAIN, &files);
    let run = |arguments: &[&str]| run(&hub, &place, &[&["run", "--trust"], arguments].concat());
    assert_eq!(run(&["hf:someone/recipes/named.rhai"]).stdout, "2\n");
    let refused = run(&["hf:someone/recipes/silent.rhai"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("it may read the files of the Hub that its header names"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        run(&["hf:someone/recipes/silent.rhai", "--set", "from=hf:datasets/me/texts"]).stdout,
        "2\n"
    );
    assert_eq!(
        run(&["hf:someone/recipes/named.rhai", "--set", "from=hf:datasets/me/texts@v1"]).stdout,
        "2\n"
    );
}

#[test]
fn offline_files_come_from_the_cache() {
    let (hub, place) = (hub(), Workplace::new(&[]));
    let load = "\"hf:datasets/me/texts/data/train-00000-of-00002.jsonl\"";
    assert_eq!(ids(&hub, &place, load), "[0]");
    let offline = |load: &str| {
        place.write(
            "o.rhai",
            format!("for row in load_rows({load}) {{ print(row.id); }}").as_bytes(),
        );
        let ran = place.run(&["run", "o.rhai"]);
        if ran.code == Some(0) { ran.stdout } else { ran.stderr }
    };
    assert_eq!(offline(load), "0\n");
    assert!(
        offline("\"hf:datasets/me/texts\", #{split: \"train\"}").contains("this run is offline")
    );
    assert!(
        offline("\"hf:datasets/me/texts/data/train-00001-of-00002.jsonl\"")
            .contains("this run is offline")
    );
}
