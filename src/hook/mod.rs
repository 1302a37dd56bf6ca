//! What a hook is, with no word of Rhai or of any model: the points, the sites, and the trait a forward pass calls.

mod capture;
mod hooks;
mod observer;
mod point;
mod site;

pub use capture::Capture;
pub use hooks::Hooks;
pub use observer::{Chain, Observer, Unobserved};
pub use point::{Alias, Dim, Point};
pub use site::{Layers, Named, Site, SiteSet};
