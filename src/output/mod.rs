//! What a run leaves behind: its directory with files, pictures and the record of the run.
//!
//! A script's value becomes [`save::Data`], which the writers of [`mod@format`] turn into bytes.
//! [`Run`] writes them into its [`directory`] within the [`quota`], and finishes with a [`record`].
//! What it has shown, its [`items`], becomes a page. [`compare`] tells the results of two runs apart.

pub mod compare;
pub mod directory;
mod directory_lock;
mod first_error;
pub mod format;
mod hashed;
pub mod items;
mod last_results;
pub mod load;
pub mod name;
#[cfg(feature = "pages")]
pub mod page;
pub mod picture;
pub mod quota;
pub mod readable;
pub mod record;
pub mod run;
pub mod save;
pub mod temporary;

pub use run::Run;
