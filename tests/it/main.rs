//! Drives the real binary and the library, one module a subject.

mod checkpoint;
mod fixture;
mod goldens;
mod identities;
mod reference;
