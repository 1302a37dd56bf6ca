//! A REPL session: variables, functions and imports that last from one input to the next.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use rhai::{AST, Caches, Dynamic, Engine, Position, Scope};

use super::reload::Watched;
use crate::Result;
use crate::script::diagnostics::failure::Failure;
use crate::script::hook::backward::warn_of_hooks_in_vain;
use crate::script::host::{Host, INPUT};
use crate::script::program::late_binding::Namespace;
use crate::script::program::model_names::named;
use crate::script::program::own_names::{Compiled, Role};
use crate::script::program::params::declared;
use crate::system::{interrupt, panics};

/// A host, and what the user has defined in it.
pub struct Workspace {
    host: Host,
    scope: Scope<'static>,
    /// The number of input lines so far.
    lines: usize,
    /// What has been evaluated, in order.
    record: Vec<Entry>,
    watched: Vec<Rc<Watched>>,
    /// The names of the first `named` variables of the scope.
    names: BTreeSet<String>,
    named: usize,
}

enum Entry {
    Done(Done),
    Watched(Rc<Watched>),
}

/// A text that was evaluated.
#[derive(Debug, Clone)]
pub struct Done {
    /// The text.
    pub text: String,
    /// The byte offset of the error, if it failed. Everything before it took effect, and after it
    /// only functions did.
    pub failed: Option<usize>,
    /// Whether only its definitions took effect: functions, constants and imports.
    pub definitions: bool,
    /// Whether it is a single expression that computes a value and changes nothing.
    pub looks: bool,
}

/// A variable of a session.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether it was declared with `const`.
    pub constant: bool,
    /// Its value.
    pub value: Dynamic,
}

impl Workspace {
    /// An empty session on `host`.
    pub fn new(host: Host) -> Self {
        host.session().namespace().clear();
        host.session().models().stand_in(false);
        Self {
            host,
            scope: Scope::new(),
            lines: 0,
            record: Vec::new(),
            watched: Vec::new(),
            names: BTreeSet::new(),
            named: 0,
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    fn namespace(&self) -> &Namespace {
        self.host.session().namespace()
    }

    /// Loads the model `id` as the variable `m`.
    ///
    /// # Errors
    /// The model can't be loaded.
    pub fn set_model(&mut self, id: &str) -> Result<(), Failure> {
        let model = self.host.ask("model(id)", [("id", id.to_owned().into())])?;
        self.scope.set_value("m", model);
        let text = format!("let m = model(param(\"model\", {id:?}));");
        self.record.push(Entry::Done(Done {
            text,
            failed: None,
            definitions: false,
            looks: false,
        }));
        Ok(())
    }

    /// Evaluates lines that the user typed. Earlier definitions stay even if it fails.
    ///
    /// # Errors
    /// The text does not compile, or it failed.
    pub fn input(&mut self, text: &str) -> Result<Dynamic, Failure> {
        let before = self.lines;
        self.skip(text);
        self.evaluate(INPUT, text, before)
    }

    /// Counts lines that are not evaluated.
    pub fn skip(&mut self, text: &str) {
        self.lines += text.lines().count().max(1);
    }

    /// Runs the script in `path` as if it had been typed here, so that its definitions stay.
    /// Returns its text and its value.
    ///
    /// # Errors
    /// The file can't be read or does not compile, or the script failed.
    pub fn run_file(&mut self, path: &Path) -> Result<(String, Dynamic), Failure> {
        let id = path.display().to_string();
        self.host.modules.renew();
        let text = self.host.modules.read(path, &id).map_err(Failure::usage)?;
        self.host.session().models().stand_in(true);
        let value = self.evaluate(&id, &text, 0);
        self.host.session().models().stand_in(false);
        Ok((text, value?))
    }

    /// Takes the functions, constants and imports of the script in `path`, and takes them again
    /// before the next input or pass when the script or one of its imports changes. `on_change` is
    /// called at each change, on another thread.
    ///
    /// # Errors
    /// The file can't be read or does not compile.
    pub fn watch(
        &mut self,
        path: &Path,
        on_change: impl FnMut() + Send + 'static,
    ) -> Result<(), Failure> {
        interrupt::clear();
        self.host.limit_memory();
        let _deadline = self.host.deadline()?;
        let watched = Watched::new(&self.host, path, on_change)?;
        self.watched.retain(|known| known.path() != path);
        self.watched.push(watched.clone());
        self.record.push(Entry::Watched(watched));
        let all = self.watched.clone();
        let look = move |engine: &Engine| all.iter().for_each(|watched| watched.look(engine));
        self.namespace().set_reload(Some(Rc::new(look)));
        self.take_constants();
        Ok(())
    }

    fn take_constants(&mut self) {
        for (name, value) in self.watched.iter().flat_map(|watched| watched.constants()) {
            self.scope.push_constant_dynamic(name.as_str(), value);
        }
        self.forget_hidden();
    }

    fn evaluate(&mut self, id: &str, text: &str, before: usize) -> Result<Dynamic, Failure> {
        interrupt::clear();
        self.host.limit_memory();
        self.host.console.renew();
        self.host.session().reuse().begin();
        let _deadline = self.host.deadline()?;
        self.namespace().before_pass(&self.host.engine);
        self.take_constants();
        let padded = self.host.sources.add_piece(id, text, before);
        let ast = self.compile(id, &padded)?;
        let looks = self.host.session().natives().of(&self.host.engine).only_looks(&ast);
        if ast.has_functions() {
            self.namespace().define(&ast);
            self.host.sources.set_functions(self.namespace().functions());
        }
        let mut global = self.namespace().state(&self.host.engine, id);
        let known = global.num_imports();
        #[allow(deprecated)] // Rhai's word for "internal".
        let result = panics::catch_bug(|| {
            self.host.engine.eval_statements_raw(
                &mut global,
                &mut Caches::new(),
                &mut self.scope,
                ast.statements(),
            )
        });
        let result = result.unwrap_or_else(|error| Err(error.into()));
        warn_of_hooks_in_vain(result.is_err());
        self.namespace().keep(&global, known);
        self.take_constants();
        let above = padded.len() - text.len();
        let failed = result
            .as_ref()
            .err()
            .map(|error| offset(&padded, error.position()).saturating_sub(above));
        self.record.push(Entry::Done(Done {
            text: text.to_owned(),
            failed,
            definitions: false,
            looks,
        }));
        let value = result.map(Dynamic::flatten).map_err(|error| {
            self.host
                .sources
                .set_variables(self.scope.iter_raw().map(|(name, ..)| name.to_owned()));
            self.host.failure(id, &error)
        })?;
        interrupt::check_failed()?;
        Ok(value)
    }

    fn compile(&self, id: &str, padded: &str) -> Result<AST, Failure> {
        let Host { engine, sources, modules, session, .. } = &self.host;
        let compiled = modules.names().compile(engine, id, padded, Role::Input);
        let Compiled { written, ast } = compiled.map_err(|error| self.host.failure(id, &error))?;
        sources.describe_piece(&written);
        let imported =
            modules.imported(engine, id, &ast).map_err(|error| self.host.failure(id, &error))?;
        if id != INPUT {
            session.params().check(&declared(&ast)).map_err(Failure::usage)?;
            let mut models = named(&ast);
            models.extend(imported.iter().flat_map(|(_, ast)| named(ast)));
            session.models().check(&models).map_err(Failure::usage)?;
        }
        Ok(ast)
    }

    /// Drops variables that a later variable of the same name hides.
    fn forget_hidden(&mut self) {
        // The scope iterates from the newest variable: only new ones are examined.
        let new = self.scope.len().saturating_sub(self.named);
        let hides = self.scope.iter_raw().take(new).fold(false, |hides, (name, ..)| {
            let known = !self.names.insert(name.to_owned());
            hides || known
        });
        self.named = self.scope.len();
        if !hides {
            return;
        }
        let mut seen = BTreeSet::new();
        let kept: Vec<_> = self.scope.iter_raw().filter(|(name, ..)| seen.insert(*name)).collect();
        let mut scope = Scope::new();
        for (name, constant, value) in kept.into_iter().rev() {
            match constant {
                true => scope.push_constant_dynamic(name, value.clone()),
                false => scope.push_dynamic(name, value.clone()),
            };
        }
        self.scope = scope;
        self.named = self.scope.len();
    }

    /// Prints a value as `print` does, but nothing for `()`.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn show(&self, value: &Dynamic) -> Result<(), Failure> {
        self.host.show(value)
    }

    /// The variables, in the order of their declarations.
    pub fn variables(&self) -> impl Iterator<Item = Variable> + '_ {
        self.scope.iter().map(|(name, constant, value)| Variable {
            name: name.to_owned(),
            constant,
            value,
        })
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<Dynamic> {
        self.scope.get(name).map(Dynamic::flatten_clone)
    }

    /// What has been evaluated, in order.
    pub fn record(&self) -> Vec<Done> {
        let done = |entry: &Entry| match entry {
            Entry::Done(done) => done.clone(),
            Entry::Watched(watched) => {
                Done { text: watched.text(), failed: None, definitions: true, looks: false }
            }
        };
        self.record.iter().map(done).collect()
    }

    /// Forgets everything; models stay loaded.
    pub fn reset(&mut self) {
        self.scope = Scope::new();
        self.names.clear();
        self.named = 0;
        self.record.clear();
        self.watched.clear();
        self.namespace().set_reload(None);
        self.namespace().clear();
        self.host.sources.set_functions(Vec::new());
    }
}

/// The byte offset of a position in the compiled text.
fn offset(text: &str, position: Position) -> usize {
    let Some(line) = position.line() else { return 0 };
    let above: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let column = position.position().unwrap_or(1) - 1;
    let within = text[above..].char_indices().nth(column).map_or(text.len() - above, |(at, _)| at);
    above + within
}
