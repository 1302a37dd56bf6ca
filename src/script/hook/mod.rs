//! Hooks: functions of a script, bound to hook points by `hook(points, fn, #{layers, positions,
//! steps})` and called in a model's passes.

pub mod backward;
mod bind;
mod bound;
pub mod context;
mod effect;
mod invoke;
mod observer;
mod target;

pub use bind::install;
pub use bound::Hook;
pub use observer::{HookObserver, PassInfo};
pub use target::{layers, point_names};
