//! The functions that a hook may reach, directly or through others, and one digest over all of
//! them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{FnPtr, Position};

use super::function::FunctionCode;
use super::hasher::{Digest, Hasher};
use super::purity::Natives;
use super::value::FunctionDigests;
use super::visible::Visible;
use crate::script::program::compile::is_closure;
use crate::script::program::late_binding::Surroundings;
use crate::script::program::modules::Modules;

/// Where a hook's functions are looked up, and the state of the modules when it was bound.
pub struct BoundCode {
    natives: Rc<Natives>,
    modules: Modules,
    /// The generation of the modules at that time. Between two moments of equal generations the
    /// same names mean the same functions.
    bound: u64,
    latest: RefCell<Option<Dated>>,
}

/// The reachable functions, with the version of the session's names and the generation of the
/// modules for which they were found.
type Dated = ((usize, u64), Rc<Reachable>);

impl BoundCode {
    /// The code of a hook that is bound now.
    pub fn new(modules: &Modules, natives: Rc<Natives>) -> Self {
        Self {
            natives,
            modules: modules.clone(),
            bound: modules.generation(),
            latest: RefCell::default(),
        }
    }

    /// The functions that can be reached from `surroundings`, by what names mean now.
    pub fn reachable(&self, surroundings: &Surroundings) -> Rc<Reachable> {
        let now = (surroundings.version(), self.modules.generation());
        let mut latest = self.latest.borrow_mut();
        match &*latest {
            Some((then, known)) if *then == now => known.clone(),
            _ => {
                let visible = Visible::from(surroundings, &self.modules, self.natives.clone());
                let generations = [self.bound, self.modules.generation()];
                let new = Rc::new(Reachable { visible, generations, known: RefCell::default() });
                *latest = Some((now, new.clone()));
                new
            }
        }
    }
}

/// The functions that can be reached from one place, and the digests found so far.
pub struct Reachable {
    visible: Visible,
    /// The modules' generation when the hook was bound, and now.
    generations: [u64; 2],
    known: RefCell<BTreeMap<String, Result<Digest, String>>>,
}

impl FunctionDigests for Reachable {
    fn digest(&self, function: &FnPtr) -> Result<Digest, String> {
        let name = function.fn_name();
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let digest = match self.visible.functions.contains_key(name) {
            true => self.with_callees(name),
            false => self.native(name),
        };
        self.known.borrow_mut().insert(name.to_owned(), digest.clone());
        digest
    }
}

impl Reachable {
    /// A place in the script called `source`, as `file:line:column`.
    pub fn place(&self, source: &str, position: Position) -> Option<String> {
        self.visible.place(source, position)
    }

    /// The digest of a function of the engine.
    fn native(&self, name: &str) -> Result<Digest, String> {
        let natives = &self.visible.natives;
        if is_closure(name) {
            return Err("has a closure whose code can't be found".into());
        }
        if !natives.is_pure(name) {
            return Err(natives.why_not(name));
        }
        let mut out = Hasher::default();
        out.text("native");
        out.text(name);
        Ok(out.finish())
    }

    /// The digest of the functions called `root` and of every function that they may call.
    fn with_callees(&self, root: &str) -> Result<Digest, String> {
        let (mut waiting, mut done) =
            (vec![root.to_owned()], BTreeMap::<String, Vec<Digest>>::new());
        let mut out = Hasher::default();
        self.generations.iter().for_each(|generation| out.number(*generation));
        let functions = &self.visible.functions;
        while let Some(name) = waiting.pop() {
            if done.contains_key(&name) {
                continue;
            }
            let mut digests = Vec::new();
            for function in functions.get(&name).into_iter().flatten() {
                let (digest, names) = FunctionCode::digest(function, &self.visible, self)?;
                waiting.extend(names.into_iter().filter(|name| functions.contains_key(name)));
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
