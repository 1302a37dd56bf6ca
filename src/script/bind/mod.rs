//! What scripts can call besides the operations on tensors: models and their passes, results on
//! their way out, and parameters. One file for a group of functions, each with one `install`.

mod capture;
pub mod closures;
pub mod forward;
pub mod generate;
pub mod growth;
mod key_order;
pub mod model;
mod non_finite;
mod numbers;
pub mod output;
pub mod param;
pub mod pass;
mod pass_options;
pub mod picture;
pub mod save_model;
pub mod tokens;
pub mod weights;
