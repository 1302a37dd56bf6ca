//! What a hook is, with no word of Rhai or of any model: the points, the sites, and the trait a
//! forward pass calls.

mod capture;
mod hooks;
mod observer;
mod pattern;
mod places;
mod point;
mod site;
mod tokens;

pub use capture::Capture;
pub use hooks::Hooks;
pub use observer::{Chain, Observer, Unobserved};
pub use pattern::{is_pattern, named_like};
pub use places::Places;
pub use point::{Alias, Dim, Point};
pub use site::{Layers, Named, Site, SiteSet};
pub use tokens::{Picked, Reading, Slots, Tokens};
