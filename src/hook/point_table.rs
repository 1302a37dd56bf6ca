//! The table of hook points: everything that is known about a point is written here, once.
//!
//! From this table come [`Point`] with its documentation, `precompute points`, the table of points
//! in src/docs/points.md (`tests/it/readme.rs` compares them, and rewrites the page when
//! `PRECOMPUTE_BLESS=1` is set), and the sentences that say why a model lacks a point.
//!
//! To add a point, add a row where a pre-norm sequential block reaches it, and call
//! `tap.at(Point::…, x)` in the forward pass.

use super::point::Alias::{self, Always, ByRotary, RotaryOnly};
use super::point::Dim::{self, *};
use ModelKind::*;
use Part::*;

/// The part of a forward pass that a point belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Reached once, before block 0.
    BeforeBlocks,
    /// Reached once in every block.
    InBlock,
    /// Reached once, after the last block.
    AfterBlocks,
}

/// A kind of model that lacks some of the points. A model may be of several kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// The MLP has one branch: no gate multiplies it.
    PlainMlp,
    /// No norm stands between the last block and the unembedding.
    WithoutFinalNorm,
    /// The norms read the sum of the residual stream and a sub-block's output (OPT-350m).
    PostNorm,
    /// A sub-block's output joins the residual stream without a norm of its own.
    WithoutOutputNorms,
    /// Queries and keys enter the scores as the projections give them: nothing norms or rotates them.
    PlainQueries,
    /// The MLP is a mixture of experts. Some layers may be so, and others not.
    MixedMlp,
    /// The MLP is no mixture of experts. Some layers may be so, and others not.
    WithoutExperts,
}

/// One row of the table.
pub(super) struct Row {
    /// The name in scripts and on the command line.
    pub name: &'static str,
    pub shape: &'static [Dim],
    /// What the tensor is, for people.
    pub holds: &'static str,
    pub alias: Option<Alias>,
    pub part: Part,
    /// The tensor is computed only if a hook or a capture asks for it.
    pub on_request: bool,
    /// The kinds of model that lack the point, each with the reason: the first that fits is shown,
    /// after "this … model has no …: ".
    pub absent: &'static [(ModelKind, &'static str)],
}

impl Row {
    /// What holds for a point whose row says nothing else.
    const DEFAULT: Row = Row {
        name: "",
        shape: &[],
        holds: "",
        alias: None,
        part: InBlock,
        on_request: false,
        absent: &[],
    };
}

macro_rules! points {
    ($(
        $point:ident {
            name: $name:literal,
            shape: [$($dim:ident),+],
            holds: $holds:literal,
            $($field:ident: $value:expr,)*
        }
    )+) => {
        /// A place in a forward pass, in the order in which a pre-norm sequential block reaches
        /// them. The shapes' dimensions are explained at [`Dim`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $(
                #[doc = concat!("`", $name, "`, `", stringify!([$($dim),+]), "`: ", $holds, ".")]
                $point,
            )+
        }

        // A row may well set every field.
        #[allow(clippy::needless_update)]
        const ROWS: &[Row] = &[$(
            Row {
                name: $name,
                shape: &[$($dim),+],
                holds: $holds,
                $($field: $value,)*
                ..Row::DEFAULT
            },
        )+];

        impl Point {
            /// How many points there are.
            pub const COUNT: usize = ROWS.len();

            /// Every point, in the order of the table.
            pub const ALL: [Point; Self::COUNT] = [$(Point::$point),+];
        }
    };
}

impl Point {
    pub(super) fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

const MIXTURE: (ModelKind, &str) = (
    MixedMlp,
    "its MLP is a mixture of experts, each with an inner layer of its own: router-logits, expert-weights \
     and expert-outputs are its points",
);

const NO_DENSE: &[(ModelKind, &str)] = &[MIXTURE];

const NO_GATE: &[(ModelKind, &str)] = &[(PlainMlp, "its MLP is not gated"), MIXTURE];

const NO_EXPERTS: &[(ModelKind, &str)] = &[(WithoutExperts, "its MLP is no mixture of experts")];

const NO_FINAL_NORM: &[(ModelKind, &str)] = &[(WithoutFinalNorm, "it has no final norm")];

const NO_OUTPUT_NORMS: &[(ModelKind, &str)] = &[
    (
        PostNorm,
        "its norms stand on the stream, after each sub-block has joined it: attn-norm-scale and \
         mlp-norm-scale are what they divide by",
    ),
    (
        WithoutOutputNorms,
        "what its sub-blocks give joins the stream as it is, with no norm in between",
    ),
];

const NO_TURN: &[(ModelKind, &str)] = &[(
    PlainQueries,
    "its queries and keys are neither normed nor rotated: query-states and key-states are what the \
     projections give",
)];

points! {
    PostTokEmbeddings {
        name: "post-tok-embeddings",
        shape: [Batch, Tokens, Embedding],
        holds: "token embeddings",
        alias: Some(Always("hook_embed")),
        part: BeforeBlocks,
    }
    PostPosEmbeddings {
        name: "post-pos-embeddings",
        shape: [Batch, Tokens, Hidden],
        holds: "what enters block 0",
        part: BeforeBlocks,
    }
    PreBlock {
        name: "pre-block",
        shape: [Batch, Tokens, Hidden],
        holds: "residual stream entering the block",
        alias: Some(Always("hook_resid_pre")),
    }
    QueryInput {
        name: "query-input",
        shape: [Batch, Heads, Tokens, Hidden],
        holds: "residual stream as each head's query projection reads it, before attention's norm: a \
                copy for each head",
        alias: Some(Always("hook_q_input")),
        on_request: true,
    }
    KeyInput {
        name: "key-input",
        shape: [Batch, KvHeads, Tokens, Hidden],
        holds: "likewise, as each key projection reads it",
        alias: Some(Always("hook_k_input")),
        on_request: true,
    }
    ValueInput {
        name: "value-input",
        shape: [Batch, KvHeads, Tokens, Hidden],
        holds: "likewise, as each value projection reads it",
        alias: Some(Always("hook_v_input")),
        on_request: true,
    }
    AttnNormScale {
        name: "attn-norm-scale",
        shape: [Batch, Tokens, One],
        holds: "what attention's norm divides by",
        alias: Some(Always("ln1.hook_scale")),
        on_request: true,
    }
    PreAttn {
        name: "pre-attn",
        shape: [Batch, Tokens, Hidden],
        holds: "what the q, k, v projections read",
        alias: Some(Always("ln1.hook_out")),
    }
    PreQueryStates {
        name: "pre-query-states",
        shape: [Batch, Heads, Tokens, HeadSize],
        holds: "queries as the projection gives them, before norm and rotation, where there is one",
        alias: Some(RotaryOnly("attn.hook_q")),
        on_request: true,
        absent: NO_TURN,
    }
    PreKeyStates {
        name: "pre-key-states",
        shape: [Batch, KvHeads, Tokens, HeadSize],
        holds: "keys likewise, without the cached past",
        alias: Some(RotaryOnly("attn.hook_k")),
        on_request: true,
        absent: NO_TURN,
    }
    QueryStates {
        name: "query-states",
        shape: [Batch, Heads, Tokens, HeadSize],
        holds: "queries as they enter the score product, after rotary and q-norm, not scaled",
        alias: Some(ByRotary { plain: "attn.hook_q", rotary: "attn.hook_rot_q" }),
    }
    KeyStates {
        name: "key-states",
        shape: [Batch, KvHeads, Attended, HeadSize],
        holds: "keys likewise, cached past included, before they are repeated for grouped heads",
        alias: Some(ByRotary { plain: "attn.hook_k", rotary: "attn.hook_rot_k" }),
    }
    ValueStates {
        name: "value-states",
        shape: [Batch, KvHeads, Attended, HeadSize],
        holds: "values",
        alias: Some(Always("attn.hook_v")),
    }
    PreMaskAttnWeights {
        name: "pre-mask-attn-weights",
        shape: [Batch, Heads, Tokens, Attended],
        holds: "scaled scores before the mask",
        on_request: true,
    }
    PostMaskAttnWeights {
        name: "post-mask-attn-weights",
        shape: [Batch, Heads, Tokens, Attended],
        holds: "scores after the mask; where masked, the dtype's lowest finite value",
        alias: Some(Always("attn.hook_attn_scores")),
        on_request: true,
    }
    AttnProbs {
        name: "attn-probs",
        shape: [Batch, Heads, Tokens, Attended],
        holds: "attention pattern",
        alias: Some(Always("attn.hook_pattern")),
        on_request: true,
    }
    AttnWeightedValues {
        name: "attn-weighted-values",
        shape: [Batch, Heads, Tokens, HeadSize],
        holds: "per-head weighted values",
        alias: Some(Always("attn.hook_z")),
    }
    AttnHeadOutputs {
        name: "attn-head-outputs",
        shape: [Batch, Heads, Tokens, Hidden],
        holds: "each head's part of attn-residual, without bias; where a norm follows attention, \
                of what that norm reads",
        alias: Some(Always("attn.hook_result")),
        on_request: true,
    }
    PostAttnNormScale {
        name: "post-attn-norm-scale",
        shape: [Batch, Tokens, One],
        holds: "what the norm of attention's output divides by, where there is one",
        alias: Some(Always("ln1_post.hook_scale")),
        on_request: true,
        absent: NO_OUTPUT_NORMS,
    }
    AttnResidual {
        name: "attn-residual",
        shape: [Batch, Tokens, Hidden],
        holds: "what attention adds to the stream",
        alias: Some(Always("hook_attn_out")),
    }
    PostAttn {
        name: "post-attn",
        shape: [Batch, Tokens, Hidden],
        holds: "stream + attn-residual",
        alias: Some(Always("hook_resid_mid")),
    }
    MlpInput {
        name: "mlp-input",
        shape: [Batch, Tokens, Hidden],
        holds: "residual stream as the MLP's norm reads it",
        alias: Some(Always("hook_mlp_in")),
        on_request: true,
    }
    MlpNormScale {
        name: "mlp-norm-scale",
        shape: [Batch, Tokens, One],
        holds: "what the MLP's norm divides by",
        alias: Some(Always("ln2.hook_scale")),
        on_request: true,
    }
    PreMlp {
        name: "pre-mlp",
        shape: [Batch, Tokens, Hidden],
        holds: "what the MLP reads",
        alias: Some(Always("ln2.hook_out")),
    }
    RouterLogits {
        name: "router-logits",
        shape: [Batch, Tokens, Experts],
        holds: "mixtures of experts: the router's scores; a change chooses experts anew",
        absent: NO_EXPERTS,
    }
    ExpertWeights {
        name: "expert-weights",
        shape: [Batch, Tokens, Experts],
        holds: "each expert's share of a token, 0 where it is not chosen",
        absent: NO_EXPERTS,
    }
    ExpertOutputs {
        name: "expert-outputs",
        shape: [Batch, Experts, Tokens, Hidden],
        holds: "each expert's part of mlp-residual, times its share (a shared expert's is the rest); \
                as large as all experts' outputs",
        on_request: true,
        absent: NO_EXPERTS,
    }
    PostFc1 {
        name: "post-fc1",
        shape: [Batch, Tokens, FeedForward],
        holds: "before the activation (gated MLPs: the gate's pre-activation)",
        alias: Some(Always("mlp.hook_pre")),
        absent: NO_DENSE,
    }
    PostUp {
        name: "post-up",
        shape: [Batch, Tokens, FeedForward],
        holds: "gated MLPs only: the other branch",
        alias: Some(Always("mlp.hook_pre_linear")),
        absent: NO_GATE,
    }
    PostAct {
        name: "post-act",
        shape: [Batch, Tokens, FeedForward],
        holds: "what the down projection reads",
        alias: Some(Always("mlp.hook_post")),
        absent: NO_DENSE,
    }
    PostMlpNormScale {
        name: "post-mlp-norm-scale",
        shape: [Batch, Tokens, One],
        holds: "what the norm of the MLP's output divides by, where there is one",
        alias: Some(Always("ln2_post.hook_scale")),
        on_request: true,
        absent: NO_OUTPUT_NORMS,
    }
    MlpResidual {
        name: "mlp-residual",
        shape: [Batch, Tokens, Hidden],
        holds: "what the MLP adds to the stream",
        alias: Some(Always("hook_mlp_out")),
    }
    PostMlp {
        name: "post-mlp",
        shape: [Batch, Tokens, Hidden],
        holds: "the stream after the MLP (post-norm blocks: before their last norm)",
        alias: Some(Always("hook_resid_post")),
    }
    FinalNormScale {
        name: "final-norm-scale",
        shape: [Batch, Tokens, One],
        holds: "what the final norm divides by",
        alias: Some(Always("ln_final.hook_scale")),
        part: AfterBlocks,
        on_request: true,
        absent: NO_FINAL_NORM,
    }
    PostFinalLayerNorm {
        name: "post-final-layer-norm",
        shape: [Batch, Tokens, Hidden],
        holds: "the final norm's output; where there is none, what stands in its place",
        alias: Some(Always("ln_final.hook_out")),
        part: AfterBlocks,
    }
    Logits {
        name: "logits",
        shape: [Batch, Tokens, Vocabulary],
        holds: "logits",
        alias: Some(Always("unembed.hook_out")),
        part: AfterBlocks,
    }
    UnreducedLoss {
        name: "unreduced-loss",
        shape: [Batch, Predicted],
        holds: "next-token cross-entropy; only when a loss is asked for",
        part: AfterBlocks,
        on_request: true,
    }
}

/// Names of TransformerLens that have no point here, each with what to use instead.
pub(super) const NAMES_WITHOUT_POINT: &[(&str, &str)] = &[
    (
        "hook_attn_in",
        "query-input, key-input and value-input are the stream as each head reads it, pre-attn what \
         all of them read after the norm",
    ),
    (
        "hook_pos_embed",
        "post-pos-embeddings is the sum of both embeddings, post-tok-embeddings those of the \
         tokens alone",
    ),
    ("hook_tokens", "ctx.ids are the tokens"),
];
