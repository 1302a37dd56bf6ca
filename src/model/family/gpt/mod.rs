//! GPT-2 and what followed it with its names of fields.

pub mod gpt2;
pub mod gpt_bigcode;
pub mod gpt_neo;
pub mod gpt_neox;
pub mod gptj;

use super::reading::head_dim;
use crate::Result;
use crate::model::load::config::Fields;
use crate::model::spec::Sizes;

/// The sizes, from the fields of GPT-2's names.
fn sizes(config: &Fields) -> Result<Sizes> {
    let hidden = config.size("n_embd")?;
    let heads = config.size("n_head")?;
    Ok(Sizes {
        layers: config.size("n_layer")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size_or("n_inner", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("n_positions")?,
    })
}
