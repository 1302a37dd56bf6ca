//! Conversion of this crate's [`Error`] to Rhai's error and back.

use rhai::{EvalAltResult, FnPtr, Position};

use crate::Error;

/// The result of functions that are registered with Rhai.
pub type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

/// The token of Rhai's `ErrorTerminated` if the user interrupted the run.
pub const INTERRUPTED: &str = "interrupted";

/// What separates the message of an [`Error`] from its help in its `Display` form.
const HELP: &str = "\n  help: ";

impl From<Error> for Box<EvalAltResult> {
    /// A runtime error that a script can catch, unless the error ends the run. Rhai adds the
    /// position of the call.
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

/// The error of a call of `function`; `expected` if it takes another number of parameters, which Rhai
/// reports as a function that is not found, with the captured variables among the parameters.
pub fn of_call(
    error: Box<EvalAltResult>,
    function: &FnPtr,
    expected: impl FnOnce() -> Error,
) -> Box<EvalAltResult> {
    match &*error {
        EvalAltResult::ErrorFunctionNotFound(called, _)
            if called.starts_with(function.fn_name()) =>
        {
            expected().into()
        }
        _ => error,
    }
}

/// The [`Error`] whose `Display` form is `text`, or with `text` as its message.
pub fn from_text(text: &str) -> Error {
    match text.split_once(HELP) {
        Some((message, help)) => Error::new(message).help(help),
        None => Error::new(text),
    }
}
