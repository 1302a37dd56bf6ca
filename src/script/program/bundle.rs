//! A script and what it imports, as texts: it ships, comes from the Hub, or stands in a run's
//! record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::system::directory::HeldDirectory;

/// Where a script is.
#[derive(Debug, Clone)]
pub enum Program {
    File(PathBuf),
    Bundle(Bundle),
}

/// Texts that stand in for files. None of their imports is looked for on the disk.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// What the run's directory is named after.
    pub name: String,
    /// Which of the texts is the script.
    pub main: String,
    /// By the name that messages call each by: a path, or what reads like one.
    pub texts: BTreeMap<String, String>,
    /// The directory that it may read, as if it stood there.
    pub(crate) beside: Option<HeldDirectory>,
}
