//! Output without end, and output that is more than it seems.

use std::fs;

use super::{all_refused, refused, run};
use crate::binary::Workplace;

#[test]
fn printing_ends_where_it_is_too_much() {
    const NO: &str = "the run prints and saves more than 1.0 MiB";
    for attack in [
        "loop { print(\"a line of some length\") }",
        "loop { debug([1, 2, 3]) }",
        "loop { table([#{a: 1}]) }",
        "loop { print(zeros([3])) }",
        "let s = \"x\"; for i in 0..22 { s += s; } print(s)",
        "let s = \"x\"; for i in 0..22 { s += s; } s",
        "loop { plot(#{y: [1, 2, 3], name: \"p\"}) }",
        "let s = \"\"; s.pad(10000, 'x'); loop { save(\"same\", s) }",
        "let i = 0; loop { i += 1; save(`f${i}`, zeros([1000])) }",
        "save(\"x\", zeros([1000000]))",
        "save(\"x.npy\", zeros([1000000]))",
        "save(\"x.csv\", zeros([1000000]))",
        "save(\"x.json\", zeros([1000000]))",
        "save(\"x.parquet\", rand([1000000]))",
        "let m = model(\"demo:opt\"); let i = m.encode(\"a\");\n\
         m.forward(i, context([hook(\"pre-block\", |x, c| { try { loop { print(\"from a hook, a line\") } } catch {} })]))",
    ] {
        let here = Workplace::new(&[("s.rhai", attack)]);
        let ran = run(&here, &["--max-output", "1MiB"]);
        refused(&ran, NO, attack);
        let out = here.path().join("out");
        let saved = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap());
        let saved: u64 = saved
            .filter(|entry| {
                !["run.json", "report.html"].iter().any(|own| entry.file_name() == *own)
            })
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert!(
            ran.stdout.len() as u64 + saved <= 1 << 20,
            "{attack}: {} and {saved}",
            ran.stdout.len()
        );
        assert!(out.join("run.json").exists(), "{attack}");
        assert!(!out.join("x.npy").exists() && !out.join("x.json").exists(), "{attack}");
    }
}

#[test]
fn files_are_counted() {
    let here =
        Workplace::new(&[("s.rhai", "let i = 0; loop { i += 1; save(`d${i % 7}/f${i}`, i) }")]);
    refused(&run(&here, &["--max-files", "20"]), "the run saves more than 20 files", "files");
    let folders = fs::read_dir(here.path().join("out"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().is_dir());
    let files: usize =
        folders.map(|folder| 1 + fs::read_dir(folder.unwrap().path()).unwrap().count()).sum();
    assert_eq!(files, 20);
}

#[test]
fn a_picture_runs_nothing_where_it_is_opened() {
    let evil = r#"</text><script>alert(1)</script><image href='http://x/y'/>&x;\"' onload='z"#;
    let attack = format!(
        "plot(#{{title: \"{evil}\", xlabel: \"{evil}\", y: #{{\"{evil}\": [1, 2]}}, name: \"p\"}});\n\
         heatmap([[1, 2]], #{{title: \"{evil}\", y: [\"{evil}\"], name: \"h\"}});\n\
         attention([\"{evil}\"], ones([1, 1]), #{{title: \"{evil}\", name: \"a\"}});\n\
         graph([#{{id: \"{evil}\", layer: 0}}], [], #{{title: \"{evil}\", layers: [\"{evil}\"], name: \"g\"}});"
    );
    let here = Workplace::new(&[("s.rhai", &attack)]);
    let ran = run(&here, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for picture in ["p.svg", "h.svg", "a.svg", "g.svg"] {
        let svg = fs::read_to_string(here.path().join("out").join(picture)).unwrap();
        for tag in ["<script", "<image", "<foreignObject", "&x;"] {
            assert!(!svg.contains(tag), "{picture} {tag}");
        }
        assert!(svg.contains("&lt;script"), "{picture}");
    }
}

#[test]
fn pictures_of_too_much_are_refused_or_thinned() {
    all_refused(
        &["--max-memory", "500MiB", "--timeout", "60s"],
        &[
            ("plot(#{y: zeros([1]).expand([1000000000])})", "memory"),
            ("heatmap(zeros([1]).expand([100000, 100000]))", "memory"),
            (
                "let t = []; t.pad(100000, \"x\"); attention(t, zeros([1]).expand([100000, 100000]))",
                "memory",
            ),
        ],
    );
}
