//! Inputs from a pipe: line by line, those that belong together joined.

use std::io::BufRead;

use super::balance::goes_on;
use super::{Lines, Typed};
use crate::error;
use crate::script::Failure;

pub struct Piped<R>(R);

impl<R: BufRead> Piped<R> {
    pub fn new(from: R) -> Self {
        Self(from)
    }
}

impl<R: BufRead> Lines for Piped<R> {
    fn next(&mut self) -> Result<Typed, Failure> {
        let mut text = String::new();
        loop {
            let read = self.0.read_line(&mut text);
            let read = read.map_err(|cause| Failure::from(error!("standard input can't be read: {cause}")))?;
            match read {
                0 if text.is_empty() => return Ok(Typed::End),
                0 => return Ok(Typed::Input(text)),
                _ if goes_on(without_end(&text)) => {}
                _ => return Ok(Typed::Input(without_end(&text).to_owned())),
            }
        }
    }
}

/// Without the end of its last line.
fn without_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
