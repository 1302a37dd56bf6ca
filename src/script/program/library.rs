//! The library of scripts that ships.

/// The library that ships, by import name.
pub(super) const LIBRARY: &[(&str, &str)] = &[
    ("lib/attribution", include_str!("../../../scripts/lib/attribution.rhai")),
    ("lib/circuit", include_str!("../../../scripts/lib/circuit.rhai")),
    ("lib/diffusion", include_str!("../../../scripts/lib/diffusion.rhai")),
    ("lib/directions", include_str!("../../../scripts/lib/directions.rhai")),
    ("lib/full_circuits", include_str!("../../../scripts/lib/full_circuits.rhai")),
    ("lib/indirect_objects", include_str!("../../../scripts/lib/indirect_objects.rhai")),
    ("lib/labels", include_str!("../../../scripts/lib/labels.rhai")),
    ("lib/lens", include_str!("../../../scripts/lib/lens.rhai")),
    ("lib/parts", include_str!("../../../scripts/lib/parts.rhai")),
    ("lib/patching", include_str!("../../../scripts/lib/patching.rhai")),
    ("lib/sae", include_str!("../../../scripts/lib/sae.rhai")),
    ("lib/sae_coder", include_str!("../../../scripts/lib/sae_coder.rhai")),
    ("lib/sae_files", include_str!("../../../scripts/lib/sae_files.rhai")),
    ("lib/sae_hooks", include_str!("../../../scripts/lib/sae_hooks.rhai")),
    ("lib/sae_training", include_str!("../../../scripts/lib/sae_training.rhai")),
    ("lib/train", include_str!("../../../scripts/lib/train.rhai")),
    ("lib/weights", include_str!("../../../scripts/lib/weights.rhai")),
    ("lib/world", include_str!("../../../scripts/lib/world.rhai")),
];

/// The import names of the library that ships.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|(name, _)| *name)
}

/// The text of a script in the library.
pub fn shipped_text(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Precedes the name of a script that is part of this program.
pub const SHIPPED: &str = "precompute:";
