//! The groups of the gallery: what recipes are for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a recipe is for, as its header says by the key `group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// States as they are.
    Look,
    /// Gradients and sums.
    Attribute,
    /// Interventions that find causes.
    Patch,
    /// Interventions that change behaviour.
    Steer,
    /// Sparse autoencoders and transcoders.
    Dictionaries,
    /// Weights without a prompt.
    Weights,
    /// Training.
    Train,
}

impl Group {
    /// All groups, in the order in which they are shown.
    pub const ALL: [Group; 7] = [
        Group::Look,
        Group::Attribute,
        Group::Patch,
        Group::Steer,
        Group::Dictionaries,
        Group::Weights,
        Group::Train,
    ];

    /// What its recipes have in common, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Group::Look => "what is there: predictions, attention and states as they are",
            Group::Attribute => "what an answer hangs on, by gradients and by sums over parts",
            Group::Patch => "what causes an answer: change one state or part, and watch the answer",
            Group::Steer => "make the model do something else, by its activations",
            Group::Dictionaries => "features, as sparse autoencoders and transcoders find them",
            Group::Weights => "what the weights say without any prompt, and edits of them",
            Group::Train => "train the model, adapters, or a new way to write",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Look => "look",
            Group::Attribute => "attribute",
            Group::Patch => "patch",
            Group::Steer => "steer",
            Group::Dictionaries => "dictionaries",
            Group::Weights => "weights",
            Group::Train => "train",
        })
    }
}
