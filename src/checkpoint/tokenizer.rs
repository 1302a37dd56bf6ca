//! Text to token ids and back, by Hugging Face's tokenizers.

use std::str::FromStr;

use serde_json::{Map, Value};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper,
    PostProcessorWrapper, PreTokenizerWrapper, Tokenizer as HfTokenizer,
};

use super::files::Files;
use crate::system::panics;
use crate::{Error, Result, bail, error};

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: HfTokenizer,
    pad: u32,
    end_of_text: Option<u32>,
}

impl Tokenizer {
    /// Reads tokenizer.json, or vocab.json and merges.txt.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn open(files: &Files) -> Result<Self> {
        panics::catch_foreign(
            || Self::read(files),
            || error!("the tokenizer of {} is broken", files.describe()),
        )?
    }

    fn read(files: &Files) -> Result<Self> {
        let config = files.json("tokenizer_config.json")?.unwrap_or_default();
        let special = files.json("special_tokens_map.json")?.unwrap_or_default();
        let mut inner = if let Some(json) = files.read("tokenizer.json")? {
            let text =
                String::from_utf8(json).map_err(|_| error!("tokenizer.json is not UTF-8"))?;
            HfTokenizer::from_str(&text).map_err(|e| error!("tokenizer.json can't be read: {e}"))?
        } else if let (Some(vocabulary), Some(merges)) =
            (files.read("vocab.json")?, files.read("merges.txt")?)
        {
            byte_level(&vocabulary, &merges, &config, &special, files)?
        } else {
            return Err(error!("{} has no tokenizer", files.describe())
                .help("expected tokenizer.json, or vocab.json and merges.txt"));
        };
        // tokenizer.json may have padding and truncation that were set when it was saved.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(broken)?;
        let id = |name: &str| {
            let token = token_name(config.get(name)).or_else(|| token_name(special.get(name)))?;
            inner.token_to_id(&token)
        };
        let end_of_text = id("eos_token").or_else(|| inner.token_to_id("<|endoftext|>"));
        let pad = id("pad_token").or(end_of_text).unwrap_or(0);
        Ok(Self { inner, pad, end_of_text })
    }

    /// The token ids of a text. With `special` they include the special tokens that the tokenizer
    /// adds at the beginning and the end.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        Ok(catching(|| self.inner.encode(text, special))?.get_ids().to_vec())
    }

    /// The text of token ids, special tokens included.
    ///
    /// # Errors
    /// There is no token of some id.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        for &id in ids {
            self.check(id)?;
        }
        catching(|| self.inner.decode(ids, false))
    }

    /// The text of token ids, without special tokens.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn text(&self, ids: &[u32]) -> Result<String> {
        catching(|| self.inner.decode(ids, true))
    }

    /// Decodes tokens one by one as they come, without special tokens.
    pub fn stream(&self) -> Stream<'_> {
        Stream { decoder: self.inner.decode_stream(true), text: String::new() }
    }

    /// The id of a special token such as `</s>`; nothing if the text is no special token.
    pub fn special_token(&self, text: &str) -> Option<u32> {
        let id = self.inner.token_to_id(text)?;
        self.inner.get_added_tokens_decoder().get(&id).filter(|token| token.special).map(|_| id)
    }

    /// The text of each token.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn token_strings(&self, ids: &[u32]) -> Result<Vec<String>> {
        ids.iter().map(|&id| self.decode(&[id])).collect()
    }

    /// The id of the only token of a text.
    ///
    /// # Errors
    /// The text has no token, or several.
    pub fn single_token(&self, text: &str) -> Result<u32> {
        let ids = self.encode(text, false)?;
        match ids.as_slice() {
            &[id] => Ok(id),
            [] => bail!("{text:?} is not one token but none"),
            ids => {
                let pieces =
                    self.token_strings(ids)?.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>();
                Err(error!("{text:?} is not one token but {}: {}", ids.len(), pieces.join(", "))
                    .help("a word in a text usually has its space before it, as in \" Mary\""))
            }
        }
    }

    /// The id that pads the short rows of a batch: the padding token, else the end of text, else 0.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The id of the end-of-text token, if there is one.
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
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

/// Decodes tokens one by one.
pub struct Stream<'a> {
    decoder: DecodeStream<
        'a,
        ModelWrapper,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >,
    text: String,
}

impl Stream<'_> {
    /// The text that a token adds: empty as long as its bytes are an incomplete character.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn push(&mut self, token: u32) -> Result<&str> {
        let from = self.text.len();
        self.text.extend(catching(|| self.decoder.step(token))?);
        Ok(&self.text[from..])
    }

    /// The text of all tokens so far.
    pub fn text(&self) -> &str {
        &self.text
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

/// A token's text in tokenizer_config.json and special_tokens_map.json: a string, or a map with
/// `content`.
fn token_name(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

/// The tokenizer of vocab.json and merges.txt, as OPT and GPT-2 have them: byte-level BPE, and the
/// special tokens that the configs name.
fn byte_level(
    vocabulary: &[u8],
    merges: &[u8],
    config: &Map<String, Value>,
    special: &Map<String, Value>,
    files: &Files,
) -> Result<HfTokenizer> {
    let vocabulary: Map<String, Value> = serde_json::from_slice(vocabulary)
        .map_err(|e| error!("vocab.json is not a map in JSON: {e}"))?;
    let vocabulary = vocabulary
        .into_iter()
        .map(|(token, id)| match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) => Ok((token, id)),
            None => Err(error!("vocab.json gives {token:?} no id but {id}")),
        })
        .collect::<Result<Vocab>>()?;
    let merges = std::str::from_utf8(merges).map_err(|_| error!("merges.txt is not UTF-8"))?;
    let merges = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty())
        .map(|line| match line.split_once(' ') {
            Some((a, b)) => Ok((a.to_owned(), b.to_owned())),
            None => Err(error!("merges.txt has a line that is no pair: {line:?}")),
        })
        .collect::<Result<Merges>>()?;
    let model = BPE::builder().vocab_and_merges(vocabulary, merges).build().map_err(broken)?;
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let bytes = ByteLevel::default().add_prefix_space(flag("add_prefix_space"));
    let mut inner = HfTokenizer::new(model);
    inner.with_pre_tokenizer(Some(bytes));
    inner.with_decoder(Some(bytes));
    inner.with_post_processor(Some(bytes.trim_offsets(false)));

    let mut added = Vec::new();
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        if let Some(token) = token_name(config.get(name)).or_else(|| token_name(special.get(name)))
            && inner.token_to_id(&token).is_some()
        {
            added.push(AddedToken::from(token, true));
        }
    }
    inner.add_special_tokens(added).map_err(broken)?;
    if let Some(more) = files.json("added_tokens.json")? {
        let mut more: Vec<(String, u64)> =
            more.into_iter().filter_map(|(t, id)| Some((t, id.as_u64()?))).collect();
        more.sort_by_key(|(_, id)| *id);
        inner
            .add_tokens(more.into_iter().map(|(token, _)| AddedToken::from(token, false)))
            .map_err(broken)?;
    }
    if flag("add_bos_token") {
        let Some(bos) =
            token_name(config.get("bos_token")).or_else(|| token_name(special.get("bos_token")))
        else {
            bail!("tokenizer_config.json asks for a bos token and names none")
        };
        let Some(id) = inner.token_to_id(&bos) else { bail!("vocab.json has no token {bos:?}") };
        let opening = TemplateProcessing::builder()
            .try_single(format!("{bos} $A"))
            .map_err(|e| error!("the tokenizer failed: {e}"))?
            .special_tokens(vec![(bos, id)])
            .build()
            .map_err(|e| error!("the tokenizer failed: {e}"))?;
        inner.with_post_processor(Some(opening));
    }
    Ok(inner)
}
