//! The REPL's session: variables, functions and imports that last from one input to the next, and
//! files whose definitions are taken again whenever they change.

pub mod reload;
pub mod workspace;
