//! Reading config.json strictly: a field that a family does not know and that could change the
//! result is an error.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::spec::Activation;
use crate::{Result, bail, error};

/// Fields of the Hub's configs that do not change what a forward pass computes: training,
/// generation, bookkeeping.
const IRRELEVANT: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "activation_dropout",
    "add_cross_attention",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "init_std",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "min_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
];

/// Larger than any model's sizes, and so small that the product of two sizes cannot overflow.
const LARGEST_SIZE: usize = 1 << 24;

/// Positions are u32.
const MOST_POSITIONS: usize = 1 << 31;

/// The range of a number in a config, chosen so that the equations that use it give finite results.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    least: f64,
    most: f64,
    words: &'static str,
}

impl Allowed {
    /// The number that a norm adds under its square root: above 0, in float32 too.
    pub const EPS: Self =
        Self { least: f32::MIN_POSITIVE as f64, most: 1.0, words: "above 0 and at most 1" };
    /// The base of rotary frequencies.
    pub const THETA: Self = Self { least: 1.0, most: f64::MAX, words: "at least 1" };
    /// The factor by which rotary scaling extends the pretraining's length.
    pub const FACTOR: Self = Self { least: 1.0, most: 1e9, words: "from 1 to 1e9" };
    /// A share, of a head's dimensions for example.
    pub const PART: Self =
        Self { least: f64::MIN_POSITIVE, most: 1.0, words: "above 0 and at most 1" };
    /// A factor or divisor of scores, logits or frequencies.
    pub const SCALE: Self = Self { least: 1e-6, most: 1e9, words: "from 1e-6 to 1e9" };
}

/// The fields of one config.json. It records which were read, so that [`finish`](Self::finish) can
/// refuse the ones that were not.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// What has the fields, for messages: `config.json` or `config.json's rope_scaling`.
    place: String,
    read: RefCell<BTreeSet<&'static str>>,
}

/// A type that a field can have.
pub trait Field: Sized {
    /// The type in words, for messages.
    const EXPECTED: &'static str;

    /// `None` if the value has another type.
    fn read(value: &Value) -> Option<Self>;
}

impl Field for usize {
    const EXPECTED: &'static str = "a whole number";
    fn read(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|n| usize::try_from(n).ok())
    }
}

impl Field for f64 {
    const EXPECTED: &'static str = "a number";
    fn read(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl Field for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Field for String {
    const EXPECTED: &'static str = "a string";
    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Field for Vec<f64> {
    const EXPECTED: &'static str = "an array of numbers";
    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(f64::read).collect()
    }
}

impl Field for Vec<String> {
    const EXPECTED: &'static str = "an array of strings";
    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::read).collect()
    }
}

impl<'a> Fields<'a> {
    /// The fields of a whole config.json.
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, place: "config.json".into(), read: RefCell::default() }
    }

    /// A field, or `None` if it is absent or null.
    ///
    /// # Errors
    /// The value has another type.
    pub fn optional<T: Field>(&self, name: &'static str) -> Result<Option<T>> {
        self.read.borrow_mut().insert(name);
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::read(value).map(Some).ok_or_else(|| {
                error!("{}: {name} must be {}, not {value}", self.place, T::EXPECTED)
            }),
        }
    }

    /// Whether the field is there, null or not. It does not count as read.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// The field is absent, null or of another type.
    pub fn required<T: Field>(&self, name: &'static str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| error!("{} has no {name}", self.place))
    }

    /// A dimension of a weight or a number of layers or heads.
    ///
    /// # Errors
    /// The field is absent, 0 or absurdly large.
    pub fn size(&self, name: &'static str) -> Result<usize> {
        self.count(name, self.required(name)?, LARGEST_SIZE)
    }

    /// As [`size`](Self::size), or `default` if the field is absent.
    ///
    /// # Errors
    /// The field is 0 or absurdly large.
    pub fn size_or(&self, name: &'static str, default: usize) -> Result<usize> {
        self.count(name, self.optional(name)?.unwrap_or(default), LARGEST_SIZE)
    }

    /// A number of tokens, of a sequence or a window; `None` if the field is absent.
    ///
    /// # Errors
    /// The field is 0 or above 2³¹.
    pub fn positions(&self, name: &'static str) -> Result<Option<usize>> {
        self.optional(name)?.map(|n| self.count(name, n, MOST_POSITIONS)).transpose()
    }

    /// A number of tokens that must be there.
    ///
    /// # Errors
    /// The field is absent, 0 or above 2³¹.
    pub fn max_positions(&self, name: &'static str) -> Result<usize> {
        self.count(name, self.required(name)?, MOST_POSITIONS)
    }

    fn count(&self, name: &str, n: usize, most: usize) -> Result<usize> {
        match n {
            0 => bail!("{}: {name} must be at least 1, not 0", self.place),
            n if n > most => bail!("{}: {name} must be at most {most}, not {n}", self.place),
            n => Ok(n),
        }
    }

    /// A real number within a range, or `None` if the field is absent.
    ///
    /// # Errors
    /// The value is out of the range or no number.
    pub fn number(&self, name: &'static str, allowed: Allowed) -> Result<Option<f64>> {
        self.optional(name)?.map(|x| self.allowed(name, x, allowed)).transpose()
    }

    /// A real number within a range that must be there.
    ///
    /// # Errors
    /// The field is absent, out of the range or no number.
    pub fn required_number(&self, name: &'static str, allowed: Allowed) -> Result<f64> {
        self.allowed(name, self.required(name)?, allowed)
    }

    /// An array of real numbers within a range that must be there.
    ///
    /// # Errors
    /// The field is absent, or an element is out of the range or no number.
    pub fn numbers(&self, name: &'static str, allowed: Allowed) -> Result<Vec<f64>> {
        self.required::<Vec<f64>>(name)?
            .into_iter()
            .map(|x| self.allowed(name, x, allowed))
            .collect()
    }

    fn allowed(&self, name: &str, x: f64, allowed: Allowed) -> Result<f64> {
        // A range contains no NaN.
        match (allowed.least..=allowed.most).contains(&x) {
            true => Ok(x),
            false => bail!("{}: {name} must be {}, not {x:?}", self.place, allowed.words),
        }
    }

    /// The fields of a nested map, or `None` if it is absent or null.
    ///
    /// # Errors
    /// The value is no map.
    pub fn nested(&self, name: &'static str) -> Result<Option<Fields<'a>>> {
        self.read.borrow_mut().insert(name);
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields {
                map,
                place: format!("{}'s {name}", self.place),
                read: RefCell::default(),
            })),
            Some(other) => bail!("{}: {name} must be a map, not {other}", self.place),
        }
    }

    /// Reads a field of which this program supports one value only. The field may be absent.
    ///
    /// # Errors
    /// The field has another value.
    pub fn only<T: Field + PartialEq + std::fmt::Debug>(
        &self,
        name: &'static str,
        value: T,
    ) -> Result<()> {
        match self.optional::<T>(name)? {
            Some(other) if other != value => {
                bail!(
                    "{}: {name} = {other:?} can't be honoured; only {value:?} is supported",
                    self.place
                )
            }
            _ => Ok(()),
        }
    }

    /// Marks fields as read that do not change a forward pass in this family.
    pub fn ignore(&self, names: &[&'static str]) {
        self.read.borrow_mut().extend(names);
    }

    /// The activation that a field names, or the one named `default` if the field is absent.
    ///
    /// # Errors
    /// The activation is not supported.
    pub fn activation(&self, name: &'static str, default: &str) -> Result<Activation> {
        let value = self.optional::<String>(name)?.unwrap_or_else(|| default.into());
        Ok(match value.as_str() {
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "silu" | "swish" => Activation::Silu,
            _ => bail!("{}: the activation {value:?} of {name} is not supported", self.place),
        })
    }

    /// Checks that every field was read or is known not to change a forward pass.
    ///
    /// # Errors
    /// A field was not read and could change the result.
    pub fn finish(&self) -> Result<()> {
        self.finish_with(&[])
    }

    /// As [`finish`](Self::finish), but a field that was not read may repeat one of the `sizes`,
    /// given by name: configs that scripts save have the sizes under the names that all families
    /// share and under the family's own.
    ///
    /// # Errors
    /// A field was not read and could change the result, or differs from the size of its name.
    pub fn finish_with(&self, sizes: &[(&str, usize)]) -> Result<()> {
        let read = self.read.borrow();
        for (name, value) in self.map {
            if !value.is_null()
                && !read.contains(name.as_str())
                && !IRRELEVANT.contains(&name.as_str())
            {
                match sizes.iter().find(|(known, _)| known == name) {
                    Some((_, size)) if value.as_u64() == Some(*size as u64) => continue,
                    Some((_, size)) => {
                        bail!(
                            "{}: {name} is {value}, and the fields that this family reads make it {size}",
                            self.place
                        )
                    }
                    None => {}
                }
                return Err(error!(
                    "{}: the field {name} = {value} is not known for this family and could change the result",
                    self.place
                )
                .help("remove the field if you are sure that it does not matter"));
            }
        }
        Ok(())
    }
}
