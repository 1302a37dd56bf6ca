//! Hubs that lie: nothing that they say is written or deleted outside of the cache, the token stays
//! at home, and everything ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::liar::{Answer, Asked, Liar, MAIN, sha256};
use crate::binary::{Ran, Workplace};
use crate::fixture::directory;

/// A model of these files, and a recipe.
const SCRIPT: &str = "print(model(\"tiny/neox\").config.hidden_size)";
const RECIPE: &str = "//! name = \"lens\"\n//! version = \"0.1.0\"\n//! license = \"MIT\"\n//! summary = \"Looks\"\n\
    //! authors = [\"ann\"]\n//! requires = \"0.1\"\nprint(1);\n";
const REFERENCE: &str = "hf:ann/lenses/lens.rhai";

pub type Lie = Box<dyn Fn(&Asked, Answer) -> Answer + Send + Sync>;

pub fn lie(lie: impl Fn(&Asked, Answer) -> Answer + Send + Sync + 'static) -> Lie {
    Box::new(lie)
}

/// Where attacks are tried: a home with a cache in it, and beside it what is not to be touched.
pub struct Setting {
    pub hub: Liar,
    pub here: Workplace,
}

impl Setting {
    pub fn new(lie: Lie) -> Self {
        Self::of(&files(), lie)
    }

    pub fn of(files: &[(&'static str, Vec<u8>)], lie: Lie) -> Self {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let here =
            Workplace::new(&[("s.rhai", SCRIPT), ("victim", "untouched"), ("hf/untouched", "")]);
        Self { hub: Liar::start(&files, lie), here }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
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

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let begun = Instant::now();
        let ran: Ran = self.command(arguments).output().unwrap().into();
        assert!(begun.elapsed() < Duration::from_secs(40), "{arguments:?}: {:?}", begun.elapsed());
        assert!(matches!(ran.code, Some(0..=2)), "{arguments:?}: {:?}\n{}", ran.code, ran.stderr);
        assert!(
            !ran.stderr.contains("panicked") && !ran.stderr.contains("bug"),
            "{arguments:?}: {}",
            ran.stderr
        );
        ran
    }

    /// What a run of the script says, which fails.
    #[track_caller]
    pub fn refusal(&self) -> String {
        let ran = self.run(&["run", "s.rhai"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        ran.stderr
    }

    #[track_caller]
    pub fn runs(&self) {
        let ran = self.run(&["run", "s.rhai"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"), "{}", ran.stderr);
    }

    pub fn repository(&self) -> PathBuf {
        self.here.path().join("hf/hub/models--tiny--neox")
    }

    /// The names of whole contents in the cache.
    pub fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.repository().join("blobs")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".incomplete")).collect()
    }

    /// Everything outside of the cache, by path, links as what they lead to.
    pub fn outside(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.here.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
                match () {
                    () if path.ends_with("hf/hub")
                        || path.ends_with("home")
                        || path.ends_with("runs") => {}
                    () if kind.is_symlink() => {
                        drop(found.insert(
                            path.clone(),
                            format!("-> {}", path.read_link().unwrap().display()),
                        ));
                    }
                    () if kind.is_dir() => waiting.push(path),
                    () => drop(found.insert(path.clone(), std::fs::read_to_string(&path).unwrap())),
                }
            }
        }
        found
    }
}

pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let read =
        |name: &'static str| (name, std::fs::read(directory("gpt-neox").join(name)).unwrap());
    names.into_iter().map(read).chain([("lens.rhai", RECIPE.into())]).collect()
}

pub fn weights() -> Vec<u8> {
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
            let setting =
                Setting::new(lie(move |asked, answer| match asked.path.contains("/resolve/") {
                    true => answer.with(header, said.clone()),
                    false => answer,
                }));
            let before = setting.outside();
            // What has no hash that is one is kept under its own.
            if header == "x-linked-etag" {
                setting.runs();
                let own: Vec<String> = files().iter().map(|(_, bytes)| sha256(bytes)).collect();
                assert!(
                    setting.blobs().iter().all(|name| own.contains(name)),
                    "{tag}: {:?}",
                    setting.blobs()
                );
                let verified = setting.run(&["models", "--verify"]);
                assert_eq!(verified.code, Some(0), "{tag}: {}", verified.stdout);
            }
            for command in [
                &["recipe", "show", REFERENCE] as &[&str],
                &["recipe", "add", REFERENCE],
                &["recipe", "update"],
            ] {
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
    for commit in [
        "../../../../victim",
        "/victim",
        "main",
        "",
        "..",
        &"../".repeat(14)[..40],
        &"c".repeat(41),
        &other,
    ] {
        let said = commit.to_owned();
        let setting =
            Setting::new(lie(move |asked, answer| match asked.path.contains("/resolve/") {
                true => answer.with("x-repo-commit", said.clone()),
                false => answer,
            }));
        let before = setting.outside();
        let what = if commit == other {
            "it comes of the commit dddd"
        } else {
            "the Hub names its commit \""
        };
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
            true => answer.with_body(
                serde_json::json!({"sha": said, "siblings": [{"rfilename": "config.json"}]})
                    .to_string(),
            ),
            false => answer,
        }));
        let before = setting.outside();
        let said = setting.refusal();
        assert!(
            said.contains(if commit == other {
                "it comes of the commit"
            } else {
                "no commit for \"main\""
            }),
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
    for name in [
        "../../../victim",
        "/etc/passwd",
        "..",
        "a/../../victim",
        "a\\..\\victim",
        "C:x",
        "x\u{1b}[2J",
        ".git/config",
    ] {
        // As a file of the listing: it is as if it were not there.
        let listed = name.to_owned();
        let setting = Setting::new(lie(move |asked, answer| {
            if !asked.is_listing() {
                return answer;
            }
            let mut listing: Json = serde_json::from_slice(&answer.body).unwrap();
            listing["siblings"]
                .as_array_mut()
                .unwrap()
                .push(serde_json::json!({"rfilename": listed}));
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
    for (which, form) in ["listing", "HEAD", "GET", "large"]
        .into_iter()
        .flat_map(|which| forms.map(|form| (which, form)))
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
            Answer {
                status: 307,
                ..answer.without("etag").with("location", location).with_body("")
            }
        }));
        home.set(setting.hub.host().to_owned()).unwrap();
        let ran = setting.run(&["run", "s.rhai"]);
        assert_eq!(ran.code, Some(1), "{which} {form:?}");
        let asked = stranger.asked();
        assert!(asked.iter().all(|asked| asked.token.is_none()), "{which} {form:?}: {asked:?}");
        if form.contains("HOST") {
            assert!(
                !asked.is_empty(),
                "{which} {form:?}: the redirect was not followed: {}",
                ran.stderr
            );
        }
        let at_home = setting.hub.asked();
        assert!(
            at_home.iter().any(|asked| asked.token.as_deref() == Some("Bearer hf_secret")),
            "{which} {form:?}"
        );
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
        true => Answer {
            status: 302,
            ..answer.with("location", format!("http://{}/x", to.get().unwrap()))
        },
        false => answer,
    }));
    let back = setting.hub.address();
    let stranger = Liar::start(&[], move |_, answer| Answer {
        status: 302,
        ..answer.with("location", format!("{back}/back"))
    });
    away.set(stranger.host().to_owned()).unwrap();
    assert_eq!(setting.run(&["run", "s.rhai"]).code, Some(1));
    let back: Vec<_> =
        setting.hub.asked().into_iter().filter(|asked| asked.path == "/back").collect();
    assert!(!back.is_empty() && back.iter().all(|asked| asked.token.is_none()), "{back:?}");

    // A repository that has been renamed.
    let setting = Setting::new(lie(|asked, answer| {
        match asked.path.strip_prefix("/api/models/tiny/neox/") {
            Some(rest) => Answer {
                status: 307,
                ..answer.with("location", format!("/api/models/Tiny/Neox/{rest}"))
            },
            None => answer,
        }
    }));
    setting.runs();
    assert!(
        setting.hub.asked().iter().all(|asked| asked.token.as_deref() == Some("Bearer hf_secret"))
    );
}

#[test]
fn whatever_a_server_sends_comes_to_an_end() {
    let config = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.is_for("config.json") { change(answer) } else { answer })
    };
    let config_got =
        |change: fn(Answer) -> Answer| {
            lie(move |asked, answer| {
                if asked.is_for("config.json") && asked.is("GET") { change(answer) } else { answer }
            })
        };
    let listing = |change: fn(Answer) -> Answer| {
        lie(move |asked, answer| if asked.is_listing() { change(answer) } else { answer })
    };
    let large = |change: fn(Answer) -> Answer| {
        lie(
            move |asked, answer| {
                if asked.path.starts_with("/large/") { change(answer) } else { answer }
            },
        )
    };
    const SLOW: Duration = Duration::from_millis(100);
    const FAST: Duration = Duration::ZERO;
    for (what, lie, says) in [
        (
            "a listing without an end",
            listing(|a| a.endless(&[b' '; 65536], FAST)),
            "the Hub's answer does not end",
        ),
        (
            "a listing in drips",
            listing(|a| a.endless(b" ", SLOW)),
            "has not come to its end within 2s",
        ),
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
        (
            "headers in drips",
            listing(|a| a.raw(b"HTTP/1.1 200 -\r\nx: ").endless(b"a", SLOW)),
            "silent for 2s",
        ),
        (
            "answers before the answer",
            listing(|a| a.raw(b"").endless(b"HTTP/1.1 100 Continue\r\n\r\n", FAST)),
            "",
        ),
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
        (
            "a small file in drips",
            config_got(|a| a.with_body("").endless(b" ", SLOW)),
            "is no download",
        ),
        (
            "a file of no known size",
            config(|a| a.without("etag").endless(b" ", FAST)),
            "does not say how large it is",
        ),
        (
            "a small file said to be large",
            config(|a| a.with("content-length", "9000000000000000000")),
            "config.json has 9",
        ),
        (
            "a file larger than any disk",
            lie(|asked, a| {
                match asked.is_for("model.safetensors") && !asked.path.starts_with("/large/") {
                    true => a.with("x-linked-size", "9000000000000000000"),
                    false if asked.path.starts_with("/large/") => {
                        a.with("content-length", "9000000000000000000")
                    }
                    false => a,
                }
            }),
            "are free on its disk",
        ),
        ("a negative length", config_got(|a| a.with("content-length", "-5")), "config.json"),
        (
            "a length that is no number",
            config(|a| a.with("x-linked-size", "many")),
            "its size is no number: \"many\"",
        ),
        (
            "another length than announced",
            config_got(|a| a.with_body("{}")),
            "config.json came as 2 bytes",
        ),
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
        (
            "JSON that is deep",
            listing(|a| a.with_body("[".repeat(1_000_000))),
            "what answers is not the Hub",
        ),
        (
            "an answer of nonsense",
            listing(|a| a.raw(b"\x00\xff\xfe nonsense\r\n\r\n")),
            "can't be reached",
        ),
        (
            "headers that are no text",
            config(|a| a.with("etag", b"\xff\xff".to_vec()).with("x-error-code", b"\xff".to_vec())),
            "ran",
        ),
        (
            "another part than asked for",
            large(|a| match a.status {
                206 => a.with("content-range", "bytes 0-18446744073709551615/7"),
                _ => a
                    .clone()
                    .with("content-length", a.body.len().to_string())
                    .with_body(vec![0; 100]),
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
            says => assert!(
                ran.code == Some(1) && ran.stderr.contains(says),
                "{what}: {:?} {}",
                ran.code,
                ran.stderr
            ),
        }
        assert_eq!(setting.outside(), before, "{what}");
    }
}
