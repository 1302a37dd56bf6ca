//! Runs snippets of script that need tensors and nothing else.

use precompute::script::run::random::Random;
use precompute::script::tensor;
use rhai::{Dynamic, Engine};

pub fn engine() -> Engine {
    tensor::engine(&Random::new(Some(0)))
}

/// What the script's value is, as a script would print it.
pub fn shown(script: &str) -> String {
    match engine().eval::<String>(&format!("let value = {{ {script} }}; value.to_string()")) {
        Ok(shown) => shown,
        Err(error) => panic!("{script}\n{error}"),
    }
}

/// The error's first line, without Rhai's words around it.
pub fn error(script: &str) -> String {
    match engine().eval::<Dynamic>(script) {
        Ok(value) => panic!("{script} gives {value}"),
        Err(error) => {
            let text = error.to_string();
            let text = text
                .trim_start_matches("Runtime error: ")
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            text.split(" (line").next().unwrap_or_default().to_owned()
        }
    }
}

#[track_caller]
pub fn all_show(cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        assert_eq!(shown(script), *expected, "{script}");
    }
}

#[track_caller]
pub fn all_fail(cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        assert_eq!(error(script), *expected, "{script}");
    }
}
