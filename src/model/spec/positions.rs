//! How a model knows the tokens' positions, and which of them a query attends to.

use crate::kernel::rotary::Pairs;

/// How a model knows the tokens' positions.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A learned vector for each position is added to the embeddings.
    Learned {
        /// The row of position 0 in the table.
        offset: usize,
    },
    /// Queries and keys are rotated, in all layers but [`Spec::without_rotary`](super::Spec::without_rotary).
    Rotary(RotarySpec),
    /// A term proportional to the key's position is added to the scores, with a slope for each head
    /// (ALiBi, Press et al. 2022).
    Alibi(AlibiSpec),
}

/// ALiBi as a family computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlibiSpec {
    /// A factor on the term (Falcon).
    pub scale: f64,
    /// Whether slopes, positions and their products are rounded to bfloat16 (Falcon).
    pub rounded: bool,
}

/// Rotary position embeddings (Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub struct RotarySpec {
    /// How many of a head's dimensions are rotated, from the first. It is even.
    pub dims: usize,
    /// What divides the frequencies' exponents: `dims`, or the odd number that was rounded up to it.
    pub over: usize,
    /// Which dimensions are rotated together.
    pub pairs: Pairs,
    /// The base of the frequencies: pair i turns by theta^(−2i / over) radians a position.
    pub theta: f64,
    /// How the frequencies are changed for long texts.
    pub scaling: Option<RotaryScaling>,
}

/// How the frequencies are changed for texts longer than those of the pretraining, as in
/// transformers' `modeling_rope_utils.py`.
#[derive(Debug, Clone, PartialEq)]
pub enum RotaryScaling {
    /// `rope_type: linear`.
    Linear {
        /// Divides every frequency.
        factor: f64,
    },
    /// `rope_type: llama3`: low frequencies are divided by a factor, high ones stay, and those
    /// between are interpolated.
    Llama3 {
        /// Divides the low frequencies.
        factor: f64,
        /// Waves longer than `original_max_positions` divided by this are low.
        low_freq_factor: f64,
        /// Waves shorter than `original_max_positions` divided by this are high.
        high_freq_factor: f64,
        /// The length of the pretraining's texts, in tokens.
        original_max_positions: f64,
    },
    /// `rope_type: dynamic`: the base grows with the text, where it is longer than those of the
    /// pretraining.
    Dynamic {
        /// How many times as long a text may be.
        factor: f64,
        /// The length of the pretraining's texts, in tokens.
        max_positions: usize,
    },
    /// `rope_type: yarn` (Peng et al. 2023): low frequencies are divided by a factor, high ones stay,
    /// and those between are interpolated.
    Yarn {
        /// Divides the low frequencies.
        factor: f64,
        /// What turns as often as this within `original_max_positions` is high.
        beta_fast: f64,
        /// What turns as often as this within `original_max_positions` is low.
        beta_slow: f64,
        /// Whether the first and the last frequency between are rounded to whole ones, outwards.
        truncate: bool,
        /// The length of the pretraining's texts, in tokens.
        original_max_positions: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
    /// `rope_type: longrope` (Ding et al. 2024): each frequency is divided by its own factor.
    LongRope {
        /// The factors \[dims/2\] for texts of at most `original_max_positions` tokens.
        short: Vec<f64>,
        /// The factors \[dims/2\] for longer texts.
        long: Vec<f64>,
        /// The length of the pretraining's texts, in tokens.
        original_max_positions: usize,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
}

/// A sliding window: a query attends to the last keys only.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// How many keys a query attends to at most, its own included.
    pub size: usize,
    /// For each layer, whether it has the window.
    pub layers: Vec<bool>,
    /// The rotary embeddings of the layers with the window, if they differ from the others'
    /// (Gemma 3).
    pub rotary: Option<RotarySpec>,
}
