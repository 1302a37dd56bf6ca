//! The norms of a model, and where they stand.

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
    /// Whether a norm has a gain (and, with [`Biases::norm`](super::Biases::norm), a bias).
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
