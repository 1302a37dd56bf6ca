//! What the readers of several families have in common.

mod kinds;
mod rotary;
mod windows;

pub use kinds::rotaries_by_kind;
pub use rotary::{OddPart, Part, Rule, rotary, rotary_spec};
pub use windows::{layer_windows, windowed_everywhere};

use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{NormSpec, Positions, Sizes, Spec};
use crate::{Result, bail};

/// The size of a head: the hidden size divided by the number of heads.
pub fn head_dim(hidden: usize, heads: usize) -> Result<usize> {
    if !hidden.is_multiple_of(heads) {
        bail!("config.json: a hidden size of {hidden} does not divide into {heads} heads");
    }
    Ok(hidden / heads)
}

/// The number of key/value heads in field `name`; as many as heads if the field is null.
pub fn kv_heads(fields: &Fields, name: &'static str, heads: usize) -> Result<usize> {
    let kv_heads = fields.size_or(name, heads)?;
    if !heads.is_multiple_of(kv_heads) {
        bail!("config.json: {heads} heads do not share {kv_heads} key/value heads evenly");
    }
    Ok(kv_heads)
}

/// RMS norms with the config's `rms_norm_eps`.
pub fn rms_norm(fields: &Fields) -> Result<NormSpec> {
    Ok(NormSpec::rms(fields.required_number("rms_norm_eps", Allowed::EPS)?))
}

/// Layer norms whose eps is in field `name`.
pub fn layer_norm(fields: &Fields, name: &'static str) -> Result<NormSpec> {
    Ok(NormSpec::layer(fields.required_number(name, Allowed::EPS)?))
}

/// Llama's block: a gated MLP, rotary positions, no biases.
pub fn gated(family: &'static str, fields: &Fields, norm: NormSpec, rule: &Rule) -> Result<Spec> {
    let head_dim = gated_head_dim(fields)?;
    gated_at(family, fields, norm, Positions::Rotary(rotary(fields, head_dim, rule)?))
}

/// Llama's block with any kind of positions. Families whose activation is not in `hidden_act` read
/// it themselves.
pub fn gated_at(
    family: &'static str,
    fields: &Fields,
    norm: NormSpec,
    positions: Positions,
) -> Result<Spec> {
    let spec = usual(family, fields, norm, positions, gated_head_dim(fields)?)?;
    Ok(Spec { gated: true, ..spec })
}

/// A decoder whose config has the sizes under the names that most families have for them.
pub fn usual(
    family: &'static str,
    fields: &Fields,
    norm: NormSpec,
    positions: Positions,
    head_dim: usize,
) -> Result<Spec> {
    let heads = fields.size("num_attention_heads")?;
    let sizes = Sizes {
        layers: fields.size("num_hidden_layers")?,
        hidden: fields.size("hidden_size")?,
        heads,
        kv_heads: kv_heads(fields, "num_key_value_heads", heads)?,
        head_dim,
        feed_forward: fields.size("intermediate_size")?,
        vocabulary: fields.size("vocab_size")?,
        max_positions: fields.max_positions("max_position_embeddings")?,
    };
    let spec = Spec::usual(family, sizes, positions, norm);
    Ok(Spec { tied: fields.required("tie_word_embeddings")?, ..spec })
}

/// The size of a head from `head_dim`, or if that is absent from the hidden size.
pub fn gated_head_dim(fields: &Fields) -> Result<usize> {
    match fields.optional::<usize>("head_dim")? {
        Some(_) => fields.size_or("head_dim", 0),
        None => head_dim(fields.size("hidden_size")?, fields.size("num_attention_heads")?),
    }
}
