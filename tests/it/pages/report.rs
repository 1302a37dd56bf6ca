//! `report.html` as a file: when there is one, and what is in it.

use serde_json::Value as Json;

use crate::run::{Ran, script};

pub const EVERY: &str = include_str!("every.rhai");

fn page(ran: &Ran) -> String {
    std::fs::read_to_string(ran.file("report.html")).unwrap()
}

/// The JSON that a page's script draws from.
fn data(page: &str) -> Json {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_run_is_a_page() {
    let ran = script(EVERY, &["--set", "n=2", "--seed", "5"]).ok();
    let page = page(&ran);
    for part in [
        "<h1>script</h1>",
        "Every kind of picture",
        "<strong>note</strong>",
        "<a href=\"https://example.org/\">a link</a> and none.",
        "<dt>n</dt>\n<dd>2</dd>",
        "precompute run script.rhai --set n=2 --seed 5",
        "<a download href=\"./power.safetensors\">",
        "let n = param(&quot;n&quot;, 3",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // A page is below 500 KB before its data, runs this program's script and loads nothing.
    let data = data(&page);
    assert!(page.len() - data.to_string().len() < 200_000, "{}", page.len());
    assert_eq!(page.matches("<script").count(), 2);
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap();
    let policy = policy.split('"').next().unwrap();
    assert!(policy.starts_with("default-src &#39;none&#39;; script-src &#39;sha256-"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");

    let items = data["items"].as_array().unwrap();
    assert_eq!(data["version"], 1);
    let kinds: Vec<&str> = items.iter().filter_map(|item| item["picture"].as_str()).collect();
    let expected = [
        "line",
        "line",
        "line",
        "line",
        "bars",
        "bars",
        "boxes",
        "heatmap",
        "attention",
        "graph",
        "text",
    ];
    assert_eq!(kinds, expected);
    let lines = &items[1];
    assert_eq!(lines["series"][1]["y"], serde_json::json!([2, "nan", 1, "inf"]));
    assert_eq!((&lines["file"], &lines["xlabel"]), (&"lines.svg".into(), &"step".into()));
    assert_eq!(items[6]["edges"], serde_json::json!([1, 2, 3, 4]));
    let table = items.last().unwrap();
    assert_eq!(table["rows"][3], serde_json::json!(["d", 10.0]));
}

#[test]
fn a_page_is_there_when_there_is_something_to_show() {
    let there = |text: &str, arguments: &[&str]| {
        let ran = script(text, arguments);
        (ran.file("report.html").exists(), ran.output.status.code())
    };
    assert_eq!(there("save(\"x\", 1)", &[]), (true, Some(0)));
    assert_eq!(there("note(\"a\")", &[]), (true, Some(0)));
    assert_eq!(there("let x = 1;", &[]), (false, Some(0)));
    assert_eq!(there("save(\"x\", 1)", &["--no-report"]), (false, Some(0)));
    let failed = script("note(\"before\"); throw \"<b>late\"", &[]);
    assert!(page(&failed).contains("<pre class=\"failed\" role=\"alert\">"));
    assert!(page(&failed).contains("&lt;b&gt;late"));
}

/// A page of another run in the same directory does not stay, whichever way the new one ends.
#[test]
fn a_page_is_the_last_runs() {
    let here = crate::binary::Workplace::new(&[("a.rhai", "save(\"x\", 1)"), ("b.rhai", "1")]);
    let report = here.path().join("out/report.html");
    assert_eq!(here.run(&["run", "a.rhai", "--out", "out"]).code, Some(0));
    assert!(report.exists());
    assert_eq!(here.run(&["run", "b.rhai", "--out", "out"]).code, Some(0));
    assert!(!report.exists());
}

#[test]
fn what_is_wrong_with_a_plot_is_said() {
    for (call, sentence) in [
        (
            "plot(#{y: [1], kind: \"pie\"})",
            "plot: kind must be one of \"line\", \"scatter\", \"bar\", \"hist\", \"box\", not \"pie\"",
        ),
        (
            "plot(#{y: [1], bins: 3})",
            "plot: bins are those of kind \"hist\", and this is a \"line\"",
        ),
        ("plot(#{y: [1], bins: 0, kind: \"hist\"})", "plot: bins must be 1 to 1000, not 0"),
        (
            "plot(#{y: [1], log: \"y\", kind: \"bar\"})",
            "plot: a \"bar\" has no log axis there: bars stand on zero",
        ),
        (
            "plot(#{y: [1], x: [1], kind: \"hist\"})",
            "plot: a \"hist\" takes no x: a histogram counts y",
        ),
        ("plot(#{y: [1, 2], x: [\"a\"], kind: \"bar\"})", "plot: x has 1 names for 2 bars"),
        ("plot(#{y: [0.0 / 0.0], kind: \"box\"})", "plot: box \"\" has no finite number"),
        ("text([\"a\"], tensor([1.0, 2.0]))", "text: there are 1 tokens and 2 numbers"),
        ("text([\"a\"], 3)", "text must be a tensor [n] or an array of numbers, not 3"),
        ("text([], tensor([]))", "text needs at least one row of at least one number"),
    ] {
        let ran = script(call, &[]);
        assert_eq!(ran.output.status.code(), Some(1), "{call}");
        assert!(ran.stderr().contains(sentence), "{call}: {}", ran.stderr());
    }
}
