//! Inputs from a pipe: line by line, those that belong together joined.

use std::io::{BufRead, Read};

use super::balance::Scanner;
use super::{Lines, Typed};
use crate::error;
use crate::script::Failure;
use crate::system::file::FileKind;

pub struct Piped<R>(R);

impl<R: BufRead> Piped<R> {
    pub fn new(from: R) -> Self {
        Self(from)
    }
}

impl<R: BufRead> Lines for Piped<R> {
    fn next(&mut self) -> Result<Typed, Failure> {
        let largest = FileKind::Script.max_bytes();
        let (mut text, mut scanner) = (String::new(), Scanner::default());
        loop {
            let start = text.len();
            let room = (largest + 1).saturating_sub(start as u64);
            let read = self.0.by_ref().take(room).read_line(&mut text);
            let read = read
                .map_err(|cause| Failure::from(error!("standard input can't be read: {cause}")))?;
            if text.len() as u64 > largest {
                return Err(error!(
                    "an input has more than {} MiB, which no script has",
                    largest >> 20
                )
                .into());
            }
            scanner.line(without_end(&text[start..]));
            match read {
                0 if text.is_empty() => return Ok(Typed::End),
                0 => return Ok(Typed::Input(text)),
                _ if scanner.goes_on() => {}
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
