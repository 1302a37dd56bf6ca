//! The tokenizer classes of transformers that build their steps anew from a vocabulary, whatever
//! tokenizer.json says of them.
//!
//! tokenizer.json is what a model was trained with, so it counts here. Fields of
//! tokenizer_config.json that such a class reads are applied to it; where the class would make
//! something else of the vocabulary for another reason, a warning says so.

use serde_json::{Value, json};
use tokenizers::{ModelWrapper, Tokenizer as HfTokenizer};

use super::configs::Configs;
use super::steps::Steps;
use crate::Result;

/// How a tokenizer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// As tokenizer.json says.
    File,
    Gpt2,
    GptNeoX,
    Qwen2,
    Llama,
    Gemma,
    Cohere,
}

/// The classes by their names in transformers.
const NAMES: [(&str, Class); 6] = [
    ("GPT2Tokenizer", Class::Gpt2),
    ("GPTNeoXTokenizer", Class::GptNeoX),
    ("Qwen2Tokenizer", Class::Qwen2),
    ("LlamaTokenizer", Class::Llama),
    ("GemmaTokenizer", Class::Gemma),
    ("CohereTokenizer", Class::Cohere),
];

/// The class that transformers registers for a family. Families that are not here have none, and
/// get the one that the checkpoint names.
const REGISTERED: [(Class, &[&str]); 6] = [
    (
        Class::File,
        &[
            "ernie4_5",
            "ernie4_5_moe",
            "flex_olmo",
            "glm",
            "glm4",
            "glm4_moe",
            "gpt_bigcode",
            "granite",
            "granitemoe",
            "granitemoehybrid",
            "granitemoeshared",
            "hyperclovax",
            "internlm2",
            "internlm3",
            "jamba",
            "kimi_linear",
            "minicpm3",
            "minimax_m2",
            "ministral",
            "ministral3",
            "mistral",
            "mixtral",
            "nemotron",
            "olmo2",
            "olmo3",
            "persimmon",
            "phi3",
            "phimoe",
            "stablelm",
        ],
    ),
    (Class::Gpt2, &["codegen", "dbrx", "gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2"]),
    (
        Class::GptNeoX,
        &["falcon_mamba", "gpt_neox", "mamba", "mamba2", "mpt", "olmo", "olmoe", "rwkv", "xlstm"],
    ),
    (Class::Qwen2, &["qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"]),
    (Class::Gemma, &["gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma"]),
    (Class::Cohere, &["cohere", "cohere2"]),
];

/// Families whose checkpoints are known to name a wrong class; the registered one counts.
const MISNAMED: [&str; 13] = [
    "ernie4_5",
    "ernie4_5_moe",
    "hyperclovax",
    "internlm2",
    "internlm3",
    "jamba",
    "minicpm3",
    "minimax_m2",
    "nemotron",
    "phi3",
    "phimoe",
    "qwen2",
    "modernbert-decoder",
];

/// The regular expression by which Qwen 2 splits texts.
const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Class {
    /// The class that transformers 5 takes for a family and the class that a checkpoint names.
    /// `has_bytes` tells whether tokenizer.json works on bytes.
    pub fn of(family: Option<&str>, named: Option<&str>, has_bytes: bool) -> Self {
        let registered = REGISTERED.iter().find_map(|(class, families)| {
            families.iter().any(|known| Some(*known) == family).then_some(*class)
        });
        let misnamed = MISNAMED.iter().any(|known| Some(*known) == family);
        let Some(named) = named.map(|name| name.strip_suffix("Fast").unwrap_or(name)) else {
            return registered.unwrap_or(Class::File);
        };
        let by_name =
            NAMES.iter().find(|(name, _)| *name == named).map_or(Class::File, |(_, class)| *class);
        if by_name == Class::Llama && has_bytes && !misnamed {
            return Class::File;
        }
        match registered {
            Some(registered) if registered == by_name => by_name,
            Some(Class::File) => Class::File,
            Some(registered) if misnamed => registered,
            _ => by_name,
        }
    }

    /// Whether the class of that name makes of a sentencepiece model what the model says, or one of
    /// the classes here.
    pub fn is_of_sentencepiece(name: &str) -> bool {
        let name = name.strip_suffix("Fast").unwrap_or(name);
        ["LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizer", "TokenizersBackend"]
            .contains(&name)
    }

    /// The special tokens that it names if no config does.
    pub fn roles(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Class::File => &[],
            Class::Gpt2 => &[("unk_token", END), ("bos_token", END), ("eos_token", END)],
            Class::GptNeoX => &[
                ("unk_token", END),
                ("bos_token", END),
                ("eos_token", END),
                ("pad_token", "<|padding|>"),
            ],
            Class::Qwen2 => &[("unk_token", END), ("eos_token", END), ("pad_token", END)],
            Class::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Class::Gemma => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Cohere => &[
                ("unk_token", "<UNK>"),
                ("bos_token", "<BOS_TOKEN>"),
                ("eos_token", "<|END_OF_TURN_TOKEN|>"),
                ("pad_token", "<PAD>"),
                ("cls_token", "<CLS>"),
                ("sep_token", "<SEP>"),
                ("mask_token", "<MASK_TOKEN>"),
            ],
        }
    }

    /// Whether it makes every special token one anew, without the properties that files give it.
    pub fn resets_special(self) -> bool {
        self == Class::Qwen2
    }

    /// Gives the tokenizer the steps of the class as far as fields of the configs ask for it.
    /// Returns warnings of what else the class would do.
    ///
    /// # Errors
    /// The library takes no such step.
    pub fn apply(self, inner: &mut HfTokenizer, configs: &Configs) -> Result<Vec<String>> {
        let asked = configs.flag("add_prefix_space");
        let has = Steps::of(inner);
        if self == Class::File {
            return Ok(self.ignored_space(asked, &has).into_iter().collect());
        }
        let legacy = configs.flag("legacy").unwrap_or(false);
        let wanted = self.steps(asked.unwrap_or(self == Class::Llama), legacy);
        let mut others = wanted.differing(&has);
        if !others.is_empty() {
            let variant = [(true, true), (true, false), (false, true), (false, false)]
                .into_iter()
                .any(|(space, legacy)| self.steps(space, legacy).differing(&has).is_empty());
            if variant {
                wanted.give(inner)?;
                others.clear();
            }
        }
        let merges = |bpe: &tokenizers::models::bpe::BPE| {
            let bytes = matches!(self, Class::Llama | Class::Gemma);
            bpe.ignore_merges || bpe.byte_fallback != bytes
        };
        if !matches!(inner.get_model(), ModelWrapper::BPE(bpe) if !merges(bpe)) {
            others.push("model");
        }
        if self == Class::GptNeoX && inner.encode("", true).is_ok_and(|empty| !empty.is_empty()) {
            others.push("post_processor");
        }
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let name = NAMES.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name);
        let space = if asked.is_some() { ", so add_prefix_space is not read" } else { "" };
        Ok(vec![format!(
            "tokenizer_class: transformers 5 builds {name} with another {} than tokenizer.json has, and may give \
            other ids; here tokenizer.json counts{space}",
            others.join(" and ")
        )])
    }

    /// The warning of an `add_prefix_space` that contradicts tokenizer.json and that no class
    /// reads.
    fn ignored_space(self, asked: Option<bool>, has: &Steps) -> Option<String> {
        let prefixes = has.adds_space()?;
        let asked = asked.filter(|asked| *asked != prefixes)?;
        Some(format!(
            "add_prefix_space is {asked} in tokenizer_config.json and {prefixes} in tokenizer.json, which counts here \
            as in transformers 5"
        ))
    }

    /// The steps that the class builds.
    fn steps(self, space: bool, legacy: bool) -> Steps {
        let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": regex});
        let split = |pattern: Value, behavior: &str| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false});
        let (normalizer, pre_tokenizer, decoder) = match self {
            Class::File => Default::default(),
            Class::Gpt2 => (Value::Null, bytes(true), bytes(true)),
            Class::GptNeoX => (json!({"type": "NFC"}), bytes(true), bytes(true)),
            Class::Qwen2 => {
                let split = split(json!({"Regex": QWEN2_SPLIT}), "Isolated");
                let both = json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]});
                (json!({"type": "NFC"}), both, bytes(true))
            }
            Class::Cohere => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                let both = json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]});
                (json!({"type": "NFC"}), both, bytes(true))
            }
            Class::Llama => {
                let scheme = match (space, legacy) {
                    (false, _) => "never",
                    (true, true) => "always",
                    (true, false) => "first",
                };
                let words = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
                let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
                (Value::Null, words, pieces(space.then_some(strip)))
            }
            Class::Gemma => {
                let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
                let words = split(json!({"String": " "}), "MergedWithPrevious");
                (spaces, words, pieces(None))
            }
        };
        Steps { normalizer, pre_tokenizer, decoder }
    }
}

/// The decoder of pieces in the way of sentencepiece, with bytes among them.
fn pieces(last: Option<Value>) -> Value {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    steps.extend(last);
    json!({"type": "Sequence", "decoders": steps})
}

/// Gives a tokenizer of a bare vocabulary the steps of a class.
///
/// # Errors
/// As [`Class::apply`].
pub fn build(class: Class, inner: &mut HfTokenizer, configs: &Configs) -> Result<()> {
    let space = configs.flag("add_prefix_space").unwrap_or(class == Class::Llama);
    class.steps(space, configs.flag("legacy").unwrap_or(false)).give(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `AutoTokenizer` of transformers 5.24 takes.
    #[test]
    fn the_class_is_the_one_that_transformers_takes() {
        for (family, named, bytes, class) in [
            (Some("gpt2"), Some("GPT2Tokenizer"), true, Class::Gpt2),
            (Some("gpt2"), Some("LlamaTokenizer"), true, Class::File),
            (Some("gpt2"), Some("PreTrainedTokenizerFast"), true, Class::File),
            (Some("gpt2"), None, true, Class::Gpt2),
            (Some("stablelm"), Some("GPT2Tokenizer"), true, Class::File),
            (Some("llama"), Some("LlamaTokenizerFast"), false, Class::Llama),
            (Some("llama"), None, false, Class::File),
            (Some("qwen2"), Some("GPT2Tokenizer"), true, Class::Qwen2),
            (Some("qwen3"), Some("GPT2Tokenizer"), true, Class::Gpt2),
            (Some("phi3"), Some("LlamaTokenizer"), false, Class::File),
            (None, Some("GemmaTokenizer"), false, Class::Gemma),
        ] {
            assert_eq!(Class::of(family, named, bytes), class, "{family:?} {named:?}");
        }
    }
}
