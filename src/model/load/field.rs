//! What a field of a config may be: its types, and the ranges of numbers.

use serde_json::Value;

/// The range of a number in a config, chosen so that the equations that use it give finite results.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) words: &'static str,
}

impl Allowed {
    /// The number that a norm adds under its square root: above 0, in float32 too.
    pub const EPS: Self =
        Self { least: f32::MIN_POSITIVE as f64, most: 1.0, words: "above 0 and at most 1" };
    /// The base of rotary frequencies.
    pub const THETA: Self = Self { least: 1.0, most: f64::MAX, words: "at least 1" };
    /// The factor by which rotary scaling extends the pretraining's length.
    pub const FACTOR: Self = Self { least: 1.0, most: 1e9, words: "from 1 to 1e9" };
    /// A number that may be 0.
    pub const NOT_NEGATIVE: Self = Self { least: 0.0, most: 1e9, words: "from 0 to 1e9" };
    /// A share, of a head's dimensions for example.
    pub const PART: Self =
        Self { least: f64::MIN_POSITIVE, most: 1.0, words: "above 0 and at most 1" };
    /// A factor or divisor of scores, logits or frequencies.
    pub const SCALE: Self = Self { least: 1e-6, most: 1e9, words: "from 1e-6 to 1e9" };
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

/// Kinds of layers, repeated: `[["global", "local"], 12]` (GPT-Neo).
pub struct Repeated {
    /// One after the other.
    pub kinds: Vec<String>,
    /// How often.
    pub times: usize,
}

impl Field for Vec<Repeated> {
    const EXPECTED: &'static str = "an array of pairs of kinds and how often they are repeated";
    fn read(value: &Value) -> Option<Self> {
        /// More than any model has layers, so that a wrong number fills no memory.
        const MOST: usize = 1 << 16;
        let one = |pair: &Value| match pair.as_array()?.as_slice() {
            [kinds, times] => {
                let times = usize::read(times).filter(|times| *times <= MOST)?;
                Some(Repeated { kinds: Vec::read(kinds)?, times })
            }
            _ => None,
        };
        value.as_array()?.iter().map(one).collect()
    }
}
