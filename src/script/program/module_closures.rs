//! Closures that functions of a module give, and that are called outside it. Rhai looks a closure up
//! by its name, a digest of its text and of its line and column, among the functions of the script, of
//! the module that calls it, and of imported modules in the global namespace.

use rhai::{FnNamespace, Module, ScriptFuncDef, Shared};

use super::compile::is_closure;
use crate::{Result, error};

fn closures(functions: &Module) -> Vec<Shared<ScriptFuncDef>> {
    let all = functions.iter_script_fn_info().map(|(.., function)| function.clone());
    all.filter(|function| is_closure(&function.name)).collect()
}

/// Checks that no closure of the module `id` has the name of one of `other`: calls could not tell the
/// two apart.
///
/// # Errors
/// One has.
pub fn check_apart(id: &str, own: &Module, other: &str, theirs: &Module) -> Result<()> {
    let theirs = closures(theirs);
    let is_theirs = |own: &Shared<ScriptFuncDef>| theirs.iter().any(|f| f.name == own.name);
    let Some(closure) = closures(own).into_iter().find(is_theirs) else { return Ok(()) };
    let line = closure.body.start_position().line().unwrap_or_default();
    Err(error!("{id} and {other} have the same closure in line {line}, and a call could not tell them apart")
        .help("put it on another line in one of them"))
}

/// Lets the closures of `functions`, which are those of the module, be called wherever the module is
/// imported.
pub fn share(module: &mut Module, functions: &Module) {
    for closure in closures(functions) {
        // The key by which a module has a function.
        let key = Module::new().set_script_fn(closure);
        #[allow(deprecated, reason = "what replaces it registers native functions only")]
        module.update_fn_namespace(key, FnNamespace::Global);
    }
    module.build_index();
}
