//! `try { … } catch (e) { … }`: e is the message of the error, wherever it was raised, with
//! `e.message`, `e.line` and `e.help`.
//!
//! Rhai's own `try` gives the handler a map for errors of Rhai and, for an error that a function
//! returned, only the value without the place. Therefore `try` is custom syntax made of two blocks.
//! The catch block begins with `let e;`: the tokens between `catch` and the block are rewritten so
//! that Rhai's parser declares the variable itself.

use std::cell::RefCell;
use std::rc::Rc;

use rhai::{
    Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression, ImmutableString, LexError,
    ParseError, ParseErrorType, Position, Stmt, StmtBlock, Token,
};

use super::failure::Failure;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::program::compile::ending_token;
use crate::script::program::modules::Modules;
use crate::script::program::source::Sources;
use crate::script::tensor::reduce::var;
use crate::{Error, did_you_mean, error};

/// An error that a `try` block caught. Scripts use it like a string, and it keeps its place when it
/// is thrown again.
#[derive(Clone)]
pub struct Caught(Rc<Failure>);

impl Caught {
    /// The error as the user would have read it.
    pub fn failure(&self) -> &Failure {
        &self.0
    }

    /// The value that a script's handler gets: the thrown value, if the script threw one that is
    /// not a string.
    fn value(engine: &Engine, sources: &Sources, id: &str, error: &EvalAltResult) -> Dynamic {
        match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(thrown, _) if !thrown.is_unit() && !thrown.is_string() => {
                thrown.clone()
            }
            _ => Dynamic::from(Self(Failure::of_script(engine, sources, id, error).into())),
        }
    }
}

/// The token that is expected after `catch`.
#[derive(Default, Clone)]
enum Expected {
    #[default]
    Nothing,
    Opening,
    Name,
    Closing(Token),
    Block,
}

/// Rewrites `(e) {` after `catch` into `{ let e ;`.
#[derive(Default)]
struct Tokens {
    expected: Expected,
    /// The position of the last token: after a syntax error the next text starts from the
    /// beginning.
    last: Position,
    /// Whether the last `catch` has a variable.
    named: bool,
}

impl Tokens {
    fn map(&mut self, token: Token, position: Position) -> Token {
        let key = |position: Position| (position.line(), position.position());
        if key(position) <= key(self.last) {
            self.expected = Expected::Nothing;
        }
        self.last = position;
        let wrong = |name: &str| {
            let said = format!("catch takes a variable's name, as in catch (e) {{ … }}: {name}");
            Token::LexError(LexError::Runtime(said).into())
        };
        match (std::mem::take(&mut self.expected), token) {
            (_, Token::Catch) => {
                self.expected = Expected::Opening;
                Token::Catch
            }
            (Expected::Opening, Token::LeftParen) => {
                (self.expected, self.named) = (Expected::Name, true);
                Token::LeftBrace
            }
            (Expected::Opening, Token::Unit) => wrong("() has none"),
            (Expected::Opening, other) => {
                self.named = false;
                other
            }
            (Expected::Name, name @ Token::Identifier(_)) => {
                self.expected = Expected::Closing(name);
                Token::Let
            }
            (Expected::Name, other) => wrong(&format!("{other} is none")),
            (Expected::Closing(name), Token::RightParen) => {
                self.expected = Expected::Block;
                name
            }
            (Expected::Closing(_), other) => {
                wrong(&format!("{other} stands where the parenthesis closes"))
            }
            (Expected::Block, Token::LeftBrace) => Token::SemiColon,
            (Expected::Block, other) => wrong(&format!("{other} stands where the block begins")),
            (Expected::Nothing, other) => other,
        }
    }
}

/// Makes `try` what is said above, in an engine that has tensors: an engine maps tokens in one way
/// alone; `modules` has the texts that errors point into, and what keeps the names of scripts apart.
pub fn install(
    engine: &mut Engine,
    modules: &Modules,
    ended: impl Fn() -> Option<Error> + 'static,
) {
    let tokens = Rc::new(RefCell::new(Tokens::default()));
    let (seen, names) = (tokens.clone(), modules.names().clone());
    engine.disable_symbol("try");
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    engine.on_parse_token(move |token, position, _| {
        if let Some(error) = ended() {
            *seen.borrow_mut() = Tokens::default();
            return ending_token(&error);
        }
        seen.borrow_mut().map(names.token(var(token), position), position)
    });
    let parse =
        move |parsed: &[ImmutableString], next: &str, named: &mut Dynamic| match parsed.len() {
            1 => Ok(Some("$block$".into())),
            3 => {
                *named = tokens.borrow().named.into();
                Ok(Some("$block$".into()))
            }
            2 if next == "catch" => Ok(Some("catch".into())),
            2 => {
                let missing =
                    ParseErrorType::MissingToken("catch".into(), "after the block of try".into());
                Err(ParseError(missing.into(), Position::NONE))
            }
            _ => Ok(None),
        };
    let sources = modules.sources().clone();
    engine.register_custom_syntax_with_state_raw(
        "try",
        parse,
        false,
        move |context, blocks, named| {
            run(context, blocks, named.as_bool().unwrap_or_default(), &sources)
        },
    );
}

fn run(
    context: &mut EvalContext,
    blocks: &[Expression],
    named: bool,
    sources: &Sources,
) -> ScriptResult<Dynamic> {
    let error = match context.eval_expression_tree(&blocks[0]) {
        Err(error) if !error.is_pseudo_error() && error.unwrap_inner().is_catchable() => error,
        done => return done,
    };
    let handled = if named {
        let value =
            Caught::value(context.engine(), sources, context.source().unwrap_or_default(), &error);
        context.eval_expression_tree(&Expression::from(&with_value(&blocks[1], value)))
    } else {
        context.eval_expression_tree(&blocks[1])
    };
    handled.map_err(|raised| match *raised {
        // `throw;` throws the caught error again.
        EvalAltResult::ErrorRuntime(ref value, _) if value.is_unit() => error,
        _ => raised,
    })
}

/// The catch block, with `value` as the value of the variable that its first statement declares.
fn with_value(block: &Expr, value: Dynamic) -> Expr {
    let Expr::Stmt(block) = block else { return block.clone() };
    let mut statements: Vec<Stmt> = block.iter().cloned().collect();
    if let Some(Stmt::Var(declared, ..)) = statements.first_mut() {
        declared.1 = Expr::DynamicConstant(value.into(), Position::NONE);
    }
    Expr::Stmt(StmtBlock::new(statements, block.position(), block.end_position()).into())
}

/// Registers what an error that was caught says of itself: to a script it is a text.
pub fn install_members(registry: &mut Registry) {
    registry.section(Page::Experiments, "Errors");
    registry.type_name::<Caught>("error");
    registry
        .declare(".message", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of an error that was caught: its sentence",
            r#"let said = (); try { throw "no"; } catch (e) { said = e.message; } said"#,
            "no",
        )
        .get(|e: &mut Caught| e.0.message().to_owned());
    registry
        .declare(".help", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of an error that was caught: what to try, or `()`",
            "let said = (); try { [1, 2][5]; } catch (e) { said = e.help; } said",
            "0 to 1 count from the front, -1 to -2 from the back",
        )
        .get(|e: &mut Caught| optional(e.0.help_text().map(str::to_owned)));
    registry
        .declare(".line", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of an error that was caught: the line that raised it, or `()`",
            r#"let said = (); try { throw "no"; } catch (e) { said = e.line > 0; } said"#,
            "true",
        )
        .get(|e: &mut Caught| optional(e.0.place().map(|place| place.line as i64)));
    registry
        .declare(".column", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of an error that was caught: the place in that line, or `()`",
            r#"let said = (); try { throw "no"; } catch (e) { said = e.column > 0; } said"#,
            "true",
        )
        .get(|e: &mut Caught| {
            optional(e.0.place().and_then(|place| place.column).map(|column| column as i64))
        });
    registry
        .declare(".file", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of an error that was caught: the script that raised it, or `()`",
            r#"let said = (); try { throw "no"; } catch (e) { said = e.file; } said"#,
            "input",
        )
        .get(|e: &mut Caught| optional(e.0.place().map(|place| place.file.clone())));
    registry.declare("error[…]", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors).index_get(
        |_: &mut Caught, key: &str| -> ScriptResult<Dynamic> {
            let error = error!("a caught error has no {key}");
            let known = ["message", "help", "line", "column", "file"];
            Err(match did_you_mean(key, known) {
                Some(help) => error.help(help),
                None => error,
            }
            .into())
        },
    );
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|e: &mut Caught| e.0.message().to_owned());
    registry
        .declare("to_debug(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|e: &mut Caught| format!("{:?}", e.0.message()));
    registry
        .declare("==", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|e: &mut Caught, text: &str| e.0.message() == text)
        .function(|text: &str, e: Caught| e.0.message() == text)
        .function(|e: &mut Caught, other: Caught| e.0.message() == other.0.message());
    registry
        .declare("!=", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|e: &mut Caught, text: &str| e.0.message() != text)
        .function(|text: &str, e: Caught| e.0.message() != text)
        .function(|e: &mut Caught, other: Caught| e.0.message() != other.0.message());
    registry
        .declare("contains(of, part)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|e: &mut Caught, part: &str| e.0.message().contains(part));
    registry
        .declare("starts_with(of, part)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "whether the text, or that of an error, begins with a part",
            r#""layer 3".starts_with("layer")"#,
            "true",
        )
        .function(|e: &mut Caught, part: &str| e.0.message().starts_with(part));
    registry
        .declare("ends_with(of, part)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "whether the text, or that of an error, ends in a part",
            r#""layer 3".ends_with("3")"#,
            "true",
        )
        .function(|e: &mut Caught, part: &str| e.0.message().ends_with(part));
}

/// `()` for `None`.
fn optional<T: rhai::Variant + Clone>(value: Option<T>) -> Dynamic {
    value.map_or(Dynamic::UNIT, Dynamic::from)
}
