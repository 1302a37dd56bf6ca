//! Stores: what is appended is what is read, a run that is killed goes on without a gap or a double,
//! and a capture that is kept is answered bit for bit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{said, shown};
use crate::binary::{Ran, Workplace};

#[test]
fn what_is_appended_is_what_is_read() {
    let place = Workplace::new(&[]);
    // Shards of a few rows, each ended by an append.
    place.write("w.rhai", b"let s = store(\"acts\", #{shard_bytes: 100}); for i in 0..10 { \
        s.append(#{x: (arange(i * 3, i * 3 + 3).to(\"f32\").unsqueeze(1) * tensor([1.0, 10.0])), id: arange(i * 3, i * 3 + 3), even: arange(3) % 2 == 0}); } print(s.len);");
    let wrote = place.run(&["run", "w.rhai", "--out", "out"]);
    assert_eq!((wrote.code, wrote.stdout.as_str()), (Some(0), "30\n"), "{}", wrote.stderr);
    let shards = std::fs::read_dir(place.path().join("out/acts")).unwrap().count() - 1;
    assert!(shards > 2 && shards < 10, "{shards}");
    let record = std::fs::read_to_string(place.path().join("out/run.json")).unwrap();
    assert!(record.contains("acts/index.json"));
    assert_eq!(
        shown(
            &place,
            "let d = load_store(\"out/acts\"); print(d.keys); print(d.len); print(d[5..8].x); print(d[-1]); print(d[28..].id); \
            let all = d[0..30]; print(all.id.to_array() == arange(30).to_array()); print(all.even[2..5].to_array());"
        ),
        "[\"even\", \"id\", \"x\"]\n30\ntensor [3, 2] f32 cpu: [[5.0, 50.0], [6.0, 60.0], [7.0, 70.0]]\n\
         #{\"even\": tensor [] bool cpu: true, \"id\": tensor [] i64 cpu: 29, \"x\": tensor [2] f32 cpu: [29.0, 290.0]}\n\
         tensor [2] i64 cpu: [28, 29]\ntrue\n[true, true, false]"
    );
    assert_eq!(
        shown(
            &place,
            "let d = load_store(\"out/acts\").shuffled(3); let seen = []; for b in batches(d, 7) { seen += b.id.to_array(); if b.x.shape[0] != b.id.shape[0] { throw \"x\"; } } \
            print(seen.len()); let sorted = seen; sorted.sort(); print(sorted == arange(30).to_array()); print(seen == sorted); \
            print([batches(d, 7).len, d.take(5).len, d.skip(3).shard(0, 2).len]); print(d[0..4].id.to_array() == d.take(4)[0..4].id.to_array());"
        ),
        "30\ntrue\nfalse\n[5, 5, 14]\ntrue"
    );
}

#[test]
fn floats_are_cast_where_that_is_asked_for_and_ids_keep_their_mask() {
    let place = Workplace::new(&[]);
    assert_eq!(
        shown(
            &place,
            "let s = store(\"half\", #{dtype: \"bf16\"}); s.append(#{x: tensor([[1.0, 2.5]]), n: tensor([3])}); let d = load_store(s); print(d[0..1].x); print(d[0..1].n); \
            let m = model(\"demo:opt\"); let t = store(\"ids\"); t.append(#{ids: m.encode([\"When Mary\", \"When Mary and John went\"])}); print(load_store(t)[0..2].ids.mask.to_array()[0].len()); print(load_store(t).keys);"
        ),
        "tensor [1, 2] bf16 cpu: [[1.0, 2.5]]\ntensor [1] i64 cpu: [3]\n7\n[\"ids\", \"ids.mask\"]"
    );
}

/// What a loop passes over, since it is on disk, must not be what another store or another loop needs.
#[test]
fn a_loop_over_what_remains_feeds_one_store_and_once() {
    let place = Workplace::new(&[]);
    let script = |more: &str, end: &str| {
        format!(
            "let s = store(\"a\", #{{shard_bytes: 8}}); let t = store(\"b\", #{{shard_bytes: 8}}); \
             for i in s.remaining([0, 1, 2, 3, 4, 5]) {{ s.append(#{{x: tensor([i])}}); {more} }} {end}"
        )
    };
    place.write("both.rhai", script("t.append(#{x: tensor([i])});", "").as_bytes());
    let first = place.run(&["run", "both.rhai", "--out", "both"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    // As a run leaves them that was killed before the last item of the one was on disk.
    let store = |name: &str| place.path().join("both").join(name);
    let names = std::fs::read_dir(store("a")).unwrap().map(|file| file.unwrap().file_name());
    let last = names.filter(|name| name != "index.json").max().unwrap();
    std::fs::remove_file(store("a").join(last)).unwrap();
    std::fs::remove_file(store("a").join("index.json")).unwrap();
    std::fs::remove_file(store("b").join("index.json")).unwrap();
    let again = place.run(&["run", "both.rhai", "--out", "both", "--resume"]);
    assert_ne!(again.code, Some(0), "the second store would miss rows");
    assert!(again.stderr.contains("passes over items"), "{}", again.stderr);
    let twice = script(
        "",
        "let r = t.remaining([1]); for i in r { t.append(#{x: tensor([i])}); } for i in r { }",
    );
    let said = said(&place, &twice.replace("for i in r { }", "for i in r { print(i); }"));
    assert!(said.contains("are gone through once"), "{said}");
}

#[test]
fn what_does_not_fit_is_a_sentence() {
    let place = Workplace::new(&[("empty/x.txt", "")]);
    for (script, sentence) in [
        ("store(\"a\").append(#{})", "a map of tensors is needed, and it is empty"),
        ("store(\"a\").append(#{x: 1})", "append: x must be a tensor, not 1"),
        ("store(\"a\").append([1])", "append takes a map of tensors, not an array of 1"),
        ("store(\"a\").append(#{x: zeros(2), y: zeros(3)})", "append: x has 2 rows, and y has 3"),
        ("store(\"a\").append(#{x: tensor(1.0)})", "x: a tensor without dims has no rows"),
        (
            "let s = store(\"a\"); s.append(#{x: zeros(1, 2)}); s.append(#{x: zeros(1, 3)});",
            "x: the store \"a\" has rows [2], and these are [3]",
        ),
        (
            "let s = store(\"a\"); s.append(#{x: zeros(1)}); s.append(#{y: zeros(1)});",
            "the store \"a\" has rows of x, and these are of y",
        ),
        ("store(\"a\"); store(\"a\")", "this run writes a store \"a\" already"),
        ("store(\"a\", #{dtype: \"i64\"})", "store: dtype is one of f16, bf16, f32"),
        ("store(\"../a\")", "is no name to save under"),
        (
            "let s = store(\"a\"); s.append(#{x: zeros(1)}); load_store(s)[0..2]",
            "the store has 1 rows, and no rows from 0 to 2",
        ),
        ("load_store(\"none\")", "there is no directory \"none\" beside the script"),
        ("load_store(\"empty\")", "empty has no index.json: it is no store, or was not finished"),
        ("load_store(\"/etc\")", "there is no directory \"/etc\" beside the script"),
        (
            "let s = store(\"a\"); s.append(#{x: zeros(1)}); s.remaining([1])",
            "call it once, before anything is appended",
        ),
    ] {
        let said = said(&place, script);
        assert!(said.contains(sentence), "{script}\n{said}");
    }
}

/// Appends rows one by one, with some work between, in shards of a few rows.
const SLOW: &str = "let s = store(\"acts\", #{shard_bytes: 400}); let n = 0; \
    for i in s.remaining(arange(400).to_array()) { let x = rand(60, 60); for j in 0..4 { x = x.matmul(x).softmax(-1); } \
    if i % 3 != 0 { s.append(#{id: tensor([i, i + 1000])}); } s.append(#{id: tensor([i])}); n += 1; } print(n);";

fn is_shard(file: &std::fs::DirEntry) -> bool {
    file.file_name().to_string_lossy().starts_with("shard-")
}

#[test]
fn a_run_that_is_killed_goes_on_without_a_gap_or_a_double() {
    let place = Workplace::new(&[("w.rhai", SLOW)]);
    let start = |place: &Workplace| -> Command {
        place.command(&["run", "w.rhai", "--out", "out", "--resume"])
    };
    let undisturbed = |script: &str| {
        let place = Workplace::new(&[("w.rhai", script)]);
        let began = Instant::now();
        let ran: Ran = start(&place).output().unwrap().into();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (place, began.elapsed())
    };
    let (whole, _) = undisturbed(SLOW);
    let (_, startup) = undisturbed(&SLOW.replace("400", "1"));
    let shards = || {
        let files = std::fs::read_dir(place.path().join("out/acts")).into_iter().flatten();
        files.filter(|file| is_shard(file.as_ref().unwrap())).count()
    };
    // Twenty times it is killed: while it begins, or soon after it wrote a shard more.
    let mut random = 12345_u64;
    let mut kills = 0;
    for _ in 0..20 {
        let before = shards();
        let mut child = start(&place).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let part = (random >> 40) as f64 / f64::from(1 << 24);
        if part < 0.5 {
            std::thread::sleep(startup.mul_f64(2.0 * part));
        } else {
            while shards() == before && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(10).mul_f64(2.0 * part - 1.0));
        }
        child.kill().unwrap();
        kills += usize::from(child.wait().unwrap().code().is_none());
    }
    println!("{kills} kills left {} shards", shards());
    assert!(kills > 5 && shards() > 0);
    let last: Ran = start(&place).output().unwrap().into();
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    // What was in whole shards is not done again.
    assert_ne!(last.stdout, "400\n");
    let index = |place: &Workplace| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(place.path().join("out/acts/index.json")).unwrap())
            .unwrap()
    };
    // Shards end at other places after a kill; the rows are those of the undisturbed run.
    assert_eq!(index(&place)["rows"], index(&whole)["rows"]);
    let rows = |place: &Workplace| {
        shown(place, "let d = load_store(\"out/acts\"); print(d[0..d.len].id.to_array());")
    };
    assert_eq!(rows(&place), rows(&whole));
    assert!(!leftovers(&place.path().join("out")), "something unfinished stayed");
}

fn leftovers(directory: &Path) -> bool {
    std::fs::read_dir(directory)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".precompute-"))
}

#[test]
fn without_remaining_what_is_there_is_not_appended_again() {
    let script = "let s = store(\"a\", #{shard_bytes: 40}); for i in 0..10 { s.append(#{i: tensor([i])}); if i == param(\"stop\", 99) { throw \"enough\"; } } print(s.len);";
    let place = Workplace::new(&[("s.rhai", script)]);
    let run = |more: &[&str]| place.run(&[&["run", "s.rhai", "--out", "out"], more].concat());
    // Five rows of eight bytes are a shard: the first is whole, what came after it is not kept.
    assert_eq!(run(&["--timeout", "24h"]).code, Some(0));
    let again = run(&[]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("has a store of 2 shards")
            && again.stderr.contains("--resume goes on with it"),
        "{}",
        again.stderr
    );
    assert_eq!(run(&["--resume"]).stdout, "10\n");
    assert_eq!(
        shown(&place, "print(load_store(\"out/a\")[0..10].i.to_array());"),
        "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    );
    place.write("s.rhai", script.as_bytes());
    let other = run(&["--resume", "--set", "stop=7"]);
    assert!(
        other.stderr.contains("was begun by another script, or with other parameters"),
        "{}",
        other.stderr
    );
    let place = Workplace::new(&[("s.rhai", script)]);
    let failed = place.run(&["run", "s.rhai", "--out", "out", "--set", "stop=6"]);
    assert_eq!(failed.code, Some(1));
    assert!(
        place.path().join("out/a/shard-00000.safetensors").exists()
            && !place.path().join("out/a/index.json").exists()
    );
    assert_eq!(place.run(&["run", "s.rhai", "--out", "out", "--resume"]).code, Some(1));
}

#[test]
fn a_capture_that_is_kept_is_answered_bit_for_bit() {
    const SETUP: &str = "let m = model(param(\"model\", \"demo:opt\")); let texts = [[\"When Mary and John went\", \"The keys\"], [\"The keys to the\"]]; ";
    let write = format!(
        "{SETUP} let s = store(\"kept\", #{{shard_bytes: 2000}}); for t in texts {{ m.capture(m.encode(t), [\"post-mlp\", \"logits\"], #{{into: s}}); }} print(s.len);"
    );
    let same = format!(
        "{SETUP} let d = load_store(\"out/kept\"); let equal = |a, b| a.shape == b.shape && (a == b).all().item(); let n = 0; for t in texts {{ let ids = m.encode(t); \
         for points in [\"post-mlp\", [\"post-mlp\", \"logits\"], [\"logits\"]] {{ for options in [#{{}}, #{{layers: 1}}, #{{layers: [2, 0]}}] {{ let stored = options; stored.from = d; \
         let a = m.capture(ids, points, options); let b = m.capture(ids, points, stored); \
         if type_of(points) == \"string\" {{ if equal.call(a, b) {{ n += 1; }} }} else {{ for p in points {{ if equal.call(a[p], b[p]) {{ n += 1; }} }} }} }} }} }} print(n);"
    );
    for demo in ["demo:opt", "demo:gpt-neox"] {
        let place = Workplace::new(&[("w.rhai", &write), ("s.rhai", &same)]);
        let set = format!("model={demo}");
        let ran = place.run(&["run", "w.rhai", "--out", "out", "--set", &set]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let ran = place.run(&["run", "s.rhai", "--set", &set, "--fresh"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "24\n"), "{}", ran.stderr);
    }
}

#[test]
fn an_answer_comes_from_the_store_and_only_where_it_is_the_same() {
    let place = Workplace::new(&[(
        "w.rhai",
        "let m = model(\"demo:opt\"); let s = store(\"kept\"); m.capture(\"When Mary\", \"post-mlp\", #{into: s});",
    )]);
    let ran = place.run(&["run", "w.rhai", "--out", "out"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // A store whose numbers are others shows which answers come from it.
    let shard = place.path().join("out/kept/shard-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    // The tensors stand in the order of their dtypes' sizes: after the floats comes `real`, a byte
    // for each of the text's four tokens.
    let end = bytes.len() - 4;
    bytes[end - 4..end].copy_from_slice(&77.0_f32.to_le_bytes());
    std::fs::write(&shard, bytes).unwrap();
    let last = |call: &str| {
        shown(
            &place,
            &format!(
                "let m = model(\"demo:opt\"); let d = load_store(\"out/kept\"); let x = {call}; print(x.reshape([-1])[-1].item() == 77.0);"
            ),
        )
    };
    assert_eq!(last("m.capture(\"When Mary\", \"post-mlp\", #{from: d})"), "true");
    assert_eq!(last("m.capture(\"When Mary\", \"post-mlp\", #{from: d, layers: [0, -1]})"), "true");
    assert_eq!(last("m.capture(\"When Mary\", \"post-mlp\")"), "false");
    assert_eq!(last("m.capture(\"When John\", \"post-mlp\", #{from: d})"), "false");
    assert_eq!(last("m.capture(\"When Mary\", \"pre-mlp\", #{from: d})"), "false");
    assert_eq!(
        last(
            "model(\"demo:opt\", #{dtype: \"f64\"}).capture(\"When Mary\", \"post-mlp\", #{from: d})"
        ),
        "false"
    );
    assert_eq!(
        last(
            "m.with_weights(#{\"*.fc2.bias\": |w| w + 1.0}).capture(\"When Mary\", \"post-mlp\", #{from: d})"
        ),
        "false"
    );
    for (call, sentence) in [
        (
            "m.capture(\"a\", \"attn-probs\", #{into: store(\"b\")})",
            "attn-probs can't be kept in a store",
        ),
        ("m.capture(\"a\", \"post-mlp\", #{into: 3})", "into must be a store of this run"),
        (
            "m.capture(\"a\", \"post-mlp\", #{from: store(\"b\")})",
            "load_store(s) closes it and reads it",
        ),
        (
            "m.capture(\"a\", \"post-mlp\", context([hook(\"post-mlp\", |x, ctx| x)]), #{into: store(\"b\")})",
            "and there is a context with hooks",
        ),
        (
            "m.capture(\"a\", \"post-mlp\", #{into: store(\"b\"), stop: \"post-mlp@1\"})",
            "stop can't be asked for together with a store",
        ),
        (
            "m.capture(\"a\", \"logits\", #{into: store(\"b\"), logits: \"last\"})",
            "logits can't be asked for together with a store",
        ),
        (
            "let s = store(\"b\"); m.capture(\"a\", \"post-mlp\", #{into: s}); m.capture(\"b\", \"pre-mlp\", #{into: s})",
            "has rows of",
        ),
        (
            "let s = store(\"b\"); m.capture(\"a\", \"post-mlp\", #{into: s}); m.capture(\"b\", \"post-mlp\", #{into: s, layers: [0, 1]})",
            "has rows",
        ),
        (
            "m.capture(\"a\", \"post-mlp\", #{into: store(\"b\", #{dtype: \"bf16\"})})",
            "a store that casts",
        ),
    ] {
        let said = said(&place, &format!("let m = model(\"demo:opt\"); {call}"));
        assert!(said.contains(sentence), "{call}\n{said}");
    }
}
