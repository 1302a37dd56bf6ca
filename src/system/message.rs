//! What a person should know besides the results: a line on standard error, where anyone reads it
//! still.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Mutex;

use super::escape;

pub fn notice(text: impl Display) {
    // Whoever reads it: what is logged is looked at on a terminal later.
    let _ = writeln!(io::stderr(), "{}", escape::control_characters(&text.to_string()));
}

/// As [`notice`], of what would be said again at every step of a loop: each text once.
pub fn notice_once(text: impl Display) {
    /// Texts that are remembered; of those beyond nothing is said.
    const MOST: usize = 100;
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let text = text.to_string();
    let new = SAID.lock().is_ok_and(|mut said| said.len() < MOST && said.insert(text.clone()));
    if new {
        notice(text);
    }
}
