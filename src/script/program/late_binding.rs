//! What names mean in a session at this moment. A function is looked up by its name whenever it is
//! called, so that one that is defined anew takes the old one's place in hooks that are bound
//! already; a closure keeps the code that it was made with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{
    AST, Dynamic, Engine, GlobalRuntimeState, ImmutableString, Module, NativeCallContext, Shared,
};

/// Who may change what names mean, just before a pass.
type Reload = Rc<dyn Fn(&Engine)>;

/// The functions, imports and constants that a session has. A clone is the same ones. Where a
/// script is run as a whole there are none, and what a hook calls is what stood around it.
#[derive(Clone, Default)]
pub struct Live(Rc<Inner>);

#[derive(Default)]
struct Inner {
    functions: RefCell<AST>,
    imports: RefCell<Vec<(ImmutableString, Shared<Module>)>>,
    /// Those that a `fn` reads as `global::NAME`.
    constants: Rc<RefCell<BTreeMap<ImmutableString, Dynamic>>>,
    /// Counts the changes. 0 where there is no session.
    version: Cell<usize>,
    reload: RefCell<Option<Reload>>,
}

impl Live {
    /// Adds the functions of a compiled text, each in the place of one of its name and parameters.
    pub fn define(&self, ast: &AST) {
        self.0.functions.borrow_mut().combine(ast.clone_functions_only());
        self.changed();
    }

    /// The functions that there would be with those of a compiled text.
    pub fn with(&self, ast: &AST) -> Shared<Module> {
        let mut functions = self.0.functions.borrow().clone();
        functions.combine(ast.clone_functions_only());
        functions.shared_lib().clone()
    }

    /// Takes functions away: those of which `gone` says so, by name and number of parameters.
    pub fn undefine(&self, gone: impl Fn(&str, usize) -> bool) {
        self.0
            .functions
            .borrow_mut()
            .retain_functions(|_, _, name, parameters| !gone(name, parameters));
        self.changed();
    }

    /// Every `fn`, with its parameters' names.
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let functions = self.0.functions.borrow();
        let own = functions.iter_functions().filter(|f| !f.name.starts_with("anon$"));
        own.map(|f| (f.name.to_owned(), f.params.iter().map(|&name| name.to_owned()).collect()))
            .collect()
    }

    /// The names that modules are imported by.
    pub fn imports(&self) -> Vec<String> {
        self.0.imports.borrow().iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.functions.borrow_mut() = AST::empty();
        self.0.imports.borrow_mut().clear();
        self.0.constants.borrow_mut().clear();
        self.changed();
    }

    fn changed(&self) {
        self.0.version.set(self.0.version.get() + 1);
    }

    /// What an evaluation in the session starts from.
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

    /// Keeps what an evaluation imported that began with `known` imports.
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

    /// Gives constants their values.
    pub fn set_constants(&self, values: impl IntoIterator<Item = (ImmutableString, Dynamic)>) {
        self.0.constants.borrow_mut().extend(values);
    }

    fn import(&self, modules: Vec<(ImmutableString, Shared<Module>)>) {
        let imports = &mut *self.0.imports.borrow_mut();
        imports.retain(|(known, _)| modules.iter().all(|(name, _)| name != known));
        imports.extend(modules);
        self.changed();
    }

    /// Has `reload` asked before every pass from now on, or nobody.
    pub fn set_reload(&self, reload: Option<Reload>) {
        *self.0.reload.borrow_mut() = reload;
    }

    /// A pass is about to begin.
    pub fn before_pass(&self, engine: &Engine) {
        let reload = self.0.reload.borrow().clone();
        if let Some(reload) = reload {
            reload(engine);
        }
    }
}

#[allow(deprecated)] // Rhai's word for "may change in the future".
type Store = rhai::NativeCallContextStore;

/// What was in sight where a hook was bound, brought up to date in a session.
pub struct Surroundings {
    live: Live,
    bound: Rc<Store>,
    now: RefCell<(usize, Rc<Store>)>,
}

impl Surroundings {
    #[allow(deprecated)]
    pub fn of(context: &NativeCallContext, live: &Live) -> Self {
        let bound = Rc::new(context.store_data());
        Self { live: live.clone(), now: RefCell::new((live.0.version.get(), bound.clone())), bound }
    }

    /// The script that was running.
    #[allow(deprecated)]
    pub fn source(&self) -> &str {
        self.bound.global.source().unwrap_or_default()
    }

    /// Counts the changes of what names mean.
    pub fn version(&self) -> usize {
        self.live.0.version.get()
    }

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
        // The functions of the script as a whole come first; what follows belongs to the module
        // that bound the hook.
        if let Some(own) = global.lib.first_mut() {
            *own = self.live.0.functions.borrow().shared_lib().clone();
        }
        self.live
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
