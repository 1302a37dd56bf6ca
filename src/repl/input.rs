//! The interface of an input source: a terminal or a pipe.

use crate::script::Failure;

/// Where inputs come from.
pub trait InputSource {
    /// Reads the next complete input, which may be several lines.
    ///
    /// # Errors
    /// The terminal or the pipe can't be read.
    fn next(&mut self) -> Result<Input, Failure>;
}

/// The outcome of reading an input.
pub enum Input {
    /// A piece of script or a command.
    Text(String),
    /// Ctrl-C: the line typed so far is discarded.
    Discarded,
    /// The end of the input: Ctrl-D, or the end of the pipe.
    End,
}
