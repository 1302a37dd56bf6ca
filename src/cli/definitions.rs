//! `precompute definitions DIR`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::error;
use crate::script::{Console, Failure, Host, Settings};

/// Write the functions that scripts may call as definition files for editors
///
/// The .d.rhai files that Rhai's language server reads: with them an editor completes functions and
/// shows their parameters and what they do.
#[derive(Args)]
#[command(after_help = "Example:\n  precompute definitions .rhai/definitions")]
pub struct Definitions {
    /// The directory, which is created if it is missing
    #[arg(value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

impl Definitions {
    pub fn run(self) -> Result<(), Failure> {
        let host = Host::new(Settings::default())?;
        let failed = |path: &PathBuf, cause| {
            Failure::usage(error!("{} can't be written: {cause}", path.display()))
        };
        std::fs::create_dir_all(&self.directory).map_err(|cause| failed(&self.directory, cause))?;
        let console = Console::default();
        for (name, text) in host.definitions() {
            let path = self.directory.join(name);
            std::fs::write(&path, text).map_err(|cause| failed(&path, cause))?;
            console.line(&path.display().to_string());
        }
        console.check().map_err(Failure::from)
    }
}
