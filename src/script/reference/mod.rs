//! What scripts may call, for people and editors: the reference's tables, names, and definition
//! files.

pub mod definitions;
pub mod tables;
pub mod vocabulary;
