//! What a family and a config say about a decoder, as data.

use crate::hook::{Dim, ModelKind, Point};
pub use crate::kernel::activation::Activation;
pub use crate::kernel::rotary::Pairs;

/// Everything the forward pass needs to know besides the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `model_type` of config.json.
    pub family: &'static str,
    pub layers: usize,
    pub hidden: usize,
    /// Size of the token embeddings: `hidden`, unless they are projected in and out (OPT-350m).
    pub embedding: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    /// The longest sequence the model has positions for.
    pub max_positions: usize,
    pub positions: Positions,
    /// What token embeddings are multiplied by (Gemma), or nothing.
    pub embedding_scale: Option<f64>,
    /// A norm stands between the embeddings and block 0 (BLOOM).
    pub embedding_norm: bool,
    pub norm: NormSpec,
    pub norm_place: NormPlace,
    /// Attention and MLP both read the block's input.
    pub parallel: bool,
    pub activation: Activation,
    /// The activated branch is multiplied by a second one.
    pub gated: bool,
    /// Whether queries and keys are normed before the rotation.
    pub qk_norm: Option<QkNorm>,
    /// What the products of queries and keys are multiplied by.
    pub score_scale: f64,
    /// Scores are capped softly: cap · tanh(scores / cap).
    pub score_cap: Option<f64>,
    /// Logits likewise.
    pub logit_cap: Option<f64>,
    /// Attention that sees the last keys alone.
    pub window: Option<Window>,
    pub biases: Biases,
    /// Whether a norm stands between the last block and the unembedding.
    pub final_norm: bool,
    /// The unembedding is the token embedding.
    pub tied: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A table, read at position + offset and added to the embeddings.
    Learned { offset: usize },
    /// Queries and keys are rotated.
    Rotary(RotarySpec),
    /// Scores grow with the key's position, steeper from head to head (Press et al. 2022).
    Alibi,
}

/// Rotary position embeddings (Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub struct RotarySpec {
    /// How many of a head's dimensions turn, from the first.
    pub dims: usize,
    pub pairs: Pairs,
    pub theta: f64,
    pub scaling: Option<RotaryScaling>,
}

/// How the inverse frequencies are changed for sequences longer than those of the pretraining.
#[derive(Debug, Clone, PartialEq)]
pub enum RotaryScaling {
    /// All divided by a factor.
    Linear { factor: f64 },
    /// `rope_type: llama3`
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_max_positions: f64 },
    /// `rope_type: longrope` (Ding et al. 2024): each divided by its own factor, by another one
    /// where the sequence is longer than `original_max_positions`; cosines and sines are
    /// multiplied by `attention_factor`.
    LongRope {
        short: Vec<f64>,
        long: Vec<f64>,
        original_max_positions: usize,
        attention_factor: f64,
    },
}

/// A sliding window over the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// How many keys a query sees, itself included.
    pub size: usize,
    /// For each layer, whether it has the window.
    pub layers: Vec<bool>,
    /// The rotary positions of those layers, where they are others (Gemma 3).
    pub rotary: Option<RotarySpec>,
}

/// How queries and keys are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// Each head, by one gain \[c\].
    Shared,
    /// Each head, by a gain of its own.
    PerHead,
    /// All heads together, by one gain [h·c].
    Whole,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    pub kind: NormKind,
    pub eps: f64,
    /// Whether a gain (and for layer norms with biases, a bias) follows.
    pub affine: bool,
    /// Checkpoints hold the gain less 1 (Gemma).
    pub gain_less_one: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// (x − mean) / √(variance + eps)
    Layer,
    /// x / √(mean square + eps)
    Rms,
}

/// Where a block's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// On what attention and MLP read.
    Before,
    /// On the stream, after attention's and the MLP's output joined it (OPT-350m).
    After,
    /// On what attention and MLP give, before it joins the stream (OLMo 2).
    Outputs,
    /// On what attention and MLP read, and with other gains on what they give (Gemma 2).
    Both,
}

/// Which projections add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    pub qkv: bool,
    pub attn_out: bool,
    pub mlp: bool,
    pub norm: bool,
    pub unembedding: bool,
}

/// A decoder's sizes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub max_positions: usize,
}

impl NormSpec {
    pub fn layer(eps: f64) -> Self {
        Self { kind: NormKind::Layer, eps, affine: true, gain_less_one: false }
    }

    pub fn rms(eps: f64) -> Self {
        Self { kind: NormKind::Rms, ..Self::layer(eps) }
    }
}

impl Biases {
    pub const NONE: Biases =
        Biases { qkv: false, attn_out: false, mlp: false, norm: false, unembedding: false };

    /// On everything within the blocks.
    pub const INSIDE: Biases =
        Biases { qkv: true, attn_out: true, mlp: true, norm: true, unembedding: false };
}

impl Spec {
    /// The usual decoder: norms before sequential sub-blocks, attention to everything before,
    /// nothing scaled or capped. A family says what is different.
    pub fn usual(family: &'static str, sizes: Sizes, positions: Positions, norm: NormSpec) -> Self {
        let Sizes {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            feed_forward,
            vocabulary,
            max_positions,
        } = sizes;
        Self {
            family,
            layers,
            hidden,
            embedding: hidden,
            heads,
            kv_heads,
            head_dim,
            feed_forward,
            vocabulary,
            max_positions,
            positions,
            embedding_scale: None,
            embedding_norm: false,
            norm,
            norm_place: NormPlace::Before,
            parallel: false,
            activation: Activation::Gelu,
            gated: false,
            qk_norm: None,
            score_scale: (head_dim as f64).powf(-0.5),
            score_cap: None,
            logit_cap: None,
            window: None,
            biases: Biases::NONE,
            final_norm: true,
            tied: false,
        }
    }

    /// The sizes that every family has, by the names that scripts see them under.
    pub fn sizes(&self) -> [(&'static str, usize); 8] {
        [
            ("num_hidden_layers", self.layers),
            ("hidden_size", self.hidden),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.feed_forward),
            ("vocab_size", self.vocabulary),
            ("max_position_embeddings", self.max_positions),
        ]
    }

    /// Whether the model has the point.
    pub fn has(&self, point: Point) -> bool {
        self.why_absent(point).is_none()
    }

    /// Why the model lacks a point that others have; `None` if it has the point.
    pub fn why_absent(&self, point: Point) -> Option<&'static str> {
        point.absent().iter().find(|(kind, _)| self.is(*kind)).map(|(_, why)| *why)
    }

    fn is(&self, kind: ModelKind) -> bool {
        match kind {
            ModelKind::PlainMlp => !self.gated,
            ModelKind::WithoutFinalNorm => !self.final_norm,
            ModelKind::PostNorm => self.norm_place == NormPlace::After,
            ModelKind::WithoutOutputNorms => {
                matches!(self.norm_place, NormPlace::Before | NormPlace::After)
            }
        }
    }

    pub fn rotary(&self) -> Option<&RotarySpec> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned { .. } | Positions::Alibi => None,
        }
    }

    /// Whether a sequence may be longer than `max_positions`: there is no table that ends.
    pub fn goes_beyond(&self) -> bool {
        !matches!(self.positions, Positions::Learned { .. })
    }

    /// How many keys a query sees in a layer, itself included; all where absent.
    pub fn window(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| window.layers[layer])
    }

    /// Orders the points as a pass of this model reaches them, those of a block within the block.
    pub fn order(&self, point: Point) -> f32 {
        let place = |point: Point| point as usize as f32;
        match (self.norm_place, point) {
            (NormPlace::After, Point::AttnNormScale) => place(Point::PostAttn) + 0.5,
            (NormPlace::After, Point::MlpNormScale) => place(Point::PostMlp) + 0.5,
            (NormPlace::Outputs, Point::AttnNormScale) => place(Point::PostAttnNormScale) - 0.5,
            (NormPlace::Outputs, Point::MlpNormScale) => place(Point::PostMlpNormScale) - 0.5,
            _ => place(point),
        }
    }

    /// A dimension in numbers, where the model settles it.
    pub fn size(&self, dim: Dim) -> Option<usize> {
        Some(match dim {
            Dim::Batch | Dim::Tokens | Dim::Attended | Dim::Predicted => return None,
            Dim::Embedding => self.embedding,
            Dim::Hidden => self.hidden,
            Dim::Heads => self.heads,
            Dim::KvHeads => self.kv_heads,
            Dim::HeadSize => self.head_dim,
            Dim::FeedForward => self.feed_forward,
            Dim::Vocabulary => self.vocabulary,
            Dim::One => 1,
        })
    }
}
