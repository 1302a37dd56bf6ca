//! The option that says which models scripts get.

use clap::{Args, ValueHint};

use crate::script::{Failure, Substitutes};

#[derive(Args)]
pub struct Models {
    /// Use this model where the script says model(…): demo:NAME, a directory, or a Hub id. Where
    /// it names several, NAME=ID for each: the one that it names by model("NAME") or
    /// model(param("NAME", …))
    #[arg(long = "model", value_name = "[NAME=]ID", value_hint = ValueHint::AnyPath)]
    given: Vec<String>,
}

impl Models {
    /// # Errors
    /// As [`Substitutes::read`].
    pub fn read(&self) -> Result<Substitutes, Failure> {
        Substitutes::read(self.given.iter().map(String::as_str)).map_err(Failure::usage)
    }
}
