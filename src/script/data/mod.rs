//! Data: files of rows and of tensors, from beside the script or from the Hub, and stores of
//! activations.

mod batches;
mod files;
mod json;
mod rows;
mod store;
mod stores;
mod tensors;

use std::rc::Rc;

pub use files::DataFiles;
pub use stores::Stores;

use super::declare::{Page, Registry};
use super::program::source::Sources;

/// Registers what reads and stores data.
pub fn install(
    registry: &mut Registry,
    files: &Rc<DataFiles>,
    stores: &Rc<Stores>,
    sources: &Sources,
) {
    registry.section(Page::Experiments, "Data");
    rows::install(registry, files);
    batches::install(registry);
    tensors::install(registry, files);
    json::install(registry, files);
    store::install(registry, stores, sources);
}
