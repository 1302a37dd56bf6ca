//! What scripts read: rows of files and of data sets on the Hub, tensors that others wrote.

mod hub;
mod rows;
mod stores;
mod tensors;

use std::path::Path;

use crate::binary::Workplace;

/// A place with the files of `tests/fixtures/data`.
fn workplace() -> Workplace {
    let place = Workplace::new(&[]);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data");
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
    }
    place
}

/// What a script prints there.
fn shown(place: &Workplace, script: &str) -> String {
    place.write("s.rhai", script.as_bytes());
    let ran = place.run(&["run", "s.rhai"]);
    assert_eq!(ran.code, Some(0), "{script}\n{}", ran.stderr);
    ran.stdout.trim_end().to_owned()
}

/// What a script that fails there says.
fn said(place: &Workplace, script: &str) -> String {
    place.write("s.rhai", script.as_bytes());
    let ran = place.run(&["run", "s.rhai"]);
    assert_eq!(ran.code, Some(1), "{script}\n{}\n{}", ran.stdout, ran.stderr);
    ran.stderr
}
