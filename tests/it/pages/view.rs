//! `precompute view`: runs in a list and beside each other.

use super::browser::Browser;
use super::server::Server;
use crate::binary::Workplace;

const SCRIPT: &str = "let n = param(\"n\", 1);\nplot(#{title: \"Line\", y: [0, n, 2 * n], name: \"line\"});\n\
                      heatmap(tensor([[1.0, 2.0]]), #{title: \"Heat\", name: \"heat\"});\n\
                      table([#{a: n}]);\nsave(\"x\", n);\n";

/// Two runs of a script, and one that failed.
fn place() -> Workplace {
    let here =
        Workplace::new(&[("s.rhai", SCRIPT), ("bad.rhai", "note(\"before\"); throw \"<b>bad\"")]);
    for n in ["1", "2"] {
        let out = format!("runs/n{n}");
        let set = format!("n={n}");
        assert_eq!(here.run(&["run", "s.rhai", "--set", &set, "--out", &out]).code, Some(0));
    }
    assert_eq!(here.run(&["run", "bad.rhai", "--out", "runs/bad"]).code, Some(1));
    here
}

#[test]
fn a_run_is_deleted_when_asked_twice() {
    let here = place();
    let server = Server::start(&here, &["view"]);
    let (_, answer) = server.own("GET", "runs", "");
    let list: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let runs = list["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[0]["path"], "runs/bad", "the newest first");
    let id = |path: &str| {
        let run = runs.iter().find(|run| run["path"] == path).unwrap();
        run["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (id("runs/n1"), id("runs/n2"));
    let n1 = here.path().join("runs/n1");
    let delete = |id: &str| server.own("POST", &format!("run/{id}/delete"), "");
    assert!(delete(&one).1.contains("\"deleted\":false"));
    // Another run was asked for in between.
    assert!(delete(&two).1.contains("\"deleted\":false"));
    assert!(delete(&one).1.contains("\"deleted\":false") && n1.exists());
    assert!(delete(&one).1.contains("\"deleted\":true") && !n1.exists());
    assert_eq!(delete(&one).0, 200);
    assert_eq!(delete(&one).0, 404);
    assert_eq!(server.own("POST", &format!("run/{two}/note"), "# seen").0, 204);
    assert_eq!(std::fs::read_to_string(here.path().join("runs/n2/note.md")).unwrap(), "# seen");
    let (status, file) = server.own("GET", &format!("run/{two}/file/x.json"), "");
    assert!(status == 200 && file.contains("content-disposition: attachment"), "{file}");
    assert_eq!(server.own("GET", &format!("run/{two}/file/..%2f..%2fs.rhai"), "").0, 404);
    let refused = here.run(&["view", "nowhere"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("nowhere is no directory"));
}

#[test]
fn runs_stand_beside_each_other() {
    let Some(mut browser) = Browser::start() else { return };
    let here = place();
    let server = Server::start(&here, &["view", "runs"]);
    browser.look(1200, 900, true);
    browser.open(&server.address);
    browser.wait("document.querySelectorAll('tbody tr').length === 3");
    browser.value("(() => { const i = document.querySelector('input[type=search]'); i.value = 's.rhai n='; i.dispatchEvent(new Event('input')); })()");
    browser.wait("document.querySelectorAll('tbody tr').length === 2");
    browser
        .value("document.querySelectorAll('input[type=checkbox]').forEach((box) => box.click())");
    browser.value(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Look').click()",
    );
    browser.wait("document.documentElement.dataset.beside === '2'");
    let differs = browser.text(".differs");
    assert!(differs.contains("n21") || differs.contains("n12"), "{differs}");
    // The lines of both are in one plot, their tables are one, and heatmaps stand beside each other.
    assert_eq!(browser.value("[...document.querySelectorAll(\"[data-name='line.svg'] .legend button\")].map((b) => b.textContent).sort()"), serde_json::json!(["n1", "n2"]));
    assert_eq!(
        browser.value("document.querySelectorAll(\"[data-name='the table'] tbody tr\").length"),
        2
    );
    browser.wait("document.querySelectorAll(\"[data-name='heat.svg'] .grid canvas\").length === 2");
    browser.click("button.link");
    browser.wait("document.querySelector('#items') && document.querySelector('button.delete')");
    assert_eq!(browser.problems(), [""; 0]);
}
