//! What a person should know besides the results: a line on standard error, where anyone reads it still.

use std::fmt::Display;
use std::io::{self, Write};

use crate::harmless;

pub fn notice(text: impl Display) {
    // Whoever reads it: what is logged is looked at on a terminal later.
    let _ = writeln!(io::stderr(), "{}", harmless::shown(&text.to_string()));
}
