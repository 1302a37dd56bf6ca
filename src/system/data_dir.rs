//! Where this program keeps what it remembers of a person.

use std::path::PathBuf;

use crate::{Result, error};

/// The data directory of the person, unless `PRECOMPUTE_HOME` says.
///
/// # Errors
/// There is none.
pub fn user_data_dir() -> Result<PathBuf> {
    let said =
        std::env::var_os("PRECOMPUTE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    said.or_else(|| dirs::data_local_dir().map(|data| data.join("precompute"))).ok_or_else(|| {
        error!("there is no home directory to remember anything in")
            .help("set PRECOMPUTE_HOME to a directory")
    })
}
