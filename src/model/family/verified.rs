//! The checks of each family against reference implementations, and how closely it agrees.

/// A tiny random checkpoint under `tests/fixtures`, with goldens of every hook point and of
/// interventions that were checked against Hugging Face transformers.
pub struct Verified {
    /// `model_type`
    pub family: &'static str,
    /// A directory under tests/fixtures.
    pub fixture: &'static str,
    /// The largest absolute difference from a golden, in float32. `tests/it/goldens.rs` asserts it.
    pub difference: f32,
    /// Whether candle-transformers' model of the family gives the same logits, which
    /// `tests/it/second_opinion.rs` asserts.
    pub second_opinion: bool,
}

const fn checked(family: &'static str, fixture: &'static str, difference: f32) -> Verified {
    Verified { family, fixture, difference, second_opinion: false }
}

const fn twice(family: &'static str, fixture: &'static str, difference: f32) -> Verified {
    Verified { family, fixture, difference, second_opinion: true }
}

/// Every checkpoint that was checked.
pub const VERIFIED: &[Verified] = &[
    checked("opt", "opt", 2e-5),
    checked("opt", "opt-post-norm", 2e-5),
    checked("gpt_neox", "gpt-neox", 2e-5),
    checked("gpt_neox", "gpt-neox-sequential", 2e-5),
    checked("gpt2", "gpt2", 2e-5),
    twice("llama", "llama", 2e-5),
    twice("llama", "llama3-rope", 2e-5),
    checked("llama", "llama-biased", 2e-5),
    checked("mistral", "mistral", 2e-5),
    twice("qwen2", "qwen2", 2e-5),
    twice("qwen3", "qwen3", 2e-5),
    checked("gemma2", "gemma2", 2e-5),
    checked("gemma3_text", "gemma3", 2e-5),
    twice("phi", "phi", 2e-5),
    checked("phi3", "phi3", 2e-5),
    checked("phi3", "phi3-longrope", 2e-5),
    checked("gptj", "gptj", 2e-5),
    twice("stablelm", "stablelm", 2e-5),
    checked("stablelm", "stablelm-parallel", 2e-5),
    twice("olmo2", "olmo2", 2e-5),
    checked("falcon", "falcon", 2e-5),
    checked("falcon", "falcon-grouped", 2e-5),
    checked("bloom", "bloom", 2e-5),
    checked("gemma", "gemma", 2e-5),
    checked("olmo", "olmo", 2e-5),
    checked("olmo3", "olmo3", 2e-5),
    checked("gpt_neo", "gpt-neo", 2e-5),
    checked("gpt_bigcode", "gpt-bigcode", 2e-5),
    checked("gpt_bigcode", "gpt-bigcode-heads", 2e-5),
    checked("starcoder2", "starcoder2", 2e-5),
    checked("nemotron", "nemotron", 2e-5),
    checked("granite", "granite", 2e-5),
    checked("cohere", "cohere", 2e-5),
    checked("cohere2", "cohere2", 2e-5),
    checked("glm", "glm", 2e-5),
    checked("glm4", "glm4", 2e-5),
    checked("seed_oss", "seed-oss", 2e-5),
    checked("ernie4_5", "ernie4_5", 2e-5),
    checked("smollm3", "smollm3", 2e-5),
    checked("exaone4", "exaone4", 2e-5),
    checked("ministral", "ministral", 2e-5),
    checked("helium", "helium", 2e-5),
    checked("arcee", "arcee", 2e-5),
    checked("persimmon", "persimmon", 2e-5),
    checked("codegen", "codegen", 2e-5),
    checked("mixtral", "mixtral", 2e-5),
    checked("qwen2_moe", "qwen2-moe", 2e-5),
    checked("qwen3_moe", "qwen3-moe", 2e-5),
    checked("olmoe", "olmoe", 2e-5),
    checked("granitemoe", "granitemoe", 2e-5),
    checked("gpt_oss", "gpt-oss", 2e-5),
    checked("glm4_moe", "glm4-moe", 2e-5),
    checked("ernie4_5_moe", "ernie4_5-moe", 2e-5),
];
