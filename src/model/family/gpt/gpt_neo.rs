//! GPT-Neo (Black et al. 2021; TinyStories, Eldan & Li 2023), after transformers'
//! `modeling_gpt_neo.py`: learned positions, scores that are not scaled, and a sliding window in the
//! layers whose attention is local.

use crate::model::family::reading::{head_dim, layer_norm};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::{Fields, Repeated};
use crate::model::spec::{Biases, Positions, Sizes, Spec, Window};
use crate::{Result, bail};

pub const FAMILY: Family = Family { name: "gpt_neo", example: "roneneldan/TinyStories-33M", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let hidden = config.size("hidden_size")?;
    // Its attention has a mask of its own, which hides later keys whatever the config says.
    config.ignore(&["is_causal"]);
    let heads = config.size("num_heads")?;
    let sizes = Sizes {
        layers: config.size("num_layers")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size_or("intermediate_size", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("max_position_embeddings")?,
    };
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let local = local_layers(config, sizes.layers)?;
    let size = config.positions("window_size")?;
    let window = size.map(|size| Window { size, layers: local, rotary: None });
    let spec = Spec {
        activation: config.activation("activation_function")?,
        biases: Biases { qkv: false, ..Biases::INSIDE },
        tied: config.required("tie_word_embeddings")?,
        score_scale: 1.0,
        window,
        ..Spec::usual("gpt_neo", sizes, Positions::Learned { offset: 0 }, norm)
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        position_embeddings: Some("wpe"),
        block: "h",
        attn_norm: "ln_1",
        qkv: Qkv::Separate([
            "attn.attention.q_proj",
            "attn.attention.k_proj",
            "attn.attention.v_proj",
        ]),
        attn_out: "attn.attention.out_proj",
        mlp_norm: "ln_2",
        mlp_in: MlpIn::Plain("mlp.c_fc"),
        fc2: "mlp.c_proj",
        final_norm: "ln_f",
        buffers: &["attn.attention.bias", "attn.attention.masked_bias"],
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}

/// For each layer, whether its attention is local: `attention_layers`, or else `attention_types`, which
/// is a list of kinds with how often they are repeated, `[[["global", "local"], 12]]`.
fn local_layers(config: &Fields, layers: usize) -> Result<Vec<bool>> {
    let types = config.optional::<Vec<Repeated>>("attention_types")?;
    let kinds = match (config.optional::<Vec<String>>("attention_layers")?, types) {
        (Some(kinds), _) => kinds,
        (None, Some(types)) => {
            types.iter().flat_map(|it| vec![&it.kinds[..]; it.times].concat()).collect()
        }
        (None, None) => {
            ["global", "local"].iter().cycle().take(24).map(|kind| (*kind).to_owned()).collect()
        }
    };
    if kinds.len() != layers {
        bail!("config.json: attention_types names {} layers of {layers}", kinds.len());
    }
    let is_local = |kind: &String| match kind.as_str() {
        "local" => Ok(true),
        "global" => Ok(false),
        other => bail!("config.json: attention_types has {other:?}, which can't be honoured"),
    };
    kinds.iter().map(is_local).collect()
}
