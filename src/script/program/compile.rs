//! Compiling a text, which a limit of the run may end. Rhai's parser has no other way out than a
//! token that is an error.

use rhai::{AST, Engine, EvalAltResult, LexError, ParseErrorType, Position, Token};

use crate::Error;
use crate::script::errors::error::ScriptResult;
use crate::system::panics;

/// Precedes the sentence of such an end in the token, so that no other lexical error is taken for
/// one.
const ENDED: &str = "\u{0}ended: ";

/// The token that makes the parser stop, because of `error`.
pub fn ending_token(error: &Error) -> Token {
    Token::LexError(LexError::Runtime(format!("{ENDED}{error}")).into())
}

/// Compiles a script.
///
/// # Errors
/// What is wrong with the text, or what [`ending_token`] was made of, as an error that no script
/// can catch.
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
