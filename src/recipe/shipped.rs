//! The recipes that are part of this binary.

/// The recipes' texts, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("ablation", include_str!("../../scripts/ablation.rhai")),
    ("acdc", include_str!("../../scripts/acdc.rhai")),
    ("activation_patching", include_str!("../../scripts/activation_patching.rhai")),
    ("attention_knockout", include_str!("../../scripts/attention_knockout.rhai")),
    ("attention_sinks", include_str!("../../scripts/attention_sinks.rhai")),
    ("attention_view", include_str!("../../scripts/attention_view.rhai")),
    ("attribution_graph", include_str!("../../scripts/attribution_graph.rhai")),
    ("attribution_patching", include_str!("../../scripts/attribution_patching.rhai")),
    ("bidirectional_attention", include_str!("../../scripts/bidirectional_attention.rhai")),
    ("causal_scrubbing", include_str!("../../scripts/causal_scrubbing.rhai")),
    ("causal_tracing", include_str!("../../scripts/causal_tracing.rhai")),
    ("composition_scores", include_str!("../../scripts/composition_scores.rhai")),
    (
        "contrastive_activation_addition",
        include_str!("../../scripts/contrastive_activation_addition.rhai"),
    ),
    ("copy_suppression", include_str!("../../scripts/copy_suppression.rhai")),
    ("copying_scores", include_str!("../../scripts/copying_scores.rhai")),
    ("dataset_loss", include_str!("../../scripts/dataset_loss.rhai")),
    ("diffusion", include_str!("../../scripts/diffusion.rhai")),
    ("direct_logit_attribution", include_str!("../../scripts/direct_logit_attribution.rhai")),
    ("edge_attribution", include_str!("../../scripts/edge_attribution.rhai")),
    ("edge_pruning", include_str!("../../scripts/edge_pruning.rhai")),
    ("feature_max_activations", include_str!("../../scripts/feature_max_activations.rhai")),
    ("finetune", include_str!("../../scripts/finetune.rhai")),
    ("function_vectors", include_str!("../../scripts/function_vectors.rhai")),
    ("harvest", include_str!("../../scripts/harvest.rhai")),
    ("head_patching", include_str!("../../scripts/head_patching.rhai")),
    ("high_pass_filter", include_str!("../../scripts/high_pass_filter.rhai")),
    ("induction_heads", include_str!("../../scripts/induction_heads.rhai")),
    ("integrated_gradients", include_str!("../../scripts/integrated_gradients.rhai")),
    ("jacobian_lens", include_str!("../../scripts/jacobian_lens.rhai")),
    ("learned_steering", include_str!("../../scripts/learned_steering.rhai")),
    ("linear_probe", include_str!("../../scripts/linear_probe.rhai")),
    ("logit_lens", include_str!("../../scripts/logit_lens.rhai")),
    ("lora", include_str!("../../scripts/lora.rhai")),
    ("loss_by_position", include_str!("../../scripts/loss_by_position.rhai")),
    ("max_activating_examples", include_str!("../../scripts/max_activating_examples.rhai")),
    ("mean_ablation", include_str!("../../scripts/mean_ablation.rhai")),
    ("mlp_lookup", include_str!("../../scripts/mlp_lookup.rhai")),
    ("model_diff", include_str!("../../scripts/model_diff.rhai")),
    ("neuron_topk", include_str!("../../scripts/neuron_topk.rhai")),
    ("patchscopes", include_str!("../../scripts/patchscopes.rhai")),
    ("path_patching", include_str!("../../scripts/path_patching.rhai")),
    ("power_spectrum", include_str!("../../scripts/power_spectrum.rhai")),
    ("refusal_direction", include_str!("../../scripts/refusal_direction.rhai")),
    ("rome_edit", include_str!("../../scripts/rome_edit.rhai")),
    ("sae_ablation", include_str!("../../scripts/sae_ablation.rhai")),
    ("sae_features", include_str!("../../scripts/sae_features.rhai")),
    ("sae_steering", include_str!("../../scripts/sae_steering.rhai")),
    ("sae_training", include_str!("../../scripts/sae_training.rhai")),
    ("saliency", include_str!("../../scripts/saliency.rhai")),
    ("spectral_analysis", include_str!("../../scripts/spectral_analysis.rhai")),
    ("steering", include_str!("../../scripts/steering.rhai")),
    ("svd_interpret", include_str!("../../scripts/svd_interpret.rhai")),
    ("tuned_lens", include_str!("../../scripts/tuned_lens.rhai")),
];

/// The text of the recipe called `name`, if there is one.
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_of_the_gallery_ships() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str()?.strip_suffix(".rhai").map(str::to_owned)
            })
            .collect();
        files.sort();
        assert_eq!(files, SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
