//! What a run leaves behind: files, pictures, tables, and the record of the run.

pub mod compare;
pub mod directory;
pub mod format;
mod lock;
pub mod name;
pub mod picture;
mod provisional;
pub mod quota;
pub mod record;
pub mod run;
pub mod temporary;

pub use run::Run;
