//! What a run leaves behind: files, pictures, tables, and the record of the run.

mod claim;
pub mod compare;
mod difference;
pub mod directory;
pub mod load;
pub mod name;
mod npy;
mod parquet;
pub mod picture;
pub mod quota;
pub mod record;
pub mod run;
pub mod save;
mod standing;
pub mod unfinished;

pub use run::Run;
