//! The functions that scripts call besides operations on tensors: loading models and running
//! passes, writing and showing results, parameters. Each file registers one group of functions.

mod capture;
mod capture_points;
pub mod closures;
pub mod forward;
pub mod generate;
pub mod gradients;
mod key_order;
pub mod large_values;
pub mod model;
mod non_finite;
mod numbers;
pub mod output;
pub mod param;
pub mod pass;
mod pass_options;
pub mod picture;
mod precomputed;
pub mod tokens;
