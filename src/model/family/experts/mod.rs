//! Families with mixtures of experts in place of some or all MLPs.

pub mod ernie4_5_moe;
pub mod glm4_moe;
pub mod gpt_oss;
pub mod granitemoe;
pub mod mixtral;
pub mod olmoe;
pub mod qwen_moe;

use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{ExpertsSpec, GroupScore, Groups, RouterSpec, Scores, SharedExpert};
use crate::{Result, bail};

/// The mixtures of experts of a config, in the layers for which `has` is true: `count` is the name of
/// the number of experts, `chosen` of how many a token has. What the config says of the router's training
/// changes nothing.
///
/// # Errors
/// A field is missing, or a token has more experts than there are.
fn experts(
    config: &Fields,
    layers: usize,
    [count, chosen, feed_forward]: [&'static str; 3],
    router: RouterSpec,
    has: impl Fn(usize) -> bool,
) -> Result<ExpertsSpec> {
    config.ignore(&["output_router_logits", "router_aux_loss_coef", "router_jitter_noise"]);
    let (experts, per_token) = (config.size(count)?, config.required::<usize>(chosen)?);
    if !(1..=experts).contains(&per_token) {
        bail!("config.json: {chosen} must be from 1 to {experts}, the experts, not {per_token}");
    }
    Ok(ExpertsSpec {
        count: experts,
        chosen: per_token,
        feed_forward: config.size(feed_forward)?,
        layers: (0..layers).map(has).collect(),
        router,
        shared: None,
        clamped: None,
    })
}

/// Where DeepSeek's and GLM's configs have the number of experts, of those that a token has, and an expert's
/// size.
const GROUPED: [&str; 3] = ["n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"];

/// How DeepSeek 3 chooses experts: of the groups whose two best are best, by corrected scores.
///
/// # Errors
/// A field is missing, or the groups do not fit the experts.
fn deepseek_router(config: &Fields) -> Result<RouterSpec> {
    let (count, chosen) = (config.size_or("n_group", 1)?, config.size_or("topk_group", 1)?);
    let experts = config.size(GROUPED[0])?;
    if !experts.is_multiple_of(count) || experts / count < 2 || chosen > count {
        bail!(
            "config.json: {experts} experts do not divide into {count} groups of two or more, of which topk_group = {chosen}"
        );
    }
    let normalised: bool = config.required("norm_topk_prob")?;
    Ok(RouterSpec {
        scores: Scores::Sigmoid,
        bias: false,
        corrected: true,
        groups: Some(Groups { count, chosen, by: GroupScore::TwoBest }),
        normalised: normalised.then_some(1e-20),
        scale: config.required_number("routed_scaling_factor", Allowed::SCALE)?,
    })
}

/// How many of the first layers have one MLP in place of experts.
fn first_layers_plain(config: &Fields) -> Result<usize> {
    config.required("first_k_dense_replace")
}

/// The experts that every token has, as one.
fn shared_experts(config: &Fields) -> Result<Option<SharedExpert>> {
    let feed_forward = config.size(GROUPED[2])? * config.size_or("n_shared_experts", 1)?;
    Ok(Some(SharedExpert { feed_forward, gated: false }))
}
