//! Builds the Rhai engine for scripts: every function that they can call, and the limits.

use std::rc::Rc;

use rhai::{Engine, EvalAltResult, OptimizationLevel, Position};

use super::bind::pass::Depth;
use super::bind::{
    closures, forward, generate, growth, model, output, param, picture, save_model, tokens, weights,
};
use super::diagnostics::try_catch;
use super::errors::error::ScriptResult;
use super::hook::context;
use super::program::modules::Modules;
use super::run::console::Console;
use super::run::limits::Limits;
use super::run_session::Session;
use super::tensor::numbers;
use super::{hook, tensor};
use crate::Error;
use crate::system::{interrupt, memory};
use crate::tensor::budget;

/// The size in bytes of a stack that is large enough for a script of the default depths. Only the
/// part that a script uses becomes memory.
pub const STACK: usize = 64 << 20;

/// Builds an engine with every function that a script can call, bound to `session`.
///
/// The total memory of strings, arrays and maps is limited, not the size of each: for that, Rhai
/// would walk the whole value after every call on it.
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
        // Rhai itself would report it without a position.
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

    // Rhai's own `sleep` could not be interrupted.
    engine.register_fn("sleep", |_: i64| -> ScriptResult<()> { Err(no_sleep().into()) });
    engine.register_fn("sleep", |_: f64| -> ScriptResult<()> { Err(no_sleep().into()) });

    install_pure(&mut engine, limits);
    try_catch::install(&mut engine, modules.sources(), move || end_of_compiling(limits));
    // What follows does more than give a value: `purity::IMPURE` says what.
    param::install(&mut engine, session.params());
    tensor::creation::install_random(&mut engine, session.random());
    model::install(&mut engine, session.models());
    let depth = Depth::new(session.live());
    forward::install(&mut engine, &depth, session.reuse());
    let streaming = session.settings().streaming;
    generate::install(&mut engine, &depth, session.random(), streaming, console);
    hook::install(&mut engine, session.live(), &modules, session.purity());
    output::install(&mut engine, session.run(), console, modules.sources());
    picture::install(&mut engine, session.run(), console);
    save_model::install(&mut engine, session.run());
    engine
}

/// What ends compiling as it ends a run: the clock, the person, the memory.
fn end_of_compiling(limits: Limits) -> Option<Error> {
    let memory = || if memory::exceeded() { Err(limits.memory_exceeded()) } else { Ok(()) };
    interrupt::check().and_then(|()| memory()).err()
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

#[cfg(test)]
mod tests {
    use crate::script::fingerprint::purity::{IMPURE, Natives, OPERATORS};
    use crate::script::{Host, Settings};

    fn natives() -> std::rc::Rc<Natives> {
        let host = Host::new(Settings::default()).unwrap();
        host.session.purity().of(&host.engine)
    }

    #[test]
    fn every_function_is_pure_or_known_not_to_be() {
        let natives = natives();
        let undeclared = natives.undeclared();
        assert!(
            undeclared.is_empty(),
            "{undeclared:?}: register what only computes in an installer that engine::install_pure calls, and name what \
             touches the world in IMPURE"
        );
        let gone: Vec<&str> = IMPURE
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .filter(|name| !natives.has(name))
            .collect();
        assert_eq!(
            gone,
            ["is_def_fn", "is_def_var", "is_shared", "eval"],
            "but for words of the language"
        );
    }

    #[test]
    fn what_computes_is_pure_and_what_touches_the_world_is_not() {
        let natives = natives();
        for name in OPERATORS.iter().chain(&[
            "map",
            "filter",
            "sort",
            "matmul",
            "split",
            "get$shape",
            "index$get$",
            "to_json",
        ]) {
            assert!(natives.is_pure(name), "{name}");
        }
        for name in IMPURE.iter().flat_map(|(_, names)| *names) {
            assert!(
                !natives.is_pure(name) && natives.impure(name).is_some_and(|does| !does.is_empty()),
                "{name}"
            );
        }
        assert!(!natives.is_pure("no_such_function"));
    }
}
