//! Which functions a hook may call, as things stand when its pass begins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{FnPtr, ScriptFuncDef, Shared};

use super::code::Walk;
use super::digest::{Digest, Hasher};
use super::natives::Natives;
use crate::script::live::Surroundings;
use crate::script::modules::Modules;

/// Where a hook's functions are found, and when it was bound.
pub struct Code {
    natives: Rc<Natives>,
    modules: Modules,
    /// The generation of modules at that time: of two that were, and are, of one generation each, the same names mean the same.
    bound: u64,
    sight: RefCell<Option<Dated>>,
}

/// What was seen at a version of what names mean, and a generation of modules.
type Dated = ((usize, u64), Rc<Sight>);

impl Code {
    pub fn new(modules: &Modules, natives: Rc<Natives>) -> Self {
        Self { natives, modules: modules.clone(), bound: modules.generation(), sight: RefCell::default() }
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

/// The functions of scripts that can be called from some place, and what is known of those that are none of a script's.
pub struct Sight {
    pub functions: BTreeMap<String, Vec<Shared<ScriptFuncDef>>>,
    pub natives: Rc<Natives>,
    /// What module each import is, by its name.
    pub imports: BTreeMap<String, String>,
    generations: [u64; 2],
    known: RefCell<BTreeMap<String, Result<Digest, String>>>,
}

impl Sight {
    /// The functions of the script, and, by their names alone, those of every module.
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    fn new(surroundings: &Surroundings, code: &Code) -> Self {
        let mut functions: BTreeMap<String, Vec<Shared<ScriptFuncDef>>> = BTreeMap::new();
        let mut add = |function: &Shared<ScriptFuncDef>| {
            let same = functions.entry(function.name.to_string()).or_default();
            if !same.iter().any(|known| Shared::ptr_eq(known, function)) {
                same.push(function.clone());
            }
        };
        let store = surroundings.now();
        store.global.lib.iter().flat_map(|module| module.iter_script_fn_info()).for_each(|(.., f)| add(f));
        for ast in code.modules.compiled_so_far() {
            ast.shared_lib().iter_script_fn_info().for_each(|(.., f)| add(f));
        }
        let imports = store.global.scan_imports_raw();
        let imports =
            imports.map(|(name, module)| (name.to_string(), module.id().unwrap_or_default().to_owned())).collect();
        let generations = [code.bound, code.modules.generation()];
        Self { functions, natives: code.natives.clone(), imports, generations, known: RefCell::default() }
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
        let digest = self.reachable(name);
        self.known.borrow_mut().insert(name.to_owned(), digest.clone());
        digest
    }

    fn reachable(&self, root: &str) -> Result<Digest, String> {
        let (mut waiting, mut done) = (vec![root.to_owned()], BTreeMap::<String, Vec<Digest>>::new());
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
            if digests.is_empty() {
                return Err(format!("it calls {name}, which is no function of a script"));
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
