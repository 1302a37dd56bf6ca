//! The hook points: their names, shapes and meaning, the same in every family.

use crate::{Result, did_you_mean, error};

/// A place in a forward pass, in the order in which a pre-norm sequential block reaches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Point {
    PostTokEmbeddings,
    PostPosEmbeddings,
    PreBlock,
    AttnNormScale,
    PreAttn,
    QueryStates,
    KeyStates,
    ValueStates,
    PreMaskAttnWeights,
    PostMaskAttnWeights,
    AttnProbs,
    AttnWeightedValues,
    AttnHeadOutputs,
    PostAttnNormScale,
    AttnResidual,
    PostAttn,
    MlpNormScale,
    PreMlp,
    PostFc1,
    PostUp,
    PostAct,
    PostMlpNormScale,
    MlpResidual,
    PostMlp,
    FinalNormScale,
    PostFinalLayerNorm,
    Logits,
    UnreducedLoss,
}

/// One dimension of a point's shape, by the letter that the documentation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// b
    Batch,
    /// n
    Tokens,
    /// m: n, or more with a cache
    Attended,
    /// e: the embeddings' size, d but for OPT-350m
    Embedding,
    /// d
    Hidden,
    /// h
    Heads,
    /// k: key/value heads
    KvHeads,
    /// c
    HeadSize,
    /// f
    FeedForward,
    /// v
    Vocabulary,
    /// n-1: the tokens that have a next one
    Predicted,
    /// 1
    One,
}

impl Dim {
    pub fn letter(self) -> &'static str {
        match self {
            Dim::Batch => "b",
            Dim::Tokens => "n",
            Dim::Attended => "m",
            Dim::Embedding => "e",
            Dim::Hidden => "d",
            Dim::Heads => "h",
            Dim::KvHeads => "k",
            Dim::HeadSize => "c",
            Dim::FeedForward => "f",
            Dim::Vocabulary => "v",
            Dim::Predicted => "n-1",
            Dim::One => "1",
        }
    }
}

/// A TransformerLens name of a point. In a block it follows `blocks.{i}.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// The same tensor in every family.
    Always(&'static str),
    /// Queries and keys are one tensor only where positions are not rotary; where they are,
    /// TransformerLens has `hook_q` before the rotation and `hook_rot_q` after it, and the
    /// point is the latter.
    ByRotary { plain: &'static str, rotary: &'static str },
}

struct Description {
    name: &'static str,
    shape: &'static [Dim],
    holds: &'static str,
    alias: Option<Alias>,
}

impl Point {
    pub const ALL: [Point; 28] = {
        use Point::*;
        [
            PostTokEmbeddings,
            PostPosEmbeddings,
            PreBlock,
            AttnNormScale,
            PreAttn,
            QueryStates,
            KeyStates,
            ValueStates,
            PreMaskAttnWeights,
            PostMaskAttnWeights,
            AttnProbs,
            AttnWeightedValues,
            AttnHeadOutputs,
            PostAttnNormScale,
            AttnResidual,
            PostAttn,
            MlpNormScale,
            PreMlp,
            PostFc1,
            PostUp,
            PostAct,
            PostMlpNormScale,
            MlpResidual,
            PostMlp,
            FinalNormScale,
            PostFinalLayerNorm,
            Logits,
            UnreducedLoss,
        ]
    };

    fn description(self) -> Description {
        use Alias::{Always, ByRotary};
        use Dim::*;
        let stream: &[Dim] = &[Batch, Tokens, Hidden];
        let scale: &[Dim] = &[Batch, Tokens, One];
        let inner: &[Dim] = &[Batch, Tokens, FeedForward];
        let scores: &[Dim] = &[Batch, Heads, Tokens, Attended];
        let keys: &[Dim] = &[Batch, KvHeads, Attended, HeadSize];
        let (name, shape, holds, alias) = match self {
            Point::PostTokEmbeddings => (
                "post-tok-embeddings",
                &[Batch, Tokens, Embedding] as &[Dim],
                "token embeddings",
                Some(Always("hook_embed")),
            ),
            Point::PostPosEmbeddings => {
                ("post-pos-embeddings", stream, "what enters block 0", None)
            }
            Point::PreBlock => (
                "pre-block",
                stream,
                "residual stream entering the block",
                Some(Always("hook_resid_pre")),
            ),
            Point::AttnNormScale => (
                "attn-norm-scale",
                scale,
                "what attention's norm divides by",
                Some(Always("ln1.hook_scale")),
            ),
            Point::PreAttn => (
                "pre-attn",
                stream,
                "what the q, k, v projections read",
                Some(Always("ln1.hook_out")),
            ),
            Point::QueryStates => (
                "query-states",
                &[Batch, Heads, Tokens, HeadSize] as &[Dim],
                "queries as they enter the score product, after rotary and q-norm, not scaled",
                Some(ByRotary { plain: "attn.hook_q", rotary: "attn.hook_rot_q" }),
            ),
            Point::KeyStates => (
                "key-states",
                keys,
                "keys likewise, cached past included, before they are repeated for grouped heads",
                Some(ByRotary { plain: "attn.hook_k", rotary: "attn.hook_rot_k" }),
            ),
            Point::ValueStates => ("value-states", keys, "values", Some(Always("attn.hook_v"))),
            Point::PreMaskAttnWeights => {
                ("pre-mask-attn-weights", scores, "scaled scores before the mask", None)
            }
            Point::PostMaskAttnWeights => (
                "post-mask-attn-weights",
                scores,
                "scores after the mask; where masked, the dtype's lowest finite value",
                Some(Always("attn.hook_attn_scores")),
            ),
            Point::AttnProbs => {
                ("attn-probs", scores, "attention pattern", Some(Always("attn.hook_pattern")))
            }
            Point::AttnWeightedValues => (
                "attn-weighted-values",
                &[Batch, Heads, Tokens, HeadSize] as &[Dim],
                "per-head weighted values",
                Some(Always("attn.hook_z")),
            ),
            Point::AttnHeadOutputs => (
                "attn-head-outputs",
                &[Batch, Heads, Tokens, Hidden] as &[Dim],
                "each head's part of attn-residual, without bias; where a norm follows attention, of what that norm reads",
                Some(Always("attn.hook_result")),
            ),
            Point::PostAttnNormScale => (
                "post-attn-norm-scale",
                scale,
                "what the norm of attention's output divides by, where there is one",
                Some(Always("ln1_post.hook_scale")),
            ),
            Point::AttnResidual => (
                "attn-residual",
                stream,
                "what attention adds to the stream",
                Some(Always("hook_attn_out")),
            ),
            Point::PostAttn => {
                ("post-attn", stream, "stream + attn-residual", Some(Always("hook_resid_mid")))
            }
            Point::MlpNormScale => (
                "mlp-norm-scale",
                scale,
                "what the MLP's norm divides by",
                Some(Always("ln2.hook_scale")),
            ),
            Point::PreMlp => {
                ("pre-mlp", stream, "what the MLP reads", Some(Always("ln2.hook_out")))
            }
            Point::PostFc1 => (
                "post-fc1",
                inner,
                "before the activation (gated MLPs: the gate's pre-activation)",
                Some(Always("mlp.hook_pre")),
            ),
            Point::PostUp => (
                "post-up",
                inner,
                "gated MLPs only: the other branch",
                Some(Always("mlp.hook_pre_linear")),
            ),
            Point::PostAct => {
                ("post-act", inner, "what the down projection reads", Some(Always("mlp.hook_post")))
            }
            Point::PostMlpNormScale => (
                "post-mlp-norm-scale",
                scale,
                "what the norm of the MLP's output divides by, where there is one",
                Some(Always("ln2_post.hook_scale")),
            ),
            Point::MlpResidual => (
                "mlp-residual",
                stream,
                "what the MLP adds to the stream",
                Some(Always("hook_mlp_out")),
            ),
            Point::PostMlp => (
                "post-mlp",
                stream,
                "the stream after the MLP (post-norm blocks: before their last norm)",
                Some(Always("hook_resid_post")),
            ),
            Point::FinalNormScale => (
                "final-norm-scale",
                scale,
                "what the final norm divides by",
                Some(Always("ln_final.hook_scale")),
            ),
            Point::PostFinalLayerNorm => (
                "post-final-layer-norm",
                stream,
                "the final norm's output; where there is none, what stands in its place",
                Some(Always("ln_final.hook_out")),
            ),
            Point::Logits => (
                "logits",
                &[Batch, Tokens, Vocabulary] as &[Dim],
                "logits",
                Some(Always("unembed.hook_out")),
            ),
            Point::UnreducedLoss => (
                "unreduced-loss",
                &[Batch, Predicted] as &[Dim],
                "next-token cross-entropy; only when a loss is asked for",
                None,
            ),
        };
        Description { name, shape, holds, alias }
    }

    /// The contract's name: `post-mlp`.
    pub fn name(self) -> &'static str {
        self.description().name
    }

    pub fn shape(self) -> &'static [Dim] {
        self.description().shape
    }

    /// What stands there, in a few words.
    pub fn holds(self) -> &'static str {
        self.description().holds
    }

    /// The TransformerLens name, in a block without its `blocks.{i}.`.
    pub fn alias(self) -> Option<Alias> {
        self.description().alias
    }

    /// Whether every block has it, rather than the pass once.
    pub fn in_block(self) -> bool {
        (Point::PreBlock..=Point::PostMlp).contains(&self)
    }

    /// Whether a pass makes it whoever looks: it costs nothing to keep it.
    pub fn is_made_anyway(self) -> bool {
        use Point::{
            AttnHeadOutputs, AttnProbs, PostMaskAttnWeights, PreMaskAttnWeights, UnreducedLoss,
        };
        let for_hooks =
            [PreMaskAttnWeights, PostMaskAttnWeights, AttnProbs, AttnHeadOutputs, UnreducedLoss];
        // A norm that nobody looks into does not make what it divides by.
        !for_hooks.contains(&self) && self.shape().last() != Some(&Dim::One)
    }

    /// The dim of its shape that counts tokens, and whether that counts cached ones too; nothing
    /// where there is none.
    pub fn token_dim(self) -> Option<(usize, Dim)> {
        let of = |wanted: Dim| Some((self.shape().iter().position(|dim| *dim == wanted)?, wanted));
        of(Dim::Tokens).or_else(|| of(Dim::Attended))
    }

    /// # Errors
    /// A name that is no point's, with the nearest.
    pub fn parse(name: &str) -> Result<Point> {
        Point::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
            let error = error!("there is no hook point {name:?}");
            // The names of TransformerLens's cache: `resid_post` for hook_resid_post.
            let hook = format!("hook_{name}");
            let short = Point::ALL.into_iter().find(|point| match point.alias() {
                Some(Alias::Always(alias)) => alias.rsplit('.').next() == Some(&hook),
                Some(Alias::ByRotary { plain, .. }) => plain.rsplit('.').next() == Some(&hook),
                None => false,
            });
            if let Some(point) = short {
                return error.help(format!("did you mean {point}?"));
            }
            match did_you_mean(name, Point::ALL.map(Point::name)) {
                Some(help) => error.help(help),
                None => error.help("`precompute points` lists them all"),
            }
        })
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_the_order_of_the_discriminants() {
        for (i, point) in Point::ALL.into_iter().enumerate() {
            assert_eq!(point as usize, i);
        }
    }

    #[test]
    fn every_name_parses_to_its_point_and_no_alias_is_shared() {
        let mut aliases = Vec::new();
        for point in Point::ALL {
            assert_eq!(Point::parse(point.name()), Ok(point));
            match point.alias() {
                Some(Alias::Always(a)) => aliases.push(a),
                Some(Alias::ByRotary { plain, rotary }) => aliases.extend([plain, rotary]),
                None => {}
            }
        }
        let count = aliases.len();
        aliases.sort();
        aliases.dedup();
        assert_eq!(aliases.len(), count);
    }

    #[test]
    fn a_misspelt_point_names_the_nearest() {
        let error = Point::parse("post-mpl").unwrap_err();
        assert!(error.help_text().unwrap().contains("post-mlp"), "{error}");
    }
}
