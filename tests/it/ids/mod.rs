//! Token ids carry the mask of those that are real through every operation, and a pass reads it.

mod attention;
mod masks;
mod passes;
mod property;
