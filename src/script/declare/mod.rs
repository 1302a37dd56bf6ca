//! Functions of scripts, declared once: name, parameters, purity, behaviour on GPUs and reference of a
//! function stand beside its registration, and everything else reads them from there.

mod declaration;
mod language;
mod page;
mod registry;

pub use declaration::{Declarations, Declared, OnGpu, Purity, RhaisOwn, Row};
pub use page::Page;
pub use registry::{Declaration, Registry};
