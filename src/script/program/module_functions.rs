//! Functions that functions of a module give, and that are called outside it. Rhai looks a function
//! that it was given up by its name among those of the script, of the module that calls it, and of
//! imported modules in the global namespace. The name of a closure is a digest of its text and of its
//! line and column.

use rhai::{Expr, FnNamespace, Module, ScriptFuncDef, Shared};

use super::compile::is_closure;
use super::own_names::{has, is_own};
use crate::{Result, error};

fn functions(of: &Module) -> impl Iterator<Item = &Shared<ScriptFuncDef>> {
    of.iter_script_fn_info().map(|(.., function)| function)
}

/// Whether it reads a constant of its script, as in `global::NAME`.
fn reads_constants(function: &Shared<ScriptFuncDef>) -> bool {
    has(function, |expression| match expression {
        Expr::Variable(variable, ..) => !variable.2.is_empty() && variable.2.root() == "global",
        _ => false,
    })
}

/// Checks that no closure of the module `id` that reads a constant has the name of one of `other`.
/// Both read alike, and calls could not tell whose constant is meant. With other closures it makes
/// no difference which is called.
///
/// # Errors
/// One has.
pub fn check_apart(id: &str, own: &Module, other: &str, theirs: &Module) -> Result<()> {
    let is_theirs = |own: &&Shared<ScriptFuncDef>| functions(theirs).any(|f| f.name == own.name);
    let mut closures = functions(own).filter(|function| is_closure(&function.name));
    let same = closures.find(|closure| is_theirs(closure) && reads_constants(closure));
    let Some(closure) = same else { return Ok(()) };
    let line = closure.body.start_position().line().unwrap_or_default();
    Err(error!("{id} and {other} have the same closure in line {line}, and a call could not tell them apart")
        .help("put it on another line in one of them"))
}

/// Lets pointers to the functions of a module, `own`, be called wherever the module is imported.
pub fn share(module: &mut Module, own: &Module) {
    for function in
        functions(own).filter(|function| is_closure(&function.name) || is_own(&function.name))
    {
        // The key by which a module has a function.
        let key = Module::new().set_script_fn(function.clone());
        #[allow(deprecated, reason = "what replaces it registers native functions only")]
        module.update_fn_namespace(key, FnNamespace::Global);
    }
    module.build_index();
}
