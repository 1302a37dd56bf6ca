//! `precompute view [DIR…]`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::error;
use crate::script::{Console, Failure};
use crate::serve::view;
use crate::system::interrupt;

/// How often Ctrl-C is looked for.
const POLL: Duration = Duration::from_millis(100);

/// Look at runs in the browser, and compare them
///
/// Prints the address of a page that lists the runs below the directories, newest first, and shows
/// one or several beside each other. Nothing is kept besides the runs' own files: a note goes into
/// note.md in the run's directory.
///
/// The page is served on 127.0.0.1 alone, under an address that nobody can guess. Ctrl-C ends it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct View {
    /// Where runs are looked for
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "runs")]
    directories: Vec<PathBuf>,

    /// The port of the page's address [default: a free one]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

const EXAMPLES: &str = "\
Examples:
  precompute view
  precompute view runs/sweep-20260101-120000 results --port 8000";

impl View {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(missing) = self.directories.iter().find(|directory| !directory.is_dir()) {
            return Err(Failure::usage(
                error!("{} is no directory", missing.display())
                    .help("name one with runs in it: `precompute run` makes them in runs"),
            ));
        }
        let address = view::serve(self.directories, self.port).map_err(Failure::usage)?;
        let console = Console::default();
        console.line(&address);
        console.check()?;
        interrupt::clear();
        while !interrupt::requested_by_person() {
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}
