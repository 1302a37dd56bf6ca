//! Text to token ids and back, by Hugging Face's tokenizers.

mod class;
mod configs;
mod label;
mod protobuf;
mod sentencepiece;
mod steps;
mod stream;
mod vocabulary;

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::Value;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, ModelWrapper, PostProcessor, Tokenizer as HfTokenizer, TruncationDirection,
};

pub use self::stream::Stream;

use self::class::Class;
use self::configs::Configs;
use self::steps::Steps;
use self::stream::Settling;
use super::files::Files;
use crate::system::panics;
use crate::{Error, Result, bail, error};

/// The files that a tokenizer is read from, in the order in which they are looked for.
const READ: [&[&str]; 3] =
    [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["tokenizer.model"]];

/// Files of tokenizers that are not read.
const NOT_READ: [&str; 7] = [
    "spiece.model",
    "sentencepiece.bpe.model",
    "tiktoken.model",
    "tekken.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

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
    /// Reads tokenizer.json, or vocab.json and merges.txt, or tokenizer.model, and the configs beside
    /// them.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn open(files: &Files) -> Result<Self> {
        panics::catch_foreign(
            || Self::read(files),
            || error!("the tokenizer of {} is broken", files.describe()),
        )?
    }

    /// Whether these files have a tokenizer that can be read.
    pub fn is_among(files: &Files) -> bool {
        READ.iter().any(|names| names.iter().all(|name| files.contains(name)))
    }

    fn read(files: &Files) -> Result<Self> {
        let mut configs = Configs::read(files)?;
        let config = files.json("config.json")?.unwrap_or_default();
        let text = |name: &str| config.get(name).and_then(Value::as_str);
        let named = configs.text("tokenizer_class").or_else(|| text("tokenizer_class"));
        let named = named.map(str::to_owned);
        let mut warnings = Vec::new();
        let (mut inner, class) = if let Some(json) = files.read("tokenizer.json")? {
            let json =
                String::from_utf8(json).map_err(|_| error!("tokenizer.json is not UTF-8"))?;
            let mut inner = HfTokenizer::from_str(&json)
                .map_err(|e| error!("tokenizer.json can't be read: {e}"))?;
            let class =
                Class::of(text("model_type"), named.as_deref(), json.contains("\"ByteLevel\""));
            warnings.extend(class.apply(&mut inner, &configs)?);
            warnings.extend(without_dropout(&mut inner));
            (inner, class)
        } else if let (Some(vocabulary), Some(merges)) =
            (files.read("vocab.json")?, files.read("merges.txt")?)
        {
            let mut inner = vocabulary::read(&vocabulary, &merges)?;
            // Only byte-level vocabularies are written so.
            let class = match Class::of(text("model_type"), named.as_deref(), true) {
                Class::File => Class::Gpt2,
                class => class,
            };
            class::build(class, &mut inner, &configs)?;
            (inner, class)
        } else if let Some(model) = files.read("tokenizer.model")? {
            let model = sentencepiece::Model::read(&model)?;
            let class = match Class::of(text("model_type"), named.as_deref(), false) {
                class @ (Class::Llama | Class::Gemma) => class,
                _ => Class::File,
            };
            if let Some(named) = &named
                && !Class::is_of_sentencepiece(named)
            {
                warnings.push(format!(
                    "tokenizer_class: {named} may do more than tokenizer.model says; here tokenizer.model counts"
                ));
            }
            (model.build(class, &mut configs)?, class)
        } else {
            return Err(missing(files));
        };
        // tokenizer.json may have padding and truncation that were set when it was saved.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(broken)?;
        configs.default_roles(class.roles(), |token| inner.token_to_id(token).is_some());
        warnings.extend(not_declared(&inner, class, &configs));
        add_tokens(&mut inner, class, &configs)?;
        if !files.contains("tokenizer.json") {
            warnings.extend(frame(&mut inner, &configs)?);
        } else {
            warnings.extend(contradicted_frame(&inner, &configs));
        }
        if let Some((file, token, declared, has)) = configs.misplaced(|t| inner.token_to_id(t)) {
            let has = has.map_or_else(|| "none".to_owned(), |id| id.to_string());
            warnings.push(format!("{file} gives {token:?} the id {declared}, and it is {has}"));
        }
        inner.set_encode_special_tokens(configs.flag("split_special_tokens").unwrap_or(false));
        let is_merges = matches!(inner.get_model(), ModelWrapper::BPE(_));
        let insists = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
        let cleans_up = configs.flag("clean_up_tokenization_spaces").unwrap_or(false)
            && (!is_merges || configs.flag(insists).unwrap_or(false));
        let role = |name: &str| configs.role(name).and_then(|token| inner.token_to_id(token));
        let end_of_text = role("eos_token").or_else(|| inner.token_to_id("<|endoftext|>"));
        let pad = role("pad_token").or(end_of_text).unwrap_or(0);
        let steps = Steps::of(&inner);
        Ok(Self {
            pad,
            end_of_text,
            unknown: unknown(&inner).or_else(|| configs.role("unk_token").map(str::to_owned)),
            has_bytes: steps.has_bytes(),
            cleans_up,
            settling: Settling::of(&steps.decoder, cleans_up),
            warnings,
            inner,
        })
    }

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

/// The error for a checkpoint without a tokenizer that can be read.
fn missing(files: &Files) -> Error {
    let place = files.describe();
    match NOT_READ.iter().find(|name| files.contains(name)) {
        Some(name) => error!("{place} has no tokenizer that can be read: it has {name} alone").help(
            "tokenizer.json, vocab.json with merges.txt, and tokenizer.model are read; in Python \
            AutoTokenizer.from_pretrained(...).save_pretrained(...) writes tokenizer.json",
        ),
        None => error!("{place} has no tokenizer")
            .help("expected tokenizer.json, vocab.json with merges.txt, or tokenizer.model"),
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

/// Adds the tokens of the configs to the vocabulary.
fn add_tokens(inner: &mut HfTokenizer, class: Class, configs: &Configs) -> Result<()> {
    let known: HashSet<String> = inner.get_added_vocabulary().get_vocab().keys().cloned().collect();
    let tokens = configs.to_add(|token| known.contains(token));
    inner.add_tokens(tokens).map_err(broken)?;
    if class.resets_special() {
        let anew: Vec<_> = configs.special().map(|t| configs::special(&t.content)).collect();
        inner.add_tokens(anew).map_err(broken)?;
    }
    Ok(())
}

/// The warning of a token of tokenizer.json that a class does not know, as it builds its vocabulary
/// from tokenizer_config.json.
fn not_declared(inner: &HfTokenizer, class: Class, configs: &Configs) -> Option<String> {
    if class == Class::File || !configs.declares_added() {
        return None;
    }
    let declared = |token: &str| {
        let added = configs.added().map(|(_, token)| token);
        added.chain(configs.special()).any(|known| known.content == token)
    };
    let mut tokens: Vec<_> = inner.get_added_vocabulary().get_vocab().keys().collect();
    tokens.sort();
    let lost = tokens.into_iter().find(|token| !declared(token))?;
    Some(format!(
        "added_tokens_decoder of tokenizer_config.json has no {lost:?}, which tokenizer.json adds, and counts here"
    ))
}

/// Puts the special tokens around texts that the configs ask for. Returns warnings of those that
/// there are not.
fn frame(inner: &mut HfTokenizer, configs: &Configs) -> Result<Vec<String>> {
    let mut template = vec!["$A".to_owned()];
    let (mut tokens, mut warnings) = (Vec::new(), Vec::new());
    for (flag, role) in [("add_bos_token", "bos_token"), ("add_eos_token", "eos_token")] {
        if !configs.flag(flag).unwrap_or(false) {
            continue;
        }
        let token = configs.role(role);
        let Some((token, id)) = token.and_then(|token| Some((token, inner.token_to_id(token)?)))
        else {
            warnings.push(format!("{flag} is true, and there is no {role}, so none is added"));
            continue;
        };
        let at = if role == "bos_token" { 0 } else { template.len() };
        template.insert(at, token.to_owned());
        tokens.push((token.to_owned(), id));
    }
    if tokens.is_empty() {
        return Ok(warnings);
    }
    let failed = |e: &dyn std::fmt::Display| error!("the tokenizer failed: {e}");
    let processor = TemplateProcessing::builder()
        .try_single(template)
        .map_err(|e| failed(&e))?
        .special_tokens(tokens)
        .build()
        .map_err(|e| failed(&e))?;
    inner.with_post_processor(Some(processor));
    Ok(warnings)
}

/// The warnings of an `add_bos_token` or `add_eos_token` that contradicts tokenizer.json, whose
/// post-processor counts.
fn contradicted_frame(inner: &HfTokenizer, configs: &Configs) -> Vec<String> {
    let Ok(empty) = inner.encode("", true) else { return Vec::new() };
    let (first, last) = match *empty.get_ids() {
        [] => (None, None),
        [only] => (Some(only), Some(only)),
        [first, .., last] => (Some(first), Some(last)),
    };
    let id = |role: &str| configs.role(role).and_then(|token| inner.token_to_id(token));
    let begins = first.is_some() && first == id("bos_token");
    // One token that may be either is the beginning.
    let ends = last.is_some() && last == id("eos_token") && !(begins && empty.len() == 1);
    let flags = [("add_bos_token", "bos_token", begins), ("add_eos_token", "eos_token", ends)];
    let contradicted = flags.into_iter().filter_map(|(flag, role, adds)| {
        let asked = configs.flag(flag).filter(|asked| *asked != adds && id(role).is_some())?;
        let adds = if adds { "adds one" } else { "adds none" };
        Some(format!(
            "{flag} is {asked} in tokenizer_config.json, and tokenizer.json {adds}, which counts here as in \
            transformers 5"
        ))
    });
    contradicted.collect()
}

/// Turns off the dropout of merges, which is for training: the same text would have other ids each
/// time. Returns a warning if it was on.
fn without_dropout(inner: &mut HfTokenizer) -> Option<String> {
    let ModelWrapper::BPE(model) = inner.get_model() else { return None };
    model.dropout.filter(|dropout| *dropout > 0.0)?;
    let mut model = model.clone();
    model.dropout = None;
    inner.with_model(model);
    Some("tokenizer.json: the model's dropout is for training, and is off here".to_owned())
}

/// The token for what is not in the vocabulary, as the model names it.
fn unknown(inner: &HfTokenizer) -> Option<String> {
    match inner.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.clone(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
        ModelWrapper::Unigram(_) => None,
    }
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
