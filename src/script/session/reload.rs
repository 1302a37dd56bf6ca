//! A file whose functions a session takes anew whenever it changes, also while a pass after the
//! other runs.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, ASTFlags, Caches, Dynamic, Engine, ImmutableString, Scope, Stmt};

use crate::script::diagnostics::failure::Failure;
use crate::script::host::Host;
use crate::script::program::compile::compile;
use crate::script::program::late_binding::Live;
use crate::script::program::modules::Modules;
use crate::script::program::source::Sources;
use crate::script::run_session::Session;
use crate::system::file_changes::Watcher;
use crate::system::message::notice;

/// A function's name and number of parameters.
type Signature = (String, usize);

/// A file that is watched, and all that it imports.
pub struct Watched {
    path: PathBuf,
    session: Rc<Session>,
    sources: Sources,
    modules: Modules,
    watcher: Watcher,
    /// Set while its constants are made: a pass in one of them takes nothing anew.
    busy: Cell<bool>,
    /// What the session has of it.
    text: RefCell<String>,
    functions: RefCell<Vec<Signature>>,
    /// Constants that have yet to become variables: those of an evaluation under way can't be
    /// added to.
    constants: RefCell<Vec<(ImmutableString, Dynamic)>>,
    /// What was last said to be wrong with it.
    wrong: RefCell<String>,
}

impl Watched {
    /// Takes the file's functions, constants and imports, and does so at each change from then on.
    /// `on_change` is called then, on another thread.
    ///
    /// # Errors
    /// The file can't be read, or what is wrong with it.
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the session has of it: of this text the functions, constants and imports.
    pub fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// The constants that have come since this was last asked.
    pub fn constants(&self) -> Vec<(ImmutableString, Dynamic)> {
        self.constants.take()
    }

    /// Takes it anew if it has changed, and says so. What is wrong with it is said once, and what
    /// was before stands.
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

    /// What has changed, in words.
    fn take(&self, engine: &Engine) -> Result<String, Failure> {
        self.busy.set(true);
        self.modules.renew();
        let stood_in = self.session.models().stand_in(true);
        let taken = self.take_now(engine);
        self.session.models().stand_in(stood_in);
        // What it imports is known by now, also of one that is wrong.
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
        let mut ast = compile(engine, &padded).map_err(|error| failure(&error))?;
        ast.set_source(&id);
        self.sources.describe_piece(&ast);
        self.modules.imported(engine, &id, &ast).map_err(|error| failure(&error))?;

        let live = self.session.live();
        let mut global = live.state(engine, &id);
        let known = global.num_imports();
        global.lib.clear();
        global.lib.push(live.with(&ast));
        // If one of them fails, those before it have not been.
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
        self.replace(live, &ast, &gone);
        live.keep(&global, known);
        let constants: Vec<(ImmutableString, Dynamic)> =
            constants.iter().map(|(name, _, value)| (name.into(), value)).collect();
        live.set_constants(constants.clone());
        self.constants.borrow_mut().extend(constants);
        *self.functions.borrow_mut() = functions;
        *self.text.borrow_mut() = text;
        Ok(in_words(&self.functions.borrow(), &gone))
    }

    fn replace(&self, live: &Live, ast: &AST, gone: &[Signature]) {
        if !gone.is_empty() {
            live.undefine(|name, parameters| {
                gone.iter().any(|(gone, count)| gone == name && *count == parameters)
            });
        }
        live.define(ast);
        self.sources.set_functions(live.functions());
    }
}

/// What a session takes of a file besides its functions.
fn is_declaration(statement: &Stmt) -> bool {
    match statement {
        Stmt::Import(..) => true,
        Stmt::Var(_, flags, _) => flags.contains(ASTFlags::CONSTANT),
        _ => false,
    }
}

fn signatures(ast: &AST) -> Vec<Signature> {
    let named = ast.iter_functions().filter(|f| !f.name.starts_with("anon$"));
    named.map(|f| (f.name.to_owned(), f.params.len())).collect()
}

fn in_words(functions: &[Signature], gone: &[Signature]) -> String {
    let list =
        |of: &[Signature]| of.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let here = if functions.is_empty() { String::new() } else { format!(": {}", list(functions)) };
    let gone = if gone.is_empty() { String::new() } else { format!("; gone: {}", list(gone)) };
    format!("{here}{gone}")
}
