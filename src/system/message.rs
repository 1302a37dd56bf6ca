//! Notes, warnings and errors for the user, on standard error.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Mutex;

use super::escape;

/// Writes a line to standard error. A closed standard error is ignored.
pub fn notice(text: impl Display) {
    // Escaped even if standard error is no terminal: a log is looked at in a terminal later.
    let _ = writeln!(io::stderr(), "{}", escape::control_characters(&text.to_string()));
}

/// As [`notice`], but writes each text only once in a process: for warnings that a loop would
/// repeat.
pub fn notice_once(text: impl Display) {
    /// The most texts that are remembered; further ones are not written.
    const MAX_TEXTS: usize = 100;
    static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let text = text.to_string();
    let new = WRITTEN
        .lock()
        .is_ok_and(|mut written| written.len() < MAX_TEXTS && written.insert(text.clone()));
    if new {
        notice(text);
    }
}
