//! The functions of scripts that code at one place can call.

use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Position, ScriptFuncDef, Shared};

use super::purity::Natives;
use crate::script::program::late_binding::Surroundings;
use crate::script::program::location::Location;
use crate::script::program::modules::Modules;
use crate::script::program::source::Sources;

/// A function of a script, and the script's name.
#[derive(Clone)]
pub struct Found {
    /// The function.
    pub function: Shared<ScriptFuncDef>,
    /// The name of the script that defines it.
    pub source: String,
}

/// What the names in a piece of code can stand for.
pub struct Visible {
    /// The functions of scripts, by name. A name may have several, which differ in their parameters
    /// or come from different modules.
    pub functions: BTreeMap<String, Vec<Found>>,
    /// The functions of the engine.
    pub natives: Rc<Natives>,
    /// The module that each import stands for, by the import's name.
    pub imports: BTreeMap<String, String>,
    sources: Sources,
}

impl Visible {
    /// The functions visible from `surroundings`. Those of every module are included by their bare
    /// names: which module a qualified call reaches is decided only when it runs.
    #[allow(deprecated)] // Rhai marks what may change in a later version as deprecated.
    pub fn from(surroundings: &Surroundings, modules: &Modules, natives: Rc<Natives>) -> Self {
        let mut functions: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        let mut add = |function: &Shared<ScriptFuncDef>, source: &str| {
            let same = functions.entry(function.name.to_string()).or_default();
            if !same.iter().any(|known| Shared::ptr_eq(&known.function, function)) {
                same.push(Found { function: function.clone(), source: source.into() });
            }
        };
        let store = surroundings.now();
        for module in &store.global.lib {
            let source = module.id().unwrap_or(surroundings.source());
            module.iter_script_fn_info().for_each(|(.., f)| add(f, source));
        }
        for ast in modules.compiled_so_far() {
            let source = ast.source().unwrap_or_default();
            ast.shared_lib().iter_script_fn_info().for_each(|(.., f)| add(f, source));
        }
        let imports = store.global.scan_imports_raw();
        let imports = imports
            .map(|(name, module)| (name.to_string(), module.id().unwrap_or_default().to_owned()))
            .collect();
        Self { functions, natives, imports, sources: modules.sources().clone() }
    }

    /// A place in the script called `source`, as `file:line:column`.
    pub fn place(&self, source: &str, position: Position) -> Option<String> {
        Location::of(&self.sources, source, position).map(|place| place.short())
    }
}
