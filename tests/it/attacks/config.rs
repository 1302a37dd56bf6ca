//! Numbers of a config.json that no model has: each is refused where it is read, in a sentence that
//! names the field, its value and what is allowed.

use precompute::model::family;
use serde_json::{Map, Value, json};

use crate::fixture::{CASES, directory};

fn config(case: &str) -> Map<String, Value> {
    serde_json::from_slice(&std::fs::read(directory(case).join("config.json")).unwrap()).unwrap()
}

/// What is said of the case's config where `field`, or within a map `field/of`, is `value`.
fn said(case: &str, field: &str, value: Value) -> String {
    let mut config = config(case);
    match field.split_once('/') {
        Some((map, within)) => config
            .entry(map)
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .unwrap()
            .insert(within.into(), value),
        None => config.insert(field.into(), value),
    };
    match family::read(&config) {
        Ok(_) => "it is taken".into(),
        Err(error) => error.message().to_owned(),
    }
}

#[test]
fn each_number_is_checked_where_it_is_read() {
    const SIZE: [i64; 2] = [0, -1];
    for (case, fields) in [
        (
            "opt",
            &[
                "hidden_size",
                "num_attention_heads",
                "num_hidden_layers",
                "ffn_dim",
                "vocab_size",
                "max_position_embeddings",
                "word_embed_proj_dim",
            ][..],
        ),
        ("gpt2", &["n_embd", "n_head", "n_layer", "n_positions", "n_inner", "vocab_size"]),
        (
            "gpt-neox",
            &[
                "hidden_size",
                "num_attention_heads",
                "num_hidden_layers",
                "intermediate_size",
                "max_position_embeddings",
            ],
        ),
        ("gptj", &["n_embd", "n_head", "rotary_dim", "n_positions"]),
        (
            "llama",
            &[
                "hidden_size",
                "num_key_value_heads",
                "num_attention_heads",
                "intermediate_size",
                "vocab_size",
                "num_hidden_layers",
                "max_position_embeddings",
                "head_dim",
            ],
        ),
        ("mistral", &["sliding_window"]),
        ("gemma2", &["sliding_window", "head_dim"]),
        ("gemma3", &["sliding_window", "sliding_window_pattern", "head_dim"]),
        ("falcon", &["num_kv_heads", "hidden_size", "vocab_size"]),
        ("bloom", &["n_head", "n_layer", "vocab_size", "seq_length"]),
        ("phi", &["num_key_value_heads", "max_position_embeddings"]),
    ] {
        for field in fields {
            for value in SIZE.map(Value::from).into_iter().chain([
                json!(u64::MAX),
                json!(i64::MAX),
                json!(1e30),
                json!(1.5),
                json!("8"),
                json!([8]),
            ]) {
                let said = said(case, field, value.clone());
                assert!(
                    said.starts_with("config.json: ")
                        && said.contains(field)
                        && said.contains(&value.to_string()),
                    "{case}: {field} = {value}: {said}"
                );
                assert!(
                    said.contains(" must be ") && !said.contains('\n'),
                    "{case}: {field} = {value}: {said}"
                );
            }
        }
    }
}

#[test]
fn what_an_equation_divides_by_is_not_zero() {
    let eps = [json!(0.0), json!(-1e-5), json!(-0.0), json!(1e-60), json!(2.0), json!(1e300)];
    let theta = [json!(0), json!(0.0), json!(-10000.0), json!(0.5), json!(1e-300)];
    let factor = [json!(0), json!(0.0), json!(-1.0), json!(1e-300), json!(0.5), json!(1e300)];
    let part = [json!(0.0), json!(-0.25), json!(1.5), json!(1e300)];
    let scale = [json!(0), json!(0.0), json!(-1.0), json!(1e-300), json!(1e300)];
    for (case, field, values) in [
        ("gpt-neox", "layer_norm_eps", &eps[..]),
        ("gpt2", "layer_norm_epsilon", &eps),
        ("gptj", "layer_norm_epsilon", &eps),
        ("bloom", "layer_norm_epsilon", &eps),
        ("falcon", "layer_norm_epsilon", &eps),
        ("phi", "layer_norm_eps", &eps),
        ("stablelm", "layer_norm_eps", &eps),
        ("llama", "rms_norm_eps", &eps),
        ("gemma3", "rms_norm_eps", &eps),
        ("olmo2", "rms_norm_eps", &eps),
        ("mistral", "rope_theta", &theta),
        ("gpt-neox", "rotary_emb_base", &theta),
        ("gpt-neox", "rotary_pct", &part),
        ("phi", "partial_rotary_factor", &part),
        ("stablelm", "partial_rotary_factor", &part),
        ("llama3-rope", "rope_scaling/rope_theta", &theta),
        ("llama3-rope", "rope_scaling/factor", &factor),
        ("llama3-rope", "rope_scaling/low_freq_factor", &scale),
        ("llama3-rope", "rope_scaling/high_freq_factor", &scale),
        (
            "llama3-rope",
            "rope_scaling/original_max_position_embeddings",
            &[json!(0), json!(-1), json!(u64::MAX)],
        ),
        ("phi3-longrope", "rope_scaling/attention_factor", &scale),
        ("gemma2", "attn_logit_softcapping", &scale),
        ("gemma2", "final_logit_softcapping", &scale),
        ("gemma2", "query_pre_attn_scalar", &scale),
    ] {
        for value in values {
            let said = said(case, field, value.clone());
            let name = field.rsplit('/').next().unwrap();
            assert!(
                said.contains(name) && said.contains(" must be ") && !said.contains('\n'),
                "{case}: {field} = {value}: {said}"
            );
        }
    }
    for (case, field, value, sentence) in [
        (
            "llama3-rope",
            "rope_scaling/high_freq_factor",
            json!(1.0),
            "must be above low_freq_factor",
        ),
        (
            "llama3-rope",
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2.0, "rope_theta": 1.0}),
            "yarn needs a rope_theta above 1",
        ),
        (
            "llama3-rope",
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4, "beta_fast": 1e-320}),
            "beta_fast must be from",
        ),
        ("phi3-longrope", "rope_scaling/short_factor", json!([0.0]), "short_factor must be from"),
        ("phi3-longrope", "rope_scaling/long_factor", json!([-1.0]), "long_factor must be from"),
        ("gptj", "rotary_dim", json!(3), "3 rotary dimensions"),
        ("gptj", "rotary_dim", json!(4096), "4096 rotary dimensions"),
        ("llama", "head_dim", json!(7), "7 rotary dimensions of a head of 7"),
        ("falcon", "num_ln_in_parallel_attn", json!(3), "must be 1, or with"),
        ("llama", "num_attention_heads", json!(7), "do not share"),
    ] {
        let said = said(case, field, value.clone());
        assert!(said.contains(sentence), "{case}: {field} = {value}: {said}");
    }
}

/// Whatever number stands in whatever field: a sentence, or a config that is taken.
#[test]
fn no_number_is_too_much() {
    for case in CASES {
        for field in config(case).keys() {
            for value in [
                json!(0),
                json!(-1),
                json!(1),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(0.0),
                json!(1e308),
                json!(5e-324),
                json!(1u64 << 24),
                json!(1u64 << 31),
            ] {
                assert!(!said(case, field, value).is_empty());
            }
        }
    }
}

#[test]
fn a_seed_and_an_end_of_text_are_numbers_that_there_are() {
    use crate::binary::{Workplace, script};
    for call in [
        "m.generate(m.encode(\"a\"), #{seed: -1})",
        "m.generate(m.encode(\"a\"), #{seed: -9223372036854775808})",
        "seed(-1)",
    ] {
        let ran = script(&format!("let m = model(\"demo:opt\"); {call}"));
        assert!(ran.stderr.contains("a seed is 0 or more, not -"), "{call}: {}", ran.stderr);
    }
    let here = Workplace::new(&[("s.rhai", "model(\"m\")")]);
    for entry in std::fs::read_dir(directory("gpt2")).unwrap() {
        let path = entry.unwrap().path();
        here.write(
            &format!("m/{}", path.file_name().unwrap().to_str().unwrap()),
            &std::fs::read(&path).unwrap(),
        );
    }
    for ends in ["-1", "1.5", "\"</s>\"", "[1, -1]", "4294967296"] {
        here.write("m/generation_config.json", format!("{{\"eos_token_id\": {ends}}}").as_bytes());
        let ran = here.run(&["run", "s.rhai"]);
        assert!(
            ran.stderr.contains("generation_config.json: eos_token_id must be a token id"),
            "{ends}: {}",
            ran.stderr
        );
    }
}
