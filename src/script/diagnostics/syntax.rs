//! Errors of scripts that do not compile.

use rhai::{LexError, ParseErrorType};

use crate::script::program::location::Location;
use crate::script::value::handed_out::WEIGHTS;
use crate::{Error, error};

/// The sentence for an error of Rhai's parser.
pub fn explain(kind: &ParseErrorType, place: Option<&Location>) -> Error {
    use ParseErrorType::*;
    let token = place.map(Location::token).unwrap_or_default();
    match kind {
        UnexpectedEOF => error!("the script ends in the middle of something")
            .help("a bracket, a brace or a comment is opened and not closed"),
        BadInput(LexError::UnterminatedString) => error!("this string is not closed")
            .help("a text over several lines stands between backticks, `like this`"),
        MissingToken(expected, why) if expected == "catch" => {
            error!("catch is expected here, {why}")
        }
        MissingToken(..) if token.is_empty() => explain(&UnexpectedEOF, place),
        MissingToken(expected, why) if expected == ";" => {
            error!("a ; is missing before this: {why}")
        }
        MissingToken(expected, why) => error!("{expected} is expected here, {why}"),
        ExprExpected(what) => error!("{what} is expected here"),
        AssignmentToInvalidLHS(_)
            if ["embedding", "heads", "mlp", "norms", "unembedding", "weight"]
                .contains(&&*token) =>
        {
            error!("{token}(…) gives a copy of a model's weights: what is written into it is lost")
                .help(WEIGHTS)
        }
        AssignmentToInvalidLHS(_) if place.is_some_and(Location::is_called) => {
            error!("what {token}(…) gives has no name, and what is written into it is lost")
                .help(format!("give it a name first: let y = … {token}(…); y[0] = 1.0;"))
        }
        AssignmentToInvalidLHS(_) => {
            error!("a variable, or a part of one, can be assigned to, and this is neither")
        }
        VariableExpected if token == "[" || token == "#" || token == "(" => {
            error!("a variable's name is expected here")
                .help("Rhai does not take values apart: let pair = …; let a = pair[0];")
        }
        VariableExpected => error!("a variable's name is expected here"),
        PropertyExpected => error!("a property's name is expected here"),
        BadInput(LexError::ImproperSymbol(word, _)) if word == "eval" => error!(
            "eval is off: a script can't run a text"
        )
        .help("functions that several scripts share go into a file: import \"file\" as name;"),
        Reserved(word) => error!("{word} is a word of the language and can't be used here"),
        AssignmentToConstant(name) if !name.is_empty() => error!("{name} is a constant")
            .help(format!("declare it with let {name} = … to change it")),
        ExprTooDeep => error!("this is nested too deeply").help("give its parts names with let"),
        FnDuplicatedDefinition(name, parameters) => {
            error!("the function {name} with {parameters} parameters is defined twice")
        }
        WrongFnDefinition => error!("a fn is defined at the top level of a script only")
            .help("a closure can be made anywhere: let f = |x| { … };"),
        LoopBreak => error!("{token} is outside a loop"),
        other => error!("{}", uncapitalised(&other.to_string())),
    }
}

/// The text as a clause: its first letter in lower case, unless the first word is a name.
pub fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.into(),
    }
}
