//! Models from a Hub, which is a server on loopback: what is asked of it, what is kept, and what is
//! said when it fails.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use precompute::checkpoint::hub::cache;
use precompute::checkpoint::{Checkpoint, Hub, OpenOptions};
use precompute::model::Decoder;
use tempfile::TempDir;

use crate::binary::{Ran, Workplace};
use crate::fixture::{self, Fixture, difference, directory};
use crate::hub_server::{Fault, HubServer, MAIN, TOKEN, V1, etag};

/// A Hub, and a cache for what comes from it.
struct Setting {
    hub: HubServer,
    cache: TempDir,
}

impl Setting {
    fn new(cases: &[&str]) -> Self {
        Self { hub: HubServer::start(cases), cache: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> OpenOptions {
        let (endpoint, cache) = (self.hub.address().to_owned(), self.cache.path().to_owned());
        // No token, rather than the one of whoever runs the tests.
        let token = Some(String::new());
        OpenOptions {
            hub: Hub { endpoint: Some(endpoint), token, cache: Some(cache) },
            ..OpenOptions::default()
        }
    }

    fn open(&self, id: &str) -> precompute::Result<Checkpoint> {
        Checkpoint::open(id, &self.options())
    }

    fn open_offline(&self, id: &str) -> precompute::Result<Checkpoint> {
        Checkpoint::open(id, &OpenOptions { offline: true, ..self.options() })
    }

    fn open_at(&self, id: &str, revision: &str) -> precompute::Result<Checkpoint> {
        Checkpoint::open(id, &OpenOptions { revision: Some(revision.into()), ..self.options() })
    }

    fn open_with(&self, id: &str, token: &str) -> precompute::Result<Checkpoint> {
        let mut options = self.options();
        options.hub.token = Some(token.into());
        Checkpoint::open(id, &options)
    }

    /// Why `id` does not open.
    fn refusal(&self, id: &str) -> String {
        refusal(self.open(id))
    }

    fn repository(&self, case: &str) -> PathBuf {
        self.cache.path().join(format!("models--tiny--{case}"))
    }

    /// Every file in the cache that is under its final name.
    fn blobs(&self, case: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.repository(case).join("blobs")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".incomplete")).collect()
    }

    /// The binary, with this Hub in its environment.
    fn command(&self, workplace: &Workplace, arguments: &[&str]) -> Command {
        let mut command = workplace.command(arguments);
        command
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_CACHE")
            .env("HF_ENDPOINT", self.hub.address())
            .env("NO_PROXY", "127.0.0.1");
        command
    }
}

fn refusal<T>(opened: precompute::Result<T>) -> String {
    opened.err().expect("it opened").to_string()
}

/// The checkpoint is the fixture: it computes what PyTorch computed.
fn check(checkpoint: &Checkpoint, case: &'static str) {
    let decoder =
        Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu).unwrap();
    let fixture = Fixture { case, decoder, golden: fixture::golden(case) };
    let logits = fixture.decoder.logits(&fixture.input()).unwrap();
    assert!(difference(&logits, fixture.golden("plain/logits")) < 1e-4);
}

fn files(directory: &Path, prefix: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => files.extend(self::files(&path, &format!("{name}/"))),
            false => files.push(name),
        }
    }
    files.sort();
    files
}

const SCRIPT: &str = "let m = model(\"tiny/opt\"); print(m.config.hidden_size);";

#[test]
fn only_the_files_that_a_model_needs_are_fetched_and_they_are_the_model() {
    let setting = Setting::new(&["opt", "gpt-neox", "llama"]);
    for (case, needed) in [
        (
            "opt",
            &[
                "config.json",
                "merges.txt",
                "pytorch_model.bin",
                "special_tokens_map.json",
                "tokenizer_config.json",
                "vocab.json",
            ] as &[&str],
        ),
        (
            "gpt-neox",
            &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
        ),
        (
            "llama",
            &[
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ],
        ),
    ] {
        let checkpoint = setting.open(&format!("tiny/{case}")).unwrap();
        assert_eq!(setting.hub.fetched(), needed);
        assert_eq!(checkpoint.revision.as_deref(), Some(MAIN));
        check(&checkpoint, case);
        let local =
            Checkpoint::open(directory(case).to_str().unwrap(), &OpenOptions::default()).unwrap();
        let text = "The cat sat.";
        assert_eq!(
            checkpoint.tokenizer().unwrap().encode(text, true).unwrap(),
            local.tokenizer().unwrap().encode(text, true).unwrap()
        );
    }
}

#[test]
fn a_gguf_file_of_a_repository_is_fetched_alone() {
    let setting = Setting::new(&["gpt2"]);
    let bytes = std::fs::read(directory("gguf").join("qwen2.gguf")).unwrap();
    setting.hub.edit("tiny/gpt2", |files| {
        files.insert("it-Q4_0.gguf".into(), bytes.clone());
        files.insert("other.gguf".into(), bytes);
    });
    let opened = setting.open("tiny/gpt2/it-Q4_0.gguf").unwrap();
    assert_eq!(opened.config["model_type"], "qwen2");
    assert_eq!(opened.revision.as_deref(), Some(MAIN));
    assert_eq!(setting.blobs("gpt2").len(), 1);
    let again = setting.open_offline("tiny/gpt2/it-Q4_0.gguf").unwrap();
    assert_eq!(again.canonical_id, "tiny/gpt2/it-Q4_0.gguf");
    assert!(refusal(setting.open("tiny/gpt2/none.gguf")).contains("none.gguf"));
}

#[test]
fn a_config_is_judged_before_any_weight_is_fetched() {
    let setting = Setting::new(&["opt", "gpt2", "llama"]);
    let change = |case: &str, from: &str, to: &str| {
        setting.hub.edit(&format!("tiny/{case}"), |files| {
            let config = String::from_utf8(files["config.json"].clone()).unwrap();
            assert!(config.contains(from));
            files.insert("config.json".into(), config.replacen(from, to, 1).into_bytes());
        });
    };
    change("opt", "\"opt\"", "\"mamba\"");
    change("gpt2", "\"gelu_new\"", "\"laplace\"");
    // An adapter alone is no model.
    setting.hub.edit("tiny/llama", |files| {
        files.clear();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let bytes = std::fs::read(directory("adapters").join("opt").join(name)).unwrap();
            files.insert(name.into(), bytes);
        }
    });
    for (case, said, fetched) in [
        ("opt", "the model family \"mamba\" is not supported", "config.json"),
        ("gpt2", "the activation \"laplace\"", "config.json"),
        ("llama", "tiny/llama is an adapter, and no model", "adapter_config.json"),
    ] {
        let script = format!("model(\"tiny/{case}\")");
        let here = Workplace::new(&[("s.rhai", &script)]);
        let ran: Ran = setting.command(&here, &["run", "s.rhai"]).output().unwrap().into();
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(setting.hub.fetched(), [fetched]);
    }
}

#[test]
fn safetensors_are_preferred_to_a_pickle_beside_them() {
    let setting = Setting::new(&["gpt-neox"]);
    setting.hub.edit("tiny/gpt-neox", |files| {
        drop(files.insert("pytorch_model.bin".into(), b"a pickle".into()))
    });
    check(&setting.open("tiny/gpt-neox").unwrap(), "gpt-neox");
    assert!(!setting.hub.fetched().contains(&"pytorch_model.bin".to_owned()));
}

#[test]
fn the_cache_is_laid_out_as_python_does() {
    let setting = Setting::new(&["opt"]);
    setting.open("tiny/opt").unwrap();
    let repository = setting.repository("opt");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), MAIN);
    let snapshot = repository.join("snapshots").join(MAIN);
    for name in files(&snapshot, "") {
        let bytes = std::fs::read(directory("opt").join(&name)).unwrap();
        let target = std::fs::read_link(snapshot.join(&name)).unwrap();
        assert_eq!(target, Path::new("../../blobs").join(etag(&name, &bytes)), "{name}");
        assert_eq!(std::fs::read(snapshot.join(&name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(files(&snapshot, "").len(), 6);
    assert_eq!(files(&repository.join("blobs"), "").len(), 6, "nothing half fetched is left");
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again() {
    let setting = Setting::new(&["opt"]);
    setting.open("tiny/opt").unwrap();
    setting.hub.requests();
    check(&setting.open("tiny/opt").unwrap(), "opt");
    let asked: Vec<String> =
        setting.hub.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/api/models/tiny/opt/revision/main"]);
    check(&setting.open_offline("tiny/opt").unwrap(), "opt");
    assert_eq!(setting.hub.requests().len(), 0, "offline asks nothing");
}

#[test]
fn what_is_the_same_in_two_revisions_is_fetched_once() {
    let setting = Setting::new(&["gpt-neox"]);
    setting.open("tiny/gpt-neox").unwrap();
    setting.hub.fetched();
    setting.open_at("tiny/gpt-neox", "v1").unwrap();
    assert_eq!(setting.hub.fetched(), ["config.json"]);
}

#[test]
fn offline_without_a_copy_is_a_sentence() {
    let setting = Setting::new(&["opt"]);
    let cache = setting.cache.path().display().to_string();
    assert_eq!(
        refusal(setting.open_offline("tiny/opt")),
        format!(
            "tiny/opt is not in the cache {cache}, and this run is offline\n  \
             help: run once without --offline and HF_HUB_OFFLINE to fetch it"
        )
    );
    precompute::checkpoint::config("tiny/opt", &setting.options()).unwrap();
    assert_eq!(setting.hub.fetched(), ["config.json"], "the config alone");
    setting.hub.requests();
    precompute::checkpoint::config("tiny/opt", &OpenOptions { offline: true, ..setting.options() })
        .unwrap();
    let said = refusal(setting.open_offline("tiny/opt"));
    assert!(
        said.starts_with(&format!("only a part of tiny/opt is in the cache {cache}, and")),
        "{said}"
    );
    let open = OpenOptions { offline: true, revision: Some("v1".into()), ..setting.options() };
    let said = refusal(Checkpoint::open("tiny/opt", &open));
    assert!(said.starts_with("tiny/opt at revision \"v1\" is not in the cache"), "{said}");
    assert_eq!(setting.hub.requests().len(), 0);
}

#[test]
fn a_model_that_python_fetched_is_found() {
    let setting = Setting::new(&[]);
    let repository = setting.repository("llama");
    let snapshot = repository.join("snapshots").join(V1);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    std::fs::create_dir_all(repository.join("refs/refs/pr")).unwrap();
    std::fs::write(repository.join("refs/refs/pr/1"), V1).unwrap();
    for name in files(&directory("llama"), "") {
        let bytes = std::fs::read(directory("llama").join(&name)).unwrap();
        let blob = etag(&name, &bytes);
        std::fs::write(repository.join("blobs").join(&blob), &bytes).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(&blob), snapshot.join(&name))
            .unwrap();
    }
    for revision in ["refs/pr/1", V1] {
        let open =
            OpenOptions { offline: true, revision: Some(revision.into()), ..setting.options() };
        let checkpoint = Checkpoint::open("tiny/llama", &open).unwrap();
        assert_eq!(checkpoint.revision.as_deref(), Some(V1));
        check(&checkpoint, "llama");
    }
    std::fs::remove_file(snapshot.join("model-00002-of-00002.safetensors")).unwrap();
    let open = OpenOptions { offline: true, revision: Some(V1.into()), ..setting.options() };
    let said = refusal(Checkpoint::open("tiny/llama", &open));
    assert!(said.starts_with("only a part of tiny/llama at revision"), "{said}");
}

#[test]
fn a_revision_is_a_branch_a_tag_or_a_commit() {
    let setting = Setting::new(&["opt"]);
    let name = |checkpoint: &Checkpoint| {
        checkpoint.config.get("_name_or_path").and_then(|name| name.as_str()) == Some("v1")
    };
    for (revision, commit) in [("v1", V1), (V1, V1), ("main", MAIN), ("refs/pr/1", MAIN)] {
        let checkpoint = setting.open_at("tiny/opt", revision).unwrap();
        assert_eq!(checkpoint.revision.as_deref(), Some(commit), "{revision}");
        assert_eq!(name(&checkpoint), commit == V1, "{revision}");
    }
    let refs = files(&setting.repository("opt").join("refs"), "");
    assert_eq!(refs, ["main", "refs/pr/1", "v1"], "a commit needs no name");
    assert_eq!(
        refusal(setting.open_at("tiny/opt", "v9")),
        "tiny/opt has no revision \"v9\"\n  help: a revision is a branch, a tag or a commit"
    );
    setting.hub.requests();
    for revision in ["", "../../x", "a/../b", "/etc", ".hidden", "a b", "main/"] {
        let said = refusal(setting.open_at("tiny/opt", revision));
        assert!(said.contains("is no revision"), "{revision:?}: {said}");
    }
    assert_eq!(setting.hub.requests().len(), 0, "what can't be a revision is not asked for");
}

#[test]
fn a_branch_that_moved_is_followed() {
    let setting = Setting::new(&["opt"]);
    std::fs::create_dir_all(setting.repository("opt").join("refs")).unwrap();
    std::fs::write(setting.repository("opt").join("refs/main"), V1).unwrap();
    assert_eq!(setting.open("tiny/opt").unwrap().revision.as_deref(), Some(MAIN));
    assert_eq!(std::fs::read_to_string(setting.repository("opt").join("refs/main")).unwrap(), MAIN);
}

#[test]
fn no_such_model() {
    let setting = Setting::new(&["opt"]);
    let expected = "there is no model tiny/nope on the Hub, or it is private\n  \
                    help: check the name; for a private one set HF_TOKEN to a token that may read it";
    assert_eq!(setting.refusal("tiny/nope"), expected);
    assert_eq!(refusal(setting.open_with("tiny/nope", TOKEN)), expected);
    assert!(!setting.cache.path().join("models--tiny--nope").exists());
}

#[test]
fn a_private_model_wants_the_token_and_the_host_of_large_files_does_not_get_it() {
    let setting = Setting::new(&["gpt-neox"]);
    setting.hub.restrict("tiny/gpt-neox", true, false);
    for refused in [setting.open("tiny/gpt-neox"), setting.open_with("tiny/gpt-neox", "wrong")] {
        assert!(
            refusal(refused)
                .starts_with("there is no model tiny/gpt-neox on the Hub, or it is private\n")
        );
    }
    setting.hub.requests();
    check(&setting.open_with("tiny/gpt-neox", TOKEN).unwrap(), "gpt-neox");
    let requests = setting.hub.requests();
    assert!(requests.iter().any(|request| request.cdn));
    for request in requests {
        assert_eq!(
            request.token.as_deref(),
            if request.cdn { None } else { Some(TOKEN) },
            "{request:?}"
        );
    }
}

#[test]
fn a_gated_model_wants_its_licence_accepted() {
    let setting = Setting::new(&["gpt-neox"]);
    setting.hub.restrict("tiny/gpt-neox", false, true);
    let licence =
        "accept the model's licence on its page, and set HF_TOKEN to a token of that account";
    assert_eq!(
        setting.refusal("tiny/gpt-neox"),
        format!(
            "tiny/gpt-neox: config.json may not be fetched without a token, or with this one\n  help: {licence}"
        )
    );
    assert_eq!(
        refusal(setting.open_with("tiny/gpt-neox", "another")),
        format!("tiny/gpt-neox: config.json may not be fetched with this token\n  help: {licence}")
    );
    check(&setting.open_with("tiny/gpt-neox", TOKEN).unwrap(), "gpt-neox");
    setting.hub.fail("GET", "/api/", Fault::Status(403, "GatedRepo"), 1);
    assert_eq!(
        setting.refusal("tiny/gpt-neox"),
        format!("tiny/gpt-neox may not be read: it is gated or private\n  help: {licence}")
    );
}

#[test]
fn a_file_that_the_listing_has_and_the_hub_has_not() {
    let setting = Setting::new(&["llama"]);
    setting.hub.edit("tiny/llama", |files| drop(files.remove("model-00002-of-00002.safetensors")));
    assert_eq!(
        setting.refusal("tiny/llama"),
        "tiny/llama: the repository has no model-00002-of-00002.safetensors"
    );
}

#[test]
fn what_passes_is_asked_for_again() {
    for (method, path, fault) in [
        ("GET", "/api/", Fault::Status(500, "")),
        ("GET", "/api/", Fault::Drop(10)),
        ("HEAD", "config.json", Fault::Status(503, "")),
        ("GET", "config.json", Fault::Status(500, "")),
        ("GET", "config.json", Fault::Drop(100)),
        ("GET", "config.json", Fault::Truncate(100)),
        ("GET", "/lfs/", Fault::Drop(0)),
        ("GET", "/lfs/", Fault::Truncate(1000)),
        ("GET", "/lfs/", Fault::Status(403, "")),
    ] {
        let setting = Setting::new(&["opt"]);
        setting.hub.fail(method, path, fault, 1);
        let checkpoint =
            setting.open("tiny/opt").unwrap_or_else(|e| panic!("{method} {path} {fault:?}: {e}"));
        check(&checkpoint, "opt");
        let blobs = files(&setting.repository("opt").join("blobs"), "");
        assert_eq!(blobs.len(), 6, "{method} {path} {fault:?} leaves {blobs:?}");
    }
}

#[test]
fn a_large_file_whose_download_broke_off_is_resumed() {
    let setting = Setting::new(&["gpt-neox"]);
    setting.hub.fail("GET", "/lfs/", Fault::Drop(100_000), 1);
    check(&setting.open("tiny/gpt-neox").unwrap(), "gpt-neox");
    let requests = setting.hub.requests();
    let came: Vec<_> =
        requests.iter().filter(|request| request.cdn && request.method == "GET").collect();
    assert_eq!(came.len(), 2);
    let size =
        std::fs::metadata(directory("gpt-neox").join("model.safetensors")).unwrap().len() as usize;
    assert_eq!(came[0].range, None);
    let (first, last) = came[1].range.unwrap();
    assert!(0 < first && first <= 100_000, "{first}");
    assert_eq!(last, size - 1);
}

#[test]
fn a_download_that_an_earlier_run_left_is_resumed_and_a_wrong_beginning_is_not_kept() {
    let bytes = std::fs::read(directory("gpt-neox").join("model.safetensors")).unwrap();
    let range = Some((50_000, bytes.len() - 1));
    for (left, ranges) in [
        (bytes[..50_000].to_vec(), vec![range]),
        (vec![7; 50_000], vec![range, None]),
        (bytes.clone(), vec![]),
    ] {
        let setting = Setting::new(&["gpt-neox"]);
        let blobs = setting.repository("gpt-neox").join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let partial = blobs.join(format!("{}.incomplete", etag("model.safetensors", &bytes)));
        std::fs::write(&partial, left).unwrap();
        check(&setting.open("tiny/gpt-neox").unwrap(), "gpt-neox");
        let requests = setting.hub.requests();
        let came = requests.iter().filter(|request| request.cdn && request.method == "GET");
        assert_eq!(came.map(|request| request.range).collect::<Vec<_>>(), ranges);
        assert!(!partial.exists());
    }
}

#[test]
fn what_another_process_is_fetching_is_left_to_it() {
    let setting = Setting::new(&["gpt-neox"]);
    let bytes = std::fs::read(directory("gpt-neox").join("model.safetensors")).unwrap();
    let name = etag("model.safetensors", &bytes);
    let (blobs, locks) = (
        setting.repository("gpt-neox").join("blobs"),
        setting.cache.path().join(".locks/models--tiny--gpt-neox"),
    );
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::create_dir_all(&locks).unwrap();
    std::fs::write(blobs.join(format!("{name}.incomplete")), &bytes[..1000]).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(
        setting.refusal("tiny/gpt-neox"),
        "tiny/gpt-neox: another process is fetching model.safetensors\n  help: wait until it is done, or end it"
    );
    assert_eq!(std::fs::read(blobs.join(format!("{name}.incomplete"))).unwrap(), &bytes[..1000]);
    drop(lock);
    check(&setting.open("tiny/gpt-neox").unwrap(), "gpt-neox");
}

#[test]
fn what_keeps_failing_ends_in_a_sentence_and_nothing_is_kept() {
    for (method, path, fault, sentence) in [
        ("GET", "/lfs/", Fault::Drop(0), "tiny/opt: pytorch_model.bin: the connection dropped ("),
        (
            "GET",
            "/lfs/",
            Fault::Truncate(1000),
            "tiny/opt: pytorch_model.bin came as 1000 bytes, and the Hub has it as 223203",
        ),
        ("GET", "config.json", Fault::Drop(10), "tiny/opt: config.json: the connection dropped ("),
        (
            "HEAD",
            "config.json",
            Fault::Status(500, ""),
            "tiny/opt: config.json: the Hub answers 500",
        ),
        ("GET", "/api/", Fault::Status(500, ""), "tiny/opt can't be fetched: the Hub answers 500"),
        ("GET", "/api/", Fault::Drop(10), "tiny/opt can't be fetched: the Hub can't be reached ("),
        (
            "GET",
            "/api/",
            Fault::Page,
            "tiny/opt: what answers is not the Hub\n  help: check HF_ENDPOINT",
        ),
        ("GET", "/api/", Fault::Status(429, ""), "the Hub asks to wait: too many requests"),
    ] {
        let setting = Setting::new(&["opt"]);
        setting.hub.fail(method, path, fault, usize::MAX);
        let begun = Instant::now();
        let said = setting.refusal("tiny/opt");
        assert!(said.starts_with(sentence), "{method} {path} {fault:?}: {said}");
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{method} {path} {fault:?}: {:?}",
            begun.elapsed()
        );
        let bin = std::fs::read(directory("opt").join("pytorch_model.bin")).unwrap();
        assert!(
            !setting.blobs("opt").contains(&etag("pytorch_model.bin", &bin)),
            "{method} {path} {fault:?}"
        );
        assert!(setting.open_offline("tiny/opt").is_err(), "{method} {path} {fault:?}");

        setting.hub.heal();
        check(&setting.open("tiny/opt").unwrap(), "opt");
    }
}

#[test]
fn without_the_hub_the_copy_in_the_cache_serves() {
    let setting = Setting::new(&["opt"]);
    // A port that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = setting.options();
    options.hub.endpoint = Some(format!("http://{address}"));
    let said = refusal(Checkpoint::open("tiny/opt", &options));
    assert!(said.starts_with("tiny/opt can't be fetched: the Hub can't be reached ("), "{said}");
    assert!(said.contains("onnection refused"), "{said}");
    setting.open("tiny/opt").unwrap();
    check(&Checkpoint::open("tiny/opt", &options).unwrap(), "opt");
    setting.hub.fail("GET", "/api/", Fault::Status(502, ""), usize::MAX);
    check(&setting.open("tiny/opt").unwrap(), "opt");

    options.hub.endpoint = Some("not an address".into());
    let said = refusal(Checkpoint::open("tiny/opt", &options));
    assert!(said.starts_with("the Hub's address or settings can't be used"), "{said}");
}

#[test]
fn the_cache_is_listed() {
    let setting = Setting::new(&["opt", "gpt-neox"]);
    let hub = setting.options().hub;
    assert_eq!(cache::list_models(&hub), []);
    for id in ["tiny/opt", "tiny/gpt-neox"] {
        setting.open(id).unwrap();
    }
    setting.open_at("tiny/opt", "v1").unwrap();
    std::fs::create_dir_all(
        setting.cache.path().join("datasets--tiny--words/snapshots").join(MAIN),
    )
    .unwrap();
    let listed = cache::list_models(&hub);
    let ids: Vec<_> =
        listed.iter().map(|model| (model.id.as_str(), model.family.as_deref())).collect();
    assert_eq!(ids, [("tiny/gpt-neox", Some("gpt_neox")), ("tiny/opt", Some("opt"))]);
    assert_eq!(listed[0].revisions, [MAIN]);
    assert_eq!(listed[1].revisions, [MAIN, V1]);
    let blobs = setting.repository("gpt-neox").join("blobs");
    let bytes: u64 = setting
        .blobs("gpt-neox")
        .iter()
        .map(|name| blobs.join(name).metadata().unwrap().len())
        .sum();
    assert_eq!(listed[0].bytes, bytes);
}

#[test]
fn the_environment_says_which_hub_whose_token_and_where_files_are_kept() {
    let setting = Setting::new(&["opt"]);
    setting.hub.restrict("tiny/opt", true, false);
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    let run = |command: &mut Command| -> Ran { command.output().unwrap().into() };
    let ran = run(&mut setting.command(&here, &["run", "s.rhai"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.contains("there is no model tiny/opt on the Hub, or it is private"),
        "{}",
        ran.stderr
    );

    let ran = run(setting.command(&here, &["run", "s.rhai"]).env("HF_TOKEN", TOKEN));
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
    assert!(here.path().join("hf/hub/models--tiny--opt/refs/main").exists());

    setting.hub.requests();
    for (variable, value) in [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "TRUE")] {
        let ran = run(setting.command(&here, &["run", "s.rhai"]).env(variable, value));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
    }
    let ran = run(&mut setting.command(&here, &["run", "s.rhai", "--offline"]));
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
    let elsewhere = here.path().join("elsewhere");
    let ran = run(setting
        .command(&here, &["run", "s.rhai"])
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HUB_CACHE", elsewhere));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("elsewhere, and this run is offline"), "{}", ran.stderr);
    assert_eq!(setting.hub.requests().len(), 0, "offline asks nothing");

    std::fs::write(here.path().join("hf/token"), format!("{TOKEN}\n")).unwrap();
    let ran = run(&mut setting.command(&here, &["run", "s.rhai"]));
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
}

#[test]
fn a_script_names_the_revision() {
    let setting = Setting::new(&["opt"]);
    let script = "print(model(\"tiny/opt\", #{revision: \"v1\"}).config.hidden_size)";
    let here = Workplace::new(&[("s.rhai", script)]);
    let ran: Ran = setting.command(&here, &["run", "s.rhai"]).output().unwrap().into();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
    assert_eq!(
        std::fs::read_to_string(here.path().join("hf/hub/models--tiny--opt/refs/v1")).unwrap(),
        V1
    );
}

#[test]
fn an_adapter_is_fetched_once_recorded_and_pinned() {
    let setting = Setting::new(&["opt"]);
    setting.hub.edit("tiny/opt", |files| {
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let bytes = std::fs::read(directory("adapters").join("opt").join(name)).unwrap();
            files.insert(name.into(), bytes);
        }
    });
    let script = r#"
        let m = model("tiny/opt");
        let n = m.with_adapter("tiny/opt");
        let name = "model.decoder.layers.0.fc1.weight";
        print((n.weight(name) - m.weight(name)).abs().max().item() > 0.01);
    "#;
    let here = Workplace::new(&[("s.rhai", script)]);
    for (arguments, done) in [
        (&["run", "s.rhai", "--out", "out"][..], "true\n"),
        (&["run", "s.rhai", "--out", "offline", "--offline"], "true\n"),
    ] {
        let ran: Ran = setting.command(&here, arguments).output().unwrap().into();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), done), "{}", ran.stderr);
        let record = std::fs::read(here.path().join(arguments[3]).join("run.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        let adapter = &record["adapters"][0];
        assert_eq!((&adapter["id"], &adapter["revision"]), (&"tiny/opt".into(), &MAIN.into()));
    }
    let fetched = setting.hub.fetched();
    let of_adapter = fetched.iter().filter(|path| path.contains("adapter_")).count();
    assert_eq!(of_adapter, 2, "{fetched:?}");
    let again = ["rerun", "out/run.json", "--out", "again"];
    let ran: Ran = setting.command(&here, &again).output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
}

#[test]
fn a_hub_that_is_gone_leaves_a_note_and_the_copy() {
    let setting = Setting::new(&["opt"]);
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    setting.command(&here, &["run", "s.rhai"]).output().unwrap();
    setting.hub.fail("GET", "/api/", Fault::Status(503, ""), usize::MAX);
    let ran: Ran = setting.command(&here, &["run", "s.rhai"]).output().unwrap().into();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"));
    assert_eq!(
        ran.stderr,
        "note: the Hub answers 503 Service Unavailable; using the copy of tiny/opt in the cache\n"
    );
}

#[test]
fn a_hub_that_falls_silent_is_not_waited_for() {
    let setting = Setting::new(&["opt"]);
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    for (method, path) in [("GET", "/api/"), ("GET", "/lfs/")] {
        setting.hub.fail(method, path, Fault::Silence, 1);
        let begun = Instant::now();
        let ran: Ran = setting
            .command(&here, &["run", "s.rhai"])
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "1")
            .output()
            .unwrap()
            .into();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.stderr.contains("tiny/opt can't be fetched: the Hub has been silent for 1s"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn ctrl_c_ends_a_download_and_the_next_run_resumes_it() {
    let setting = Setting::new(&["opt"]);
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    setting.hub.fail("GET", "/lfs/", Fault::Trickle, 1);
    let mut child =
        setting.command(&here, &["run", "s.rhai"]).stderr(Stdio::piped()).spawn().unwrap();
    let blobs = here.path().join("hf/hub/models--tiny--opt/blobs");
    let begun = Instant::now();
    let partial = || {
        let entries = std::fs::read_dir(&blobs).ok()?.map(|entry| entry.unwrap());
        let sizes =
            entries.filter(|entry| entry.file_name().to_str().unwrap().ends_with(".incomplete"));
        sizes.map(|entry| entry.metadata().unwrap().len()).max()
    };
    while partial().unwrap_or(0) < 4096 {
        assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pressed = Instant::now();
    // SAFETY: signals a child that has not been waited for, so its id is still its own.
    assert_eq!(unsafe { libc::kill(child.id().try_into().unwrap(), libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(2), "{:?}", pressed.elapsed());
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "interrupted\n");
    let bin = std::fs::read(directory("opt").join("pytorch_model.bin")).unwrap();
    assert!(!blobs.join(etag("pytorch_model.bin", &bin)).exists());
    assert!(
        !here.path().join("hf/hub/models--tiny--opt/refs/main").exists(),
        "half a model has no name"
    );

    setting.hub.requests();
    let ran: Ran = setting.command(&here, &["run", "s.rhai"]).output().unwrap().into();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "48\n", ""));
    let requests = setting.hub.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.method != "GET" || !request.cdn || request.range.is_some())
    );
}
