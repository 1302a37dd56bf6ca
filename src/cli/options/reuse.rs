//! The options that say what passes may have in common.

use clap::Args;

use super::limits::size;

/// Whether layers that an earlier pass has run may be left out, and how much may be held for it.
#[derive(Args)]
pub struct Reuse {
    /// Run every layer of every pass, even where an earlier pass was the same so far
    #[arg(long, conflicts_with = "reuse_memory")]
    fresh: bool,

    /// How much may be held of passes that may be asked for again [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    reuse_memory: Option<u64>,
}

impl Reuse {
    /// In bytes, if it is said.
    pub fn memory(&self) -> Option<u64> {
        if self.fresh { Some(0) } else { self.reuse_memory }
    }
}
