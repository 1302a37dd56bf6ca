//! Reads a tokenizer from a checkpoint's files: the vocabulary, and what the configs say of it.

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::Value;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{ModelWrapper, Tokenizer as HfTokenizer};

use super::class::Class;
use super::configs::Configs;
use super::steps::Steps;
use super::stream::Settling;
use super::{Tokenizer, broken, class, configs, sentencepiece, vocabulary};
use crate::checkpoint::files::Files;
use crate::system::panics;
use crate::{Error, Result, error};

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
