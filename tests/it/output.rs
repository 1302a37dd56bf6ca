//! What scripts save, and read back, through the binary.

use candle_core::DType;
use serde_json::json;

use crate::binary::Workplace;
use crate::run::script;

fn json(ran: &crate::run::Ran, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(ran.file(name)).unwrap()).unwrap()
}

#[test]
fn the_value_and_the_name_choose_the_format() {
    let ran = script(
        r#"
        save("t", tensor([1.0, 2.0]));
        save("both", #{a: ones([2]), b: tensor([true, false])});
        save("rows", [#{x: 1, y: "a,b"}, #{x: 2.5}]);
        save("other", #{list: [1, "two", ()], nan: 0.0 / 0.0, t: tensor([1, 2])});
        save("power.v2", ones([1]));
        save("m.npy", tensor([[1, 2], [3, 4]]));
        save("m.csv", tensor([[1, 2], [3, 4]]));
        save("m.json", tensor([[1.5, 2.5]]));
        save("cols.csv", #{a: tensor([1, 2]), b: tensor([0.5, 0.25])});
        save("rows.parquet", [#{x: 1, y: "a"}, #{x: 2, y: "b"}]);
        save("deep/er/t", zeros([1]));
        "#,
        &[],
    )
    .ok();
    let mut files: Vec<String> = json(&ran, "run.json")["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "both.safetensors",
            "cols.csv",
            "deep/er/t.safetensors",
            "m.csv",
            "m.json",
            "m.npy",
            "other.json",
            "power.v2.safetensors",
            "rows.csv",
            "rows.parquet",
            "t.safetensors",
        ]
    );
    assert_eq!(ran.tensor("t").to_vec1::<f32>().unwrap(), [1.0, 2.0]);
    assert!(ran.tensors("power.v2.safetensors").contains_key("power.v2"));
    let text = |name: &str| std::fs::read_to_string(ran.file(name)).unwrap();
    assert_eq!(text("rows.csv"), "x,y\n1,\"a,b\"\n2.5,\n");
    assert_eq!(text("m.csv"), "0,1\n1,2\n3,4\n");
    assert_eq!(text("cols.csv"), "a,b\n1,0.5\n2,0.25\n");
    assert_eq!(json(&ran, "m.json"), json!([[1.5, 2.5]]));
    assert_eq!(
        json(&ran, "other.json"),
        json!({"list": [1, "two", null], "nan": "NaN", "t": [1, 2]})
    );
    let npy = candle_core::Tensor::read_npy(ran.file("m.npy")).unwrap();
    assert_eq!(
        (npy.dtype(), npy.to_vec2::<i64>().unwrap()),
        (DType::I64, vec![vec![1, 2], vec![3, 4]])
    );

    use parquet::file::reader::{FileReader, SerializedFileReader};
    let parquet =
        SerializedFileReader::new(std::fs::File::open(ran.file("rows.parquet")).unwrap()).unwrap();
    let rows: Vec<String> =
        parquet.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    assert_eq!(rows, ["{x: 1, y: \"a\"}", "{x: 2, y: \"b\"}"]);
}

#[test]
fn every_dtype_comes_back_as_it_was() {
    let ran = script(
        r#"
        let values = #{
            f32: tensor([1.5, -2.0]), f16: tensor([1.5, -2.0]).to("f16"), bf16: tensor([1.5]).to("bf16"),
            f64: tensor([0.1]).to("f64"), i64: tensor([-3]), u32: tensor([7]).to("u32"), u8: tensor([255]).to("u8"),
            bool: tensor([true, false]), c64: fft(tensor([1.0, 2.0])), scalar: tensor(3.0), empty: zeros([0, 4]),
        };
        save("all", values);
        for name in values.keys() { if name != "bf16" { save(name + ".npy", values[name]); } }
        "#,
        &[],
    )
    .ok();
    let out = ran.file("");
    let body = r#"
        let all = load_tensors("all.safetensors");
        for name in all.keys() {
            let t = all[name];
            print(`${name} ${t.dtype} ${t.shape}`);
            if name == "bf16" { continue; }
            let n = load_tensors(name + ".npy");
            print(n.dtype == t.dtype && n.shape == t.shape && (n == t).all().item());
        }
    "#;
    let again = script(body, &["--read", out.to_str().unwrap()]).ok();
    assert_eq!(again.stdout().matches("true").count(), 10, "{}", again.stdout());
    for line in [
        "bf16 bf16 [1]",
        "bool bool [2]",
        "c64 c64 [2]",
        "empty f32 [0, 4]",
        "scalar f32 []",
        "u8 u8 [1]",
    ] {
        assert!(again.stdout().contains(line), "{line}\n{}", again.stdout());
    }
}

#[test]
fn nothing_is_written_or_read_elsewhere() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.npy");
    std::fs::write(&secret, "x").unwrap();
    for call in [
        format!("save({:?}, 1)", outside.path().join("x").to_str().unwrap()),
        "save(\"../x\", 1)".into(),
        "save(\"a/../../x\", 1)".into(),
        "save(\"\", 1)".into(),
        "save(\"run.json\", 1)".into(),
        "save(\"RUN.json\", 1)".into(),
        format!("load_tensors({:?})", secret.to_str().unwrap()),
        "load_tensors(\"../../../../../../../../etc/passwd\")".into(),
        "load_tensors(\"nothing.npy\")".into(),
        "load_tensors(\"script.rhai\")".into(),
    ] {
        let ran = script(&format!("{call};"), &[]);
        assert_eq!(ran.output.status.code(), Some(1), "{call}\n{}", ran.stderr());
        assert!(
            ran.stderr().starts_with("error: ") && ran.stderr().contains('^'),
            "{call}\n{}",
            ran.stderr()
        );
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_broken_file_is_a_sentence() {
    let workplace = Workplace::new(&[("s.rhai", "load_tensors(param(\"file\", \"\"))")]);
    let whole = std::fs::read(crate::fixture::directory("gpt2").join("model.safetensors")).unwrap();
    workplace.write("cut.safetensors", &whole[..whole.len() / 2]);
    workplace.write("text.safetensors", b"hello there");
    workplace.write(
        "cut.npy",
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
    );
    workplace.write(
        "huge.npy",
        b"\x93NUMPY\x01\x00\x3e\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }\n\0\0\0\0",
    );
    workplace.write(
        "object.npy",
        b"\x93NUMPY\x01\x00\x38\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }  \n\0\0\0\0",
    );
    for (file, sentence) in [
        ("cut.safetensors", "it is broken, or no .safetensors file"),
        ("text.safetensors", "it is broken, or no .safetensors file"),
        ("cut.npy", "its header is cut short"),
        ("huge.npy", "does not fit in memory"),
        ("object.npy", "which tensors can't hold"),
    ] {
        let ran = workplace.run(&["run", "s.rhai", "--set", &format!("file={file}")]);
        assert_eq!(ran.code, Some(1), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(sentence), "{file}: {}", ran.stderr);
    }
}

#[test]
fn pictures_are_saved_and_tables_printed() {
    let ran = script(
        r#"
        plot(#{title: "Two lines", x: [1.0, 2.0, 3.0], y: #{up: [1.0, 2.0, 3.0], down: [3.0, 2.0, 1.0]}});
        plot(#{title: "Two lines", y: tensor([1.0, 10.0, 100.0]), log: "y"});
        plot(#{y: [[1, 2], [3, 4]], labels: ["a", "b"], name: "named.png"});
        heatmap(tensor([[1.0, -1.0], [0.0, 2.0]]), #{title: "Heat <&>", x: ["a", "b"], y: ["c", "d"]});
        attention(["The", " cat"], tensor([[[1.0, 0.0], [0.5, 0.5]]]));
        graph([#{id: "in", layer: 0}, #{layer: 1, label: "feature", value: tensor(2.0)}, #{id: 7, layer: 2, position: 1}],
            [#{from: "in", to: 1, weight: 0.5}, #{from: 1, to: 7, weight: tensor([-2.0])}], #{title: "Ways", positions: ["a", " b"]});
        table([#{b: 1, a: "x"}, #{b: 2.5}], #{columns: ["b", "a"]});
        table(tensor([[1, 2]]));
        "#,
        &[],
    )
    .ok();
    let svg = |name: &str| std::fs::read_to_string(ran.file(name)).unwrap();
    assert!(svg("two-lines.svg").contains("Two lines") && svg("two-lines.svg").contains("down"));
    assert!(svg("two-lines-2.svg").starts_with("<svg"));
    assert!(svg("heat.svg").contains("Heat &lt;&amp;&gt;"));
    assert!(svg("attention.svg").contains("head 0") || svg("attention.svg").contains("Attention"));
    for text in ["Ways", "in", "feature", "7", "·b", "-2"] {
        assert!(svg("ways.svg").lines().any(|line| line == text), "{text}");
    }
    assert!(std::fs::read(ran.file("named.png")).unwrap().starts_with(b"\x89PNG"));
    let lines: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    assert!(lines[1].contains('b') && lines[1].find('b') < lines[1].find('a'), "{}", ran.stdout());
    assert!(!ran.stdout().contains('\x1b'));
    assert!(ran.stderr().contains("wrote out: "));
}

#[test]
fn a_picture_that_can_not_be_drawn_is_a_sentence() {
    for (call, sentence) in [
        ("plot(#{title: \"x\"})", "plot needs y"),
        ("plot(#{y: [1.0], x: [1.0, 2.0]})", "x has 2 points, and a series of y has 1"),
        ("plot(#{y: [1.0], log: \"z\"})", "log must be"),
        (
            "plot(#{y: [1.0], kind: \"pie\"})",
            "kind must be one of \"line\", \"scatter\", \"bar\", \"hist\", \"box\"",
        ),
        ("plot(#{y: [\"a\"]})", "not the string \"a\""),
        ("plot(#{y: [1.0, 2.0], labels: [\"a\", \"b\"]})", "2 labels for 1 series"),
        ("plot(#{y: []})", "plot"),
        ("heatmap(ones([2]))", "must be [n, m]"),
        ("heatmap(ones([2, 2]), #{x: [\"a\"]})", "1 labels for 2 columns"),
        ("attention([\"a\"], ones([2, 2]))", "there are 1 tokens"),
        ("attention([\"a\"], ones([1, 1, 1, 1]))", "pattern[0]"),
        ("graph([], [])", "a graph needs at least one node"),
        ("graph([5], [])", "a node of graph is a map, and number 0 is 5"),
        ("graph([#{id: 1}], [])", "node 0 says no layer"),
        ("graph([#{layer: 0.5}], [])", "layer must be an integer, not 0.5"),
        ("graph([#{layer: 0, at: 1}], [])", "a node of graph has no option at"),
        ("graph([#{layer: 0, id: 1}, #{layer: 0}], [])", "nodes 0 and 1 have the same id, 1"),
        ("graph([#{layer: 0, id: \"ab\"}], [#{from: \"ab\", to: \"ac\"}])", "there are ab"),
        ("graph([#{layer: 0}], [#{from: 0}])", "edge 0 has no to"),
        ("graph([#{layer: 0}], [#{from: 0, to: 0, weight: \"a\"}])", "weight must be a number"),
        ("graph([#{layer: 0}], [], #{layer: [\"a\"]})", "did you mean layers?"),
        ("graph([#{layer: 1}], [], #{layers: [\"a\"]})", "a node is at layer 1"),
        ("table(5)", "a table is"),
        ("plot(#{y: [1.0], colour: 1})", "plot has no option colour"),
    ] {
        let ran = script(&format!("{call};"), &[]);
        assert_eq!(ran.output.status.code(), Some(1), "{call}");
        assert!(ran.stderr().contains(sentence), "{call}\n{}", ran.stderr());
    }
}

#[test]
fn the_record_says_how_to_repeat_the_run() {
    let text = "let m = model(\"demo:opt\", #{dtype: \"f64\"});\nseed(7);\nprint(param(\"n\", 1) + rand([1]).shape[0]);\n";
    let ran = script(text, &["--set", "n=4"]).ok();
    let record = json(&ran, "run.json");
    assert_eq!(record["script"]["text"], text);
    assert_eq!(record["script"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["parameters"], json!({"n": 4}));
    assert_eq!(
        record["models"],
        json!([{"id": "demo:opt", "asked": null, "revision": null, "device": "cpu", "dtype": "f64"}])
    );
    assert_eq!((&record["seed"], &record["outcome"]), (&json!(7), &json!("done")));
    assert!(record["seconds"].as_f64().unwrap() >= 0.0);

    let failed = script("save(\"x\", 1); throw \"enough\";", &[]);
    assert_eq!(json(&failed, "run.json")["outcome"], "enough");
    assert_eq!(json(&failed, "run.json")["files"][0]["name"], "x.json");
}

#[test]
fn a_seed_makes_a_run_repeatable() {
    let drawn =
        |arguments: &[&str]| script("print(randn([4]).to_array());", arguments).ok().stdout();
    assert_eq!(drawn(&["--seed", "3"]), drawn(&["--seed", "3"]));
    assert_ne!(drawn(&["--seed", "3"]), drawn(&["--seed", "4"]));
    assert_ne!(drawn(&[]), drawn(&[]));
}
