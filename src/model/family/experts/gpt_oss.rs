//! gpt-oss (OpenAI 2025), after transformers' `modeling_gpt_oss.py`: Llama's block with biases, a sliding
//! window in every second layer, a sink that takes a share of each query's attention, and experts whose
//! gated MLP is clamped.

use super::experts;
use crate::model::family::reading::{Rule, gated, layer_windows, rms_norm};
use crate::model::family::{ExpertNames, ExpertsIn, Family, NAMES, Names};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, ClampedGate, ExpertsSpec, RouterSpec, Scores, Spec};
use crate::{Error, Result, error};

pub const FAMILY: Family = Family { name: "gpt_oss", example: "openai/gpt-oss-20b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    if config.has("quantization_config") {
        config.nested("quantization_config")?.map_or(Ok(()), |how| match how.optional::<String>("quant_method")? {
            Some(method) if method == "mxfp4" => Err(error!(
                "config.json: the experts are quantised (mxfp4), which can't be read"
            )
            .help("transformers' Mxfp4Config(dequantize=True) and save_pretrained write a checkpoint in bfloat16")),
            other => Err(error!("config.json: quantization_config of {other:?} can't be honoured")),
        })?;
    }
    // The experts' activation is SiLU in any case.
    config.ignore(&["hidden_act"]);
    let bias = config.required("attention_bias")?;
    let rule = Rule { default_theta: 150_000.0, ..Rule::WHOLE };
    let given = |name| Ok::<bool, Error>(config.nested(name)?.is_some_and(|map| !map.is_empty()));
    if !given("rope_parameters")? && !given("rope_scaling")? {
        return Err(error!("config.json has no rope_parameters and no rope_scaling"));
    }
    let spec = gated("gpt_oss", config, rms_norm(config)?, &rule)?;
    let size = config.positions("sliding_window")?;
    let window = layer_windows(config, spec.layers, size, |layer| layer % 2 == 0)?;
    let router = RouterSpec { scores: Scores::SoftmaxOfChosen, bias: true, ..RouterSpec::SOFTMAX };
    let sizes = ["num_local_experts", "num_experts_per_tok", "intermediate_size"];
    let clamped = ClampedGate {
        limit: config.required_number("swiglu_limit", Allowed::SCALE)?,
        sharpness: config.required_number("swiglu_alpha", Allowed::SCALE)?,
    };
    let experts = ExpertsSpec {
        clamped: Some(clamped),
        ..experts(config, spec.layers, sizes, router, |_| true)?
    };
    let spec = Spec {
        sinks: true,
        window,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        experts: Some(experts),
        ..spec
    };
    let experts = ExpertNames {
        router: "mlp.router",
        experts: ExpertsIn::Interleaved {
            input: "mlp.experts.gate_up_proj",
            output: "mlp.experts.down_proj",
        },
        ..ExpertNames::USUAL
    };
    Ok((spec, Names { sinks: Some("self_attn.sinks"), experts: Some(experts), ..NAMES }))
}
