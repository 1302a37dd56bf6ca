//! Errors on their way through Rhai.

use rhai::{EvalAltResult, Position};

use crate::Error;

/// What a function registered with Rhai returns.
pub type ScriptResult<T> = Result<T, Box<EvalAltResult>>;

impl From<Error> for Box<EvalAltResult> {
    /// A runtime error that a script can catch; Rhai adds the position of the call.
    fn from(error: Error) -> Self {
        if error.is_interrupted() {
            return EvalAltResult::ErrorTerminated("interrupted".into(), Position::NONE).into();
        }
        EvalAltResult::ErrorRuntime(error.to_string().into(), Position::NONE).into()
    }
}
