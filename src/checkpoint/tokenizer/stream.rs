//! Text that grows token by token, and of which each piece is final once it is given out.
//!
//! What a token's text is may depend on the tokens before it and behind it: half a character waits
//! for its other half, and a word at the beginning of a text loses its space. So the text is that of
//! all tokens, the prompt's included, and only as much of it is given out as no later token can
//! change.

use serde_json::Value;

use super::Tokenizer;
use super::steps::{has_type, visit};
use crate::Result;

/// The most tokens that are decoded together before the first ones are let go.
const MAX_WINDOW: usize = 256;

/// How many of them stay.
const KEPT: usize = 64;

/// The letter that stands for bytes that are no text.
const REPLACEMENT: char = '\u{fffd}';

/// Which part of a text later tokens can't change; depends on the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// All of it.
    All,
    /// All but an incomplete character at the end.
    Characters,
    /// What stands before the last run of tokens that are bytes: they are text together, or none of
    /// them is.
    ByteRuns,
    /// What ends in a long word: spaces before punctuation are taken away afterwards, which changes
    /// at most three letters behind a space.
    Words,
    /// Nothing, until it is over.
    Nothing,
}

impl Settling {
    /// That of a decoder as tokenizer.json writes it, and of a tokenizer that takes away spaces.
    pub fn of(decoder: &Value, cleans_up: bool) -> Self {
        let (mut fused, mut known) = (false, true);
        visit(decoder, &mut |step| {
            let one_letter = || {
                let pattern =
                    step.get("pattern").and_then(|pattern| pattern.get("String")?.as_str());
                pattern.is_some_and(|pattern| pattern.chars().count() == 1)
            };
            match step.get("type").and_then(Value::as_str) {
                Some("Fuse") => fused = true,
                Some("Replace") => known &= !fused || one_letter(),
                Some(
                    "ByteLevel" | "ByteFallback" | "Metaspace" | "WordPiece" | "BPEDecoder"
                    | "Strip" | "Sequence",
                )
                | None => {}
                Some(_) => known = false,
            }
        });
        let has = |name| has_type(decoder, name);
        match (known, cleans_up) {
            (false, _) => Self::Nothing,
            (true, true) if has("ByteLevel") || has("ByteFallback") => Self::Nothing,
            (true, true) => Self::Words,
            _ if has("ByteFallback") => Self::ByteRuns,
            _ if has("ByteLevel") => Self::Characters,
            _ => Self::All,
        }
    }
}

/// Decodes tokens one by one, without special tokens.
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens that are not special.
    window: Vec<u32>,
    /// How much of their text, in bytes, has been given out.
    given: usize,
    /// The text of all tokens so far.
    text: String,
    /// How much of that has been given out.
    settled: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, window: Vec::new(), given: 0, text: String::new(), settled: 0 }
    }

    /// The text that tokens add to what has been given out. It is empty as long as later tokens may
    /// change it.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn push(&mut self, tokens: &[u32]) -> Result<&str> {
        let from = self.settled;
        self.window.extend(tokens.iter().filter(|id| !self.tokenizer.is_special(**id)));
        let text = self.tokenizer.text(&self.window)?;
        let settled = self.settle(&text)?;
        self.take(&text, settled);
        if self.window.len() > MAX_WINDOW && settled == text.len() {
            self.shrink(&text)?;
        }
        Ok(&self.text[from..self.settled])
    }

    /// What is left to give out when no more tokens come.
    pub fn finish(&mut self) -> &str {
        let from = std::mem::replace(&mut self.settled, self.text.len());
        &self.text[from..]
    }

    /// The text of all tokens so far; its end may still change.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How much of the text, in bytes, can't change any more.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// How much of the window's text no later token can change, in bytes.
    fn settle(&self, text: &str) -> Result<usize> {
        Ok(match self.tokenizer.settling {
            Settling::All => text.len(),
            Settling::Characters => text.trim_end_matches(REPLACEMENT).len(),
            Settling::ByteRuns => {
                let is_byte = |id: &u32| self.tokenizer.is_byte(*id);
                match self.window.iter().rposition(|id| !is_byte(id)) {
                    None => 0,
                    Some(last) if last + 1 == self.window.len() => text.len(),
                    Some(last) => self.tokenizer.text(&self.window[..=last])?.len(),
                }
            }
            Settling::Words => {
                let mut letters = 0;
                let mut end = 0;
                for (at, letter) in text.char_indices() {
                    letters = if letter.is_alphabetic() { letters + 1 } else { 0 };
                    if letters > 3 {
                        end = at + letter.len_utf8();
                    }
                }
                end
            }
            Settling::Nothing => 0,
        })
    }

    /// Appends the window's text, of which `settled` bytes are final.
    fn take(&mut self, text: &str, settled: usize) {
        self.text.truncate(self.settled);
        self.text.push_str(text.get(self.given..).unwrap_or_default());
        let settled = settled.min(text.len()).max(self.given);
        self.settled += settled - self.given;
        self.given = settled;
    }

    /// Lets go of the window's first tokens, if the last ones have the same text by themselves.
    fn shrink(&mut self, text: &str) -> Result<()> {
        if self.tokenizer.settling == Settling::Words {
            return Ok(());
        }
        for from in self.window.len() - KEPT..self.window.len() {
            if self.tokenizer.is_byte(self.window[from]) {
                continue;
            }
            let end = self.tokenizer.text(&self.window[from..])?;
            if !end.is_empty() && !end.starts_with(REPLACEMENT) && text.ends_with(&end) {
                self.given = end.len();
                self.window.drain(..from);
                break;
            }
        }
        Ok(())
    }
}
