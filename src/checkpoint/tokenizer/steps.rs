//! The steps of a tokenizer around its model, as tokenizer.json writes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer as HfTokenizer,
};

use super::broken;
use crate::{Result, error};

/// The steps of a tokenizer before and after its model, as tokenizer.json writes them.
pub struct Steps {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub decoder: Value,
}

impl Steps {
    /// Those of a tokenizer.
    pub fn of(inner: &HfTokenizer) -> Self {
        let json = |step: serde_json::Result<Value>| step.unwrap_or_default();
        Self {
            normalizer: json(serde_json::to_value(inner.get_normalizer())),
            pre_tokenizer: json(serde_json::to_value(inner.get_pre_tokenizer())),
            decoder: json(serde_json::to_value(inner.get_decoder())),
        }
    }

    /// Whether bytes stand for the text.
    pub fn has_bytes(&self) -> bool {
        has_type(&self.decoder, "ByteLevel") || has_type(&self.pre_tokenizer, "ByteLevel")
    }

    /// Whether a space goes before the text; nothing if none of the steps has a say in it.
    pub fn adds_space(&self) -> Option<bool> {
        let mut said = Vec::new();
        visit(&self.pre_tokenizer, &mut |step| {
            said.extend(step.get("add_prefix_space").and_then(Value::as_bool));
            said.extend(step.get("prepend_scheme").map(|scheme| scheme != "never"));
        });
        if has_type(&self.normalizer, "Prepend") {
            said.push(true);
        }
        (!said.is_empty()).then(|| said.contains(&true))
    }

    /// The names of the steps in which they differ.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, one, two) in [
            ("normalizer", &self.normalizer, &other.normalizer),
            ("pre_tokenizer", &self.pre_tokenizer, &other.pre_tokenizer),
            ("decoder", &self.decoder, &other.decoder),
        ] {
            if plain(one, name == "decoder") != plain(two, name == "decoder") {
                names.push(name);
            }
        }
        names
    }

    /// Gives a tokenizer these steps.
    pub fn give(&self, inner: &mut HfTokenizer) -> Result<()> {
        let failed = |e: serde_json::Error| error!("the tokenizer failed: {e}");
        let normalizer: Option<NormalizerWrapper> =
            serde_json::from_value(self.normalizer.clone()).map_err(failed)?;
        let pre_tokenizer: Option<PreTokenizerWrapper> =
            serde_json::from_value(self.pre_tokenizer.clone()).map_err(failed)?;
        let decoder: Option<DecoderWrapper> =
            serde_json::from_value(self.decoder.clone()).map_err(failed)?;
        inner.with_normalizer(normalizer).map_err(broken)?;
        inner.with_pre_tokenizer(pre_tokenizer);
        inner.with_decoder(decoder);
        Ok(())
    }
}

/// Whether a step or one that it contains has a type.
pub fn has_type(step: &Value, name: &str) -> bool {
    let mut has = false;
    visit(step, &mut |step| has |= step.get("type").is_some_and(|known| known == name));
    has
}

/// Calls `see` for a step and those that it contains, in order.
pub fn visit(step: &Value, see: &mut dyn FnMut(&Value)) {
    see(step);
    let inner = ["normalizers", "pretokenizers", "decoders"];
    for step in inner.iter().filter_map(|list| step.get(list)?.as_array()).flatten() {
        visit(step, see);
    }
}

/// A step without what changes neither ids nor texts.
fn plain(step: &Value, decodes: bool) -> Vec<Value> {
    let mut flat = Vec::new();
    visit(step, &mut |step| {
        let Some(fields) = step.as_object().filter(|fields| !is_sequence(fields)) else { return };
        let mut fields = fields.clone();
        fields.remove("trim_offsets");
        if decodes && fields.get("type").is_some_and(|name| name == "ByteLevel") {
            fields.retain(|name, _| name == "type");
        }
        flat.push(fields.into_iter().collect::<BTreeMap<_, _>>());
    });
    flat.into_iter().map(|fields| json!(fields)).collect()
}

fn is_sequence(fields: &Map<String, Value>) -> bool {
    fields.get("type").is_some_and(|name| name == "Sequence")
}
