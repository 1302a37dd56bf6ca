//! Writes with this crate's error type.

use std::io::Write;

use serde_json::Value as Json;

use crate::{Result, error};

/// Writes all of `bytes`.
///
/// # Errors
/// The writer's error as text. Whoever opened the file adds its name.
pub fn write_all(to: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).map_err(|e| error!("{e}"))
}

/// Writes indented JSON, and a newline after it.
///
/// # Errors
/// As [`write_all`].
pub fn write_json(to: &mut dyn Write, json: &Json) -> Result<()> {
    serde_json::to_writer_pretty(&mut *to, json).map_err(|e| error!("{e}"))?;
    write_all(to, b"\n")
}
