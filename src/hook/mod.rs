//! Hook points, sites, and the trait that a forward pass calls. Nothing here knows Rhai or any
//! model.

mod capture;
mod gradients;
mod hooks;
mod observer;
mod pattern;
mod places;
mod point;
mod point_name;
mod point_table;
mod recorded;
mod site;
mod site_set;
pub mod standing;
mod tokens;

pub use capture::Capture;
pub use gradients::{GradientCapture, through};
pub use hooks::Hooks;
pub use observer::{Observer, Unobserved};
pub use pattern::{is_pattern, named_like};
pub use places::Places;
pub use point::{Alias, Dim, ModelKind, Part, Point};
pub use point_name::PointName;
pub use recorded::{Recorded, not_reached};
pub use site::{Layers, Site};
pub use site_set::SiteSet;
pub use tokens::{Picked, Reading, Slots, Tokens};
