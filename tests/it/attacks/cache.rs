//! What comes into the Hub's cache and what stands there: kept only where it is what was announced,
//! found where it is corrupt, resumed where it broke off, and refused where somebody has put
//! something that is no file.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::hub::{Setting, files, lie, weights};
use super::liar::{Answer, MAIN, git, sha256};

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
        said.contains("tiny/neox can't be fetched: in 2s the Hub sent")
            || said.contains("is no download"),
        "{said}"
    );
    assert!(
        said.contains("of model.safetensors have come, and the next run goes on from there"),
        "{said}"
    );
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
    let left: Vec<_> = std::fs::read_dir(setting.repository().join("blobs"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
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

    // A mirror's own ETag of forty digits, the same for all, is no hash of git's, where the list of
    // files has another.
    let setting = Setting::new(lie(|asked, answer| {
        match asked.path.contains("/resolve/") && answer.status == 200 {
            true => answer.with("etag", format!("\"{}\"", "e".repeat(40))),
            false => answer,
        }
    }));
    setting.runs();
    assert!(setting.blobs().contains(&git(&files()[0].1)), "{:?}", setting.blobs());
    assert_eq!(setting.run(&["models", "--verify"]).code, Some(0));

    // What was wrong once comes again.
    let once = std::sync::atomic::AtomicBool::new(true);
    let setting = Setting::new(lie(move |asked, answer| {
        match asked.path.starts_with("/large/")
            && once.swap(false, std::sync::atomic::Ordering::Relaxed)
        {
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
    std::fs::write(&config, String::from_utf8(files()[0].1.clone()).unwrap().replace("48", "84"))
        .unwrap();
    let verified = setting.run(&["models", "--verify"]);
    assert_eq!(verified.code, Some(1));
    for name in ["model.safetensors", "config.json"] {
        let line = verified.stdout.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("tiny/neox") && line.contains("corrupt: its hash is "), "{line}");
    }
    assert!(
        verified.stderr.contains("2 of the 4 files in the cache are corrupt"),
        "{}",
        verified.stderr
    );
    assert!(verified.stderr.contains(&blob.display().to_string()), "{}", verified.stderr);
    let verified = setting.run(&["models", "--verify", "--json"]);
    assert_eq!(verified.code, Some(1));
    let report: Json = serde_json::from_str(&verified.stdout).unwrap();
    let states: Vec<_> =
        report.as_array().unwrap().iter().map(|file| file["state"].as_str().unwrap()).collect();
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
        let name =
            |file: &Json| file["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        report
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (name(f), f["state"].as_str().unwrap().to_owned()))
            .collect()
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
        (
            format!("blobs/{blob}.incomplete"),
            &["pipe", "directory", "link"],
            "where the cache keeps a file",
        ),
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
                says => assert!(
                    ran.code == Some(1) && ran.stderr.contains(says),
                    "{place} {what}: {}",
                    ran.stderr
                ),
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
    let mut first =
        setting.command(&["run", "s.rhai"]).env("HF_HUB_DOWNLOAD_TIMEOUT", "60").spawn().unwrap();
    let partial =
        setting.repository().join("blobs").join(format!("{}.incomplete", sha256(&weights())));
    let begun = Instant::now();
    while std::fs::metadata(&partial).map_or(0, |found| found.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = setting.refusal();
    let who = format!(
        "another process, \"precompute\" (process {}), is fetching model.safetensors",
        first.id()
    );
    if cfg!(target_os = "linux") {
        assert!(said.contains(&who), "{said}");
    }
    assert!(
        said.contains("is fetching model.safetensors")
            && said.contains("wait until it is done, or end it"),
        "{said}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
}
