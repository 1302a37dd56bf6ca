//! `precompute repl`: from a pipe, and through a terminal with real keys.

mod interactive;
mod piped;
mod watch;
