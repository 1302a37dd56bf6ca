//! What a person should know besides the results: a line on standard error, where anyone reads it still.

use std::fmt::Display;
use std::io::{self, Write};

pub fn notice(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
