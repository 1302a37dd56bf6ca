//! The report in a real browser: each kind of picture drawn and pointed at, at the widths of a phone
//! and of a screen, in light and in the dark.

use super::browser::Browser;
use super::report::EVERY;
use crate::run::script;

/// How many colours a canvas has: an empty one has one.
const COLOURS: &str = "((c) => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size)";

fn figure(name: &str) -> String {
    format!("[data-name='{name}']")
}

#[test]
fn every_kind_of_picture_is_drawn_and_answers() {
    let Some(mut browser) = Browser::start() else { return };
    let ran = script(EVERY, &[]).ok();
    let address = format!("file://{}", ran.file("report.html").display());
    for (width, dark) in [(320, true), (1440, false)] {
        browser.look(width, 900, dark);
        browser.open(&address);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_f64().unwrap() <= f64::from(width), "{width}: the page is {wide} wide");
        for name in [
            "lines.svg",
            "back.svg",
            "log.svg",
            "points.svg",
            "bars.svg",
            "hist.svg",
            "boxes.svg",
            "heat.svg",
        ] {
            let canvas = format!("{} canvas", figure(name));
            browser.wait(&format!("{COLOURS}(document.querySelector({canvas:?})) > 2"));
        }
        assert_eq!(browser.value("document.querySelectorAll('.failed').length"), 0);
    }
    assert_eq!(browser.value("document.querySelectorAll('[data-drawn]').length"), 12);

    for (name, selector, at, said) in [
        ("lines.svg", ".u-over", (0.99, 0.05), "step 3: a 16"),
        ("back.svg", ".u-over", (0.5, 0.01), "x 1: 2"),
        ("log.svg", ".u-over", (0.5, 0.5), "x 10: 0.1"),
        ("points.svg", ".u-over", (0.01, 0.5), "x 1: 2"),
        ("bars.svg", ".u-over", (0.05, 0.1), "·the: one 1"),
        ("hist.svg", ".u-over", (0.99, 0.5), "3 … 4: 2"),
        (
            "boxes.svg",
            ".u-over",
            (0.2, 0.9),
            "a: median 3, quartiles 2 and 4, whiskers 1 and 4, 1 outside, of 5",
        ),
        ("heat.svg", "canvas", (0.9, 0.1), "layer r0, </script>"),
        ("heads.svg", ".grid canvas", (0.9, 0.4), "head 0: </script>"),
        (
            "circuit.svg",
            ".node:nth-of-type(2) rect",
            (0.5, 0.5),
            "b, layer 1, position 0: -2; 1 edges in, 0 out",
        ),
        ("loss.svg", ".coloured span:nth-child(2)", (0.5, 0.5), "·cat (1): -2.5"),
    ] {
        let selector = format!("{} {selector}", figure(name));
        browser.point(&selector, at);
        let line = format!("{} .readout", figure(name));
        browser.wait(&format!("document.querySelector({line:?}).textContent.includes({said:?})"));
    }
    assert!(browser.text(&figure("lines.svg")).contains("Among the values: 1 nan, 1 inf."));

    // A head and a token are picked; the keyboard reads cells.
    browser.click(&format!("{} .heads button:nth-child(2)", figure("heads.svg")));
    browser.click(&format!("{} .tokens button:nth-child(2)", figure("heads.svg")));
    let said = browser.text(&format!("{} [role=status]", figure("heads.svg")));
    assert!(said.starts_with("head 1, ·cat looks most at ·cat (1) 0.9"), "{said}");
    browser.value(&format!("document.querySelector(\"{} canvas\").focus()", figure("heat.svg")));
    for key in ["ArrowRight", "ArrowDown"] {
        browser.key(key);
    }
    let read = browser.text(&format!("{} .readout", figure("heat.svg")));
    assert!(read.contains("r1, left: 3"), "{read}");

    // The legend hides a line; dragging zooms, and a double click shows all again.
    let legend = format!("{} .legend button", figure("lines.svg"));
    browser.click(&legend);
    assert_eq!(browser.value(&format!("document.querySelector({legend:?}).ariaPressed")), "false");
    let over = format!("{} .u-over", figure("back.svg"));
    let (x, y) = browser.point(&over, (0.4, 0.3));
    browser.mouse("mousePressed", x, y, 1);
    let (x, y) = browser.point(&over, (0.7, 0.7));
    browser.mouse("mouseMoved", x, y, 1);
    browser.mouse("mouseReleased", x, y, 1);
    browser.point(&over, (0.9, 0.5));
    // In what is left of the picture, x = 1 is the nearest value to every place.
    let line = format!("{} .readout", figure("back.svg"));
    browser.wait(&format!("document.querySelector({line:?}).textContent.includes('x 1: 2')"));

    // The table is sorted by number, and filtered.
    let table = "section.table";
    browser.click(&format!("{table} th:nth-child(2) button"));
    let cells = "[...document.querySelectorAll('section.table tbody tr')].map((row) => row.children[1].textContent)";
    assert_eq!(browser.value(cells), serde_json::json!(["", "0.25", "0.5", "2", "3", "10"]));
    browser.value("(() => { const i = document.querySelector('section.table input'); i.value = '0.2'; i.dispatchEvent(new Event('input')); })()");
    assert_eq!(browser.value(cells), serde_json::json!(["0.25"]));

    // Nothing of the run was taken for markup, nothing was fetched, and nothing is wrong.
    assert!(browser.value("window.hacked").is_null());
    assert_eq!(browser.value("document.images.length"), 0);
    let fetched: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|it| *it != address && !it.starts_with("data:"))
        .collect();
    assert_eq!(fetched, [""; 0]);
    assert_eq!(browser.problems(), [""; 0]);
    check_access(&mut browser);
}

/// axe finds nothing serious, where `$PRECOMPUTE_AXE` names its file: `web/check.sh` gets it from npm.
fn check_access(browser: &mut Browser) {
    let Some(axe) = std::env::var_os("PRECOMPUTE_AXE") else {
        return println!("skipped: axe, which src/output/page/web/check.sh runs");
    };
    browser.value(&std::fs::read_to_string(axe).unwrap());
    for dark in [false, true] {
        browser.look(1440, 900, dark);
        let found = browser.value(
            "axe.run().then((r) => r.violations.filter((v) => ['serious', 'critical'].includes(v.impact))\
             .map((v) => `${v.id}: ${v.nodes.map((n) => n.html + n.failureSummary).join('; ')}`))",
        );
        assert_eq!(found, serde_json::json!([]), "dark: {dark}");
    }
}
