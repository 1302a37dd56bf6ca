//! What scripts can call, in words: names for errors and completion, and definition files for
//! editors.

pub mod definitions;
pub mod vocabulary;
