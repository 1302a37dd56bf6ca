//! Parquet in a build without the feature `parquet`: refused.

use std::fs::File;
use std::io::Write;

use super::table::Table;
use crate::{Result, error};

/// # Errors
/// Always: this build has no Parquet.
pub fn read(_: File) -> Result<Table> {
    refused()
}

/// # Errors
/// Always: this build has no Parquet.
pub fn write(_: &Table, _: &mut dyn Write) -> Result<()> {
    refused()
}

fn refused<T>() -> Result<T> {
    Err(error!("this build has no Parquet: it was built without the feature parquet"))
}
