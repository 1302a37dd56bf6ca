//! The Rhai engine as scripts see it: every binding, and the limits.

use std::rc::Rc;

use rhai::{
    AST, Engine, EvalAltResult, LexError, OptimizationLevel, ParseErrorType, Position, Token,
};

use super::bind::{
    context, forward, generate, model, output, param, picture, save_model, tokens, weights,
};
use super::errors::error::ScriptResult;
use super::errors::try_catch;
use super::program::modules::Modules;
use super::session::console::Console;
use super::session::limits::Limits;
use super::session::run_session::Session;
use super::tensor::numbers;
use super::value::{closures, growth};
use super::{hook, tensor};
use crate::Error;
use crate::system::{interrupt, memory, panics};
use crate::tensor::budget;

/// The stack on which a script of the default depths runs, in bytes. It is reserved, not used: only
/// what a script needs becomes memory.
pub const STACK: usize = 64 << 20;

/// An engine with everything that a script may call, bound to `session`.
///
/// Strings, arrays and maps are limited by the memory that they take, all together: for a limit on
/// the size of each, Rhai would walk the whole value after every call on it.
pub fn build(session: &Rc<Session>, console: &Console, modules: Modules) -> Engine {
    let mut engine = Engine::new();
    engine.set_optimization_level(OptimizationLevel::None);
    let limits = session.settings().limits;
    engine.set_max_call_levels(limits.calls).set_max_expr_depths(limits.depth, limits.depth);
    engine.set_max_operations(limits.steps);
    engine.disable_symbol("eval");
    engine.set_module_resolver(modules.clone());

    let stdout = console.clone();
    engine.on_progress(move |_| {
        let ended = interrupt::check_run().and_then(|()| stdout.check()).and_then(|()| {
            if memory::exceeded() || budget::exceeded() {
                Err(limits.memory_exceeded())
            } else {
                Ok(())
            }
        });
        ended.err().map(|error| error.to_string().into())
    });
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    engine.on_var(|name, _, context| match context.scope().get(name) {
        // Rhai itself would say so without a position.
        Some(value) if value.is_shared() && value.is_locked() => {
            Err(EvalAltResult::ErrorDataRace(name.into(), Position::NONE).into())
        }
        Some(_) => Ok(None),
        None => Ok(numbers::constant(name).map(Into::into)),
    });
    let stdout = console.clone();
    engine.on_print(move |text| stdout.line(text));
    let stdout = console.clone();
    engine.on_debug(move |text, _, _| stdout.line(text));

    // Rhai's own would hold up the run, deaf to Ctrl-C.
    engine.register_fn("sleep", |_: i64| -> ScriptResult<()> { Err(no_sleep().into()) });
    engine.register_fn("sleep", |_: f64| -> ScriptResult<()> { Err(no_sleep().into()) });

    install_pure(&mut engine, limits);
    try_catch::install(&mut engine, modules.sources(), limits);
    // What follows does more than give a value: `reuse::IMPURE` says what.
    param::install(&mut engine, session.params());
    tensor::creation::install_random(&mut engine, session.random());
    model::install(&mut engine, session.models());
    let depth = forward::Depth::new(session.live());
    forward::install(&mut engine, &depth, session.reuse());
    generate::install(&mut engine, &depth, session, console);
    hook::install(&mut engine, session, &modules);
    output::install(&mut engine, session.run(), console, modules.sources());
    picture::install(&mut engine, session.run(), console);
    save_model::install(&mut engine, session.run());
    engine
}

/// The token that ends compiling, where what ends a run has come: the clock, the person, the
/// memory.
pub fn end_of_compiling(limits: Limits) -> Option<Token> {
    let ended = interrupt::check().and_then(|()| match memory::exceeded() {
        true => Err(limits.memory_exceeded()),
        false => Ok(()),
    });
    ended.err().map(|error| Token::LexError(LexError::Runtime(format!("{ENDED}{error}")).into()))
}

/// What stands before such an end, so that no other error is taken for one.
const ENDED: &str = "\u{0}ended: ";

/// Compiles a script. What ends a run ends that too: the clock, the person, the memory.
///
/// # Errors
/// What is wrong with the text, or that end.
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

/// Registers all that gives a value and does nothing else: the value depends on the arguments
/// alone, and nothing changes but the arguments. Hooks that call nothing but these, and what is
/// pure of Rhai's own, need not run again ([`reuse`](super::reuse)). What an installer registers
/// that is not called from here is taken to do more.
pub fn install_pure(engine: &mut Engine, limits: Limits) {
    closures::install(engine);
    try_catch::install_members(engine);
    growth::install(engine, limits);
    tensor::install_pure(engine);
    tokens::install(engine);
    context::install(engine);
    model::install_members(engine);
    weights::install(engine);
    hook::install_members(engine);
    forward::install_output(engine);
    generate::install_output(engine);
}

fn no_sleep() -> Error {
    Error::new("a script can't sleep")
}
