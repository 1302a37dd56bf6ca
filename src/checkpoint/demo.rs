//! The models inside the binary, so that the first command needs no network. `examples/train_demo`
//! makes them.

use super::files::Files;
use crate::{Result, did_you_mean, error};

/// A model inside the binary.
pub struct Demo {
    /// As in `demo:NAME`.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! files {
    ($directory:literal) => {
        &[
            ("config.json", include_bytes!(concat!("demo/", $directory, "/config.json"))),
            ("tokenizer.json", include_bytes!(concat!("demo/", $directory, "/tokenizer.json"))),
            (
                "model.safetensors",
                include_bytes!(concat!("demo/", $directory, "/model.safetensors")),
            ),
        ]
    };
}

pub const DEMOS: &[Demo] = &[
    Demo {
        name: "opt",
        about: "OPT in small: learned positions, attention then MLP",
        files: files!("opt"),
    },
    Demo {
        name: "gpt-neox",
        about: "GPT-NeoX in small: rotary positions, attention and MLP in parallel",
        files: files!("gpt-neox"),
    },
];

impl Demo {
    /// The bytes it takes in the binary.
    pub fn size(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// # Errors
/// No demo has that name.
pub fn files(name: &str) -> Result<Files> {
    match DEMOS.iter().find(|demo| demo.name == name) {
        Some(demo) => Ok(Files::Embedded(demo.files)),
        None => {
            let error = error!("there is no demo model {name:?}");
            Err(match did_you_mean(name, DEMOS.iter().map(|demo| demo.name)) {
                Some(help) => error.help(help),
                None => error,
            })
        }
    }
}
