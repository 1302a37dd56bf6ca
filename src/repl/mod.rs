//! The interactive session, at a terminal or from a pipe: each input is a piece of script or a
//! command, and what it defines stays for the next.
//!
//! A module imports only modules of earlier lines:
//!
//! 1. `lexer` (the tokens of unfinished script text), `documented` (what the reference says of a
//!    function), `history`, `input` (the interface of an input source)
//! 2. `commands` (the table of `:commands`, as data), `listing`, `transcript`, `candidates`,
//!    `change_notifier`
//! 3. `continuation` (whether an input goes on), `highlighter`, `help`
//! 4. `completer`
//! 5. `piped` and `editor` (the two input sources)
//! 6. `session` (runs inputs and commands)

mod candidates;
mod change_notifier;
mod commands;
mod completer;
mod continuation;
mod documented;
mod editor;
mod help;
mod highlighter;
mod history;
mod input;
mod lexer;
mod listing;
mod piped;
mod session;
mod transcript;

pub use session::run;
