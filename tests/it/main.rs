//! Drives the real binary and the library, one module a subject.

mod fixture;
mod goldens;
mod reference;
