//! The specification of a decoder: what a family and a config.json determine, as data.

mod experts;
mod norms;
mod points;
mod positions;

pub use experts::{ClampedGate, ExpertsSpec, GroupScore, Groups, RouterSpec, Scores, SharedExpert};
pub use norms::{NormKind, NormPlace, NormSpec, QkNorm};
pub use positions::{AlibiSpec, Positions, RotaryScaling, RotarySpec, Window};

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
    /// The experts of the layers whose MLP is a mixture of some.
    pub experts: Option<ExpertsSpec>,
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
    /// The largest absolute value of queries, keys and values as their projections give them (OLMo), or
    /// of queries and keys that are normed after their norms (OLMoE).
    pub qkv_clip: Option<f64>,
    /// Whether each head has a score of no key that takes a share of attention (gpt-oss).
    pub sinks: bool,
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
            experts: None,
            qk_norm: None,
            score_scale: (head_dim as f64).powf(-0.5),
            scores_by_layer: false,
            score_cap: None,
            logit_cap: None,
            logit_scale: None,
            residual_scale: None,
            qkv_clip: None,
            sinks: false,
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
}
