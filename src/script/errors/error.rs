//! Errors on their way through Rhai.

use rhai::{EvalAltResult, Position};

use crate::Error;

/// What a function registered with Rhai returns.
pub type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

/// What Rhai carries when the person asked for the work to end.
pub const INTERRUPTED: &str = "interrupted";

/// What an [`Error`] puts before its help when it is shown as one text.
const HELP: &str = "\n  help: ";

impl From<Error> for Box<EvalAltResult> {
    /// A runtime error that a script can catch; Rhai adds the position of the call.
    fn from(error: Error) -> Self {
        if error.is_interrupted() {
            return EvalAltResult::ErrorTerminated(INTERRUPTED.into(), Position::NONE).into();
        }
        if error.ends_the_run() {
            return EvalAltResult::ErrorTerminated(error.to_string().into(), Position::NONE).into();
        }
        EvalAltResult::ErrorRuntime(error.to_string().into(), Position::NONE).into()
    }
}

/// The [`Error`] whose text a script threw or passed on.
pub fn from_text(text: &str) -> Error {
    match text.split_once(HELP) {
        Some((message, help)) => Error::new(message).help(help),
        None => Error::new(text),
    }
}
