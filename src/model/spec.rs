//! The specification of a decoder: what a family and a config.json determine, as data.

use crate::hook::{Dim, ModelKind, Point};
pub use crate::kernel::activation::Activation;
pub use crate::kernel::rotary::Pairs;

/// Everything that the forward pass needs to know besides the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `model_type` of config.json.
    pub family: &'static str,
    /// The number of blocks.
    pub layers: usize,
    /// d: the size of the residual stream.
    pub hidden: usize,
    /// e: the size of the token embeddings. It is `hidden`, unless they are projected in and out
    /// (OPT-350m).
    pub embedding: usize,
    /// h: the number of query heads.
    pub heads: usize,
    /// k: the number of key/value heads; each serves h / k query heads.
    pub kv_heads: usize,
    /// c: the size of a head.
    pub head_dim: usize,
    /// f: the size of the MLP's inner layer.
    pub feed_forward: usize,
    /// v: the number of token ids.
    pub vocabulary: usize,
    /// The longest text that the model was made for, in tokens.
    pub max_positions: usize,
    /// How it knows the tokens' positions.
    pub positions: Positions,
    /// A factor on the token embeddings (Gemma).
    pub embedding_scale: Option<f64>,
    /// Whether a norm follows the embeddings, before block 0 (BLOOM).
    pub embedding_norm: bool,
    /// The equation of its norms.
    pub norm: NormSpec,
    /// Where the norms of its blocks stand.
    pub norm_place: NormPlace,
    /// Whether the MLP reads the block's input, as attention does, instead of the stream after
    /// attention.
    pub parallel: bool,
    /// The activation of the MLP.
    pub activation: Activation,
    /// Whether the activated branch of the MLP is multiplied by a second one.
    pub gated: bool,
    /// The norms of queries and keys, before the rotation.
    pub qk_norm: Option<QkNorm>,
    /// The factor on the products of queries and keys: usually 1/√c.
    pub score_scale: f64,
    /// Whether the scores of layer i are divided by i + 1 (GPT-2 as Mistral trained it).
    pub scores_by_layer: bool,
    /// The soft cap of the scores: cap · tanh(scores / cap) (Gemma 2).
    pub score_cap: Option<f64>,
    /// The soft cap of the logits (Gemma 2).
    pub logit_cap: Option<f64>,
    /// A factor on the logits (Cohere).
    pub logit_scale: Option<f64>,
    /// A factor on what attention and the MLP add to the stream (Granite).
    pub residual_scale: Option<f64>,
    /// The largest absolute value of queries, keys and values as their projections give them (OLMo).
    pub qkv_clip: Option<f64>,
    /// The sliding window of some or all layers.
    pub window: Option<Window>,
    /// The layers that know no positions, though others rotate queries and keys (SmolLM3).
    pub without_rotary: Vec<usize>,
    /// Whether a query attends to later keys too, as embedding models do.
    pub bidirectional: bool,
    /// Which projections and norms have a bias.
    pub biases: Biases,
    /// Whether a norm stands between the last block and the unembedding.
    pub final_norm: bool,
    /// Whether the unembedding is the token embeddings' matrix.
    pub tied: bool,
}

/// How a model knows the tokens' positions.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A learned vector for each position is added to the embeddings.
    Learned {
        /// The row of position 0 in the table.
        offset: usize,
    },
    /// Queries and keys are rotated, in all layers but [`Spec::without_rotary`].
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

/// The norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// Each head is normed, with one gain \[c\] for all of them (Qwen3).
    Shared,
    /// Each head is normed, with a gain \[c\] of its own (StableLM 2 12B).
    PerHead,
    /// All heads are normed together as one vector, with a gain [h·c] (OLMo 2).
    Whole,
}

/// The norms of a model, except where they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSpec {
    /// The equation.
    pub kind: NormKind,
    /// The number under the square root.
    pub eps: f64,
    /// Whether a norm has a gain (and, with [`Biases::norm`], a bias).
    pub affine: bool,
    /// Whether checkpoints store the gain minus 1 (Gemma, Nemotron).
    pub gain_less_one: bool,
}

/// The equation of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// (x − mean) / √(variance + eps)
    Layer,
    /// x / √(mean square + eps)
    Rms,
}

/// Where the norms of a block's two sub-blocks, attention and MLP, stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// x + sub-block(norm(x)): most families.
    Before,
    /// norm(x + sub-block(x)) (OPT-350m).
    After,
    /// norm(x) + sub-block(norm(x)) (BLOOM with `apply_residual_connection_post_layernorm`).
    Stream,
    /// x + norm(sub-block(x)) (OLMo 2).
    Outputs,
    /// x + norm₂(sub-block(norm₁(x))) (Gemma 2 and 3).
    Both,
}

/// Which projections and norms have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// The projections of queries, keys and values.
    pub qkv: bool,
    /// Attention's output projection.
    pub attn_out: bool,
    /// Both or all three projections of the MLP.
    pub mlp: bool,
    /// Layer norms.
    pub norm: bool,
    /// The unembedding.
    pub unembedding: bool,
}

/// A decoder's sizes: the fields of the same names in [`Spec`].
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The number of blocks.
    pub layers: usize,
    /// d
    pub hidden: usize,
    /// h
    pub heads: usize,
    /// k
    pub kv_heads: usize,
    /// c
    pub head_dim: usize,
    /// f
    pub feed_forward: usize,
    /// v
    pub vocabulary: usize,
    /// The longest text in tokens.
    pub max_positions: usize,
}

impl NormSpec {
    /// Layer norms with a gain.
    pub fn layer(eps: f64) -> Self {
        Self { kind: NormKind::Layer, eps, affine: true, gain_less_one: false }
    }

    /// RMS norms with a gain.
    pub fn rms(eps: f64) -> Self {
        Self { kind: NormKind::Rms, ..Self::layer(eps) }
    }
}

impl Biases {
    /// No bias anywhere.
    pub const NONE: Biases =
        Biases { qkv: false, attn_out: false, mlp: false, norm: false, unembedding: false };

    /// Biases on every projection and norm of the blocks, and on the final norm.
    pub const INSIDE: Biases =
        Biases { qkv: true, attn_out: true, mlp: true, norm: true, unembedding: false };
}

impl Spec {
    /// The decoder from which families are described by their differences: pre-norm, sequential,
    /// with GELU, without biases, windows or soft caps, untied.
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
            scores_by_layer: false,
            score_cap: None,
            logit_cap: None,
            logit_scale: None,
            residual_scale: None,
            qkv_clip: None,
            window: None,
            without_rotary: Vec::new(),
            bidirectional: false,
            biases: Biases::NONE,
            final_norm: true,
            tied: false,
        }
    }

    /// The sizes, by the names under which scripts find them in `m.config`, whatever the family calls
    /// them.
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
            ModelKind::PlainQueries => self.rotary().is_none() && self.qk_norm.is_none(),
            ModelKind::PostNorm => self.norm_place == NormPlace::After,
            ModelKind::WithoutOutputNorms => {
                matches!(self.norm_place, NormPlace::Before | NormPlace::After | NormPlace::Stream)
            }
        }
    }

    /// The rotary embeddings, those of layers without a sliding window if they differ.
    pub fn rotary(&self) -> Option<&RotarySpec> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned { .. } | Positions::Alibi(_) => None,
        }
    }

    /// The most tokens of a text: `max_positions`, or with dynamic rotary scaling its multiple.
    pub fn longest_text(&self) -> usize {
        match self.rotary().and_then(|rotary| rotary.scaling.as_ref()) {
            Some(RotaryScaling::Dynamic { factor, max_positions }) => {
                (factor * *max_positions as f64) as usize
            }
            _ => self.max_positions,
        }
    }

    /// The factor on the products of queries and keys in a layer.
    pub fn score_scale(&self, layer: usize) -> f64 {
        match self.scores_by_layer {
            true => self.score_scale / (layer + 1) as f64,
            false => self.score_scale,
        }
    }

    /// Whether the model can compute positions beyond `max_positions`: it has no table of them.
    pub fn goes_beyond(&self) -> bool {
        !matches!(self.positions, Positions::Learned { .. })
    }

    /// The sliding window of a layer, if the layer has one.
    pub fn window(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| window.layers[layer])
    }

    /// The rotary embeddings of a layer, if the layer has some.
    pub fn rotary_of(&self, layer: usize) -> Option<&RotarySpec> {
        let own = self.window(layer).and_then(|window| window.rotary.as_ref());
        own.or(self.rotary()).filter(|_| !self.without_rotary.contains(&layer))
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

    /// The size of a dimension, if the model determines it.
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
