//! The meaning of names in a session, which can change while hooks are bound. A function is looked
//! up by name at each call, so a new definition replaces the old one in hooks too. A closure keeps
//! the code that it was made with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{
    AST, Dynamic, Engine, GlobalRuntimeState, ImmutableString, Module, NativeCallContext, Shared,
};

use super::compile::is_closure;

/// A callback that may change what names mean, just before a pass.
type Reload = Rc<dyn Fn(&Engine)>;

/// The functions, imports and constants of a session. A clone is the same session's. It is empty
/// when a script runs as a whole: then a hook calls what was in scope where it was bound.
#[derive(Clone, Default)]
pub struct Namespace(Rc<NamespaceState>);

#[derive(Default)]
struct NamespaceState {
    functions: RefCell<AST>,
    imports: RefCell<Vec<(ImmutableString, Shared<Module>)>>,
    /// The constants that functions read as `global::NAME`.
    constants: Rc<RefCell<BTreeMap<ImmutableString, Dynamic>>>,
    /// The number of changes; 0 outside a session.
    version: Cell<usize>,
    reload: RefCell<Option<Reload>>,
}

impl Namespace {
    /// Adds the functions of a compiled text. Each replaces an earlier one of its name and number
    /// of parameters.
    pub fn define(&self, ast: &AST) {
        self.0.functions.borrow_mut().combine(ast.clone_functions_only());
        self.changed();
    }

    /// The functions that there would be after [`define`](Self::define).
    pub fn with(&self, ast: &AST) -> Shared<Module> {
        let mut functions = self.0.functions.borrow().clone();
        functions.combine(ast.clone_functions_only());
        functions.shared_lib().clone()
    }

    /// Removes the functions for which `gone` is true, given their name and number of parameters.
    pub fn undefine(&self, gone: impl Fn(&str, usize) -> bool) {
        self.0
            .functions
            .borrow_mut()
            .retain_functions(|_, _, name, parameters| !gone(name, parameters));
        self.changed();
    }

    /// Every named function, with the names of its parameters.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let functions = self.0.functions.borrow();
        let own = functions.iter_functions().filter(|f| !is_closure(f.name));
        own.map(|f| (f.name.to_owned(), f.params.iter().map(|&name| name.to_owned()).collect()))
            .collect()
    }

    /// The names of the imports.
    pub fn imports(&self) -> Vec<String> {
        self.0.imports.borrow().iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Removes everything.
    pub fn clear(&self) {
        *self.0.functions.borrow_mut() = AST::empty();
        self.0.imports.borrow_mut().clear();
        self.0.constants.borrow_mut().clear();
        self.changed();
    }

    fn changed(&self) {
        self.0.version.set(self.0.version.get() + 1);
    }

    /// The state in which an evaluation in the session starts.
    pub fn state(&self, engine: &Engine, source: &str) -> GlobalRuntimeState {
        let mut global = engine.new_global_runtime_state();
        global.source = Some(source.into());
        global.lib.push(self.0.functions.borrow().shared_lib().clone());
        self.0
            .imports
            .borrow()
            .iter()
            .for_each(|(name, module)| global.push_import(name.clone(), module.clone()));
        global.constants = Some(self.0.constants.clone());
        global
    }

    /// Adds the imports that an evaluation made, which started with `known` imports.
    pub fn keep(&self, global: &GlobalRuntimeState, known: usize) {
        let imported: Vec<_> = global
            .scan_imports_raw()
            .skip(known)
            .map(|(name, module)| (name.clone(), module.clone()))
            .collect();
        if !imported.is_empty() {
            self.import(imported);
        }
    }

    /// Sets constants.
    pub fn set_constants(&self, values: impl IntoIterator<Item = (ImmutableString, Dynamic)>) {
        self.0.constants.borrow_mut().extend(values);
    }

    fn import(&self, modules: Vec<(ImmutableString, Shared<Module>)>) {
        let imports = &mut *self.0.imports.borrow_mut();
        imports.retain(|(known, _)| modules.iter().all(|(name, _)| name != known));
        imports.extend(modules);
        self.changed();
    }

    /// Sets the callback that is called before every pass.
    pub fn set_reload(&self, reload: Option<Reload>) {
        *self.0.reload.borrow_mut() = reload;
    }

    /// Must be called before every pass.
    pub fn before_pass(&self, engine: &Engine) {
        let reload = self.0.reload.borrow().clone();
        if let Some(reload) = reload {
            reload(engine);
        }
    }
}

#[allow(deprecated)] // Rhai's word for "may change in the future".
type Store = rhai::NativeCallContextStore;

/// The scope in which a hook was bound, with a session's later changes applied.
pub struct Surroundings {
    namespace: Namespace,
    bound: Rc<Store>,
    now: RefCell<(usize, Rc<Store>)>,
}

impl Surroundings {
    /// The scope of the call `context`.
    #[allow(deprecated)]
    pub fn of(context: &NativeCallContext, namespace: &Namespace) -> Self {
        let bound = Rc::new(context.store_data());
        Self {
            namespace: namespace.clone(),
            now: RefCell::new((namespace.0.version.get(), bound.clone())),
            bound,
        }
    }

    /// The name of the script that was running.
    #[allow(deprecated)]
    pub fn source(&self) -> &str {
        self.bound.global.source().unwrap_or_default()
    }

    /// The number of changes to the session's names.
    pub fn version(&self) -> usize {
        self.namespace.0.version.get()
    }

    /// The scope with the session's current functions and imports.
    pub fn now(&self) -> Rc<Store> {
        let version = self.version();
        let (known, store) = self.now.borrow().clone();
        if known == version {
            return store;
        }
        let store = Rc::new(self.renewed());
        *self.now.borrow_mut() = (version, store.clone());
        store
    }

    #[allow(deprecated)]
    fn renewed(&self) -> Store {
        let bound = &*self.bound;
        let mut global = bound.global.clone();
        // The first library holds the functions of the main script; the libraries after it belong
        // to the module that bound the hook.
        if let Some(own) = global.lib.first_mut() {
            *own = self.namespace.0.functions.borrow().shared_lib().clone();
        }
        self.namespace
            .0
            .imports
            .borrow()
            .iter()
            .for_each(|(name, module)| global.push_import(name.clone(), module.clone()));
        Store {
            fn_name: bound.fn_name.clone(),
            source: bound.source.clone(),
            global,
            pos: bound.pos,
        }
    }
}
