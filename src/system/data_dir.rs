//! The directory where this program keeps the user's data: history, trusted recipes.

use std::path::PathBuf;

use crate::{Result, error};

/// `PRECOMPUTE_HOME` if it is set, else `precompute` in the user's local data directory. It need
/// not exist yet.
///
/// # Errors
/// The variable is not set and the user has no home directory.
pub fn user_data_dir() -> Result<PathBuf> {
    let set =
        std::env::var_os("PRECOMPUTE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    set.or_else(|| dirs::data_local_dir().map(|data| data.join("precompute"))).ok_or_else(|| {
        error!("there is no home directory to remember anything in")
            .help("set PRECOMPUTE_HOME to a directory")
    })
}
