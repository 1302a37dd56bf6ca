//! Drives the real binary and the library, one module a subject.

mod checkpoint;
mod elements;
mod fixture;
mod goldens;
mod identities;
mod reference;
mod snippet;
mod tensor_writes;
