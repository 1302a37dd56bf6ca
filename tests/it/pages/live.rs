//! `precompute live`: a script that is edited under its page.

use super::browser::Browser;
use super::server::Server;
use crate::binary::Workplace;

const SCRIPT: &str = "let n = param(\"n\", 3, \"how far\");\nlet q = param(\"q\", \"</script><b>\");\n\
                      plot(#{title: \"Growth\", y: [0, 1, n], name: \"growth\"});\n\
                      plot(#{title: \"Same\", y: [1, 2], name: \"same\"});\nsave(\"last\", n);\n";

#[test]
fn a_server_answers_its_own_pages_alone() {
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    let server = Server::start(&here, &["live", "s.rhai"]);
    let (host, path) = (server.host().to_owned(), server.path().to_owned());
    assert_eq!(path.len(), 34, "a secret of 128 bits");
    let (status, page) = server.ask("GET", &path, &[("Host", &host)], "");
    assert_eq!(status, 200, "{page}");
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "x-frame-options: DENY",
        "cache-control: no-store",
    ] {
        assert!(page.contains(part), "{part} in {}", page.split("\r\n\r\n").next().unwrap());
    }
    let evil = [("Host", "evil.example")];
    assert_eq!(server.ask("GET", &path, &evil, "").0, 403, "a name that was bound again");
    let cross = [("Host", host.as_str()), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(server.ask("GET", &path, &cross, "").0, 403);
    for origin in ["https://evil.example", "null"] {
        let headers = [("Host", host.as_str()), ("Origin", origin)];
        assert_eq!(server.ask("POST", &format!("{path}stop"), &headers, "").0, 403);
    }
    assert_eq!(server.ask("POST", &format!("{path}stop"), &[("Host", &host)], "").0, 403);
    // Without the secret there is nothing.
    let wrong = format!("/{}/", "0".repeat(32));
    for path in ["/", "/events", &wrong, &format!("{wrong}events")] {
        assert_eq!(server.ask("GET", path, &[("Host", &host)], "").0, 404, "{path}");
    }
    for path in ["../s.rhai", "%2e%2e/s.rhai", "..%2fs.rhai", "/etc/passwd", "run.json/x"] {
        assert_eq!(server.own("GET", path, "").0, 404, "{path}");
    }
    assert_eq!(server.own("POST", "parameters", "[1]").0, 400);
    assert_eq!(server.own("POST", "parameters", &" ".repeat(2 << 20)).0, 413);
}

#[test]
fn an_edit_is_seen_in_the_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let here = Workplace::new(&[("s.rhai", SCRIPT)]);
    let server = Server::start(&here, &["live", "s.rhai", "--out", "out"]);
    browser.look(1200, 900, false);
    browser.open(&server.address);
    browser.wait("document.querySelector(\"[data-name='growth.svg'] canvas\")");
    browser.value("document.querySelector(\"[data-name='same.svg']\").mark = 1");
    let numbers = "document.querySelector(\"[data-name='growth.svg'] details\")";
    let last =
        "[...document.querySelectorAll(\"[data-name='growth.svg'] td\")].at(-1)?.textContent";

    // The edit is drawn in place; what it does not touch is not drawn again.
    here.write("s.rhai", SCRIPT.replace("[0, 1, n]", "[0, 1, n * 7]").as_bytes());
    browser.wait("Number(document.documentElement.dataset.run) >= 2");
    browser.wait(&format!("({numbers}.open = true) && {last} === '21'"));
    assert_eq!(browser.value("document.querySelector(\"[data-name='same.svg']\").mark"), 1);
    let said = browser.text(".said");
    assert!(said.contains("growth.svg"), "{said}");

    // A slider runs the script again with its value.
    browser.value(
        "(() => { const i = document.querySelector('input[type=range][data-name=n]'); i.value = 5; \
         i.dispatchEvent(new Event('input')); })()",
    );
    browser.wait("Number(document.documentElement.dataset.run) >= 3");
    browser.wait(&format!("({numbers}.open = true) && {last} === '35'"));
    assert_eq!(
        browser.value("document.querySelector('input[type=number][data-name=n]').value"),
        "5"
    );
    let record = std::fs::read_to_string(here.path().join("out/run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (&record["parameters"]["n"], &record["command"]["set"]["n"]),
        (&5.into(), &"5".into())
    );

    // An error shows above the last good results, with its place, and goes when it is mended.
    here.write("s.rhai", b"let n = 1;\nlet x = ones([2]) + ones([3]);\n");
    browser.wait("!document.querySelector('pre.failed').hidden");
    let error = browser.text("pre.failed");
    assert!(error.contains("s.rhai:2") && error.contains('^'), "{error}");
    assert_eq!(browser.value(last), "35");
    here.write("s.rhai", SCRIPT.as_bytes());
    browser.wait("document.querySelector('pre.failed').hidden");
    browser.wait(&format!("({numbers}.open = true) && {last} === '5'"));

    // A run that does not end is stopped by the button, and its progress is seen.
    here.write("s.rhai", b"let p = progress(\"work\", 9); p.tick(4); loop {}\n");
    browser.wait("document.querySelector('.status').textContent === 'work 4 of 9'");
    browser.value("[...document.querySelectorAll('#controls button')].find((b) => b.textContent === 'Stop').click()");
    browser.wait("document.querySelector('pre.failed').textContent === 'The run was stopped.'");
    assert!(browser.value("document.querySelector('b')").is_null());
    assert_eq!(browser.problems(), [""; 0]);
}
