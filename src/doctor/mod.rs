//! Examines this build and this machine: what they have that this program uses, what they lack, and
//! what to do about it.

mod gpu;
mod processor;
mod storage;

use serde::Serialize;

use crate::tensor::device::GPU_BUILD;

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The group that it belongs to, such as `GPU`.
    pub section: &'static str,
    /// What was examined.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether something does not work as intended.
    pub fault: bool,
    /// What to do about it, if anything.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(section: &'static str, what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { section, what: what.into(), found: found.into(), fault: false, remedy: None }
    }

    /// Adds advice: it works, and could work better.
    fn advise(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Marks a fault, with what to do about it.
    fn fault(self, remedy: impl Into<String>) -> Self {
        Self { fault: true, ..self.advise(remedy) }
    }
}

/// Examines everything.
pub fn examine() -> Vec<Finding> {
    let build = Finding::new(
        "program",
        "precompute",
        format!("{}, {}", env!("CARGO_PKG_VERSION"), devices()),
    );
    [vec![build], processor::findings(), gpu::findings(), storage::findings()].concat()
}

/// Which devices this build is for.
fn devices() -> &'static str {
    if GPU_BUILD { "built with cuda" } else { "built for the CPU alone" }
}

/// A size in bytes with a binary unit.
fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
