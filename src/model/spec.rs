//! What a family and a config say about a decoder, as data.

use crate::hook::{Dim, Point};

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
    pub norm: NormSpec,
    pub norm_place: NormPlace,
    /// Attention and MLP both read the block's input.
    pub parallel: bool,
    pub activation: Activation,
    /// The activated branch is multiplied by a second one.
    pub gated: bool,
    /// Queries and keys are normed per head before the rotation.
    pub qk_norm: bool,
    /// How many keys a query sees, itself included; all where absent.
    pub window: Option<usize>,
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
}

/// Rotary position embeddings (Su et al. 2021), in the halves convention.
#[derive(Debug, Clone, PartialEq)]
pub struct RotarySpec {
    /// How many of a head's dimensions turn, from the first.
    pub dims: usize,
    pub theta: f64,
    pub scaling: Option<Llama3Scaling>,
}

/// Llama 3's scaling of the inverse frequencies (`rope_type: llama3`).
#[derive(Debug, Clone, PartialEq)]
pub struct Llama3Scaling {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    pub original_max_positions: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    pub kind: NormKind,
    pub eps: f64,
    /// Whether a gain (and for layer norms with biases, a bias) follows.
    pub affine: bool,
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
    /// On the stream, after attention's and the MLP's output joined it.
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    /// x·Φ(x), with the exact error function.
    Gelu,
    /// Its approximation through tanh.
    GeluTanh,
    Silu,
}

/// Which projections add a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    pub qkv: bool,
    pub attn_out: bool,
    pub mlp: bool,
    pub norm: bool,
}

impl Spec {
    /// Whether the family has the point.
    pub fn has(&self, point: Point) -> bool {
        match point {
            Point::PostUp => self.gated,
            Point::FinalNormScale => self.final_norm,
            _ => true,
        }
    }

    pub fn rotary(&self) -> Option<&RotarySpec> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned { .. } => None,
        }
    }

    /// A point's place in the order in which a pass reaches them; a block's points by layer.
    pub fn order(&self, point: Point) -> f32 {
        match (self.norm_place, point) {
            (NormPlace::After, Point::AttnNormScale) => Point::PostAttn as u8 as f32 + 0.5,
            (NormPlace::After, Point::MlpNormScale) => Point::PostMlp as u8 as f32 + 0.5,
            _ => point as u8 as f32,
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
