//! What was typed in earlier sessions.

use std::path::PathBuf;

use crate::Result;
use crate::system::data_dir::user_data_dir;

/// Inputs that are kept.
pub const KEPT: usize = 10_000;

/// Where they are kept.
///
/// # Errors
/// There is no home directory.
pub fn file() -> Result<PathBuf> {
    Ok(user_data_dir()?.join("history"))
}
