//! What scripts hand to tables, files and pictures: columns in the order written, endings, cells
//! with text, sums in words.

use crate::run::{Ran, script};
use crate::snippet::{all_fail, all_show};

fn text(ran: &Ran, name: &str) -> String {
    std::fs::read_to_string(ran.file(name)).unwrap()
}

#[test]
fn columns_stand_in_the_order_written() {
    let cases = [
        ("table([#{token: \"a\", p: 0.5, at: 1}]);", "token p at"),
        ("let rows = []; for i in 0..2 { rows.push(#{z: i, a: i, m: i}); } table(rows);", "z a m"),
        ("fn row(i) { #{z: i, b: 1, a: 2} } table([row(1), row(2)]);", "z b a"),
        (
            "let rows = [1, 2].map(|i| #{step: i, loss: 2 * i, acc: 0}); table(rows);",
            "step loss acc",
        ),
        ("let row = #{step: 1}; row.loss = 0.5; row[\"acc\"] = 1; table([row]);", "step loss acc"),
        (
            "let row = #{step: 1, loss: 2}; if true { row.acc = 3; } table([#{step: 0, loss: 1}, row]);",
            "step loss acc",
        ),
        ("table([#{b: 1, a: 2}]); table([#{a: 1, b: 2}]);", "b a a b"),
        (
            "let first = [#{b: 1, a: 2}];\nlet second = [#{a: 1, b: 2}];\nprint(\"\");\ntable(first);",
            "a b",
        ),
        ("import \"lib/labels\" as labels; table([#{b: 1, a: 2}]);", "b a"),
        ("table([#{b: 1, a: 2}], #{columns: [\"a\", \"b\"]});", "a b"),
        ("table([#{b: 1, a: 2, c: 3}], #{columns: [\"c\", \"b\"]});", "c b"),
    ];
    for (text, expected) in cases {
        let ran = script(text, &[]).ok();
        let heads: Vec<String> = ran
            .stdout()
            .lines()
            .filter(|line| line.starts_with('│') && line.chars().any(char::is_alphabetic))
            .filter(|line| !line.contains("0.5") || line.contains("token"))
            .map(|line| {
                line.replace(['│', '┆'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        if text.contains("let second") {
            // The nearest literal of the same keys: which of two it was cannot be told from a
            // value.
            assert_eq!(heads.join(" "), expected, "{text}");
            continue;
        }
        assert_eq!(
            heads.iter().map(|h| h.as_str()).collect::<Vec<_>>().join(" "),
            expected,
            "{text}\n{}",
            ran.stdout()
        );
    }
    let ran = script("table([#{token: 1, p: 2}], #{columns: [\"tokn\", \"p\"]});", &[]);
    assert!(
        ran.stderr().contains("no row has a column \"tokn\"")
            && ran.stderr().contains("did you mean token?"),
        "{}",
        ran.stderr()
    );
}

#[test]
fn files_keep_the_order_written() {
    let ran = script(
        "let rows = [#{step: 1, loss: 0.5, acc: 1}, #{step: 2, loss: 0.25, acc: 0}];
         save(\"rows\", rows); save(\"rows.jsonl\", rows); save(\"rows.json\", rows);
         save(\"nested.json\", #{z: 1, a: #{y: 2, b: 3}});
         save(\"columns.csv\", #{step: arange(2), loss: tensor([0.5, 1.0]), acc: arange(2)});",
        &[],
    )
    .ok();
    assert_eq!(text(&ran, "rows.csv"), "step,loss,acc\n1,0.5,1\n2,0.25,0\n");
    assert_eq!(
        text(&ran, "rows.jsonl"),
        "{\"step\":1,\"loss\":0.5,\"acc\":1}\n{\"step\":2,\"loss\":0.25,\"acc\":0}\n"
    );
    assert_eq!(text(&ran, "columns.csv"), "step,loss,acc\n0,0.5,0\n1,1.0,1\n");
    let compact = |name: &str| text(&ran, name).split_whitespace().collect::<String>();
    assert_eq!(compact("nested.json"), "{\"z\":1,\"a\":{\"y\":2,\"b\":3}}");
    assert!(compact("rows.json").starts_with("[{\"step\":1,\"loss\":0.5,\"acc\":1}"));
}

#[test]
fn an_ending_is_a_format_or_a_warning() {
    let ran = script(
        "save(\"a.txt\", \"one\\ntwo\"); save(\"b.txt\", [\"x\", 2, 0.5, true]); save(\"c.jsonl\", [1, #{a: \"ä\"}, [2]]);
         save(\"d.jsonl\", tensor([[1, 2], [3, 4]])); save(\"e.jsonl\", #{a: 1}); save(\"f.CSV\", [#{a: 1}]);
         save(\"layer.3\", zeros(2)); save(\"v1.5\", 1);",
        &[],
    )
    .ok();
    assert_eq!(text(&ran, "a.txt"), "one\ntwo\n");
    assert_eq!(text(&ran, "b.txt"), "x\n2\n0.5\ntrue\n");
    assert_eq!(text(&ran, "c.jsonl"), "1\n{\"a\":\"ä\"}\n[2]\n");
    assert_eq!(text(&ran, "d.jsonl"), "[1,2]\n[3,4]\n");
    assert_eq!(text(&ran, "e.jsonl"), "{\"a\":1}\n");
    assert_eq!(text(&ran, "f.CSV"), "a\n1\n");
    assert!(ran.file("layer.3.safetensors").exists() && ran.file("v1.5.json").exists());
    assert!(!ran.stderr().contains("warning"), "{}", ran.stderr());
    for ending in ["png", "pt", "md", "yaml", "html", "h5", "PNG", "tsv"] {
        let ran = script(&format!("save(\"d/x.{ending}\", 1);"), &[]).ok();
        let warning = format!(
            "warning: save \"d/x.{ending}\": .{ending} is no format for data, and the file is d/x.{ending}.json"
        );
        assert!(ran.stderr().contains(&warning), "{}", ran.stderr());
        assert!(ran.file(&format!("d/x.{ending}.json")).exists());
    }
    for value in ["tensor([1.0])", "#{a: 1}", "[#{a: 1}]", "[[1]]"] {
        let ran = script(&format!("save(\"x.txt\", {value});"), &[]);
        assert_eq!(ran.output.status.code(), Some(1));
        assert!(
            ran.stderr().contains(".txt holds a text, or a line for each of an array"),
            "{}",
            ran.stderr()
        );
        assert!(!ran.file("x.txt").exists());
    }
}

#[test]
fn heatmaps_have_texts_and_shared_scales() {
    let ran = script(
        "heatmap([[0.0, 0.5]], #{text: [[\" the\", \"cat\"]], name: \"a\"});
         heatmap([[0.0, 0.5]], #{max: 1, name: \"b\"}); heatmap([[0.2, 1.0]], #{min: 0.0, max: 1.0, name: \"c\"});
         heatmap(tensor([[0.1234, 5.0]]), #{text: tensor([[7, 8]]), name: \"d\"});
         heatmap(tensor([[0.1234, 5.0]]), #{text: tensor([[0.1234, 5.0]]).fixed(3), name: \"e\"});
         heatmap([[-1.0, 1.0]], #{min: -1, max: 3, name: \"f\"});
         heatmap((0..20).collect().map(|i| (0..20).collect()), #{text: (0..20).collect().map(|i| (0..20).collect().map(|j| `t${j}`)), name: \"g\"});"
            .replace("(0..20).collect()", "arange(20).to_array()")
            .as_str(),
        &[],
    )
    .ok();
    let svg = |name: &str| text(&ran, &format!("{name}.svg"));
    assert!(svg("a").contains("·the") && svg("a").contains("cat") && !svg("a").contains("0.50"));
    // The same number has the same colour under the same scale.
    let colours = |name: &str| -> Vec<String> {
        let svg = svg(name);
        svg.split("<rect")
            .skip(1)
            .filter_map(|r| Some(r.split("fill=\"").nth(1)?.split('"').next()?.to_owned()))
            .collect()
    };
    let lowest =
        |name: &str| colours(name).iter().any(|colour| colour.eq_ignore_ascii_case("#440154"));
    assert!(lowest("b") && !colours("c")[1].eq_ignore_ascii_case("#440154"));
    assert!(svg("d").contains(">\n7\n<") || svg("d").contains("7"), "{}", svg("d"));
    assert!(svg("e").contains("0.123") && svg("e").contains("5.000"));
    assert!(svg("g").contains("t19"));
    for (options, said) in [
        ("#{text: [[\"a\"]]}", "text for 1 rows of 1 cells"),
        ("#{min: 2, max: 1}", "the scale can't go from 2 to 1"),
        ("#{min: nan}", "min must be a finite number, not nan"),
        ("#{text: 3}", "text must be an array of rows of strings"),
    ] {
        let ran = script(&format!("heatmap([[0.0, 0.5]], {options});"), &[]);
        assert_eq!(ran.output.status.code(), Some(1), "{options}");
        assert!(ran.stderr().contains(said), "{}", ran.stderr());
    }
}

#[test]
fn sums_may_be_written_in_words() {
    let setup = "seed(1); let p = rand(2, 3, 4, 5); let v = rand(2, 3, 5, 6); let same = |a, b| a.shape == b.shape && (a - b).abs().max().item() < 1e-6;";
    let letters = "einsum(\"bhqk,bhkd->bhqd\", p, v)";
    for words in [
        "einsum(\"batch head query key, batch head key dim -> batch head query dim\", p, v)",
        "einsum(p, v, \"batch head query key, batch head key dim -> batch head query dim\")",
        "einsum(\"b h q k, b h k d -> b h q d\", p, v)",
        "einsum(\" b h q k ,b h k d->b h q d \", p, v)",
        "einsum(\"... query key, ... key d_head -> ... query d_head\", p, v)",
        "einsum(\"bh qk, bh kd -> bh qd\", p, v)",
    ] {
        all_show(&[(&format!("{setup} same.call({letters}, {words})"), "true")]);
    }
    all_show(&[
        ("einsum(\"key, key -> \", tensor([1, 2]), tensor([3, 4]))", "tensor [] i64 cpu: 11"),
        ("einsum(\"row column -> column row\", arange(6).reshape(2, 3)).shape", "[3, 2]"),
        ("einsum(\"i i -> i\", tensor([[1, 2], [3, 4]]))", "tensor [2] i64 cpu: [1, 4]"),
        ("einsum(\"pos_1 pos_1 ->\", tensor([[1, 2], [3, 4]]))", "tensor [] i64 cpu: 5"),
    ]);
    all_fail(&[
        (
            "einsum(\"row column, column -> row\", zeros(2, 3), zeros(4))",
            "einsum \"row column, column -> row\": column is both 3 and 4 (the shapes are [2, 3] and [4])",
        ),
        (
            "einsum(\"row column -> rows\", zeros(2, 3))",
            "einsum \"row column -> rows\": rows is in the result and in no tensor",
        ),
        (
            "einsum(\"row column\", zeros(2, 3))",
            "einsum \"row column\": dims named in words need ->, and the names that stay",
        ),
        (
            "einsum(\"row (a b) -> row\", zeros(2, 3, 4))",
            "einsum \"row (a b) -> row\": \"(a\" is no name of a dim; write terms as \"batch query, batch key -> query key\", with ... for any dims",
        ),
        (
            "einsum(\"row column -> row\", zeros(2, 3, 4))",
            "einsum \"row column -> row\": \"row column\" names 2 dims, and its tensor [2, 3, 4] has 3",
        ),
        (
            "einsum(zeros(2), zeros(2))",
            "einsum: the last argument must be a string, not a tensor [2] of f32",
        ),
    ]);
}
