//! What GGUF files call each weight, and in what form they have it. llama.cpp's converter writes
//! them (`convert_hf_to_gguf.py`); what it does to a tensor is undone here.

use std::collections::BTreeMap;

use super::header::Stored;

/// An architecture: what `general.architecture` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma,
    Gemma2,
    Gemma3,
    Phi3,
    Gpt2,
    GptNeoX,
    Olmo2,
    StableLm,
    Falcon,
}

use Architecture::{
    Falcon, Gemma, Gemma2, Gemma3, Gpt2, GptNeoX, Llama, Olmo2, Phi3, Qwen2, Qwen3, StableLm,
};

/// The architectures by name.
pub const ARCHITECTURES: [(&str, Architecture); 12] = [
    ("llama", Llama),
    ("qwen2", Qwen2),
    ("qwen3", Qwen3),
    ("gemma", Gemma),
    ("gemma2", Gemma2),
    ("gemma3", Gemma3),
    ("phi3", Phi3),
    ("gpt2", Gpt2),
    ("gptneox", GptNeoX),
    ("olmo2", Olmo2),
    ("stablelm", StableLm),
    ("falcon", Falcon),
];

/// What becomes of a tensor of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is the checkpoint's.
    Same,
    /// The rows of each of so many heads alternate between the halves of the head: the dimensions
    /// that rotate together are neighbours.
    Interleaved(usize),
    /// [q; k; v], for so many groups of key/value heads: each group's are together in the
    /// checkpoint.
    Ungrouped { heads: usize, kv_heads: usize },
    /// [out, in], and the checkpoint has [in, out].
    Transposed,
    /// The checkpoint has it minus 1.
    MoreOne,
    /// One row.
    Row(usize),
}

/// A weight by its name in the Hub's checkpoints: the file's name for it, and its form there.
pub type Places = BTreeMap<String, (String, Form)>;

/// The numbers of heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
}

type Table = &'static [(&'static str, &'static str)];

const LLAMA: Table = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
/// Where these say something else than [`LLAMA`], they come first.
const GEMMA: Table = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];
const OLMO: Table = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];
const PHI: Table = &[("ffn_up", "mlp.gate_up_proj")];
const STABLE: Table =
    &[("attn_q_norm", "self_attn.q_layernorm"), ("attn_k_norm", "self_attn.k_layernorm")];
const GPT2: Table = &[
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];
const NEOX: Table = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];
const FALCON: Table = &[
    ("attn_norm", "input_layernorm"),
    ("attn_qkv", "self_attention.query_key_value"),
    ("attn_output", "self_attention.dense"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];
/// With a norm for each sub-block.
const FALCON_NORMS: Table = &[("attn_norm", "ln_mlp"), ("attn_norm_2", "ln_attn")];

const LLAMA_ENDS: Table =
    &[("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];
const GPT2_ENDS: Table = &[
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
];
const NEOX_ENDS: Table = &[
    ("token_embd", "gpt_neox.embed_in"),
    ("output_norm", "gpt_neox.final_layer_norm"),
    ("output", "embed_out"),
];
const FALCON_ENDS: Table = &[
    ("token_embd", "transformer.word_embeddings"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
];

impl Architecture {
    /// The tables of a block, the first that knows a name counts, and of both ends.
    fn tables(self, norms: bool) -> ([Table; 2], Table) {
        match self {
            Llama | Qwen2 | Qwen3 | Gemma => ([LLAMA, &[]], LLAMA_ENDS),
            Gemma2 | Gemma3 => ([GEMMA, LLAMA], LLAMA_ENDS),
            Olmo2 => ([OLMO, LLAMA], LLAMA_ENDS),
            Phi3 => ([PHI, LLAMA], LLAMA_ENDS),
            StableLm => ([STABLE, LLAMA], LLAMA_ENDS),
            Gpt2 => ([GPT2, &[]], GPT2_ENDS),
            GptNeoX => ([NEOX, &[]], NEOX_ENDS),
            Falcon if norms => ([FALCON_NORMS, FALCON], FALCON_ENDS),
            Falcon => ([FALCON, &[]], FALCON_ENDS),
        }
    }

    /// What the names of blocks begin with in the Hub's checkpoints.
    fn block(self) -> &'static str {
        match self {
            GptNeoX => "gpt_neox.layers",
            Gpt2 | Falcon => "transformer.h",
            _ => "model.layers",
        }
    }

    fn form(self, part: &str, kind: &str, Heads { heads, kv_heads }: Heads) -> Form {
        match (self, part) {
            (Llama, "attn_q") => Form::Interleaved(heads),
            (Llama, "attn_k") => Form::Interleaved(kv_heads),
            (GptNeoX, "attn_qkv") => Form::Ungrouped { heads, kv_heads: heads },
            (Falcon, "attn_qkv") => Form::Ungrouped { heads, kv_heads },
            (Gpt2, "attn_qkv" | "attn_output" | "ffn_up" | "ffn_down") if kind == "weight" => {
                Form::Transposed
            }
            (Gemma | Gemma2 | Gemma3, part) if part.ends_with("_norm") => Form::MoreOne,
            _ => Form::Same,
        }
    }
}

/// Where the weights of the Hub's checkpoints are among the tensors of a file. Those that no weight
/// is made of keep their names.
pub fn places(
    architecture: Architecture,
    tensors: &BTreeMap<String, Stored>,
    heads: Heads,
) -> Places {
    let (blocks, ends) = architecture.tables(tensors.contains_key("blk.0.attn_norm_2.weight"));
    let find = |table: Table, part: &str| {
        table.iter().find(|(known, _)| *known == part).map(|(_, own)| *own)
    };
    let mut places = Places::new();
    for (name, stored) in tensors {
        let Some((stem, kind)) = name.rsplit_once('.') else { continue };
        let of_block = stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let part = of_block.map_or(stem, |(_, part)| part);
        let own = match of_block {
            Some((layer, part)) => blocks
                .into_iter()
                .find_map(|table| find(table, part))
                .map(|own| format!("{}.{layer}.{own}", architecture.block())),
            None => find(ends, stem).map(str::to_owned),
        };
        let Some(own) = own else {
            places.insert(name.clone(), (name.clone(), Form::Same));
            continue;
        };
        // StableLM has a norm for each head.
        if architecture == StableLm && part.ends_with("_norm") && stored.shape.len() == 2 {
            for head in 0..stored.shape[0] {
                let own = format!("{own}.norms.{head}.{kind}");
                places.insert(own, (name.clone(), Form::Row(head)));
            }
            continue;
        }
        let form = architecture.form(part, kind, heads);
        places.insert(format!("{own}.{kind}"), (name.clone(), form));
    }
    places
}
