//! Drives the real binary and the library, one module a subject.
mod elements;
mod reference;
mod snippet;
mod tensor_writes;
