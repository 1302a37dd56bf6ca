//! How a family draws its weights before training, after transformers' `_init_weights`: matrices and
//! tables normally distributed, biases 0, gains 1 (or what stands for 1).

use serde_json::{Map, Value};

use crate::{Result, error};

/// What differs between families in how their weights are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Initial {
    /// Which row of the token embeddings is 0.
    pub padding: Padding,
    /// The matrices whose standard deviation is divided by √(2 · layers): those that write into the
    /// residual stream (GPT-2).
    pub scaled: &'static [&'static str],
}

/// Which row of the token embeddings is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// None.
    Nothing,
    /// That of the config's `pad_token_id`, or if the config has no such field of this token.
    Token(Option<usize>),
}

impl Initial {
    /// The standard deviation of matrices and tables: the config's `initializer_range` or
    /// `init_std`, by default 0.02.
    ///
    /// # Errors
    /// It is no number, or below 0.
    pub fn std(&self, config: &Map<String, Value>) -> Result<f64> {
        const DEFAULT: f64 = 0.02;
        let field = |name: &'static str| config.get(name).map(|value| (name, value));
        let Some((name, value)) = field("initializer_range").or_else(|| field("init_std")) else {
            return Ok(DEFAULT);
        };
        match value.as_f64() {
            Some(std) if std > 0.0 => Ok(std),
            // As transformers takes it.
            Some(0.0) => Ok(DEFAULT),
            _ => Err(error!("config.json: {name} must be a number of at least 0, not {value}")),
        }
    }

    /// The row of the token embeddings that is 0.
    pub fn padding_row(&self, config: &Map<String, Value>) -> Option<usize> {
        match (self.padding, config.get("pad_token_id")) {
            (Padding::Nothing, _) => None,
            (Padding::Token(default), None) => default,
            (Padding::Token(_), Some(id)) => id.as_u64().and_then(|id| usize::try_from(id).ok()),
        }
    }
}
