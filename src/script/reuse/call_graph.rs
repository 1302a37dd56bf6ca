//! Which functions a hook may call, as things stand when its pass begins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{FnPtr, Position, ScriptFuncDef, Shared};

use super::cache_key::{Digest, Hasher};
use super::function_code::Walk;
use super::purity::Natives;
use crate::script::errors::location::Place;
use crate::script::program::modules::Modules;
use crate::script::program::source::Sources;
use crate::script::session::late_binding::Surroundings;

/// Where a hook's functions are found, and when it was bound.
pub struct Code {
    natives: Rc<Natives>,
    modules: Modules,
    /// The generation of modules at that time: of two that were, and are, of one generation each,
    /// the same names mean the same.
    bound: u64,
    sight: RefCell<Option<Dated>>,
}

/// What was seen at a version of what names mean, and a generation of modules.
type Dated = ((usize, u64), Rc<Sight>);

impl Code {
    pub fn new(modules: &Modules, natives: Rc<Natives>) -> Self {
        Self {
            natives,
            modules: modules.clone(),
            bound: modules.generation(),
            sight: RefCell::default(),
        }
    }

    /// The functions that can be called from there, as things stand now.
    pub fn sight(&self, surroundings: &Surroundings) -> Rc<Sight> {
        let now = (surroundings.version(), self.modules.generation());
        let mut sight = self.sight.borrow_mut();
        match &*sight {
            Some((then, known)) if *then == now => known.clone(),
            _ => {
                let new = Rc::new(Sight::new(surroundings, self));
                *sight = Some((now, new.clone()));
                new
            }
        }
    }
}

/// A function of a script, and the script's name.
#[derive(Clone)]
pub struct Found {
    pub function: Shared<ScriptFuncDef>,
    pub source: String,
}

/// The functions of scripts that can be called from some place, and what is known of those that are
/// none of a script's.
pub struct Sight {
    pub functions: BTreeMap<String, Vec<Found>>,
    pub natives: Rc<Natives>,
    /// What module each import is, by its name.
    pub imports: BTreeMap<String, String>,
    generations: [u64; 2],
    sources: Sources,
    known: RefCell<BTreeMap<String, Result<Digest, String>>>,
}

impl Sight {
    /// The functions of the script, and, by their names alone, those of every module.
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    fn new(surroundings: &Surroundings, code: &Code) -> Self {
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
        for ast in code.modules.compiled_so_far() {
            let source = ast.source().unwrap_or_default();
            ast.shared_lib().iter_script_fn_info().for_each(|(.., f)| add(f, source));
        }
        let imports = store.global.scan_imports_raw();
        let imports = imports
            .map(|(name, module)| (name.to_string(), module.id().unwrap_or_default().to_owned()))
            .collect();
        let generations = [code.bound, code.modules.generation()];
        let (natives, sources) = (code.natives.clone(), code.modules.sources().clone());
        Self { functions, natives, imports, generations, sources, known: RefCell::default() }
    }

    /// A place in the script called `source`, as `file:line:column`.
    pub fn place(&self, source: &str, position: Position) -> Option<String> {
        Place::of(&self.sources, source, position).map(|place| place.short())
    }

    /// The digest of a function and all that it may call. What it captured is not in it.
    ///
    /// # Errors
    /// Why a call of it can't be left out.
    pub fn function(&self, function: &FnPtr) -> Result<Digest, String> {
        let name = function.fn_name();
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let digest = match self.functions.contains_key(name) {
            true => self.reachable(name),
            false => self.native(name),
        };
        self.known.borrow_mut().insert(name.to_owned(), digest.clone());
        digest
    }

    /// Of a function that is none of a script's.
    fn native(&self, name: &str) -> Result<Digest, String> {
        if name.starts_with("anon$") {
            return Err("has a closure whose code can't be found".into());
        }
        if !self.natives.is_pure(name) {
            return Err(self.natives.why_not(name));
        }
        let mut out = Hasher::default();
        out.text("native");
        out.text(name);
        Ok(out.finish())
    }

    fn reachable(&self, root: &str) -> Result<Digest, String> {
        let (mut waiting, mut done) =
            (vec![root.to_owned()], BTreeMap::<String, Vec<Digest>>::new());
        let mut out = Hasher::default();
        self.generations.iter().for_each(|generation| out.number(*generation));
        while let Some(name) = waiting.pop() {
            if done.contains_key(&name) {
                continue;
            }
            let mut digests = Vec::new();
            for function in self.functions.get(&name).into_iter().flatten() {
                let (digest, names) = Walk::through(function, self)?;
                waiting.extend(names.into_iter().filter(|name| self.functions.contains_key(name)));
                digests.push(digest);
            }
            digests.sort_unstable();
            if name == root {
                digests.iter().for_each(|digest| out.bytes(digest));
            }
            done.insert(name, digests);
        }
        for (name, digests) in done.iter().filter(|(name, _)| *name != root) {
            out.text(name);
            digests.iter().for_each(|digest| out.bytes(digest));
        }
        Ok(out.finish())
    }
}
