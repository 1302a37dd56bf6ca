//! What a person should know besides the results: a line on standard error, where anyone reads it still.

use std::fmt::Display;
use std::io::{self, Write};

use crate::harmless;

pub fn notice(text: impl Display) {
    let text = text.to_string();
    let _ = writeln!(io::stderr(), "{}", harmless::on_terminal(&text, io::stderr()));
}
