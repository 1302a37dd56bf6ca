//! The option that replaces the models that a script names.

use clap::{Args, ValueHint};

use crate::script::{Failure, Substitutes};

/// `--model`.
#[derive(Args)]
pub struct Models {
    /// Use this model in place of the one that the script names in model(…): demo:NAME, a
    /// directory, a GGUF file, or a Hub id. If the script names several, give NAME=ID for each, with NAME as in
    /// model("NAME") or model(param("NAME", …))
    #[arg(long = "model", value_name = "[NAME=]ID", value_hint = ValueHint::AnyPath)]
    given: Vec<String>,
}

impl Models {
    /// The models that replace those that a script names.
    ///
    /// # Errors
    /// As [`Substitutes::read`].
    pub fn read(&self) -> Result<Substitutes, Failure> {
        Substitutes::read(self.given.iter().map(String::as_str)).map_err(Failure::usage)
    }
}
