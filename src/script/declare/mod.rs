//! Declarations of the functions that scripts can call. The name, parameters, purity, behaviour on
//! GPUs, derivative and documentation of a function are written once, where it is registered; the reference,
//! definition files, help, completion and the reuse of passes read them from here.

mod declaration;
mod gradient;
mod language;
mod page;
mod registry;

pub use declaration::{Declarations, Declared, OnGpu, Purity, RhaisOwn, Row};
pub use gradient::{Gradient, Graph};
pub use page::Page;
pub use registry::{Declaration, Registry};
