//! The options that limit what a run may use.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use crate::script;
use crate::system::memory;

/// The limits of a run. A script can't change them.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// End the run after this time, as in 90s, 30m or 2h
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "24h")]
    timeout: Duration,

    /// The most that the run may hold in memory besides its models: tensors on any device, and the
    /// script's strings, arrays and maps
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "8GiB")]
    max_memory: u64,

    /// The most that the run may print and save together
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "4GiB")]
    max_output: u64,

    /// The most files and directories that the run may create
    #[arg(long, value_name = "N", default_value_t = script::Limits::DEFAULT.files)]
    max_files: usize,

    /// The most steps (expressions, statements, calls) that the script may take
    #[arg(long, value_name = "N", default_value_t = script::Limits::DEFAULT.steps)]
    max_steps: u64,
}

/// The limits without an option, for the end of a command's help.
pub const FIXED: &str = "\
Limits that no option changes:
  nesting: 200 calls, 200 expressions or blocks, 16 passes
  names of files: 255 bytes a part, 1024 in all, 16 folders deep";

impl Limits {
    /// The limits. The memory limit holds for this process from now on.
    pub fn apply(&self) -> script::Limits {
        let limits = script::Limits {
            time: self.timeout,
            memory: self.max_memory,
            output: self.max_output,
            files: self.max_files,
            steps: self.max_steps,
            ..script::Limits::DEFAULT
        };
        limit_memory(&limits);
        limits
    }
}

/// Sets the memory limit of this process to that of `limits`.
pub fn limit_memory(limits: &script::Limits) {
    let bytes = usize::try_from(limits.memory).unwrap_or(usize::MAX);
    memory::set_limit(bytes, limits.memory_exceeded().to_string());
}

/// The memory limit of a command that runs no script.
#[derive(Args)]
pub struct MemoryLimit {
    /// The most that the command may hold in memory
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "8GiB")]
    max_memory: u64,
}

impl MemoryLimit {
    /// Sets the memory limit of this process.
    pub fn apply(&self) {
        limit_memory(&script::Limits { memory: self.max_memory, ..script::Limits::DEFAULT });
    }
}

/// Parses a size such as `500MB` or `2GiB`, in bytes.
///
/// # Errors
/// It is no size, or 0.
pub fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if bytes > 0 => Ok(bytes),
        _ => Err("a size is given as 500MB, 2GiB, …".into()),
    }
}

/// Parses a time such as `90s` or `1h30m`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is given as 90s, 30m, 2h, 1h30m, …".to_owned();
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}
