//! Text to token ids and back, by Hugging Face's tokenizers.

mod class;
mod configs;
mod label;
mod protobuf;
mod read;
mod sentencepiece;
mod steps;
mod stream;
mod vocabulary;

use tokenizers::{AddedToken, PostProcessor, Tokenizer as HfTokenizer, TruncationDirection};

pub use self::stream::Stream;

use self::stream::Settling;
use crate::system::panics;
use crate::{Error, Result, bail, error};

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: HfTokenizer,
    pad: u32,
    end_of_text: Option<u32>,
    /// The token for what is not in the vocabulary.
    unknown: Option<String>,
    /// The vocabulary writes bytes as letters.
    has_bytes: bool,
    /// Spaces before punctuation are taken away from decoded text.
    cleans_up: bool,
    settling: Settling,
    warnings: Vec<String>,
}

impl Tokenizer {
    /// What in the files is not honoured, each a sentence that names the field.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The token ids of a text. With `special` they include the special tokens that the tokenizer
    /// adds at the beginning and the end.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        Ok(catching(|| self.inner.encode(text, special))?.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode), cut at the end to `most` tokens. The special tokens stay, and
    /// count.
    ///
    /// # Errors
    /// The tokenizer fails; it adds more special tokens than `most`.
    pub fn encode_at_most(&self, text: &str, special: bool, most: usize) -> Result<Vec<u32>> {
        let added = match self.inner.get_post_processor() {
            Some(post) if special => post.added_tokens(false),
            _ => 0,
        };
        let Some(own) = most.checked_sub(added) else {
            bail!("{most} tokens can't hold the {added} special tokens that the tokenizer adds")
        };
        let encoding = catching(|| {
            let mut encoding = self.inner.encode(text, false)?;
            encoding.truncate(own, 0, TruncationDirection::Right);
            self.inner.post_process(encoding, None, special)
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids, special tokens included.
    ///
    /// # Errors
    /// There is no token of some id.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        for &id in ids {
            self.check(id)?;
        }
        self.decoded(ids, false)
    }

    /// The text of token ids, without special tokens.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn text(&self, ids: &[u32]) -> Result<String> {
        self.decoded(ids, true)
    }

    fn decoded(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let shown = |id: &u32| {
            !(skip_special && self.is_special(*id)) && self.inner.id_to_token(*id).is_some()
        };
        // Some decoders of the library fail on no tokens at all.
        if !ids.iter().any(shown) {
            return Ok(String::new());
        }
        let text = catching(|| self.inner.decode(ids, skip_special))?;
        Ok(if self.cleans_up { cleaned_up(&text) } else { text })
    }

    /// Decodes tokens as they come, without special tokens.
    pub fn stream(&self) -> Stream<'_> {
        Stream::new(self)
    }

    /// The id of a special token such as `</s>`; nothing if the text is no special token.
    pub fn special_token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text).filter(|id| self.is_special(*id))
    }

    /// The id that pads the short rows of a batch: the padding token, else the end of text, else 0.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The id of the end-of-text token, if there is one.
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    fn is_special(&self, id: u32) -> bool {
        self.added(id).is_some_and(|token| token.special)
    }

    /// Whether the token is a byte of a text whose other tokens are pieces, such as `<0x0A>`.
    fn is_byte(&self, id: u32) -> bool {
        self.settling == Settling::ByteRuns
            && self.inner.id_to_token(id).is_some_and(|token| {
                let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                digits.is_some_and(|d| d.len() == 2 && u8::from_str_radix(d, 16).is_ok())
            })
    }

    /// The token of that id, if it was added to the vocabulary.
    fn added(&self, id: u32) -> Option<&AddedToken> {
        self.inner.get_added_vocabulary().get_added_tokens_decoder().get(&id)
    }

    /// Checks that there is a token of that id.
    fn check(&self, id: u32) -> Result<()> {
        if self.inner.id_to_token(id).is_some() {
            return Ok(());
        }
        // Models often have more logits than their tokenizer has tokens.
        bail!("the tokenizer has no token {id}: it has {}", self.inner.get_vocab_size(true))
    }
}

fn broken(error: tokenizers::Error) -> Error {
    error!("the tokenizer failed: {error}")
}

/// Runs the library, which may panic if a tokenizer's files contradict each other.
fn catching<R>(f: impl FnOnce() -> tokenizers::Result<R>) -> Result<R> {
    panics::catch_foreign(f, || error!("the tokenizer failed: its files contradict themselves"))?
        .map_err(broken)
}

/// A text without the spaces before punctuation that WordPiece and its kind put there, as
/// transformers' `clean_up_tokenization` makes it.
fn cleaned_up(text: &str) -> String {
    let pairs = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
