//! Phi 1, 1.5 and 2 (Li et al. 2023), after transformers' `modeling_phi.py`: attention and MLP in
//! parallel with one norm for both, rotary positions on a part of each head, and biases everywhere,
//! on the unembedding too.

use super::{Family, MlpIn, NAMES, Names, head_dim, kv_heads, rotary};
use crate::Result;
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, NormSpec, Positions, QkNorm, Sizes, Spec};

pub const FAMILY: Family = Family { name: "phi", example: "microsoft/phi-2", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let head_dim = head_dim(hidden, heads)?;
    let sizes = Sizes {
        layers: config.size("num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: kv_heads(config, "num_key_value_heads", heads)?,
        head_dim,
        feed_forward: config.size("intermediate_size")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("max_position_embeddings")?,
    };
    let positions = Positions::Rotary(rotary(config, head_dim, 0.5)?);
    let norm = NormSpec::layer(config.number("layer_norm_eps", Allowed::EPS)?.unwrap_or(1e-5));
    let spec = Spec {
        parallel: true,
        activation: config.activation("hidden_act", "gelu_new")?,
        qk_norm: config.optional("qk_layernorm")?.unwrap_or(false).then_some(QkNorm::Shared),
        biases: Biases { unembedding: true, ..Biases::INSIDE },
        tied: config.optional("tie_word_embeddings")?.unwrap_or(false),
        ..Spec::usual("phi", sizes, positions, norm)
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
        attn_out: "self_attn.dense",
        mlp_norm: "input_layernorm",
        mlp_in: MlpIn::Plain("mlp.fc1"),
        fc2: "mlp.fc2",
        final_norm: "final_layernorm",
        ..NAMES
    };
    Ok((spec, names))
}
