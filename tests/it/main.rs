//! Drives the real binary and the library, one module a subject.

mod binary;
mod checkpoint;
mod cli;
mod elements;
mod errors;
mod fixture;
mod goldens;
mod hooks;
mod identities;
mod interventions;
mod reference;
mod run;
mod snippet;
mod tensor_writes;
