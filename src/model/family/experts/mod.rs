//! Families with mixtures of experts in place of some or all MLPs.

pub mod granitemoe;
pub mod mixtral;
pub mod olmoe;
pub mod qwen_moe;

use crate::model::load::config::Fields;
use crate::model::spec::{ExpertsSpec, RouterSpec};
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
    })
}
