//! `import "x" as y;`: a file beside the importing one, else one of the library that ships. Nothing
//! else is in reach.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rhai::{
    AST, ASTNode, Engine, EvalAltResult, Expr, GlobalRuntimeState, Module, ModuleResolver,
    Position, Scope, Shared, Stmt,
};

use super::compile::compile;
use super::source::Sources;
use crate::script::errors::error::ScriptResult;
use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::file_changes::Fingerprint;
use crate::{Result, bail, error};

/// The library that ships, by the name it is imported by.
const LIBRARY: &[(&str, &str)] = &[
    ("lib/indirect_objects", include_str!("../../../scripts/lib/indirect_objects.rhai")),
    ("lib/labels", include_str!("../../../scripts/lib/labels.rhai")),
    ("lib/lens", include_str!("../../../scripts/lib/lens.rhai")),
];

/// The names of the scripts that ship to be imported.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    LIBRARY.iter().map(|(name, _)| *name)
}

/// The text of one of them.
pub fn shipped_text(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What stands before the name of a script that is part of the program.
pub const SHIPPED: &str = "precompute:";

/// The modules of one host: each is read and run once.
#[derive(Clone)]
pub struct Modules(Rc<Inner>);

struct Inner {
    sources: Sources,
    /// Texts that stand in for files, by their names.
    given: RefCell<BTreeMap<String, String>>,
    compiled: RefCell<BTreeMap<String, Rc<AST>>>,
    evaluated: RefCell<BTreeMap<String, Shared<Module>>>,
    /// Those that are running now, the outermost first.
    running: RefCell<Vec<String>>,
    /// Counts the changes of modules that had been compiled before, since they were forgotten
    /// last.
    generation: Cell<u64>,
    /// Every file that was looked for, and what it held.
    sought: RefCell<BTreeMap<PathBuf, Fingerprint>>,
    /// The directories of the scripts that a person named, by their paths: what these import is
    /// below.
    folders: RefCell<BTreeMap<PathBuf, HeldDirectory>>,
}

/// Why a module can't be had: it is not there, or its text is wrong.
pub enum Unavailable {
    Missing(crate::Error),
    Wrong(Box<EvalAltResult>),
}

impl Modules {
    pub fn new(sources: &Sources) -> Self {
        Self(Rc::new(Inner {
            sources: sources.clone(),
            given: RefCell::default(),
            compiled: RefCell::default(),
            evaluated: RefCell::default(),
            running: RefCell::default(),
            generation: Cell::new(0),
            sought: RefCell::default(),
            folders: RefCell::default(),
        }))
    }

    /// The texts of the scripts that are read.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// Forgets what was imported: from now on the files are read and run anew.
    pub fn forget(&self) {
        for id in std::mem::take(&mut *self.0.compiled.borrow_mut()).keys() {
            self.0.sources.remove(id);
        }
        self.0.evaluated.borrow_mut().clear();
        self.0.sought.borrow_mut().clear();
        self.0.folders.borrow_mut().clear();
        self.0.generation.set(0);
    }

    /// The same, but for the texts: functions of theirs live on in a session.
    pub fn renew(&self) {
        self.0.compiled.borrow_mut().clear();
        self.0.evaluated.borrow_mut().clear();
        self.0.sought.borrow_mut().clear();
        self.0.folders.borrow_mut().clear();
    }

    /// Grows when a module that functions of an earlier text live on of is compiled anew.
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }

    /// The modules that were compiled since then.
    pub fn compiled_so_far(&self) -> Vec<Rc<AST>> {
        self.0.compiled.borrow().values().cloned().collect()
    }

    /// Every file that a script was looked for in since then, and what it held. Those that were not
    /// there are among them: what is imported may come to stand there.
    pub fn sought(&self) -> Vec<(PathBuf, Fingerprint)> {
        self.0.sought.borrow().iter().map(|(path, contents)| (path.clone(), *contents)).collect()
    }

    /// The text of the script in `path`, which a person named and messages call `id`. From then on
    /// the directory that it is in is held open.
    ///
    /// # Errors
    /// A file that can't be read or is not UTF-8.
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
            // A link to a script elsewhere, which the person has named so.
            Err(cause) if escapes_directory(&cause) => file::open(path, FileKind::Script),
            file => file,
        };
        self.noted(path, id, file)
    }

    /// The text of a file that was opened, noted as what stands in `path`.
    fn noted(&self, path: &Path, id: &str, file: std::io::Result<File>) -> Result<String> {
        let bytes = file.and_then(|file| file::read_open(&file, FileKind::Script));
        let contents = bytes.as_ref().map_or(Fingerprint::MISSING, |bytes| Fingerprint::of(bytes));
        self.0.sought.borrow_mut().insert(path.to_owned(), contents);
        text(bytes, id)
    }

    /// The directory that a script is in: held open since a script in it, or above it, was read.
    ///
    /// # Errors
    /// There is none any more, or a link leads out of the one above.
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

    /// The scripts that `ast`, which is called `id`, imports by name, and those they import: each
    /// with its name.
    ///
    /// A module that is missing is passed over: its import may never be reached.
    ///
    /// # Errors
    /// One that does not compile.
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
                // Found when it is imported, with the way that leads there.
                Err(Unavailable::Wrong(_)) => {}
            }
        }
        Ok(found)
    }

    /// Takes texts that stand in for files. What one of them imports is looked for among them and
    /// in the library.
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
        let mut ast = compile(engine, &text).map_err(Unavailable::Wrong)?;
        ast.set_source(&id);
        self.0.sources.describe(&id, &ast);
        let ast = Rc::new(ast);
        self.0.compiled.borrow_mut().insert(id.clone(), ast.clone());
        Ok((id, ast))
    }

    /// What the script `from` means by `path`: the module's name, and where its text is.
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

    /// The file of these parts beside the script `from`, which is in `file`; nothing where there is
    /// no such file.
    ///
    /// # Errors
    /// A link leads out of the importing script's directory, or the file can't be read.
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

    /// An error of a module's text, carried in one that says which module.
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

/// Where the script `from` first looks for the module of these parts.
pub fn beside(from: &str, parts: &[&OsStr]) -> PathBuf {
    let directory = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut file = directory.join(parts.iter().collect::<PathBuf>()).into_os_string();
    file.push(".rhai");
    file.into()
}

/// The parts of an import's path, which stays in or below a directory.
///
/// # Errors
/// It leads out of it, or names nothing.
pub fn inside(path: &str) -> Result<Vec<&OsStr>> {
    let bare = path.strip_suffix(".rhai").unwrap_or(path);
    let mut parts = Vec::new();
    for part in Path::new(bare).components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => {
                return Err(error!("import {path:?} leaves the directory of the script")
                    .help("an import names a file beside the importing one, or below it"));
            }
        }
    }
    if parts.is_empty() || bare.contains('\\') {
        bail!("import {path:?} names no file");
    }
    Ok(parts)
}

/// The literal imports of a script: who imports, what, where.
pub fn imports(id: &str, ast: &AST) -> Vec<(String, String, Position)> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last()
            && let Expr::StringConstant(name, position) = &import.0
        {
            found.push((id.to_owned(), name.to_string(), *position));
        }
        true
    });
    found
}

enum Text {
    Shipped(&'static str),
    Given(String),
    File(PathBuf, File),
}

/// The script called `id` in messages.
///
/// # Errors
/// A file that can't be read or is not UTF-8.
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
                Unavailable::Missing(error) => {
                    let mut error: Box<EvalAltResult> = error.into();
                    error.set_position(position);
                    error
                }
                Unavailable::Wrong(error) => self.locate(&from, path, error, position),
            })?;
        if let Some(module) = self.0.evaluated.borrow().get(&id) {
            return Ok(module.clone());
        }
        if from == id || self.0.running.borrow().contains(&id) {
            let mut way = self.0.running.borrow().clone();
            way.push(id);
            let mut error: Box<EvalAltResult> =
                error!("these scripts import each other in a circle: {}", way.join(", ")).into();
            error.set_position(position);
            return Err(error);
        }
        self.0.running.borrow_mut().push(id.clone());
        // A scope of its own: a module does not see the variables of whoever imports it.
        let module = Module::eval_ast_as_new_raw(engine, &mut Scope::new(), global, &ast);
        self.0.running.borrow_mut().pop();
        match module {
            Ok(module) => {
                let module: Shared<Module> = module.into();
                self.0.evaluated.borrow_mut().insert(id, module.clone());
                Ok(module)
            }
            Err(error) if is_about_the_run(&error) => Err(error),
            Err(error) => Err(EvalAltResult::ErrorInModule(id, error, position).into()),
        }
    }
}

/// Rhai does not wrap what ends the whole run.
fn is_about_the_run(error: &EvalAltResult) -> bool {
    matches!(error, EvalAltResult::Exit(..) | EvalAltResult::ErrorTerminated(..))
}
