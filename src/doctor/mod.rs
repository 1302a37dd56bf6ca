//! What this build and this machine have for Precompute, what they lack, and what to do about it.

mod gpu;
mod processor;
mod storage;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub section: &'static str,
    pub what: String,
    pub found: String,
    /// Something does not work as it was meant to.
    pub fault: bool,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(section: &'static str, what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { section, what: what.into(), found: found.into(), fault: false, remedy: None }
    }

    /// It works, and could work better.
    fn advise(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn fault(self, remedy: impl Into<String>) -> Self {
        Self { fault: true, ..self.advise(remedy) }
    }
}

/// Looks at everything.
pub fn examine() -> Vec<Finding> {
    let build = Finding::new(
        "program",
        "precompute",
        format!("{}, {}", env!("CARGO_PKG_VERSION"), features()),
    );
    [vec![build], processor::findings(), gpu::findings(), storage::findings()].concat()
}

fn features() -> String {
    let built = [
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("metal", cfg!(feature = "metal")),
    ];
    let with: Vec<&str> =
        built.into_iter().filter(|(_, built)| *built).map(|(name, _)| name).collect();
    if with.is_empty() {
        "built for the CPU alone".into()
    } else {
        format!("built with {}", with.join(", "))
    }
}

/// Bytes, in the units that memory is counted in.
fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}
