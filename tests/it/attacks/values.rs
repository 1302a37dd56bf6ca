//! Numbers at the ends of what a dtype holds, bytes that are no bools, dims of one row, dtypes that
//! nobody knows: each is counted, drawn or read as what it is, or refused in a sentence.

use std::path::Path;

use crate::run::{Ran, precompute};
use crate::snippet::{all_fail, all_show};

/// Runs a script beside files.
fn beside(files: &[(&str, Vec<u8>)], script: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(directory.path().join("script.rhai"), script).unwrap();
    let output =
        precompute(directory.path()).args(["run", "script.rhai", "--out", "out"]).output().unwrap();
    Ran { directory, output }
}

/// A .safetensors file of tensors by name: dtype, shape and bytes.
fn safetensors(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let place = [data.len(), data.len() + bytes.len()];
        header.insert(
            (*name).into(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": place}),
        );
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_string(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", (header.len() as u16).to_le_bytes().as_slice(), header.as_bytes(), data]
        .concat()
}

#[test]
fn a_bool_is_0_or_1_however_it_was_stored() {
    let bytes = [0u8, 1, 7, 255];
    let files = [
        ("a.safetensors", safetensors(&[("b", "BOOL", &[4], &bytes)])),
        ("b.npy", npy("|b1", "(4,)", &bytes)),
    ];
    for load in ["load_tensors(\"a.safetensors\").b", "load_tensors(\"b.npy\")"] {
        let script = format!(
            "let b = {load}; print([b.sum().item(), b.to(\"u8\").max().item(), (b == true).sum().item(), (!b).sum().item(), \
             b.to(\"f32\").mean().item(), arange(4)[b].len]);"
        );
        assert_eq!(beside(&files, &script).ok().stdout().trim(), "[3, 1, 3, 1, 0.75, 3]", "{load}");
    }
}

#[test]
fn a_tensor_of_an_unknown_dtype_is_left_out_with_a_warning() {
    let one = 1f32.to_le_bytes();
    for dtype in ["F8_E4M3", "F8_E5M2", "F4", "F8_E9M9", "COMPLEX256"] {
        let bytes: &[u8] = if dtype == "F4" { &[1] } else { &[1, 2] };
        let file = safetensors(&[("odd", dtype, &[2], bytes), ("w", "F32", &[1], &one)]);
        let ran = beside(
            &[("a.safetensors", file)],
            "let t = load_tensors(\"a.safetensors\"); [t.keys(), t.w.item()]",
        )
        .ok();
        assert_eq!(ran.stdout().trim(), "[[\"w\"], 1.0]");
        let warning =
            format!("warning: a.safetensors: odd ({dtype}) is of a dtype that tensors don't have");
        assert!(ran.stderr().contains(&warning), "{}", ran.stderr());
        let file = safetensors(&[("odd", dtype, &[2], bytes)]);
        let ran = beside(&[("a.safetensors", file)], "load_tensors(\"a.safetensors\")");
        assert_eq!(ran.output.status.code(), Some(1));
        assert!(ran.stderr().contains("is of a dtype that tensors don't have"), "{}", ran.stderr());
    }
    // Integers of other sizes are integers.
    let file = safetensors(&[("a", "I8", &[2], &[255, 127]), ("b", "U16", &[1], &[255, 255])]);
    let ran = beside(
        &[("a.safetensors", file)],
        "let t = load_tensors(\"a.safetensors\"); [t.a.to_array(), t.b.item()]",
    );
    assert_eq!(ran.ok().stdout().trim(), "[[-1, 127], 65535]");
    // What is wrong besides is an error still.
    let lies = safetensors(&[("odd", "F8_E9M9", &[2], &[1, 2]), ("w", "F32", &[2], &one)]);
    let cut = {
        let mut file = safetensors(&[("odd", "F8_E9M9", &[2], &[1, 2])]);
        file.pop();
        file
    };
    for file in [lies, cut] {
        let ran = beside(&[("a.safetensors", file)], "load_tensors(\"a.safetensors\")");
        assert_eq!(ran.output.status.code(), Some(1));
        assert!(ran.stderr().contains("a.safetensors: it is broken"), "{}", ran.stderr());
    }
}

#[test]
fn the_largest_numbers_are_counted() {
    let wide = "let x = tensor([-1e308, 1e308, 0.0], #{dtype: \"f64\"});";
    all_show(&[
        (&format!("{wide} x.histogram(4).counts"), "tensor [4] i64 cpu: [1, 0, 1, 1]"),
        (
            &format!("{wide} x.histogram(4).edges"),
            "tensor [5] f64 cpu: [-1.0e308, -5.0e307, 0.0, 5.0e307, 1.0e308]",
        ),
        (
            "tensor([1.7e308, -1.7e308], #{dtype: \"f64\"}).histogram(2).counts",
            "tensor [2] i64 cpu: [1, 1]",
        ),
        ("tensor([1e308], #{dtype: \"f64\"}).histogram(4).counts.sum().item()", "1"),
        ("tensor([1e10, 1e10]).histogram(2).counts", "tensor [2] i64 cpu: [0, 2]"),
        (
            "linspace(-1e308, 1e308, 3, #{dtype: \"f64\"})",
            "tensor [3] f64 cpu: [-1.0e308, 0.0, 1.0e308]",
        ),
        (
            "linspace(-1.7e308, 1.7e308, 2, #{dtype: \"f64\"})",
            "tensor [2] f64 cpu: [-1.7e308, 1.7e308]",
        ),
        ("arange(-1e308, 1e308, 1e308, #{dtype: \"f64\"})", "tensor [2] f64 cpu: [-1.0e308, 0.0]"),
        (
            "[ones(2, 2) * 1e38, ones(2, 2) * 1e-30].map(|a| (a.svd().s[0].item() / a[[0, 0]].item() - 2.0).abs() < 1e-6)",
            "[true, true]",
        ),
        (
            "tensor([[3e200, 0.0], [4e200, 1.0]], #{dtype: \"f64\"}).qr().r[[0, 0]].item() == 5e200",
            "true",
        ),
        ("let e = (ones(2, 2) * 1e38).eigh().values; e.isfinite().all().item()", "true"),
    ]);
}

#[test]
fn what_a_dtype_cannot_hold_is_refused() {
    all_fail(&[
        ("full([2], 1e39)", "1e39 does not fit into f32"),
        ("full([2], 70000.0, #{dtype: \"f16\"})", "70000.0 does not fit into f16"),
        (
            "zeros(2).to(\"f16\").masked_fill(tensor([true, false]), -1e9)",
            "-1000000000.0 does not fit into f16",
        ),
        ("let t = zeros(2); t[0] = 1e39; t", "1e39 does not fit into f32"),
        ("linspace(0, 1e308, 3)", "1e308 does not fit into f32"),
        ("arange(0.0, 1e308, 1e307)", "9e307 does not fit into f32"),
        ("tensor([1.0]).histogram(#{min: 0, max: 1e39})", "histogram: 1e39 does not fit into f32"),
        ("tensor([1.0, nan]).to(\"i64\")", "nan does not fit into i64"),
        ("tensor([inf]).to(\"u32\")", "inf does not fit into u32"),
        ("tensor([256.0]).to(\"u8\")", "256.0 does not fit into u8"),
        ("tensor([-1.0]).to(\"u8\")", "-1.0 does not fit into u8"),
        ("tensor([nan], #{dtype: \"i64\"})", "nan does not fit into i64"),
        ("full([1], nan, #{dtype: \"i64\"})", "nan does not fit into i64"),
        ("let t = zeros(2).to(\"i64\"); t[0] = tensor(inf); t", "inf does not fit into i64"),
        ("let t = zeros(2).to(\"i64\"); t[0] = nan; t", "nan does not fit into i64"),
        ("tensor([1.0, nan]).histogram()", "histogram: the tensor [2] has elements that are nan"),
        ("tensor([1.0, inf]).histogram()", "histogram cannot divide 1 to inf into bins"),
        ("ones(2, 3).layer_norm(#{eps: -1.0})", "layer_norm: eps must be 0 or more, not -1"),
        ("ones(2, 3).rms_norm(#{eps: nan})", "rms_norm: eps must be 0 or more, not NaN"),
        ("tensor([[1.0, 2.0]]).pca(1)", "pca needs at least two points, and a tensor [1, 2] has 1"),
    ]);
    all_show(&[
        ("tensor([-0.9, 255.9]).to(\"u8\")", "tensor [2] u8 cpu: [0, 255]"),
        (
            "tensor([-9223372036854775808.0, 0.5]).to(\"i64\")",
            "tensor [2] i64 cpu: [-9223372036854775808, 0]",
        ),
        ("full([1], inf)", "tensor [1] f32 cpu: [inf]"),
        ("tensor([nan, 1.0]).to(\"bool\")", "tensor [2] bool cpu: [true, true]"),
        // As PyTorch has them.
        ("tensor([-inf, -inf]).softmax(-1)", "tensor [2] f32 cpu: [nan, nan]"),
        (
            "tensor([1.0, nan]).histogram(#{bins: 1, min: 0, max: 2}).counts",
            "tensor [1] i64 cpu: [1]",
        ),
        ("full([4096], 20.0, #{dtype: \"f16\"}).mean().item()", "20.0"),
        ("cosine_similarity(zeros(3), ones(3)).item()", "0.0"),
    ]);
}

#[test]
fn one_row_has_no_spread_and_says_so() {
    for (call, of) in
        [("std(0)", "std of 1"), ("var(0)", "var of 1"), ("std(#{correction: 2})", "std of 2")]
    {
        let ran = beside(&[], &format!("tensor([[1.0, 2.0]]).{call}")).ok();
        assert!(ran.stdout().contains("nan") || ran.stdout().contains("inf"), "{}", ran.stdout());
        assert!(
            ran.stderr().contains(&format!("warning: {of} with a correction of")),
            "{}",
            ran.stderr()
        );
    }
    let ran =
        beside(&[], "for i in 0..50 { tensor([[1.0, 2.0]]).std(0); } tensor([[1.0]]).std(0, #{correction: 0}).item()")
            .ok();
    assert_eq!(ran.stderr().matches("warning").count(), 1, "{}", ran.stderr());
    assert_eq!(ran.stdout().trim(), "0.0");
}

#[test]
fn the_largest_numbers_are_drawn() {
    let drawn = [
        ("plot(#{y: [1.0, 1e308, 2.0], name: \"a\"});", "1e308"),
        ("plot(#{y: [-1e308, 1e308], name: \"a\"});", "-1e308"),
        ("plot(#{y: [1e308], x: [1.7e308], name: \"a\"});", "e308"),
        ("heatmap([[-1e308, 1e308, 5e307]], #{name: \"a\"});", "1e308"),
        ("heatmap([[1e308, 0.0]], #{name: \"a\"});", "1e308"),
        ("attention([\"a\"], tensor([[1e308]], #{dtype: \"f64\"}), #{name: \"a\"});", "1e308"),
    ];
    for (script, label) in drawn {
        let ran = beside(&[], script).ok();
        let svg = std::fs::read_to_string(ran.file("a.svg")).unwrap();
        assert!(
            svg.contains(label) && !svg.contains("NaN") && !svg.contains(">inf<"),
            "{script}\n{svg}"
        );
    }
    // Three points of one line, at three heights.
    let ran = beside(&[], "plot(#{y: [0.0, 1e308, 5e307], name: \"a\"});").ok();
    let svg = std::fs::read_to_string(ran.file("a.svg")).unwrap();
    let heights: std::collections::BTreeSet<&str> = svg
        .split("<circle")
        .skip(1)
        .filter_map(|circle| circle.split("cy=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(heights.len(), 3, "{svg}");
    let ran = beside(&[], "plot(#{y: [1.0, inf, nan, 2.0], name: \"a\"});").ok();
    assert!(
        ran.stderr().contains("warning: plot: 2 of 4 points are nan or infinite, and are left out"),
        "{}",
        ran.stderr()
    );
}
