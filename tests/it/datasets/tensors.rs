//! `load_tensors` of what NumPy and PyTorch wrote, and `.npz` that NumPy's rules read again.

use super::{said, shown, workplace};

#[test]
fn numpys_archives_are_read() {
    let place = workplace();
    for name in ["tensors.npz", "tensors-compressed.npz"] {
        let print =
            |key: &str| shown(&place, &format!("print(load_tensors(\"{name}\")[\"{key}\"]);"));
        assert_eq!(
            shown(&place, &format!("print(load_tensors(\"{name}\").keys());")),
            r#"["a", "b/c", "flags", "fortran", "half"]"#
        );
        assert_eq!(print("a"), "tensor [2, 3] f32 cpu: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]");
        assert_eq!(print("b/c"), "tensor [3] i64 cpu: [1, -2, 3]");
        assert_eq!(print("half"), "tensor [2] f16 cpu: [0.5, 1.5]");
        assert_eq!(print("flags"), "tensor [2] bool cpu: [true, false]");
        assert_eq!(print("fortran"), "tensor [3, 2] f64 cpu: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]");
    }
}

#[test]
fn pickles_of_pytorch_are_read_and_not_run() {
    let place = workplace();
    let print =
        |name: &str, rest: &str| shown(&place, &format!("print(load_tensors(\"{name}\"){rest});"));
    assert_eq!(print("state.pt", ".keys()"), r#"["bias", "turned", "weight"]"#);
    assert_eq!(
        print("state.pt", ".turned"),
        "tensor [3, 2] f32 cpu: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]"
    );
    assert_eq!(print("state.pt", ".bias"), "tensor [2] bf16 cpu: [1.0, 2.0]");
    assert_eq!(print("nested.pth", ".keys()"), r#"["model.weight", "steps.0", "steps.1"]"#);
    assert_eq!(print("nested.pth", "[\"steps.1\"]"), "tensor [] i64 cpu: 3");
    assert_eq!(print("one.bin", ""), "tensor [2, 3] f32 cpu: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]");
}

#[test]
fn an_index_is_its_files() {
    let place = workplace();
    place.write(
        "w/model.bin.index.json",
        br#"{"weight_map": {"weight": "one.pt", "bias": "one.pt", "x": "two.safetensors"}}"#,
    );
    place.write("w/one.pt", &std::fs::read(place.path().join("state.pt")).unwrap());
    shown(&place, "save(\"two.safetensors\", #{x: tensor([1, 2])});");
    let runs = place.path().join("runs");
    let run = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(run.join("two.safetensors"), place.path().join("w/two.safetensors")).unwrap();
    assert_eq!(
        shown(
            &place,
            "let t = load_tensors(\"w/model.bin.index.json\"); print(t.keys()); print(t.x);"
        ),
        "[\"bias\", \"turned\", \"weight\", \"x\"]\ntensor [2] i64 cpu: [1, 2]"
    );
    for (index, sentence) in [
        (r#"{"weight_map": {"a": "../one.bin"}}"#, "names a shard that is no file beside it"),
        (r#"{"weight_map": {"a": "none.pt"}}"#, "there is no file \"w/none.pt\" beside the script"),
        (r#"{"weight_map": {"a": "a.index.json"}}"#, "names another index"),
        ("[]", "is no index of files of tensors"),
    ] {
        place.write("w/a.index.json", index.as_bytes());
        let said = said(&place, "load_tensors(\"w/a.index.json\")");
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn a_saved_archive_is_read_again() {
    let place = workplace();
    let script = "save(\"all.npz\", #{a: tensor([[1.5, 2.0]]), n: tensor([3, 4]), b: tensor([true]), z: rfft(tensor([1.0, 2.0]))}); \
        save(\"one.npz\", tensor([7]));";
    shown(&place, script);
    let runs = place.path().join("runs");
    let run = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    for name in ["all.npz", "one.npz"] {
        std::fs::copy(run.join(name), place.path().join(name)).unwrap();
    }
    assert_eq!(
        shown(
            &place,
            "let t = load_tensors(\"all.npz\"); print(t.a); print(t.n); print(t.b); print(t.z); print(load_tensors(\"one.npz\"));"
        ),
        "tensor [1, 2] f32 cpu: [[1.5, 2.0]]\ntensor [2] i64 cpu: [3, 4]\ntensor [1] bool cpu: [true]\n\
         tensor [2] c64 cpu: [3.0+0.0i, -1.0+0.0i]\n#{\"one\": tensor [1] i64 cpu: [7]}"
    );
    for (script, sentence) in [
        ("save(\"x.npz\", #{b: tensor([1.0]).to(\"bf16\")})", "b: NumPy has no bf16"),
        ("save(\"x.npz\", [1])", ".npz holds tensors, and this is none"),
        (
            "save(\"x.npz\", model(\"demo:opt\").encode([\"one\", \"one two\"]))",
            "whose mask .npz would lose",
        ),
    ] {
        let said = said(&place, script);
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn what_is_broken_is_a_sentence() {
    let place = workplace();
    let npz = std::fs::read(place.path().join("tensors-compressed.npz")).unwrap();
    place.write("cut.npz", &npz[..npz.len() - 40]);
    let mut bits = npz.clone();
    bits[45..120].fill(0x55);
    place.write("bits.npz", &bits);
    place.write("old.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.");
    place.write("x.gguf", b"GGUF");
    place.write("cut.json", b"{\"a\": [1, 2");
    place.write("large.json", b"[18446744073709551615]");
    for (name, sentence) in [
        ("cut.json", "cut.json is no JSON: EOF while parsing"),
        ("large.json", "18446744073709551615 is larger than a script's integers"),
    ] {
        let said = said(&place, &format!("load_json(\"{name}\")"));
        assert!(said.contains(sentence), "{said}");
    }
    place.write("nested.json", b"{\"a\": {\"b\": [1, 2.5, null, true, \"x\"]}}");
    assert_eq!(
        shown(&place, "print(load_json(\"nested.json\").a.b);"),
        "[1, 2.5, (), true, \"x\"]"
    );
    for (name, sentence) in [
        ("cut.npz", "cut.npz: its zip can't be read"),
        ("bits.npz", "bits.npz: "),
        ("old.pt", "old.pt is broken: "),
        ("x.gguf", "x.gguf is in no format that tensors are read from"),
    ] {
        let said = said(&place, &format!("load_tensors(\"{name}\")"));
        assert!(said.contains(sentence), "{said}");
    }
}
