//! Runs scripts through the real binary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use candle_core::{Device, Tensor};

/// A script in a directory of its own, and what running it gave.
pub struct Ran {
    pub directory: tempfile::TempDir,
    pub output: Output,
}

/// `precompute` with nothing of the caller's surroundings that could reach a network or a cache.
pub fn precompute(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_precompute"));
    command
        .current_dir(directory)
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", directory.join("hf"))
        .env("PRECOMPUTE_HOME", directory.join("home"))
        .env("NO_COLOR", "1");
    command
}

/// Runs `script` with `arguments`, its output going to `out` in the directory.
pub fn script(script: &str, arguments: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("script.rhai"), script).unwrap();
    let output = precompute(directory.path())
        .args(["run", "script.rhai", "--out", "out"])
        .args(arguments)
        .output()
        .unwrap();
    Ran { directory, output }
}

impl Ran {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    /// The same, having made sure that the script did what it was to.
    pub fn ok(self) -> Self {
        assert!(
            self.output.status.success(),
            "the script failed:\n{}\n{}",
            self.stdout(),
            self.stderr()
        );
        self
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("out").join(name)
    }

    pub fn tensors(&self, name: &str) -> HashMap<String, Tensor> {
        candle_core::safetensors::load(self.file(name), &Device::Cpu).unwrap()
    }

    /// The one tensor of NAME.safetensors.
    pub fn tensor(&self, name: &str) -> Tensor {
        self.tensors(&format!("{name}.safetensors")).remove(name).unwrap()
    }
}
