//! Modules: `import "x" as y;` finds a file beside the importing script, or else a script of the
//! library that ships. No other file can be imported.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{
    AST, Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver, Position, Scope, Shared,
};

use super::imports::{beside, imports, inside};
use super::library::{LIBRARY, SHIPPED, shipped_text};
use super::module_functions;
use super::own_names::{OwnNames, Role, name_imports};
use super::source::Sources;
use crate::script::errors::error::ScriptResult;
use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::fingerprint::Fingerprint;
use crate::{Result, error};

/// The modules of one host. Each is read and evaluated once.
#[derive(Clone)]
pub struct Modules(Rc<ModuleState>);

struct ModuleState {
    sources: Sources,
    names: OwnNames,
    /// Texts that replace files, by name.
    given: RefCell<BTreeMap<String, String>>,
    compiled: RefCell<BTreeMap<String, Rc<AST>>>,
    evaluated: RefCell<BTreeMap<String, Shared<Module>>>,
    /// The modules whose evaluation is in progress, the outermost first.
    running: RefCell<Vec<String>>,
    /// The number of times that a module was recompiled with another text since
    /// [`forget`](Self::forget).
    generation: Cell<u64>,
    /// Every file that was looked for, with its contents then.
    sought: RefCell<BTreeMap<PathBuf, Fingerprint>>,
    /// The directories of the scripts that the user named, by path. Their imports must be below
    /// them.
    folders: RefCell<BTreeMap<PathBuf, HeldDirectory>>,
}

/// Why a module can't be imported.
pub enum Unavailable {
    /// It was not found, or can't be read.
    Missing(crate::Error),
    /// It does not compile.
    Wrong(Box<EvalAltResult>),
}

impl Modules {
    /// With nothing imported yet.
    pub fn new(sources: &Sources) -> Self {
        Self(Rc::new(ModuleState {
            sources: sources.clone(),
            names: OwnNames::default(),
            given: RefCell::default(),
            compiled: RefCell::default(),
            evaluated: RefCell::default(),
            running: RefCell::default(),
            generation: Cell::new(0),
            sought: RefCell::default(),
            folders: RefCell::default(),
        }))
    }

    /// The texts of the scripts read so far.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// What keeps the names of the scripts apart.
    pub fn names(&self) -> &OwnNames {
        &self.0.names
    }

    /// Forgets all modules and their texts: imports read the files again.
    pub fn forget(&self) {
        for id in std::mem::take(&mut *self.0.compiled.borrow_mut()).keys() {
            self.0.sources.remove(id);
        }
        self.0.evaluated.borrow_mut().clear();
        self.0.sought.borrow_mut().clear();
        self.0.folders.borrow_mut().clear();
        self.0.generation.set(0);
    }

    /// Forgets all modules but keeps their texts, because a session may still have functions of
    /// theirs.
    pub fn renew(&self) {
        self.0.compiled.borrow_mut().clear();
        self.0.evaluated.borrow_mut().clear();
        self.0.sought.borrow_mut().clear();
        self.0.folders.borrow_mut().clear();
    }

    /// Increases when a module is recompiled while functions of its earlier text are in use.
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }

    /// The modules compiled since they were last forgotten.
    pub fn compiled_so_far(&self) -> Vec<Rc<AST>> {
        self.0.compiled.borrow().values().cloned().collect()
    }

    /// Every file in which a script was looked for since then, with its contents. Missing files are
    /// included, because a later import may find them.
    pub fn sought(&self) -> Vec<(PathBuf, Fingerprint)> {
        self.0.sought.borrow().iter().map(|(path, contents)| (path.clone(), *contents)).collect()
    }

    /// Reads the script in `path`, which the user named and errors call `id`, and keeps its
    /// directory open.
    ///
    /// # Errors
    /// The file can't be read or is not UTF-8.
    pub fn read(&self, path: &Path, id: &str) -> Result<String> {
        let name = Path::new(path.file_name().unwrap_or_default());
        let file = HeldDirectory::parent_of(path).and_then(|folder| {
            self.0
                .folders
                .borrow_mut()
                .insert(path.parent().unwrap_or(Path::new("")).to_owned(), folder.clone());
            folder.file(name, FileKind::Script)
        });
        let file = match file {
            // A link to a script elsewhere, which is allowed for a script that the user named.
            Err(cause) if escapes_directory(&cause) => file::open(path, FileKind::Script),
            file => file,
        };
        self.noted(path, id, file)
    }

    /// The text of an opened file, which is recorded as the contents of `path`.
    fn noted(&self, path: &Path, id: &str, file: std::io::Result<File>) -> Result<String> {
        let bytes = file.and_then(|file| file::read_open(&file, FileKind::Script));
        let contents = bytes.as_ref().map_or(Fingerprint::MISSING, |bytes| Fingerprint::of(bytes));
        self.0.sought.borrow_mut().insert(path.to_owned(), contents);
        text(bytes, id)
    }

    /// The directory of a script, kept open since that script or one above it was read.
    ///
    /// # Errors
    /// The directory is gone, or a link leads out of the one above it.
    pub fn folder_of(&self, script: &Path) -> std::io::Result<HeldDirectory> {
        let directory = script.parent().unwrap_or(Path::new(""));
        for above in directory.ancestors() {
            let known = self.0.folders.borrow().get(above).cloned();
            if let (Some(folder), Ok(inside)) = (known, directory.strip_prefix(above)) {
                return folder.subdirectory(inside);
            }
        }
        let folder = HeldDirectory::open(directory)?;
        self.0.folders.borrow_mut().insert(directory.to_owned(), folder.clone());
        Ok(folder)
    }

    /// The modules that `ast`, the script `id`, imports by literal names, directly or through
    /// others, with their names.
    ///
    /// A missing module is skipped: its import may never run.
    ///
    /// # Errors
    /// A module does not compile.
    pub fn imported(
        &self,
        engine: &Engine,
        id: &str,
        ast: &AST,
    ) -> ScriptResult<Vec<(String, Rc<AST>)>> {
        let mut found: Vec<(String, Rc<AST>)> = Vec::new();
        let mut waiting = imports(id, ast);
        while let Some((from, path, position)) = waiting.pop() {
            match self.compiled(engine, &from, &path) {
                Ok((id, _)) if found.iter().any(|(known, _)| *known == id) => {}
                Ok((id, ast)) => {
                    waiting.extend(imports(&id, &ast));
                    found.push((id, ast));
                }
                Err(Unavailable::Missing(_)) => {}
                Err(Unavailable::Wrong(error)) if is_about_the_run(&error) => return Err(error),
                Err(Unavailable::Wrong(error)) if from == id => {
                    return Err(self.locate(&from, &path, error, position));
                }
                // The import itself will report it, with the chain of imports.
                Err(Unavailable::Wrong(_)) => {}
            }
        }
        Ok(found)
    }

    /// Sets the texts that replace files. Their imports are looked for among them and in the
    /// library.
    pub fn give(&self, texts: &BTreeMap<String, String>) {
        self.0.given.borrow_mut().clone_from(texts);
    }

    fn compiled(
        &self,
        engine: &Engine,
        from: &str,
        path: &str,
    ) -> Result<(String, Rc<AST>), Unavailable> {
        let apart = self.0.given.borrow().contains_key(from) || from.starts_with(SHIPPED);
        if let (false, Ok(parts)) = (apart, inside(path)) {
            self.0.sought.borrow_mut().entry(beside(from, &parts)).or_insert(Fingerprint::MISSING);
        }
        let (id, text) = self.find(from, path).map_err(Unavailable::Missing)?;
        if let Some(ast) = self.0.compiled.borrow().get(&id) {
            return Ok((id, ast.clone()));
        }
        let text = match text {
            Text::Shipped(text) => text.to_owned(),
            Text::Given(text) => text,
            Text::File(path, file) => {
                self.noted(&path, &id, Ok(file)).map_err(Unavailable::Missing)?
            }
        };
        if self.0.sources.get(&id).is_some_and(|known| known.text() != text) {
            self.0.generation.set(self.0.generation.get() + 1);
        }
        self.0.sources.add(&id, &text);
        let compiled = self.0.names.compile(engine, &id, &text, Role::Module);
        let compiled = compiled.map_err(Unavailable::Wrong)?;
        self.0.sources.describe(&id, &compiled.written);
        let ast = Rc::new(compiled.ast);
        self.0.compiled.borrow_mut().insert(id.clone(), ast.clone());
        Ok((id, ast))
    }

    /// Resolves `path` in the script `from`: the module's name, and where its text is.
    fn find(&self, from: &str, path: &str) -> Result<(String, Text)> {
        let parts = inside(path)?;
        let given = self.0.given.borrow();
        if !from.starts_with(SHIPPED) || given.contains_key(from) {
            let file = beside(from, &parts);
            let id = file.display().to_string();
            if let Some(text) = given.get(&id) {
                return Ok((id, Text::Given(text.clone())));
            }
            if !given.contains_key(from)
                && let Some(opened) = self.opened(from, &file, &parts, path)?
            {
                return Ok((id, Text::File(file, opened)));
            }
        }
        let name = parts.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        let id = format!("{SHIPPED}{name}");
        if let Some(text) = given.get(&id) {
            return Ok((id, Text::Given(text.clone())));
        }
        match shipped_text(&name) {
            Some(text) => Ok((id, Text::Shipped(text))),
            None => {
                let known: Vec<&str> = LIBRARY.iter().map(|(name, _)| *name).collect();
                Err(error!("import {path:?}: there is no {name}.rhai beside the script, and the library has none")
                    .help(format!("the library that ships has {}", known.join(", "))))
            }
        }
    }

    /// Opens the file beside the script `from`; `None` if there is none.
    ///
    /// # Errors
    /// A link leads out of the script's directory, or the file can't be read.
    fn opened(
        &self,
        from: &str,
        file: &Path,
        parts: &[&OsStr],
        path: &str,
    ) -> Result<Option<File>> {
        let mut inside = parts.iter().collect::<PathBuf>().into_os_string();
        inside.push(".rhai");
        let found = self
            .folder_of(Path::new(from))
            .and_then(|folder| folder.file(Path::new(&inside), FileKind::Script));
        match found {
            Ok(file) => Ok(Some(file)),
            Err(cause) if escapes_directory(&cause) && file.is_file() => {
                let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
                let target = target.display();
                Err(error!(
                    "import {path:?} leaves the directory of the script, through a link to {target}"
                )
                .help("an import names a file beside the importing one, or below it"))
            }
            Err(cause) if file.is_file() && !escapes_directory(&cause) => {
                text(Err(cause), &file.display().to_string()).map(|_| None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Checks that calls can tell the closures of the module `id` from those of the script that
    /// `global` runs, and of other modules. A module with the same text may have the same.
    fn check_closures(&self, id: &str, ast: &AST, global: &GlobalRuntimeState) -> Result<()> {
        let own = ast.shared_lib();
        if let Some(functions) = global.lib.first() {
            module_functions::check_apart(id, own, "the script", functions)?;
        }
        let text = |id: &str| self.0.sources.get(id).map(|source| source.text().to_owned());
        for (other, ast) in &*self.0.compiled.borrow() {
            if other != id && text(other) != text(id) {
                module_functions::check_apart(id, own, other, ast.shared_lib())?;
            }
        }
        Ok(())
    }

    /// Wraps an error of a module in one that names the module.
    fn locate(
        &self,
        from: &str,
        path: &str,
        error: Box<EvalAltResult>,
        position: Position,
    ) -> Box<EvalAltResult> {
        if is_about_the_run(&error) {
            return error;
        }
        let id = self.find(from, path).map_or_else(|_| path.to_owned(), |(id, _)| id);
        EvalAltResult::ErrorInModule(id, error, position).into()
    }
}

enum Text {
    Shipped(&'static str),
    Given(String),
    File(PathBuf, File),
}

/// Reads a script, which errors call `id`.
///
/// # Errors
/// The file can't be read or is not UTF-8.
pub fn read(path: &Path, id: &str) -> Result<String> {
    text(file::read(path, FileKind::Script), id)
}

fn text(bytes: std::io::Result<Vec<u8>>, id: &str) -> Result<String> {
    let bytes = bytes.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => error!("there is no file {id}"),
        std::io::ErrorKind::FileTooLarge => error!("{id} is too large for a script: {cause}"),
        std::io::ErrorKind::IsADirectory => error!("{id} is a directory, not a script"),
        _ => error!("{id} can't be read: {}", describe_io_error(&cause)),
    })?;
    String::from_utf8(bytes).map_err(|_| error!("{id} is not a script: its text is not UTF-8"))
}

impl ModuleResolver for Modules {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> ScriptResult<Shared<Module>> {
        let mut global = engine.new_global_runtime_state();
        global.source = source.map(Into::into);
        self.resolve_raw(engine, &mut global, &mut Scope::new(), path, position)
    }

    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _scope: &mut Scope,
        path: &str,
        position: Position,
    ) -> ScriptResult<Shared<Module>> {
        let from = global.source().unwrap_or_default().to_owned();
        let (id, ast) =
            self.compiled(engine, &from, path).map_err(|unavailable| match unavailable {
                Unavailable::Missing(error) => at(error, position),
                Unavailable::Wrong(error) => self.locate(&from, path, error, position),
            })?;
        if let Some(module) = self.0.evaluated.borrow().get(&id) {
            return Ok(module.clone());
        }
        if from == id || self.0.running.borrow().contains(&id) {
            let mut way = self.0.running.borrow().clone();
            way.push(id);
            let way = way.join(", ");
            return Err(at(error!("these scripts import each other in a circle: {way}"), position));
        }
        self.0.running.borrow_mut().push(id.clone());
        // A module is evaluated in a scope of its own and does not see the importing script's
        // variables.
        let module = Module::eval_ast_as_new_raw(engine, &mut Scope::new(), global, &ast);
        self.0.running.borrow_mut().pop();
        match module {
            Ok(mut module) => {
                self.check_closures(&id, &ast, global).map_err(|error| at(error, position))?;
                name_imports(&mut module);
                module_functions::share(&mut module, ast.shared_lib());
                let module: Shared<Module> = module.into();
                self.0.evaluated.borrow_mut().insert(id, module.clone());
                Ok(module)
            }
            Err(error) if is_about_the_run(&error) => Err(error),
            Err(error) => Err(EvalAltResult::ErrorInModule(id, error, position).into()),
        }
    }
}

/// The error of an import at this position.
fn at(error: crate::Error, position: Position) -> Box<EvalAltResult> {
    let mut error: Box<EvalAltResult> = error.into();
    error.set_position(position);
    error
}

/// Whether an error ends the whole run: Rhai does not wrap those.
fn is_about_the_run(error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::Exit(..) | EvalAltResult::ErrorTerminated(..))
}
