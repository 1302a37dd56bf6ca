//! The recipes from the Hub that the user has allowed to run. They are remembered by content, so
//! that a changed recipe is asked about again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use crate::system::data_dir::user_data_dir;
use crate::system::digest::sha256_hex;
use crate::system::file as files;
use crate::system::file::FileKind;
use crate::{Result, error};

fn file() -> Result<PathBuf> {
    Ok(user_data_dir()?.join("trusted"))
}

/// One SHA-256 over all files of a recipe and their paths.
pub fn content(texts: &BTreeMap<String, String>) -> String {
    let lines: String = texts
        .iter()
        .map(|(path, text)| format!("{} {path}\n", sha256_hex(text.as_bytes())))
        .collect();
    sha256_hex(lines.as_bytes())
}

/// Whether the recipe with this [`content`] was allowed to run.
pub fn is_trusted(content: &str) -> bool {
    let known = file()
        .ok()
        .and_then(|path| files::read_text(&path, FileKind::Lock).ok())
        .unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().next() == Some(content))
}

/// Remembers that the recipe `reference` with this [`content`] may run.
///
/// # Errors
/// The data directory can't be written to.
pub fn trust(content: &str, reference: &str) -> Result<()> {
    if is_trusted(content) {
        return Ok(());
    }
    let path = file()?;
    let append = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(format!("{content} {reference}\n").as_bytes())
    };
    append().map_err(|e| {
        error!(
            "that the recipe is trusted can't be written to {}: {}",
            path.display(),
            files::describe_io_error(&e)
        )
        .help("PRECOMPUTE_HOME names another directory")
    })
}
