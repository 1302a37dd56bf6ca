//! The tokenizer's files that a GGUF file's metadata stand for.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::header::Metadata;
use super::names::Architecture;
use crate::{Result, bail};

/// Kinds of tokens, sentencepiece's too.
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

/// The files by name: none if the file has no tokenizer.
///
/// # Errors
/// Its arrays contradict each other, or the tokenizer is of a kind that is not read.
pub fn files(metadata: &Metadata, architecture: Architecture) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let model = metadata.text("tokenizer.ggml.model")?;
    if let Some(json) = metadata.text("tokenizer.huggingface.json")? {
        files.insert("tokenizer.json".to_owned(), json.as_bytes().to_vec());
    } else {
        let Some(model) = model else { return Ok(files) };
        let vocabulary = Vocabulary::read(metadata)?;
        match model {
            "gpt2" => {
                let json = vocabulary.byte_level(metadata)?;
                files.insert("tokenizer.json".into(), json.to_string().into_bytes());
            }
            "llama" => {
                files.insert("tokenizer.model".into(), vocabulary.sentencepiece(metadata)?);
            }
            other => bail!("the tokenizer {other:?} is not read; gpt2 and llama are"),
        }
    }
    let config = config(metadata, architecture, model == Some("llama"))?;
    files.insert("tokenizer_config.json".into(), config.to_string().into_bytes());
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        files.insert("chat_template.jinja".into(), template.as_bytes().to_vec());
    }
    Ok(files)
}

/// The special tokens by their roles, and which of them are put around a text.
fn config(metadata: &Metadata, architecture: Architecture, pieces: bool) -> Result<Json> {
    let mut config = serde_json::Map::new();
    let tokens = metadata.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
    for (role, key) in [
        ("bos_token", "bos"),
        ("eos_token", "eos"),
        ("unk_token", "unknown"),
        ("pad_token", "padding"),
    ] {
        let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
        let id = id.and_then(|id| usize::try_from(id).ok());
        if let Some(token) = id.and_then(|id| tokens.get(id)) {
            config.insert(role.into(), (*token).into());
        }
    }
    // llama.cpp's defaults where a file says nothing.
    let begin = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(pieces);
    let end = metadata.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    config.insert("add_bos_token".into(), begin.into());
    config.insert("add_eos_token".into(), end.into());
    if pieces {
        let gemma = matches!(
            architecture,
            Architecture::Gemma | Architecture::Gemma2 | Architecture::Gemma3
        );
        let class = if gemma { "GemmaTokenizer" } else { "LlamaTokenizer" };
        config.insert("tokenizer_class".into(), class.into());
        let space = metadata.flag("tokenizer.ggml.add_space_prefix")?;
        config.insert("add_prefix_space".into(), space.unwrap_or(!gemma).into());
    }
    Ok(Json::Object(config))
}

/// The tokens with their kinds.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<f64>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self> {
        let tokens = metadata.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
        let kinds = metadata.numbers("tokenizer.ggml.token_type")?;
        let kinds = kinds.unwrap_or_else(|| vec![1.0; tokens.len()]);
        if kinds.len() != tokens.len() {
            bail!("{} tokens have {} kinds", tokens.len(), kinds.len());
        }
        Ok(Self { tokens, kinds })
    }

    /// tokenizer.json of byte-level merges.
    fn byte_level(&self, metadata: &Metadata) -> Result<Json> {
        let merges = metadata.texts("tokenizer.ggml.merges")?.unwrap_or_default();
        let vocabulary: serde_json::Map<String, Json> = (0u32..)
            .zip(&self.tokens)
            .map(|(id, token)| ((*token).to_owned(), id.into()))
            .collect();
        let added: Vec<Json> = (0u32..)
            .zip(self.tokens.iter().zip(&self.kinds))
            .filter(|(_, (_, kind))| [CONTROL, USER_DEFINED].contains(kind))
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == CONTROL,
                })
            })
            .collect();
        let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let (normalizer, splits) = splits(pre)?;
        let post = self.template(metadata)?;
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": normalizer, "pre_tokenizer": splits, "post_processor": post,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": pre == "llama-bpe", "vocab": vocabulary, "merges": merges,
            },
        }))
    }

    /// The special tokens that are put around a text.
    fn template(&self, metadata: &Metadata) -> Result<Json> {
        let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
        let mut special = serde_json::Map::new();
        for (flag, key, last) in [("add_bos_token", "bos", false), ("add_eos_token", "eos", true)] {
            if metadata.flag(&format!("tokenizer.ggml.{flag}"))? != Some(true) {
                continue;
            }
            let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
            let token = id.and_then(|id| self.tokens.get(usize::try_from(id).ok()?));
            let (Some(id), Some(token)) = (id, token) else { continue };
            let piece = json!({"SpecialToken": {"id": token, "type_id": 0}});
            single.insert(if last { single.len() } else { 0 }, piece);
            let entry = json!({"id": token, "ids": [id], "tokens": [token]});
            special.insert((*token).to_owned(), entry);
        }
        if special.is_empty() {
            return Ok(Json::Null);
        }
        let pair = [single.clone(), vec![json!({"Sequence": {"id": "B", "type_id": 1}})]].concat();
        Ok(json!({
            "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
        }))
    }

    /// tokenizer.model, as sentencepiece writes it: a protocol buffer.
    fn sentencepiece(&self, metadata: &Metadata) -> Result<Vec<u8>> {
        /// The kind of a model of merges.
        const MERGES: u64 = 2;
        let scores = metadata.numbers("tokenizer.ggml.scores")?.unwrap_or_default();
        if scores.len() != self.tokens.len() {
            bail!("{} tokens have {} scores", self.tokens.len(), scores.len());
        }
        let mut model = Vec::new();
        for ((token, score), kind) in self.tokens.iter().zip(scores).zip(&self.kinds) {
            let mut piece = Vec::new();
            write_bytes(&mut piece, 1, token.as_bytes());
            write_number(&mut piece, 2 << 3 | 5);
            piece.extend((score as f32).to_le_bytes());
            write_field(&mut piece, 3, *kind as u64);
            write_bytes(&mut model, 1, &piece);
        }
        let mut trainer = Vec::new();
        write_field(&mut trainer, 3, MERGES);
        write_field(&mut trainer, 35, 1);
        for (field, text, key) in [(40, 45, "unknown"), (41, 46, "bos"), (42, 47, "eos")] {
            let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
            let token = id.and_then(|id| self.tokens.get(usize::try_from(id).ok()?));
            if let (Some(id), Some(token)) = (id, token) {
                write_field(&mut trainer, field, id);
                write_bytes(&mut trainer, text, token.as_bytes());
            }
        }
        write_bytes(&mut model, 2, &trainer);
        let mut normalizer = Vec::new();
        let prefix = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let spaces = metadata.flag("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false);
        write_field(&mut normalizer, 3, prefix.into());
        write_field(&mut normalizer, 4, spaces.into());
        write_bytes(&mut model, 3, &normalizer);
        Ok(model)
    }
}

fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn write_field(to: &mut Vec<u8>, field: u64, number: u64) {
    write_number(to, field << 3);
    write_number(to, number);
}

fn write_bytes(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_number(to, field << 3 | 2);
    write_number(to, bytes.len() as u64);
    to.extend(bytes);
}

/// The normaliser, and how texts are split before merging, by llama.cpp's name for it.
///
/// # Errors
/// The name is not known.
fn splits(name: &str) -> Result<(Json, Json)> {
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let all = |steps: Vec<Json>| json!({"type": "Sequence", "pretokenizers": steps});
    let by = |regex: &str| {
        let pattern = json!({"Regex": regex});
        let split =
            json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
        all(vec![split, bytes(false)])
    };
    let digits = |each: bool| json!({"type": "Digits", "individual_digits": each});
    let nfc = json!({"type": "NFC"});
    Ok(match name {
        "default" | "gpt-2" | "phi-2" | "mpt" => (Json::Null, bytes(true)),
        // GPT-NeoX's, which OLMo has too.
        "olmo" => (nfc, bytes(true)),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (nfc, by(QWEN2)),
        "llama-bpe" | "llama3" | "llama-v3" | "dbrx" | "smaug-bpe" | "falcon3" => {
            (Json::Null, by(LLAMA3))
        }
        "starcoder" | "refact" | "smollm" => (Json::Null, all(vec![digits(true), bytes(true)])),
        "falcon" => {
            let punctuation = json!({"type": "Punctuation", "behavior": "Contiguous"});
            let three = json!({"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false});
            (Json::Null, all(vec![punctuation, bytes(true), digits(false), three]))
        }
        other => bail!("the splits {other:?} of the metadata tokenizer.ggml.pre are not known"),
    })
}
