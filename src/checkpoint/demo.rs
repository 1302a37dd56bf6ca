//! The demo models inside the binary, so that a first command needs no network. The example
//! `train_demo` trains them.

use super::files::Files;
use crate::{Result, did_you_mean, error};

/// A demo model.
pub struct Demo {
    /// NAME in `demo:NAME`.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// Names and contents.
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

/// Every demo model.
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
    /// The size of its files in bytes.
    pub fn size(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// The files of the demo `name`.
///
/// # Errors
/// There is no demo of that name.
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
