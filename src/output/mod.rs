//! What a run leaves behind: files, pictures, tables, and the record of the run.

pub mod compare;
mod difference;
pub mod directory;
pub mod load;
mod name;
mod npy;
mod parquet;
pub mod picture;
pub mod quota;
pub mod record;
pub mod run;
pub mod save;
mod standing;

pub use run::Run;
