//! Inputs from a pipe: lines, joined while a bracket, a string or a comment is open.

use std::io::{BufRead, Read};

use super::continuation::Scanner;
use super::input::{Input, InputSource};
use crate::error;
use crate::script::Failure;
use crate::system::file::FileKind;

/// An input source that reads lines.
pub struct PipedInput<R>(R);

impl<R: BufRead> PipedInput<R> {
    /// Reads inputs from `from`.
    pub fn new(from: R) -> Self {
        Self(from)
    }
}

impl<R: BufRead> InputSource for PipedInput<R> {
    fn next(&mut self) -> Result<Input, Failure> {
        let max_bytes = FileKind::Script.max_bytes();
        let (mut text, mut scanner) = (String::new(), Scanner::default());
        loop {
            let start = text.len();
            let room = (max_bytes + 1).saturating_sub(start as u64);
            let read = self.0.by_ref().take(room).read_line(&mut text);
            let read = read
                .map_err(|cause| Failure::from(error!("standard input can't be read: {cause}")))?;
            if text.len() as u64 > max_bytes {
                return Err(error!(
                    "an input has more than {} MiB, which no script has",
                    max_bytes >> 20
                )
                .into());
            }
            scanner.line(without_line_end(&text[start..]));
            match read {
                0 if text.is_empty() => return Ok(Input::End),
                0 => return Ok(Input::Text(text)),
                _ if scanner.is_incomplete() => {}
                _ => return Ok(Input::Text(without_line_end(&text).to_owned())),
            }
        }
    }
}

/// `text` without the `\n` or `\r\n` at its end.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
