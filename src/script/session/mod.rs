//! What lasts: one run of a script, a REPL session, their limits, random numbers and console.

pub mod console;
pub mod late_binding;
pub mod limits;
pub(crate) mod policy;
pub mod random;
pub mod reload;
pub mod run_session;
pub mod workspace;
