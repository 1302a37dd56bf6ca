//! Weights of strangers: what a pickle or a header makes is bounded, what can't be read is named,
//! and nothing of it reaches a terminal raw.

use super::forge::{
    Ended, archive, arguments, call, ended, global, int, safetensors, state_dict, tensor, text,
    tuple,
};
use crate::binary::Workplace;
use crate::fixture::directory;

/// A name that sets the title of a terminal.
const EVIL: &str = "evil\x1b]0;owned\x07\u{9b}31m";

/// Far less than any of the bombs would take.
const LITTLE: u64 = 700 << 20;

/// A directory `m` with the config of the fixture `case` and the weights `file`.
fn with_weights(case: &str, file: &str, bytes: &[u8]) -> Workplace {
    let here = Workplace::new(&[("s.rhai", "print(model(\"m\").weight(\"x\").sum())")]);
    here.write("m/config.json", &std::fs::read(directory(case).join("config.json")).unwrap());
    here.write(&format!("m/{file}"), bytes);
    here
}

#[track_caller]
fn is_harmless(ran: &Ended, what: &str) {
    assert!(ran.code.is_some(), "{what}: it had to be killed: {}", ran.stderr);
    assert!(ran.peak < LITTLE, "{what}: it took {} MB", ran.peak >> 20);
    assert!(!ran.stderr.contains(['\x1b', '\x07', '\u{9b}']), "{what}: {:?}", ran.stderr);
    assert!(
        !ran.stderr.contains("this is a bug") && !ran.stderr.contains("panicked"),
        "{what}: {}",
        ran.stderr
    );
}

/// Says why no model is made of the pickle, everywhere a model is asked for.
#[track_caller]
fn refused(what: &str, pickle: &[u8], storages: &[(&str, &[u8])], said: &str) {
    let here = with_weights("gpt2", "pytorch_model.bin", &archive(pickle, storages));
    for (command, input) in [
        (&["run", "s.rhai", "--max-memory", "100MB"][..], ""),
        (&["generate", "--model", "m", "--prompt", "a"], ""),
        (&["repl"], "let m = model(\"m\");\n"),
    ] {
        let ran = ended(here.command(command), input);
        is_harmless(&ran, what);
        assert_ne!(ran.code, Some(0), "{what}: {command:?}");
        assert!(ran.stderr.contains(said), "{what}: {command:?}: {}", ran.stderr);
    }
}

#[test]
fn a_pickle_makes_no_more_than_it_is_long() {
    const NONE: &str = "the checkpoint has no token embeddings";
    // A list of a list of …, each twice.
    let mut nested = b"]q\x00".to_vec();
    for place in 0..40u8 {
        nested.extend([b']', b'(', b'h', place, b'h', place, b'e', b'q', place + 1]);
    }
    // A map whose keys are one long name.
    let name = text(&"n".repeat(1 << 20));
    let names =
        [b"\x80\x02}(", name.as_slice(), b"q\x00N", &b"h\x00N".repeat(1000), b"u."].concat();
    let deep = [vec![b'N'], vec![0x85; 1 << 18]].concat();
    for (what, pickle, said) in [
        ("doubled forty times", state_dict(&[("x", nested.clone())]), NONE),
        ("doubled as a key", [b"\x80\x02}(", nested.as_slice(), b"Nu."].concat(), NONE),
        (
            "a duplicate of all before",
            state_dict(&[("x", [b"(N".to_vec(), vec![b'2'; 10_000], b"t".to_vec()].concat())]),
            NONE,
        ),
        ("tuples within each other", state_dict(&[("x", deep)]), NONE),
        ("one name a thousand times", names, NONE),
        ("a memo far away", b"\x80\x02Nr\xff\xff\xff\xff.".to_vec(), "before there are so many"),
        (
            "a text that it does not have",
            b"\x80\x02X\xff\xff\xff\xffa.".to_vec(),
            "it is cut short",
        ),
        ("a list", b"\x80\x02].".to_vec(), "holds no map from names to tensors"),
        ("no end", b"\x80\x02}".to_vec(), "it is cut short"),
        (
            "a name of a megabyte",
            state_dict(&[(&"n".repeat(1 << 20), tensor("FloatStorage", "0", 0, &[1], &[1]))]),
            "has 1048576 bytes",
        ),
    ] {
        refused(what, &pickle, &[("0", &[0; 64])], said);
    }
}

#[test]
fn views_of_one_storage_take_no_more_than_the_run_may() {
    let many: Vec<(String, Vec<u8>)> = (0..200)
        .map(|i| (format!("x{i}"), tensor("FloatStorage", "0", 0, &[1 << 18], &[1])))
        .collect();
    let many: Vec<(&str, Vec<u8>)> =
        many.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let megabyte = vec![0; 1 << 20];
    for (what, entries, storage, said) in [
        (
            "strides of 0",
            vec![("x", tensor("FloatStorage", "0", 0, &[1 << 30, 128], &[0, 0]))],
            &[0; 64][..],
            "x [1073741824, 128]",
        ),
        (
            "a stride of 0",
            vec![("x", tensor("ByteStorage", "0", 0, &[1 << 40, 16], &[0, 1]))],
            &[0; 64],
            "does not fit in memory",
        ),
        (
            "steps that overlap",
            vec![("x", tensor("HalfStorage", "0", 0, &[1 << 19, 1 << 19], &[1, 1]))],
            &megabyte,
            "x",
        ),
    ] {
        refused(what, &state_dict(&entries), &[("0", storage)], said);
    }
    // Two hundred names for a megabyte: more than 100 MB, and less than 8 GiB.
    let here = with_weights(
        "gpt2",
        "pytorch_model.bin",
        &archive(&state_dict(&many), &[("0", &megabyte)]),
    );
    let ran = ended(here.command(&["run", "s.rhai", "--max-memory", "100MB"]), "");
    is_harmless(&ran, "two hundred names");
    assert!(
        ran.stderr.contains("repeat its 1048576 bytes until they take 209715200"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_tensor_that_can_not_be_read_is_named() {
    let few = call("torch._utils", "_rebuild_tensor_v2", &[int(1)]);
    let v2 = |at: usize, by: Vec<u8>| {
        let mut arguments = arguments("FloatStorage", "0", 0, &[2, 2], &[2, 1]);
        arguments[at] = by;
        call("torch._utils", "_rebuild_tensor_v2", &arguments)
    };
    for (what, made, why) in [
        ("too few arguments", few.clone(), "too few arguments"),
        ("none at all", call("torch._utils", "_rebuild_tensor_v2", &[]), "too few arguments"),
        (
            "no tuple of them",
            [global("torch._utils", "_rebuild_tensor_v2"), b"NR".to_vec()].concat(),
            "no tuple",
        ),
        (
            "a parameter of nothing",
            call("torch._utils", "_rebuild_parameter", &[]),
            "too few arguments",
        ),
        (
            "a parameter of a number",
            call("torch._utils", "_rebuild_parameter", &[int(1)]),
            "a parameter without a tensor",
        ),
        (
            "a type of nothing",
            call("torch._tensor", "_rebuild_from_type_v2", &[int(1)]),
            "too few arguments",
        ),
        ("a negative offset", v2(1, int(-1)), "its offset is none"),
        ("the least offset", v2(1, int(i64::MIN)), "its offset is none"),
        ("an offset beyond", v2(1, int(1 << 40)), "reaches beyond its storage"),
        ("the largest offset", v2(1, int(i64::MAX)), "larger than any storage"),
        ("a negative size", v2(2, tuple(&[int(-1), int(2)])), "its shape or its strides are none"),
        (
            "a product that wraps",
            v2(2, tuple(&[int(1 << 62), int(1 << 62)])),
            "larger than any storage",
        ),
        (
            "a product that wraps to 0",
            v2(2, tuple(&[int(1 << 32), int(1 << 32)])),
            "larger than any storage",
        ),
        ("nothing of very much", v2(2, tuple(&[int(1 << 62), int(0)])), "larger than any storage"),
        (
            "a negative stride",
            v2(3, tuple(&[int(-2), int(1)])),
            "its shape or its strides are none",
        ),
        (
            "strides that wrap",
            v2(3, tuple(&[int(i64::MAX), int(i64::MAX)])),
            "larger than any storage",
        ),
        ("fewer strides than dims", v2(3, tuple(&[int(1)])), "2 dims and 1 strides"),
        ("a thousand dims", v2(2, tuple(&vec![int(1); 1000])), "it has 1000 dims"),
        ("no storage", v2(0, int(1)), "it has no storage"),
        ("a storage of nothing", v2(0, [tuple(&[]), b"Q".to_vec()].concat()), "is not described"),
        (
            "a storage that is not there",
            tensor("FloatStorage", "9", 0, &[1], &[1]),
            "no archive/data/9",
        ),
        (
            "a storage elsewhere",
            tensor("FloatStorage", "../data.pkl", 0, &[1], &[1]),
            "no archive/data/../data.pkl",
        ),
        ("a type of storage that is evil", tensor(EVIL, "0", 0, &[1], &[1]), "evil␛]0;owned␇"),
        ("a function that is evil", call(EVIL, EVIL, &[]), "evil␛]0;owned␇"),
        ("a system call", call("os", "system", &[text("touch owned")]), "it is made by os.system"),
    ] {
        let pickle = state_dict(&[("wte.weight", made), (EVIL, few.clone())]);
        let here = with_weights("gpt2", "pytorch_model.bin", &archive(&pickle, &[("0", &[0; 16])]));
        let ran = ended(here.command(&["run", "s.rhai"]), "");
        is_harmless(&ran, what);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stderr);
        let warning = ran
            .stderr
            .lines()
            .find(|line| line.starts_with("warning: pytorch_model.bin has tensors"));
        let warning = warning.unwrap_or_else(|| panic!("{what}: {}", ran.stderr));
        assert!(warning.contains("wte.weight (") && warning.contains(why), "{what}: {warning}");
        assert!(warning.contains("evil␛]0;owned␇"), "{what}: {warning}");
        assert!(!here.path().join("owned").exists());
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let one = |info: &str| format!("{{\"x\":{info}}}");
    let evil = EVIL.replace('\x1b', "\\u001b").replace('\x07', "\\u0007");
    for (what, header, data, said) in [
        ("overlapping", "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[4,12]}}".to_owned(), 12, "is broken"),
        ("a gap", one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}"), 8, "leaves a gap"),
        ("backwards", one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}"), 4, "is broken"),
        ("offsets that wrap", one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[18446744073709551615,3]}"), 4, "is broken"),
        ("offsets beyond", one("{\"dtype\":\"U8\",\"shape\":[18446744073709551615],\"data_offsets\":[0,18446744073709551615]}"), 4, "is broken"),
        ("a shape that wraps", one("{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}"), 0, "is broken"),
        ("nothing of very much", one("{\"dtype\":\"F32\",\"shape\":[0,9223372036854775808,9223372036854775808],\"data_offsets\":[0,0]}"), 0, "no token embeddings"),
        ("a negative offset", one("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[-1,3]}"), 4, "header can't be read"),
        ("an evil dtype", one(&format!("{{\"dtype\":\"{evil}\",\"shape\":[4],\"data_offsets\":[0,4]}}")), 4, "no token embeddings"),
        ("an evil name", format!("{{\"{evil}\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,4]}}}}"), 4, "places evil␛]0;owned␇"),
        ("brackets without end", "[".repeat(1 << 20), 0, "header can't be read"),
        ("maps without end", "{\"a\":".repeat(1 << 20), 0, "header can't be read"),
    ] {
        let here = with_weights("gpt2", "model.safetensors", &safetensors(&header, &vec![0; data]));
        let ran = ended(here.command(&["run", "s.rhai"]), "");
        is_harmless(&ran, what);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{what}: {}", ran.stderr);
    }
}

/// An index may name its shards as it likes, each once or a thousand times.
#[test]
fn shards_are_files_beside_the_index() {
    for (what, map, said) in [
        ("elsewhere", "{\"x\":\"../w.safetensors\"}".to_owned(), "no file beside it"),
        ("absolute", "{\"x\":\"/etc/passwd\"}".into(), "no file beside it"),
        ("hidden", "{\"x\":\".w\"}".into(), "no file beside it"),
        ("evil", "{\"x\":\"\\u001b]0;owned\\u0007\"}".into(), "no file beside it"),
        ("a number", "{\"x\":1}".into(), "no file beside it"),
        ("itself", "{\"x\":\"model.safetensors.index.json\"}".into(), "is broken"),
        (
            "fifty thousand",
            format!(
                "{{{}}}",
                (0..50_000).map(|i| format!("\"x{i}\":\"s{i}\"")).collect::<Vec<_>>().join(",")
            ),
            "is missing",
        ),
        ("a list", "[]".into(), "has no weight_map"),
    ] {
        let index = format!("{{\"weight_map\":{map}}}");
        let here = with_weights("gpt2", "model.safetensors.index.json", index.as_bytes());
        let ran = ended(here.command(&["run", "s.rhai"]), "");
        is_harmless(&ran, what);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{what}: {}", ran.stderr);
    }
}

#[test]
fn weights_that_this_machine_has_no_memory_for_are_refused() {
    let elements: u64 = 1 << 40;
    let header = format!(
        "{{\"wte.weight\":{{\"dtype\":\"F32\",\"shape\":[{elements}],\"data_offsets\":[0,{}]}}}}",
        4 * elements
    );
    let here = with_weights("gpt2", "model.safetensors", &safetensors(&header, &[]));
    // A file of holes.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(here.path().join("m/model.safetensors"))
        .unwrap();
    if file.set_len(8 + header.len() as u64 + 4 * elements).is_err() {
        return; // The file system has no files of that size.
    }
    let ran = ended(here.command(&["run", "s.rhai"]), "");
    is_harmless(&ran, "four terabytes");
    assert!(
        ran.stderr.contains("the weights of m take 4.0 TiB, and this machine has"),
        "{}",
        ran.stderr
    );
}

#[test]
fn one_model_is_one_load_however_it_is_spelled() {
    let here = Workplace::new(&[]);
    let fixture = directory("gpt2");
    for entry in std::fs::read_dir(&fixture).unwrap() {
        let path = entry.unwrap().path();
        here.write(
            &format!("m/{}", path.file_name().unwrap().to_str().unwrap()),
            &std::fs::read(&path).unwrap(),
        );
    }
    std::os::unix::fs::symlink(here.path().join("m"), here.path().join("link")).unwrap();
    let spelled = "\
        let place = \"m\"; let all = [model(\"m\"), model(\"./m\"), model(\"link\"), model(\"link/.\"), model(\"m\", #{device: \"cpu\", offload: true})];\n\
        for i in 0..100 { place += \"/../m\"; all.push(model(place)); all.push(model(place + \"//\")); }\n\
        all.len()";
    here.write("s.rhai", spelled.as_bytes());
    let ran = ended(here.command(&["run", "s.rhai", "--out", "out"]), "");
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "205"), "{}", ran.stderr);
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(here.path().join("out/run.json")).unwrap()).unwrap();
    assert_eq!(record["models"].as_array().unwrap().len(), 1, "{}", record["models"]);
}
