//! Builds the Rhai engine for scripts: every function that they can call, and the limits.

use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, OptimizationLevel, Position};

use super::bind::pass::Depth;
use super::bind::{
    closures, forward, generate, gradients, large_values, model, output, param, picture, tokens,
};
use super::declare::{Gradient, OnGpu, Page, Purity, Registry, RhaisOwn};
use super::diagnostics::try_catch;
use super::errors::error::ScriptResult;
use super::hook::context;
use super::program::modules::Modules;
use super::program::own_names::in_words;
use super::run::console::Console;
use super::run::limits::Limits;
use super::run_session::Session;
use super::tensor::numbers;
use super::value::graph;
use super::{data, gradient, hook, tensor, weights};
use crate::Error;
use crate::system::{interrupt, memory};
use crate::tensor::budget;

/// The size in bytes of a stack that is large enough for a script of the default depths, and for
/// gradients to go back through a graph of the most operations, by recursion. Only the part that a
/// script uses becomes memory.
pub const STACK: usize = 256 << 20;

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
    tensor::configure(&mut engine);

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
        Some(value) if value.is_shared() => captured(name, value),
        Some(_) => Ok(None),
        None => Ok(numbers::constant(name).map(Into::into)),
    });
    let stdout = console.clone();
    engine.on_print(move |text| stdout.line(text));
    let stdout = console.clone();
    engine.on_debug(move |text, _, _| stdout.line(&in_words(text)));

    try_catch::install(&mut engine, &modules, move || end_of_compiling(limits));
    let mut registry = Registry::new(engine, NOT_PURE, graph::GRAPH);
    tensor::install(&mut registry, session.random());
    large_values::install(&mut registry, limits);
    closures::install(&mut registry);
    output::install_json(&mut registry);
    model::install(&mut registry, session.models());
    tokens::install(&mut registry);
    let depth = Depth::new(session.namespace());
    forward::install(&mut registry, &depth, session.reuse());
    gradients::install(&mut registry, &depth, session.reuse());
    let streaming = session.settings().streaming;
    generate::install(&mut registry, &depth, session.random(), streaming, console);
    weights::install(&mut registry, session.random(), session.adapters());
    hook::install(&mut registry, session.namespace(), &modules, session.natives());
    context::install(&mut registry);
    gradient::install(&mut registry);
    install_script(&mut registry, session);
    weights::save::install(&mut registry, session.run());
    output::install(&mut registry, session.run(), console, modules.sources());
    picture::install(&mut registry, session.run(), console);
    output::install_progress(&mut registry);
    data::install(&mut registry, session.data(), session.stores(), modules.sources());
    try_catch::install_members(&mut registry);
    registry.finish()
}

/// What stands for a variable that a closure captured, which Rhai keeps in a cell; `None` leaves it to
/// Rhai, which locks the cell for as long as a call on the variable lasts. A model, a tensor or
/// another value of this crate is given by its cell, for Rhai does not lock that before the function
/// itself is called: a function that calls closures takes its receiver by value, so the closures may
/// use the very variable that it is called on.
fn captured(name: &str, value: &Dynamic) -> ScriptResult<Option<Dynamic>> {
    match value.read_lock::<Dynamic>() {
        Some(inner) => Ok(inner.is_variant().then(|| value.clone())),
        // Rhai itself would report it without a position.
        None => Err(EvalAltResult::ErrorDataRace(name.into(), Position::NONE).into()),
    }
}

/// What concerns the script as a whole.
fn install_script(registry: &mut Registry, session: &Rc<Session>) {
    registry.section(Page::Experiments, "Scripts");
    param::install(registry, session.params());
    registry.describe("import").row(
        "the functions of a file beside the script, or of the library that ships",
        r#"import "lib/labels" as labels; labels::layers(m)[0]"#,
        "layer 0",
    );
    // Rhai's own would hold up the run, deaf to Ctrl-C.
    registry
        .declare(
            "sleep(seconds)",
            Purity::Impure("reads the clock"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "not for scripts: always an error",
            r#"let said = ""; try { sleep(1); } catch (e) { said = e; } said"#,
            "a script can't sleep",
        )
        .function(|_: i64| -> ScriptResult<()> { Err(no_sleep().into()) })
        .function(|_: f64| -> ScriptResult<()> { Err(no_sleep().into()) });
    registry.section(Page::Experiments, "Files and pictures");
}

/// Rhai's own functions that are not pure: of its standard packages, which [`Engine::new`] enables,
/// and of the language. Those that change their receiver do so for some type at least.
const NOT_PURE: RhaisOwn = &[
    (Purity::Impure("prints"), &["print", "debug"]),
    (Purity::Impure("reads the clock"), &["timestamp", "elapsed", "get$elapsed"]),
    (Purity::Impure("ends the script"), &["exit"]),
    (
        Purity::Impure("tells what is declared"),
        &["get_fn_metadata_list", "is_def_fn", "is_def_var", "is_shared"],
    ),
    (Purity::Impure("runs a text as a script"), &["eval"]),
    // A tag is no part of what a value is compared by.
    (Purity::Impure("uses the tag of a value"), &["tag", "get$tag", "set_tag", "set$tag"]),
    (
        Purity::ChangesReceiver,
        &[
            "append",
            "chop",
            "clear",
            "crop",
            "dedup",
            "drain",
            "fill_with",
            "insert",
            "make_lower",
            "make_upper",
            "mixin",
            "pad",
            "pop",
            "push",
            "remove",
            "replace",
            "retain",
            "reverse",
            "set",
            "shift",
            "sort",
            "sort_by",
            "sort_desc",
            "splice",
            "split",
            "take",
            "trim",
            "truncate",
        ],
    ),
];

/// What ends compiling as it ends a run: the clock, the person, the memory.
fn end_of_compiling(limits: Limits) -> Option<Error> {
    let memory = || if memory::exceeded() { Err(limits.memory_exceeded()) } else { Ok(()) };
    interrupt::check().and_then(|()| memory()).err()
}

fn no_sleep() -> Error {
    Error::new("a script can't sleep")
}

#[cfg(test)]
mod tests {
    use crate::script::declare::Declarations;
    use crate::script::fingerprint::purity::{Natives, OPERATORS};
    use crate::script::{Host, Settings};

    #[test]
    fn what_computes_is_pure_and_what_touches_the_world_is_not() {
        let host = Host::new(Settings::default()).unwrap();
        let natives = Natives::of(&host.engine);
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
        for name in ["print", "plot", "save", "model", "forward", "rand", "seed", "param", "exit"] {
            assert!(!natives.is_pure(name), "{name}");
        }
        assert!(!natives.is_pure("no_such_function"));
    }

    #[test]
    fn what_is_declared_not_to_be_pure_exists_and_says_what_it_does() {
        let host = Host::new(Settings::default()).unwrap();
        let natives = Natives::of(&host.engine);
        let declarations = Declarations::of(&host.engine);
        assert!(declarations.impure().all(|(_, does)| !does.is_empty()));
        let gone: Vec<&str> =
            declarations.impure().map(|(name, _)| name).filter(|name| !natives.has(name)).collect();
        assert_eq!(
            gone,
            ["eval", "is_def_fn", "is_def_var", "is_shared"],
            "but for words of the language"
        );
    }
}
