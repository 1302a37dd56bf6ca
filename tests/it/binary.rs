//! The real binary, run in a directory of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::run::precompute;

/// What a run of the binary left.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A directory with files in it, in which the binary runs.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let workplace = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            workplace.write(name, text.as_bytes());
        }
        workplace
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The binary, about to be started here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = precompute(self.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs one script, called `s.rhai`.
pub fn script(text: &str) -> Ran {
    Workplace::new(&[("s.rhai", text)]).run(&["run", "s.rhai"])
}

/// The sets of vector instructions that this processor has, by the names that `PRECOMPUTE_CPU`
/// takes. Says which are skipped.
pub fn engines() -> Vec<&'static str> {
    let here = Workplace::new(&[]);
    let has = |engine: &&str| {
        let ran: Ran =
            here.command(&["points"]).env("PRECOMPUTE_CPU", engine).output().unwrap().into();
        if ran.code != Some(0) {
            assert!(ran.stderr.contains("this processor has no"), "{engine}: {}", ran.stderr);
            println!("skipped: this processor has no {engine}");
        }
        ran.code == Some(0)
    };
    ["portable", "avx2", "avx512"].into_iter().filter(has).collect()
}
