//! Where a script's text comes from: a file, or a bundle of texts that ships with this program,
//! comes from the Hub, or is part of a run's record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::output::record::HubRecipe;
use crate::system::directory::HeldDirectory;

/// A script to be run.
#[derive(Debug, Clone)]
pub enum Program {
    /// The script in a file.
    File(PathBuf),
    /// The main script of a bundle.
    Bundle(Bundle),
}

impl Program {
    /// The recipe that it is, if it came from the Hub.
    pub fn recipe(&self) -> Option<&HubRecipe> {
        match self {
            Program::File(_) => None,
            Program::Bundle(bundle) => bundle.recipe.as_ref(),
        }
    }
}

/// Scripts as texts. Their imports are looked for in the bundle and in the library that ships,
/// never on disk.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The name of the run's directory starts with it.
    pub name: String,
    /// Which of the texts is the main script.
    pub main: String,
    /// The texts, by the names that errors use: paths, or names that look like paths.
    pub texts: BTreeMap<String, String>,
    /// The recipe that the main script is, if it came from the Hub.
    pub recipe: Option<HubRecipe>,
    /// The directory that the script may read, as if it were a file in it.
    pub(crate) beside: Option<HeldDirectory>,
}
