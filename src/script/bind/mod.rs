//! The functions that scripts call, other than those of tensors: models, passes, contexts,
//! parameters, output.

pub mod context;
pub mod forward;
pub(crate) mod generate;
pub mod model;
pub mod output;
pub mod param;
pub mod picture;
pub(crate) mod save_model;
pub mod tokens;
pub(crate) mod weights;
