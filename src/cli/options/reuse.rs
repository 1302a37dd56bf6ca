//! The options for reusing results of earlier passes.

use clap::Args;

use super::limits::size;

/// Whether a pass may reuse what an earlier one has computed, and how much memory may be held for
/// that.
#[derive(Args)]
pub struct Reuse {
    /// Compute every layer of every pass, even if an earlier pass has computed the same
    #[arg(long, conflicts_with = "reuse_memory")]
    fresh: bool,

    /// The most memory for results of passes that later passes may reuse [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    reuse_memory: Option<u64>,
}

impl Reuse {
    /// The memory in bytes; 0 with `--fresh`, and nothing without either option.
    pub fn memory(&self) -> Option<u64> {
        if self.fresh { Some(0) } else { self.reuse_memory }
    }
}
