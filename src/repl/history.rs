//! The file that keeps the inputs of earlier sessions.

use std::path::PathBuf;

use crate::Result;
use crate::system::data_dir::user_data_dir;

/// The most inputs that the file keeps.
pub const MAX_ENTRIES: usize = 10_000;

/// The path of the file.
///
/// # Errors
/// There is no home directory.
pub fn file() -> Result<PathBuf> {
    Ok(user_data_dir()?.join("history"))
}
