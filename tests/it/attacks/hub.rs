//! Hubs that lie, and caches that somebody has been at: nothing is written or deleted outside of the cache, the token stays at
//! home, everything ends, and what is kept is what was announced.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::liar::{Answer, Asked, Liar, MAIN, git, sha256};
use crate::binary::{Ran, Workplace};
use crate::fixture::directory;

/// A model of these files, and a recipe.
const SCRIPT: &str = "print(model(\"tiny/neox\").config.hidden_size)";
const RECIPE: &str = "//! name = \"lens\"\n//! version = \"0.1.0\"\n//! license = \"MIT\"\n//! summary = \"Looks\"\n\
    //! authors = [\"ann\"]\n//! requires = \"0.1\"\nprint(1);\n";
const REFERENCE: &str = "hf:ann/lenses/lens.rhai";

type Lie = Box<dyn Fn(&Asked, Answer) -> Answer + Send + Sync>;

fn lie(lie: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static) -> Lie {
    Box::new(lie)
}

/// Where attacks are tried: a home with a cache in it, and beside it what is not to be touched.
struct Setting {
    hub: Liar,
    here: Workplace,
}

impl Setting {
    fn new(lie: Lie) -> Self {
        Self::of(&files(), lie)
    }

    fn of(files: &[(&'static str, Vec<u8>)], lie: Lie) -> Self {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let here = Workplace::new(&[("s.rhai", SCRIPT), ("victim", "untouched"), ("hf/untouched", "")]);
        Self { hub: Liar::start(&files, lie), here }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.here.command(arguments);
        command
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_HUB_CACHE")
            .env("HF_TOKEN", "hf_secret")
            .env("HF_ENDPOINT", self.hub.address())
            .env("NO_PROXY", "127.0.0.1")
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "2");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let begun = Instant::now();
        let ran: Ran = self.command(arguments).output().unwrap().into();
        assert!(begun.elapsed() < Duration::from_secs(40), "{arguments:?}: {:?}", begun.elapsed());
        assert!(matches!(ran.code, Some(0..=2)), "{arguments:?}: {:?}\n{}", ran.code, ran.stderr);
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("bug"), "{arguments:?}: {}", ran.stderr);
        ran
    }

    /// What a run of the script says, which fails.
    #[track_caller]
    fn refusal(&self) -> String {
        let ran = self.run(&["run", "s.rhai"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        ran.stderr
    }

    #[track_caller]
    fn runs(&self) {
        let ran = self.run(&["run", "s.rhai"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"), "{}", ran.stderr);
    }

    fn repository(&self) -> PathBuf {
        self.here.path().join("hf/hub/models--tiny--neox")
    }

    /// The names of whole contents in the cache.
    fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.repository().join("blobs")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".incomplete")).collect()
    }

    /// Everything outside of the cache, by path, links as what they lead to.
    fn outside(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.here.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
                match () {
                    () if path.ends_with("hf/hub") || path.ends_with("home") || path.ends_with("runs") => {}
                    () if kind.is_symlink() => {
                        drop(found.insert(path.clone(), format!("-> {}", path.read_link().unwrap().display())));
                    }
                    () if kind.is_dir() => waiting.push(path),
                    () => drop(found.insert(path.clone(), std::fs::read_to_string(&path).unwrap())),
                }
            }
        }
        found
    }
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let read = |name: &'static str| (name, std::fs::read(directory("gpt-neox").join(name)).unwrap());
    names.into_iter().map(read).chain([("lens.rhai", RECIPE.into())]).collect()
}

fn weights() -> Vec<u8> {
    std::fs::read(directory("gpt-neox").join("model.safetensors")).unwrap()
}

#[test]
fn nothing_that_a_server_says_becomes_a_path() {
    let victim = Workplace::new(&[("x", "untouched")]);
    let absolute = victim.path().join("x").display().to_string();
    let up = "../../../../../../../../victim".to_owned();
    let long = "a".repeat(300);
    for tag in [
        format!("\"{absolute}\""),
        format!("W/\"{absolute}\""),
        absolute.clone(),
        format!("\"{up}\""),
        format!("\"../{}\"", &"a".repeat(61)),
        format!("\"{}/{}\"", &"a".repeat(20), &"a".repeat(43)),
        "\"../../victim\"".into(),
        "\"..\\..\\victim\"".into(),
        "\"..\"".into(),
        "\".\"".into(),
        "\"\"".into(),
        format!("\"{long}\""),
        "\"\u{fc}\"".into(),
    ] {
        for header in ["etag", "x-linked-etag"] {
            let said = tag.clone();
            let setting = Setting::new(lie(move |asked, answer| match asked.path.contains("/resolve/") {
                true => answer.with(header, said.clone()),
                false => answer,
            }));
            let before = setting.outside();
            // What has no hash that is one is kept under its own.
            if header == "x-linked-etag" {
                setting.runs();
                let own: Vec<String> = files().iter().map(|(_, bytes)| sha256(bytes)).collect();
                assert!(setting.blobs().iter().all(|name| own.contains(name)), "{tag}: {:?}", setting.blobs());
                let verified = setting.run(&["models", "--verify"]);
                assert_eq!(verified.code, Some(0), "{tag}: {}", verified.stdout);
            }
            for command in
                [&["recipe", "show", REFERENCE] as &[&str], &["recipe", "add", REFERENCE], &["recipe", "update"]]
            {
                assert_eq!(setting.run(command).code, Some(0), "{tag} {command:?}");
            }
            std::fs::remove_file(setting.here.path().join("precompute.lock")).unwrap();
            assert_eq!(setting.outside(), before, "{header}: {tag}");
            assert_eq!(std::fs::read_to_string(&absolute).unwrap(), "untouched", "{header}: {tag}");
        }
    }
}

#[test]
fn a_commit_is_forty_digits_and_the_one_that_was_asked_for() {
    let other = "d".repeat(40);
    for commit in ["../../../../victim", "/victim", "main", "", "..", &"../".repeat(14)[..40], &"c".repeat(41), &other]
    {
        let said = commit.to_owned();
        let setting = Setting::new(lie(move |asked, answer| match asked.path.contains("/resolve/") {
            true => answer.with("x-repo-commit", said.clone()),
            false => answer,
        }));
        let before = setting.outside();
        let what = if commit == other { "it comes of the commit dddd" } else { "the Hub names its commit \"" };
        let said = setting.refusal();
        assert!(said.contains(what), "{commit}: {said}");
        for command in ["show", "add"] {
            let ran = setting.run(&["recipe", command, REFERENCE]);
            assert!(ran.code == Some(2) && ran.stderr.contains(what), "{commit}: {}", ran.stderr);
        }
        assert_eq!(setting.outside(), before, "{commit}");
        assert_eq!(setting.blobs().len(), 0, "{commit}");

        let said = commit.to_owned();
        let setting = Setting::new(lie(move |asked, answer| match asked.is_listing() {
            true => answer
                .with_body(serde_json::json!({"sha": said, "siblings": [{"rfilename": "config.json"}]}).to_string()),
            false => answer,
        }));
        let before = setting.outside();
        let said = setting.refusal();
        assert!(
            said.contains(if commit == other { "it comes of the commit" } else { "no commit for \"main\"" }),
            "{said}"
        );
        assert_eq!(setting.outside(), before, "{commit}");
    }
    // A commit that is named gets no other.
    let said = other.clone();
    let setting = Setting::new(lie(move |asked, answer| match asked.is_listing() {
        true => answer.with_body(serde_json::json!({"sha": said, "siblings": []}).to_string()),
        false => answer,
    }));
    let ran = setting.run(&["recipe", "show", &format!("{REFERENCE}@{MAIN}")]);
    assert!(ran.code == Some(2) && ran.stderr.contains("was asked for"), "{}", ran.stderr);
}

#[test]
fn a_name_that_leads_elsewhere_is_no_file() {
    for name in
        ["../../../victim", "/etc/passwd", "..", "a/../../victim", "a\\..\\victim", "C:x", "x\u{1b}[2J", ".git/config"]
    {
        // As a file of the listing: it is as if it were not there.
        let listed = name.to_owned();
        let setting = Setting::new(lie(move |asked, answer| {
            if !asked.is_listing() {
                return answer;
            }
            let mut listing: Json = serde_json::from_slice(&answer.body).unwrap();
            listing["siblings"].as_array_mut().unwrap().push(serde_json::json!({"rfilename": listed}));
            answer.with_body(listing.to_string())
        }));
        let before = setting.outside();
        setting.runs();
        assert_eq!(setting.outside(), before, "{name}");
        // As a shard of an index.
        let index = serde_json::json!({"weight_map": {"x": name}}).to_string();
        let mut files = files();
        files.push(("model.safetensors.index.json", index.into_bytes()));
        let setting = Setting::of(&files, lie(|_, answer| answer));
        let before = setting.outside();
        let said = setting.refusal();
        assert!(!said.contains("\u{1b}[2J"), "{name}: {said:?}");
        assert_eq!(setting.outside(), before, "{name}");
    }
}

#[test]
fn the_token_stays_at_home() {
    let forms = [
        "/\\HOST/x",
        "\\\\HOST/x",
        "//HOST/x",
        "/\t/HOST/x",
        "http:\\\\HOST/x",
        "http:/\\HOST/x",
        "http://HOST/x",
        "HTTP://HOST/x",
        "http://HOME@HOST/x",
        "http://a:b@HOST/x",
        "http://[::ffff:127.0.0.1]:PORT/x",
        "http://0x7f000001:PORT/x",
        "http://localhost:HOMEPORT/x",
        "https://HOME/x",
    ];
    for (which, form) in
        ["listing", "HEAD", "GET", "large"].into_iter().flat_map(|which| forms.map(|form| (which, form)))
    {
        let stranger = Liar::stranger();
        let (host, form_of) = (stranger.host().to_owned(), form.to_owned());
        let home = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
        let known = home.clone();
        let setting = Setting::new(lie(move |asked, answer| {
            let lies = match which {
                "listing" => asked.is_listing(),
                "large" => asked.is_for("model.safetensors"),
                method => asked.is_for("config.json") && asked.is(method),
            };
            if !lies {
                return answer;
            }
            let home = known.get().unwrap();
            let port = |host: &str| host.rsplit(':').next().unwrap().to_owned();
            let location = form_of
                .replace("HOMEPORT", &port(home))
                .replace("HOME", home)
                .replace("HOST", &host)
                .replace("PORT", &port(&host));
            Answer { status: 307, ..answer.without("etag").with("location", location).with_body("") }
        }));
        home.set(setting.hub.host().to_owned()).unwrap();
        let ran = setting.run(&["run", "s.rhai"]);
        assert_eq!(ran.code, Some(1), "{which} {form:?}");
        let asked = stranger.asked();
        assert!(asked.iter().all(|asked| asked.token.is_none()), "{which} {form:?}: {asked:?}");
        if form.contains("HOST") {
            assert!(!asked.is_empty(), "{which} {form:?}: the redirect was not followed: {}", ran.stderr);
        }
        let at_home = setting.hub.asked();
        assert!(at_home.iter().any(|asked| asked.token.as_deref() == Some("Bearer hf_secret")), "{which} {form:?}");
        // Under another name, home is a stranger too.
        if form.contains("localhost") {
            let led = at_home.iter().filter(|asked| asked.path == "/x");
            assert!(led.clone().all(|asked| asked.token.is_none()), "{which} {form:?}");
        }
    }
}

#[test]
fn a_redirect_back_home_brings_no_token_with_it_and_one_to_home_does() {
    // Away and back.
    let away = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let to = away.clone();
    let setting = Setting::new(lie(move |asked, answer| match asked.is_listing() {
        true => Answer { status: 302, ..answer.with("location", format!("http://{}/x", to.get().unwrap())) },
        false => answer,
    }));
    let back = setting.hub.address();
    let stranger =
        Liar::start(&[], move |_, answer| Answer { status: 302, ..answer.with("location", format!("{back}/back")) });
    away.set(stranger.host().to_owned()).unwrap();
    assert_eq!(setting.run(&["run", "s.rhai"]).code, Some(1));
    let back: Vec<_> = setting.hub.asked().into_iter().filter(|asked| asked.path == "/back").collect();
    assert!(!back.is_empty() && back.iter().all(|asked| asked.token.is_none()), "{back:?}");

    // A repository that has been renamed.
    let setting = Setting::new(lie(|asked, answer| match asked.path.strip_prefix("/api/models/tiny/neox/") {
        Some(rest) => Answer { status: 307, ..answer.with("location", format!("/api/models/Tiny/Neox/{rest}")) },
        None => answer,
    }));
    setting.runs();
    assert!(setting.hub.asked().iter().all(|asked| asked.token.as_deref() == Some("Bearer hf_secret")));
}

#[test]
fn whatever_a_server_sends_comes_to_an_end() {
    let config = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.is_for("config.json") { change(answer) } else { answer })
    };
    let config_got = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.is_for("config.json") && asked.is("GET") { change(answer) } else { answer })
    };
    let listing = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.is_listing() { change(answer) } else { answer })
    };
    let large = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.path.starts_with("/large/") { change(answer) } else { answer })
    };
    const SLOW: Duration = Duration::from_millis(100);
    const FAST: Duration = Duration::ZERO;
    for (what, lie, says) in [
        ("a listing without an end", listing(|a| a.endless(&[b' '; 65536], FAST)), "the Hub's answer does not end"),
        ("a listing in drips", listing(|a| a.endless(b" ", SLOW)), "has not come to its end within 2s"),
        (
            "a listing as large as can be",
            listing(|a| a.with("content-length", "18446744073709551615").endless(b" ", FAST)),
            "",
        ),
        (
            "headers without an end",
            listing(|a| a.raw(b"HTTP/1.1 200 -\r\n").endless(b"x-a: aaaaaaaaaaaaaaaa\r\n", FAST)),
            "can't be",
        ),
        (
            "one header without an end",
            listing(|a| a.raw(b"HTTP/1.1 200 -\r\nx: ").endless(&[b'a'; 4096], FAST)),
            "can't be",
        ),
        ("headers in drips", listing(|a| a.raw(b"HTTP/1.1 200 -\r\nx: ").endless(b"a", SLOW)), "silent for 2s"),
        ("answers before the answer", listing(|a| a.raw(b"").endless(b"HTTP/1.1 100 Continue\r\n\r\n", FAST)), ""),
        (
            "a refusal without an end",
            listing(|a| Answer { status: 404, ..a.endless(&[b'x'; 65536], FAST) }),
            "there is no model",
        ),
        (
            "a small file without an end",
            config_got(|a| a.endless(&[b' '; 65536], FAST)),
            "config.json does not end: the Hub announced",
        ),
        ("a small file in drips", config_got(|a| a.with_body("").endless(b" ", SLOW)), "is no download"),
        ("a file of no known size", config(|a| a.without("etag").endless(b" ", FAST)), "does not say how large it is"),
        (
            "a small file said to be large",
            config(|a| a.with("content-length", "9000000000000000000")),
            "config.json has 9",
        ),
        (
            "a file larger than any disk",
            lie(|asked, a| match asked.is_for("model.safetensors") && !asked.path.starts_with("/large/") {
                true => a.with("x-linked-size", "9000000000000000000"),
                false if asked.path.starts_with("/large/") => a.with("content-length", "9000000000000000000"),
                false => a,
            }),
            "are free on its disk",
        ),
        ("a negative length", config_got(|a| a.with("content-length", "-5")), "config.json"),
        ("a length that is no number", config(|a| a.with("x-linked-size", "many")), "its size is no number: \"many\""),
        ("another length than announced", config_got(|a| a.with_body("{}")), "config.json came as 2 bytes"),
        (
            "a circle of redirects",
            listing(|a| Answer { status: 307, ..a.with("location", "/api/models/x/revision/y") }),
            "sends on without end",
        ),
        (
            "a redirect to a file",
            listing(|a| Answer { status: 307, ..a.with("location", "file:///etc/passwd") }),
            "which is no address",
        ),
        (
            "a redirect that is no text",
            listing(|a| Answer { status: 307, ..a.with("location", b"\xff\xfe".to_vec()) }),
            "which is no address",
        ),
        ("a redirect to nowhere", listing(|a| Answer { status: 307, ..a }), "the Hub answers 307"),
        (
            "packed JSON",
            listing(|a| a.with("content-encoding", "gzip").with_body(b"\x1f\x8b\x08\0\0".to_vec())),
            "what answers is not the Hub",
        ),
        (
            "JSON of other types",
            listing(|a| a.with_body("{\"sha\": [], \"siblings\": {}}")),
            "what answers is not the Hub",
        ),
        ("JSON that is deep", listing(|a| a.with_body("[".repeat(1_000_000))), "what answers is not the Hub"),
        ("an answer of nonsense", listing(|a| a.raw(b"\x00\xff\xfe nonsense\r\n\r\n")), "can't be reached"),
        (
            "headers that are no text",
            config(|a| a.with("etag", b"\xff\xff".to_vec()).with("x-error-code", b"\xff".to_vec())),
            "ran",
        ),
        (
            "another part than asked for",
            large(|a| match a.status {
                206 => a.with("content-range", "bytes 0-18446744073709551615/7"),
                _ => a.clone().with("content-length", a.body.len().to_string()).with_body(vec![0; 100]),
            }),
            "model.safetensors",
        ),
        (
            "a part that is not asked for",
            large(|a| Answer { status: 206, ..a.with("content-range", "bytes 5-9/10") }),
            "the Hub answers 206",
        ),
        ("no content", large(|a| Answer { status: 204, ..a.with_body("") }), "the Hub answers 204"),
    ] {
        let setting = Setting::new(lie);
        let before = setting.outside();
        let ran = setting.run(&["run", "s.rhai"]);
        match says {
            "ran" => assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr),
            says => assert!(ran.code == Some(1) && ran.stderr.contains(says), "{what}: {:?} {}", ran.code, ran.stderr),
        }
        assert_eq!(setting.outside(), before, "{what}");
    }
}

#[test]
fn a_download_that_stands_still_is_ended_and_resumed() {
    let dripping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let drips = dripping.clone();
    let setting = Setting::new(lie(move |asked, answer| {
        if !asked.path.starts_with("/large/") || !drips.load(std::sync::atomic::Ordering::Relaxed) {
            return answer;
        }
        let length = answer.body.len().to_string();
        let beginning = answer.body[..100_000].to_vec();
        answer
            .with("content-length", length)
            .with_body(beginning)
            .endless(&weights()[100_000..100_010], Duration::from_secs(1))
    }));
    let said = setting.refusal();
    assert!(
        said.contains("tiny/neox can't be fetched: in 2s the Hub sent") || said.contains("is no download"),
        "{said}"
    );
    assert!(said.contains("of model.safetensors have come, and the next run goes on from there"), "{said}");
    assert!(!setting.blobs().contains(&sha256(&weights())));
    dripping.store(false, std::sync::atomic::Ordering::Relaxed);
    setting.hub.asked();
    setting.runs();
    let large = setting.hub.asked().into_iter().filter(|asked| asked.path.starts_with("/large/"));
    let ranges: Vec<_> = large.filter_map(|asked| asked.range).collect();
    assert!(matches!(ranges[..], [(100_000.., last)] if last == weights().len() - 1), "{ranges:?}");
}

#[test]
fn what_is_kept_is_what_was_announced() {
    let mut wrong = weights();
    wrong[100_000] ^= 1;
    let corrupt = wrong.clone();
    let setting = Setting::new(lie(move |asked, answer| match asked.path.starts_with("/large/") {
        true => answer.with_body(corrupt.clone()),
        false => answer,
    }));
    let said = setting.refusal();
    let expected = format!(
        "tiny/neox: model.safetensors is not what the Hub announced: its hash is {}, and not {}",
        sha256(&wrong),
        sha256(&weights())
    );
    assert!(said.contains(&expected), "{said}");
    let left: Vec<_> =
        std::fs::read_dir(setting.repository().join("blobs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(!setting.repository().join("refs/main").exists());

    // A small file, by git's hash; and where the Hub's list of files has another hash, by that one.
    for listed in [true, false] {
        let setting = Setting::new(lie(move |asked, answer| match () {
            () if asked.is_for("config.json") && asked.is("GET") => {
                let changed = String::from_utf8(answer.body.clone()).unwrap().replace("48", "84");
                answer.with_body(changed)
            }
            () if asked.path.contains("/paths-info/") && !listed => Answer::new(404, ""),
            () => answer,
        }));
        let said = setting.refusal();
        assert!(said.contains("config.json is not what the Hub announced: its hash is "), "{said}");
        assert_eq!(setting.blobs().len(), 0);
    }

    // A mirror's own ETag of forty digits, the same for all, is no hash of git's, where the list of files has another.
    let setting = Setting::new(lie(|asked, answer| match asked.path.contains("/resolve/") && answer.status == 200 {
        true => answer.with("etag", format!("\"{}\"", "e".repeat(40))),
        false => answer,
    }));
    setting.runs();
    assert!(setting.blobs().contains(&git(&files()[0].1)), "{:?}", setting.blobs());
    assert_eq!(setting.run(&["models", "--verify"]).code, Some(0));

    // What was wrong once comes again.
    let once = std::sync::atomic::AtomicBool::new(true);
    let setting = Setting::new(lie(move |asked, answer| {
        match asked.path.starts_with("/large/") && once.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => answer.with_body(wrong.clone()),
            false => answer,
        }
    }));
    setting.runs();
}

#[test]
fn a_corrupt_blob_is_found_and_fetched_again() {
    let setting = Setting::new(lie(|_, answer| answer));
    setting.runs();
    let verified = setting.run(&["models", "--verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{}", verified.stdout);
    assert_eq!(verified.stdout.matches(" good\n").count(), 4, "{}", verified.stdout);

    let blob = setting.repository().join("blobs").join(sha256(&weights()));
    let mut bytes = weights();
    bytes[200_000] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let config = setting.repository().join("blobs").join(git(&files()[0].1));
    std::fs::write(&config, String::from_utf8(files()[0].1.clone()).unwrap().replace("48", "84")).unwrap();
    let verified = setting.run(&["models", "--verify"]);
    assert_eq!(verified.code, Some(1));
    for name in ["model.safetensors", "config.json"] {
        let line = verified.stdout.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("tiny/neox") && line.contains("corrupt: its hash is "), "{line}");
    }
    assert!(verified.stderr.contains("2 of the 4 files in the cache are corrupt"), "{}", verified.stderr);
    assert!(verified.stderr.contains(&blob.display().to_string()), "{}", verified.stderr);
    let verified = setting.run(&["models", "--verify", "--json"]);
    assert_eq!(verified.code, Some(1));
    let report: Json = serde_json::from_str(&verified.stdout).unwrap();
    let states: Vec<_> = report.as_array().unwrap().iter().map(|file| file["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["corrupt", "corrupt", "good", "good"]);

    // As it says: deleted, they come again. And what a new commit finds here is looked at first.
    std::fs::remove_file(&config).unwrap();
    std::fs::remove_dir_all(setting.repository().join("snapshots")).unwrap();
    setting.runs();
    assert_eq!(std::fs::read(&blob).unwrap(), weights());
    assert_eq!(setting.run(&["models", "--verify"]).code, Some(0));
}

#[test]
fn a_cache_that_python_wrote_is_checked() {
    let setting = Setting::new(lie(|_, answer| answer));
    let cache = setting.here.path().join("hf/hub");
    let blobs = cache.join("datasets--ann--words/blobs");
    let snapshot = cache.join("datasets--ann--words/snapshots").join(MAIN).join("deep");
    for folder in [&blobs, &snapshot] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(blobs.join(git(b"words")), "words").unwrap();
    symlink(Path::new("../../../blobs").join(git(b"words")), snapshot.join("words.txt")).unwrap();
    std::fs::write(blobs.join("no-hash"), "words").unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", "a".repeat(64))), "wor").unwrap();
    symlink("../../../blobs/gone", snapshot.join("gone.txt")).unwrap();
    std::fs::write(snapshot.join("plain.txt"), "words").unwrap();
    let report = |setting: &Setting| -> Vec<(String, String)> {
        let ran = setting.run(&["models", "--verify", "--json"]);
        let report: Json = serde_json::from_str(&ran.stdout).unwrap();
        let name = |file: &Json| file["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        report.as_array().unwrap().iter().map(|f| (name(f), f["state"].as_str().unwrap().to_owned())).collect()
    };
    let mut expected: Vec<(String, String)> = [
        (git(b"words"), "good"),
        ("no-hash".into(), "can't tell"),
        ("gone.txt".into(), "can't tell"),
        ("plain.txt".into(), "can't tell"),
    ]
    .map(|(name, state)| (name, state.to_owned()))
    .into();
    let sorted = |mut list: Vec<(String, String)>| {
        list.sort();
        list
    };
    expected.sort();
    assert_eq!(sorted(report(&setting)), expected);
    // What a lying Hub once left.
    symlink(setting.here.path().join("victim"), snapshot.join("led.txt")).unwrap();
    assert!(report(&setting).contains(&("led.txt".into(), "corrupt".into())));
    assert_eq!(setting.run(&["models", "--verify"]).code, Some(1));
    assert_eq!(std::fs::read_to_string(setting.here.path().join("victim")).unwrap(), "untouched");
}

/// What somebody has put where the cache keeps a file.
fn put(path: &Path, what: &str, victim: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(path);
    match what {
        "pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "directory" => std::fs::create_dir(path).unwrap(),
        _ => symlink(victim, path).unwrap(),
    }
}

#[test]
fn what_is_no_file_in_the_cache_is_refused() {
    let config = git(&files()[0].1);
    let blob = sha256(&weights());
    for (place, whats, says) in [
        (
            format!("snapshots/{MAIN}/config.json"),
            &["pipe", "directory", "link"] as &[&str],
            "where the cache keeps a file",
        ),
        (format!("blobs/{config}"), &["pipe", "directory", "link"], "where the cache keeps a file"),
        (format!("blobs/{blob}.incomplete"), &["pipe", "directory", "link"], "where the cache keeps a file"),
        (
            format!("../.locks/models--tiny--neox/{blob}.lock"),
            &["pipe", "directory", "link"],
            "where the cache keeps a file",
        ),
        ("refs/main".into(), &["directory"], "can't be written to the cache"),
        ("refs/main".into(), &["pipe", "link"], "ran"),
        ("blobs".into(), &["link"], "can't be"),
        ("snapshots".into(), &["link"], "can't be"),
        (format!("snapshots/{MAIN}"), &["link"], "can't be"),
    ] {
        for what in whats {
            let setting = Setting::new(lie(|_, answer| answer));
            let victims = setting.here.path().join("victims");
            std::fs::create_dir(&victims).unwrap();
            std::fs::write(victims.join("kept"), "untouched").unwrap();
            let is_folder = place == "blobs" || place == "snapshots" || place.ends_with(MAIN);
            let victim = if is_folder { victims } else { setting.here.path().join("victim") };
            put(&setting.repository().join(&place), what, &victim);
            let before = setting.outside();
            let ran = setting.run(&["run", "s.rhai"]);
            match says {
                "ran" => assert_eq!(ran.code, Some(0), "{place} {what}: {}", ran.stderr),
                says => assert!(ran.code == Some(1) && ran.stderr.contains(says), "{place} {what}: {}", ran.stderr),
            }
            assert_eq!(setting.outside(), before, "{place} {what}");
            // Looking and listing wait for nothing either.
            for command in [&["models"] as &[&str], &["models", "--verify"]] {
                setting.run(command);
            }
            setting.command(&["run", "s.rhai", "--offline"]).output().unwrap();
            assert_eq!(setting.outside(), before, "{place} {what}");
        }
    }
}

#[test]
fn who_is_fetching_a_file_is_said() {
    let setting = Setting::new(lie(|asked, answer| match asked.path.starts_with("/large/") {
        true => {
            let length = answer.body.len().to_string();
            let beginning = answer.body[..1000].to_vec();
            answer
                .with("content-length", length)
                .with_body(beginning)
                .endless(&weights()[1000..6000], Duration::from_millis(500))
        }
        false => answer,
    }));
    let mut first = setting.command(&["run", "s.rhai"]).env("HF_HUB_DOWNLOAD_TIMEOUT", "60").spawn().unwrap();
    let partial = setting.repository().join("blobs").join(format!("{}.incomplete", sha256(&weights())));
    let begun = Instant::now();
    while std::fs::metadata(&partial).map_or(0, |found| found.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = setting.refusal();
    let who = format!("another process, \"precompute\" (process {}), is fetching model.safetensors", first.id());
    if cfg!(target_os = "linux") {
        assert!(said.contains(&who), "{said}");
    }
    assert!(
        said.contains("is fetching model.safetensors") && said.contains("wait until it is done, or end it"),
        "{said}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
}
