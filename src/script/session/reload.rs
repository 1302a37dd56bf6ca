//! A watched file: a session takes its definitions again whenever it changes, even between the
//! passes of a running input.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, ASTFlags, Caches, Dynamic, Engine, ImmutableString, Scope, Stmt};

use crate::script::diagnostics::failure::Failure;
use crate::script::host::Host;
use crate::script::program::compile::is_closure;
use crate::script::program::late_binding::Namespace;
use crate::script::program::modules::Modules;
use crate::script::program::own_names::{Compiled, Role};
use crate::script::program::source::Sources;
use crate::script::run_session::Session;
use crate::system::file_changes::Watcher;
use crate::system::message::notice;

/// A function's name and number of parameters.
type Signature = (String, usize);

/// A watched file and the modules that it imports.
pub struct Watched {
    path: PathBuf,
    session: Rc<Session>,
    sources: Sources,
    modules: Modules,
    watcher: Watcher,
    /// Set while the file's constants are evaluated: a pass in one of them must not reload the
    /// file.
    busy: Cell<bool>,
    /// The text whose definitions the session has.
    text: RefCell<String>,
    functions: RefCell<Vec<Signature>>,
    /// Constants that are not variables yet: variables can't be added while an evaluation runs.
    constants: RefCell<Vec<(ImmutableString, Dynamic)>>,
    /// The last error that was reported.
    wrong: RefCell<String>,
}

impl Watched {
    /// Takes the file's functions, constants and imports, and watches it. `on_change` is called at
    /// each change, on another thread.
    ///
    /// # Errors
    /// The file can't be read or does not compile.
    pub fn new(
        host: &Host,
        path: &Path,
        on_change: impl FnMut() + Send + 'static,
    ) -> Result<Rc<Self>, Failure> {
        let watched = Self {
            path: path.to_owned(),
            session: host.session.clone(),
            sources: host.sources.clone(),
            modules: host.modules.clone(),
            watcher: Watcher::new(on_change),
            busy: Cell::new(false),
            text: RefCell::default(),
            functions: RefCell::default(),
            constants: RefCell::default(),
            wrong: RefCell::default(),
        };
        watched.take(&host.engine)?;
        Ok(Rc::new(watched))
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text whose functions, constants and imports the session has.
    pub fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// The constants added since the last call.
    pub fn constants(&self) -> Vec<(ImmutableString, Dynamic)> {
        self.constants.take()
    }

    /// Takes the file's definitions again if it has changed, and tells the user. An error is
    /// reported once, and the earlier definitions stay.
    pub fn look(&self, engine: &Engine) {
        if self.busy.get() || self.watcher.changed().is_empty() {
            return;
        }
        match self.take(engine) {
            Ok(what) => {
                self.wrong.borrow_mut().clear();
                notice(format_args!("{} is taken anew{what}", self.path.display()));
            }
            Err(failure) => {
                let sentence = failure.to_string();
                if *self.wrong.borrow() != sentence {
                    notice(format_args!(
                        "{sentence}\nwhat {} defined before stands",
                        self.path.display()
                    ));
                    *self.wrong.borrow_mut() = sentence;
                }
            }
        }
    }

    /// Takes the definitions. Returns a description of what has changed.
    fn take(&self, engine: &Engine) -> Result<String, Failure> {
        self.busy.set(true);
        self.modules.renew();
        let stood_in = self.session.models().stand_in(true);
        let taken = self.take_now(engine);
        self.session.models().stand_in(stood_in);
        // The imports are known even if the file does not compile.
        self.watcher.watch(self.modules.sought());
        self.busy.set(false);
        taken
    }

    fn take_now(&self, engine: &Engine) -> Result<String, Failure> {
        let id = self.path.display().to_string();
        let failure =
            |error: &rhai::EvalAltResult| Failure::of_script(engine, &self.sources, &id, error);
        let text = self.modules.read(&self.path, &id).map_err(Failure::usage)?;
        let padded = self.sources.add_piece(&id, &text, 0);
        let compiled = self.modules.names().compile(engine, &id, &padded, Role::Input);
        let Compiled { written, ast } = compiled.map_err(|error| failure(&error))?;
        self.sources.describe_piece(&written);
        self.modules.imported(engine, &id, &ast).map_err(|error| failure(&error))?;

        let namespace = self.session.namespace();
        let mut global = namespace.state(engine, &id);
        let known = global.num_imports();
        global.lib.clear();
        global.lib.push(namespace.with(&ast));
        // If a constant fails, those before it must not take effect either.
        global.constants = None;
        let mut constants = Scope::new();
        let declarations: Vec<Stmt> =
            ast.statements().iter().filter(|s| is_declaration(s)).cloned().collect();
        #[allow(deprecated)] // Rhai's word for "internal".
        let _: Dynamic = engine
            .eval_statements_raw(&mut global, &mut Caches::new(), &mut constants, &declarations)
            .map_err(|error| failure(&error))?;

        let functions = signatures(&ast);
        let gone: Vec<Signature> = self
            .functions
            .borrow()
            .iter()
            .filter(|known| !functions.contains(known))
            .cloned()
            .collect();
        self.replace(namespace, &ast, &gone);
        namespace.keep(&global, known);
        let constants: Vec<(ImmutableString, Dynamic)> =
            constants.iter().map(|(name, _, value)| (name.into(), value)).collect();
        namespace.set_constants(constants.clone());
        self.constants.borrow_mut().extend(constants);
        *self.functions.borrow_mut() = functions;
        *self.text.borrow_mut() = text;
        Ok(in_words(&self.functions.borrow(), &gone))
    }

    fn replace(&self, namespace: &Namespace, ast: &AST, gone: &[Signature]) {
        if !gone.is_empty() {
            namespace.undefine(|name, parameters| {
                gone.iter().any(|(gone, count)| gone == name && *count == parameters)
            });
        }
        namespace.define(ast);
        self.sources.set_functions(namespace.functions());
    }
}

/// Whether a statement is a constant or an import, which a session takes like functions.
fn is_declaration(statement: &Stmt) -> bool {
    match statement {
        Stmt::Import(..) => true,
        Stmt::Var(_, flags, _) => flags.contains(ASTFlags::CONSTANT),
        _ => false,
    }
}

fn signatures(ast: &AST) -> Vec<Signature> {
    let named = ast.iter_functions().filter(|f| !is_closure(f.name));
    named.map(|f| (f.name.to_owned(), f.params.len())).collect()
}

fn in_words(functions: &[Signature], gone: &[Signature]) -> String {
    let list =
        |of: &[Signature]| of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let here = if functions.is_empty() { String::new() } else { format!(": {}", list(functions)) };
    let gone = if gone.is_empty() { String::new() } else { format!("; gone: {}", list(gone)) };
    format!("{here}{gone}")
}
