//! Compiling a text within the limits of a run. The only way to stop Rhai's parser is to hand it an
//! error token.

use rhai::{AST, Engine, EvalAltResult, LexError, ParseErrorType, Position, Token};

use crate::Error;
use crate::script::errors::error::ScriptResult;
use crate::system::panics;

/// Marks an error token as made by [`ending_token`].
const ENDED: &str = "\u{0}ended: ";

/// The token that stops the parser because of `error`.
pub fn ending_token(error: &Error) -> Token {
    Token::LexError(LexError::Runtime(format!("{ENDED}{error}")).into())
}

/// Compiles a script.
///
/// # Errors
/// The text does not compile; or the error of an [`ending_token`], which scripts can't catch.
pub fn compile(engine: &Engine, text: &str) -> ScriptResult<AST> {
    panics::catch_bug(|| engine.compile(text))?.map_err(|error| match error.err_type() {
        ParseErrorType::BadInput(LexError::Runtime(said)) => match said.strip_prefix(ENDED) {
            Some(ended) => {
                EvalAltResult::ErrorTerminated(ended.to_owned().into(), Position::NONE).into()
            }
            None => error.into(),
        },
        _ => error.into(),
    })
}

/// Whether a function of this name is a closure: Rhai names those itself, by a digest of the text and
/// its line and column.
pub fn is_closure(name: &str) -> bool {
    name.starts_with("anon$")
}
