//! A run's page, `report.html`: one file without a network, in which its notes, pictures and tables
//! can be looked into, and which says what `run.json` says.
//!
//! What comes from a script or a model is text: [`html`] writes it escaped, [`data`] gives pictures
//! and tables as JSON that can't end its element, and the page's policy lets the browser run no
//! script but this program's own, which [`assets`] holds.

pub mod assets;
pub mod data;
pub mod html;
mod markdown;
mod report;

pub use report::report;
