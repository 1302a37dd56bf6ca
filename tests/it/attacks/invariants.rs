//! The page of promises names tests that there are.

use std::path::Path;

#[test]
fn every_test_that_a_promise_names_exists() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let page = std::fs::read_to_string(tests.join("attacks/README.md")).unwrap();
    let mut promises = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"))
    {
        let (promise, held) = line.trim_matches('|').split_once(" | ").unwrap();
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "nothing holds: {promise}");
        for name in named {
            let parts: Vec<&str> = name.split("::").collect();
            let (test, module) = parts.split_last().unwrap();
            let file = tests.join(module.join("/"));
            let text = std::fs::read_to_string(file.with_extension("rs"))
                .or_else(|_| std::fs::read_to_string(file.join("mod.rs")))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let here = text.split("#[test]").skip(1).any(|rest| {
                let signature = rest.lines().find(|line| line.starts_with("fn "));
                signature.is_some_and(|line| line.starts_with(&format!("fn {test}(")))
            });
            assert!(here, "there is no test {name}, which is to hold: {promise}");
        }
        promises += 1;
    }
    assert!(promises >= 20, "{promises}");
}
