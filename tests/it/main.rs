//! Drives the real binary and the library, one module a subject.

mod binary;
mod checkpoint;
mod cli;
mod elements;
mod errors;
mod fixture;
mod gallery;
mod generation;
mod goldens;
mod hooks;
mod hub;
mod hub_server;
mod identities;
mod interventions;
mod output;
mod readme;
mod recipe;
mod reference;
mod rerun;
mod run;
mod sandbox;
mod second_opinion;
mod snippet;
mod tensor_writes;
