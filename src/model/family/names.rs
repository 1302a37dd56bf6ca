//! What a family's checkpoints call each weight.

use super::{Initial, Padding};

/// The names of the weights in a family's checkpoints, without `.weight` and `.bias`. A weight of
/// block i is `{prefix}{block}.{i}.{name}`.
#[derive(Debug)]
pub struct Names {
    /// The prefixes that a checkpoint may have before every name, the usual one first.
    pub prefixes: &'static [&'static str],
    /// The table of token embeddings.
    pub token_embeddings: &'static str,
    /// The table of learned positions.
    pub position_embeddings: Option<&'static str>,
    /// The projections from the embedding size to the hidden size and back (OPT-350m).
    pub project: Option<[&'static str; 2]>,
    /// The norm after the embeddings (BLOOM).
    pub embedding_norm: Option<&'static str>,
    /// The list of blocks.
    pub block: &'static str,
    /// Attention's norm, or the first if it has one before and one after it.
    pub attn_norm: &'static str,
    /// The norm of attention's output, with [`NormPlace::Both`](crate::model::spec::NormPlace::Both).
    pub attn_out_norm: Option<&'static str>,
    /// The projections of queries, keys and values.
    pub qkv: Qkv,
    /// What takes a share of each query's attention, \[h\], in families that have such a thing (gpt-oss).
    pub sinks: Option<&'static str>,
    /// The norms of queries and of keys.
    pub qk_norms: Option<[&'static str; 2]>,
    /// With [`QkNorm::PerHead`](crate::model::spec::QkNorm::PerHead), whether the gains of all heads are
    /// one tensor [h, c] (Cohere), and not one each (StableLM).
    pub qk_norms_in_one: bool,
    /// Attention's output projection.
    pub attn_out: &'static str,
    /// The MLP's norm. It is `attn_norm` again in families that have one norm for both.
    pub mlp_norm: &'static str,
    /// The norm of the MLP's output, with [`NormPlace::Both`](crate::model::spec::NormPlace::Both).
    pub mlp_out_norm: Option<&'static str>,
    /// The projections into the MLP.
    pub mlp_in: MlpIn,
    /// The MLP's output projection.
    pub fc2: &'static str,
    /// The mixtures of experts, in families that have some.
    pub experts: Option<ExpertNames>,
    /// The norm after the last block.
    pub final_norm: &'static str,
    /// Names that the unembedding may have if it is not tied. They take no
    /// prefix but that of a model of several parts.
    pub heads: &'static [&'static str],
    /// Whether matrices are stored as [in, out] (GPT-2's Conv1D) instead of [out, in].
    pub transposed: bool,
    /// Endings of the names of tensors that are no weights: masks and rotary tables.
    pub buffers: &'static [&'static str],
    /// How the weights are drawn before training.
    pub initial: Initial,
}

/// How the query, key and value projections are stored.
#[derive(Debug)]
pub enum Qkv {
    /// Three matrices: queries, keys, values.
    Separate([&'static str; 3]),
    /// One matrix: all queries, then all keys, then all values.
    Stacked(&'static str),
    /// One matrix: for each key/value head the queries of its group, its key and its value.
    ByGroup(&'static str),
    /// One matrix in four parts: in each a quarter of all queries, of all values, of all keys (CodeGen).
    ByMachine(&'static str),
}

/// How the projections into an MLP are stored.
#[derive(Debug)]
pub enum MlpIn {
    /// One matrix of an MLP that is not gated.
    Plain(&'static str),
    /// Two matrices of a gated MLP.
    Gated {
        /// Into the activation.
        gate: &'static str,
        /// The other branch.
        up: &'static str,
    },
    /// One matrix of a gated MLP: the gate, then the other branch.
    Stacked(&'static str),
}

/// How a mixture of experts is stored.
#[derive(Debug)]
pub struct ExpertNames {
    /// The router's scores.
    pub router: &'static str,
    /// What joins the scores by which experts are chosen: \[x\] or \[1, x\].
    pub correction: Option<&'static str>,
    /// The experts.
    pub experts: ExpertsIn,
    /// Before the names `gate_proj`, `up_proj` and `down_proj` of the expert that every token has.
    pub shared: Option<&'static str>,
    /// The score of what the shared expert gives.
    pub shared_gate: Option<&'static str>,
}

/// How the experts are stored.
#[derive(Debug)]
pub enum ExpertsIn {
    /// Each one's matrices: `{list}.{expert}.{matrix}`.
    Each {
        /// The list of experts.
        list: &'static str,
        /// The gate, the other branch and the output projection.
        matrices: [&'static str; 3],
    },
    /// Those of all in two tensors.
    Stacked {
        /// [x, 2f, d]: each expert's gate, then its other branch.
        input: &'static str,
        /// [x, d, f]: each expert's output projection.
        output: &'static str,
    },
    /// Those of all in two tensors, input first, with biases (gpt-oss).
    Interleaved {
        /// [x, d, 2f] and `_bias` [x, 2f]: each expert's gate and other branch, in turns.
        input: &'static str,
        /// [x, f, d] and `_bias` [x, d]: each expert's output projection.
        output: &'static str,
    },
}

impl ExpertNames {
    /// The names that most families have.
    pub const USUAL: Self = Self {
        router: "mlp.gate",
        correction: None,
        experts: ExpertsIn::Each {
            list: "mlp.experts",
            matrices: ["gate_proj", "up_proj", "down_proj"],
        },
        shared: None,
        shared_gate: None,
    };
}

/// Llama's names. Other families are described by their differences from these.
pub const NAMES: Names = Names {
    prefixes: &["model.", ""],
    token_embeddings: "embed_tokens",
    position_embeddings: None,
    project: None,
    embedding_norm: None,
    block: "layers",
    attn_norm: "input_layernorm",
    attn_out_norm: None,
    qkv: Qkv::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    sinks: None,
    qk_norms: None,
    qk_norms_in_one: false,
    attn_out: "self_attn.o_proj",
    mlp_norm: "post_attention_layernorm",
    mlp_out_norm: None,
    mlp_in: MlpIn::Gated { gate: "mlp.gate_proj", up: "mlp.up_proj" },
    fc2: "mlp.down_proj",
    experts: None,
    final_norm: "norm",
    heads: &["lm_head"],
    transposed: false,
    buffers: &["rotary_emb.inv_freq"],
    initial: Initial { padding: Padding::Token(None), scaled: &[] },
};
