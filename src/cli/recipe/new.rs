//! `precompute recipe new NAME`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::error;
use crate::recipe::header::check_name;
use crate::script::{Console, Failure};

/// Write a recipe to start from: NAME.rhai with a header, which runs and passes `recipe check`
#[derive(Args)]
pub struct New {
    /// The recipe's name
    name: String,

    /// Where to write it
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

const TEMPLATE: &str = include_str!("new.rhai");

impl New {
    pub fn run(self) -> Result<(), Failure> {
        check_name(&self.name).map_err(Failure::usage)?;
        let path = self.directory.join(format!("{}.rhai", self.name));
        let text = TEMPLATE.replace("NAME", &self.name);
        let written = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.directory)?;
            OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(text.as_bytes())
        };
        written().map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::usage(error!("there is a file {} already", path.display()))
            }
            _ => Failure::usage(error!("{} can't be written: {e}", path.display())),
        })?;
        let (path, console) = (path.display(), Console::default());
        console.line(&format!(
            "wrote {path}\n  precompute run {path}\n  precompute recipe check {path}\n  \
             precompute recipe publish {path} --to OWNER/REPO"
        ));
        console.check().map_err(Failure::from)
    }
}
