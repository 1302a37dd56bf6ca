//! `precompute completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use crate::script::{Console, Failure};

/// Print completions for a shell
#[derive(Args)]
#[command(
    after_help = "Example:\n  precompute completions bash > ~/.local/share/bash-completion/completions/precompute"
)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn run(self, command: &mut clap::Command) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, command, "precompute", &mut text);
        let console = Console::default();
        console.line(String::from_utf8_lossy(&text).trim_end());
        console.check().map_err(Failure::from)
    }
}
