//! What stands beside a tokenizer's vocabulary: tokenizer_config.json, special_tokens_map.json and
//! added_tokens.json, read as transformers 5 reads them.
//!
//! | field | is |
//! |---|---|
//! | `added_tokens_decoder`, `additional_special_tokens`, `extra_special_tokens`, `*_token` | tokens to add |
//! | `tokenizer_class`, `add_prefix_space`, `legacy` | read by [`class`](super::class) |
//! | `add_bos_token`, `add_eos_token` | read if there is no tokenizer.json, whose post-processor counts otherwise; what contradicts it is warned of |
//! | `split_special_tokens`, `clean_up_tokenization_spaces` | read; the latter for BPE only together with the field that insists |
//! | `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, `model_max_length`, sides, all others | harmless: transformers reads them for slow tokenizers, or for padding and truncation that nobody asks for here |

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::checkpoint::files::Files;
use crate::{Result, bail};

/// The special tokens that every tokenizer may name.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The configs beside a vocabulary.
pub struct Configs {
    /// tokenizer_config.json, with what special_tokens_map.json puts in its place.
    fields: Map<String, Value>,
    /// The special tokens by what they are for, in the order in which they are added.
    named: Vec<(String, AddedToken)>,
    /// Special tokens without a role.
    extra: Vec<AddedToken>,
    /// Other tokens by the ids that the files give them.
    added: BTreeMap<u64, AddedToken>,
    /// The file that has those.
    added_in: &'static str,
}

impl Configs {
    /// Reads the files, each of which may be missing.
    ///
    /// # Errors
    /// A file is no map in JSON, or describes a token that is none.
    pub fn read(files: &Files) -> Result<Self> {
        let mut fields = files.json("tokenizer_config.json")?.unwrap_or_default();
        let has_extra = match fields.get("extra_special_tokens") {
            Some(Value::Array(tokens)) => !tokens.is_empty(),
            Some(Value::Object(tokens)) => !tokens.is_empty(),
            _ => false,
        };
        // The older name of the same list.
        if !has_extra && let Some(tokens) = fields.remove("additional_special_tokens") {
            fields.insert("extra_special_tokens".into(), tokens);
        }
        let mut added = BTreeMap::new();
        let mut added_in = "tokenizer_config.json";
        if let Some(decoder) = fields.get("added_tokens_decoder").filter(|value| !value.is_null()) {
            let Some(decoder) = decoder.as_object() else {
                bail!(
                    "tokenizer_config.json: added_tokens_decoder must be a map from ids to tokens"
                )
            };
            for (id, token) in decoder {
                let (Ok(id), Some(token)) = (id.parse(), added_token(token, None)) else {
                    bail!(
                        "tokenizer_config.json: added_tokens_decoder has {id:?}: {token}, which is no token"
                    )
                };
                added.insert(id, token);
            }
        } else {
            // Newer checkpoints have everything in tokenizer_config.json, and what an older file
            // beside it says is not read.
            for (name, value) in files.json("special_tokens_map.json")?.unwrap_or_default() {
                if let (Some(Value::Array(tokens)), Value::Array(more)) =
                    (fields.get_mut(&name), &value)
                {
                    tokens.extend(more.iter().cloned());
                } else {
                    fields.insert(name, value);
                }
            }
            let special: Vec<String> = ROLES
                .iter()
                .filter_map(|role| added_token(fields.get(*role)?, Some(true)))
                .chain(listed(fields.get("extra_special_tokens")))
                .map(|token| token.content)
                .collect();
            if let Some(tokens) = files.json("added_tokens.json")? {
                added_in = "added_tokens.json";
                for (token, id) in tokens {
                    let Some(id) = id.as_u64() else {
                        bail!("added_tokens.json gives {token:?} no id but {id}")
                    };
                    let is_special = special.contains(&token);
                    added.insert(id, AddedToken::from(token, is_special));
                }
            }
        }
        let mut configs = Self { fields, named: Vec::new(), extra: Vec::new(), added, added_in };
        configs.name_tokens();
        Ok(configs)
    }

    /// Collects the special tokens that the fields name.
    fn name_tokens(&mut self) {
        let role = |name: &str| Some((name.to_owned(), added_token(self.fields.get(name)?, None)?));
        let mut named: Vec<(String, AddedToken)> =
            ROLES.iter().filter_map(|name| role(name)).collect();
        let own = self.fields.keys().filter(|name| {
            name.ends_with("_token") && !ROLES.contains(&name.as_str()) && !name.starts_with("add_")
        });
        named.extend(own.filter_map(|name| role(name)));
        let additional = self.fields.get("additional_special_tokens");
        let extra = self.fields.get("extra_special_tokens");
        if let Some(Value::Object(by_name)) = extra {
            named.extend(
                by_name.iter().filter_map(|(name, t)| Some((name.clone(), added_token(t, None)?))),
            );
        }
        self.extra = match extra {
            Some(Value::Array(_)) => listed(extra),
            _ => listed(additional),
        };
        // A token that is described elsewhere has the properties that it has there.
        for (_, token) in &mut named {
            if let Some(known) = self.added.values().find(|known| known.content == token.content) {
                *token = known.clone();
            }
        }
        self.named = named;
    }

    /// A text in tokenizer_config.json.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A flag in tokenizer_config.json; nothing if it is not there, or null.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.fields.get(name)?.as_bool()
    }

    /// The special token of a role, such as `eos_token`.
    pub fn role(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, token)| token.content.as_str())
    }

    /// Names the special tokens of a class for the roles that the files say nothing about. Those that
    /// the vocabulary does not have would be tokens that no model knows.
    pub fn default_roles(&mut self, defaults: &[(&str, &str)], has: impl Fn(&str) -> bool) {
        for (role, token) in defaults {
            // A null in the file says that there is none.
            if self.fields.get(*role).is_none() && has(token) {
                self.named.push(((*role).to_owned(), special(token)));
            }
        }
        let place = |name: &str| ROLES.iter().position(|role| *role == name).unwrap_or(ROLES.len());
        self.named.sort_by_key(|(name, _)| place(name));
    }

    /// Names special tokens without a role, unless tokenizer_config.json lists them.
    pub fn default_extra(&mut self, tokens: impl Iterator<Item = AddedToken>) {
        if !self.fields.get("extra_special_tokens").is_some_and(Value::is_array) {
            self.extra = tokens.collect();
        }
    }

    /// Lets the tokens that are added be found in a text before it is normalised.
    pub fn match_added_raw(&mut self) {
        self.added.values_mut().for_each(|token| token.normalized = false);
    }

    /// Whether tokenizer_config.json says which tokens are added.
    pub fn declares_added(&self) -> bool {
        self.fields.get("added_tokens_decoder").is_some_and(Value::is_object)
    }

    /// The tokens to add, by the ids that the files give them.
    pub fn added(&self) -> impl Iterator<Item = (u64, &AddedToken)> {
        self.added.iter().map(|(&id, token)| (id, token))
    }

    /// The tokens to add to a vocabulary whose added tokens are `known`, in their order.
    pub fn to_add(&self, known: impl Fn(&str) -> bool) -> Vec<AddedToken> {
        let mut tokens: Vec<AddedToken> = self.added.values().cloned().collect();
        let mut has: HashSet<&str> =
            self.added.values().map(|token| token.content.as_str()).collect();
        for token in self.special() {
            if !known(&token.content) && has.insert(&token.content) {
                tokens.push(token.clone());
            }
        }
        let named: HashSet<&str> =
            self.named.iter().map(|(_, token)| token.content.as_str()).collect();
        for token in &mut tokens {
            token.special |= named.contains(token.content.as_str());
        }
        tokens
    }

    /// Every special token.
    pub fn special(&self) -> impl Iterator<Item = &AddedToken> {
        self.named.iter().map(|(_, token)| token).chain(&self.extra)
    }

    /// The first token to which a file gives another id than it has: the file, the token and both
    /// ids.
    pub fn misplaced(
        &self,
        id: impl Fn(&str) -> Option<u32>,
    ) -> Option<(&'static str, &str, u64, Option<u32>)> {
        self.added.iter().find_map(|(&declared, token)| {
            let has = id(&token.content);
            (has.map(u64::from) != Some(declared)).then_some((
                self.added_in,
                token.content.as_str(),
                declared,
                has,
            ))
        })
    }
}

/// A special token without further properties.
pub fn special(content: &str) -> AddedToken {
    AddedToken::from(content.to_owned(), true)
}

/// The tokens in an array.
fn listed(value: Option<&Value>) -> Vec<AddedToken> {
    let tokens = value.and_then(Value::as_array).into_iter().flatten();
    tokens.filter_map(|token| added_token(token, Some(true))).collect()
}

/// A token as the configs write it: its text, or a map with `content` and properties. `special`
/// goes before what the map says.
fn added_token(value: &Value, special: Option<bool>) -> Option<AddedToken> {
    if let Some(text) = value.as_str() {
        return Some(AddedToken::from(text.to_owned(), true));
    }
    let map = value.as_object()?;
    let flag = |name: &str| map.get(name).and_then(Value::as_bool);
    let special = special.or_else(|| flag("special")).unwrap_or(false);
    Some(
        AddedToken::from(map.get("content")?.as_str()?.to_owned(), special)
            .normalized(flag("normalized").unwrap_or(!special))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .single_word(flag("single_word").unwrap_or(false)),
    )
}
