//! Runs scripts: one engine, built once, and everything that a run of it shares.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, Scope};

use super::bind::output::json;
use super::diagnostics::failure::Failure;
use super::engine;
use super::fingerprint::purity::Purity;
use super::hook::Hook;
use super::program::bundle::Program;
use super::program::compile::compile;
use super::program::describe;
use super::program::describe::Description;
use super::program::model_names::{NamedModel, named};
use super::program::modules::Modules;
use super::program::params::{Declared, declared};
use super::program::place::Place;
use super::program::source::Sources;
use super::reference::vocabulary::Function;
use super::reference::{definitions, vocabulary};
use super::run::console::Console;
use super::run::limits::{Deadline, Limits};
use super::run::settings::Settings;
use super::run_session::Session;
use super::value::model::Model;
use super::value::options::describe as describe_value;
use crate::Result;
use crate::output::record::{DONE, Record, Source, Versions};
use crate::system::file_changes::Fingerprint;
use crate::system::{interrupt, panics};
use crate::tensor::budget;

/// What a text that is no file is called in errors.
pub(super) const INPUT: &str = "input";

/// An engine with every binding, and the session that its scripts share.
pub struct Host {
    pub(super) engine: Engine,
    pub(super) session: Rc<Session>,
    pub(super) sources: Sources,
    pub(super) modules: Modules,
    pub(super) console: Console,
}

/// A compiled script.
pub struct Script {
    id: String,
    ast: AST,
    params: Vec<Declared>,
    models: Vec<NamedModel>,
}

impl Host {
    /// # Errors
    /// Settings that can't be honoured: a device that is not there, say.
    pub fn new(settings: Settings) -> Result<Self> {
        let purity = Purity::new(|engine| engine::install_pure(engine, Limits::default()));
        let session = Rc::new(Session::new(settings, purity)?);
        let (sources, quota) = (Sources::default(), session.quota());
        let console =
            if session.settings().silent { Console::silent() } else { Console::metered(quota) };
        let modules = Modules::new(&sources);
        let engine = engine::build(&session, &console, modules.clone());
        Ok(Self { engine, session, sources, modules, console })
    }

    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Runs the script in `path`, shows its last value and finishes the run's record.
    ///
    /// # Errors
    /// What the script or the command line did wrong. The host can run another script afterwards.
    pub fn run_file(&self, path: &Path) -> Result<Dynamic, Failure> {
        self.run(&Program::File(path.into()))
    }

    /// As [`run_file`](Self::run_file), of a script that need not be in a file.
    ///
    /// # Errors
    /// As [`run_file`](Self::run_file).
    pub fn run(&self, program: &Program) -> Result<Dynamic, Failure> {
        interrupt::clear();
        let script = self.prepare(program)?;
        self.run_prepared(program, &script)
    }

    /// Reads and compiles a script and what it imports, as the files are now.
    ///
    /// # Errors
    /// A script that can't be read or does not compile.
    pub fn prepare(&self, program: &Program) -> Result<Script, Failure> {
        self.modules.forget();
        self.compiled(program)
    }

    /// The files that the script prepared last was read from, or would be if they were there, and
    /// what they held.
    pub fn files(&self) -> Vec<(PathBuf, Fingerprint)> {
        self.modules.sought()
    }

    /// Runs a prepared script as [`run`](Self::run) does. Models that an earlier run loaded are not
    /// loaded again.
    ///
    /// # Errors
    /// As there.
    pub fn run_prepared(&self, program: &Program, script: &Script) -> Result<Dynamic, Failure> {
        self.check_command(script)?;
        let run = self.session.run();
        match program {
            Program::File(path) => run.begin(path, self.modules.folder_of(path).ok()),
            Program::Bundle(bundle) => run.begin_apart(&bundle.name, bundle.beside.clone()),
        }
        .map_err(Failure::usage)?;
        self.session.random().restart();
        self.session.models().begin();
        self.session.reuse().begin();
        self.console.renew();
        let _deadline = self.deadline()?;
        let value = self.evaluate(script).and_then(|value| {
            self.show(&value)?;
            self.session.params().check_used(&script.params).map_err(Failure::usage)?;
            self.session
                .models()
                .check_used(&self.session.params().values())
                .map_err(Failure::usage)?;
            Ok(value)
        });
        let record = self.record(self.source(&script.id), value.as_ref().err());
        let recorded = self.session.run().finish(&record).map_err(Failure::from);
        let value = value?;
        recorded.map(|()| value)
    }

    /// Checks what the command line says against what a script declares and names, before anything
    /// loads.
    fn check_command(&self, script: &Script) -> Result<(), Failure> {
        self.session.params().check(&script.params).map_err(Failure::usage)?;
        self.session.models().check(&script.models).map_err(Failure::usage)
    }

    fn source(&self, id: &str) -> Source {
        Source::new(id, self.sources.get(id).as_deref().map_or("", |source| source.text()))
    }

    /// Finishes the record of a session, of which `text` is what was done.
    ///
    /// # Errors
    /// It can't be written.
    pub fn close(&self, text: &str) -> Result<()> {
        let record = self.record(Source::new("session", text), None);
        self.session.run().finish(&record)
    }

    /// What the run was, so that it can be repeated.
    fn record(&self, script: Source, failure: Option<&Failure>) -> Record {
        let session = &self.session;
        let (started, seconds) = session.run().time();
        let imports = self.sources.ids().into_iter().filter(|id| *id != script.path);
        let parameters = session.params().values();
        Record {
            imports: imports.map(|id| self.source(&id)).collect(),
            script,
            parameters: parameters
                .into_iter()
                .map(|(name, v)| (name, json(&v).unwrap_or_default()))
                .collect(),
            command: session.settings().into(),
            models: session.models().asked().iter().map(Model::record).collect(),
            first_seed: session.random().first(),
            seed: session.random().seed(),
            versions: Versions::CURRENT,
            started,
            seconds,
            outcome: failure.map_or_else(|| DONE.into(), |failure| failure.message().to_owned()),
            files: session.run().files(),
        }
    }

    /// Runs a text that is in no file: its imports are looked for in the working directory.
    ///
    /// # Errors
    /// What the text did wrong.
    pub fn eval(&self, text: &str) -> Result<Dynamic, Failure> {
        interrupt::clear();
        let script = self.compile(INPUT, text)?;
        self.evaluate(&script)
    }

    /// The value of the script in `path`, with nothing shown or recorded.
    ///
    /// # Errors
    /// As [`run_file`](Self::run_file).
    pub fn value_of(&self, path: &Path) -> Result<Dynamic, Failure> {
        interrupt::clear();
        let script = self.read(path)?;
        self.check_command(&script)?;
        self.session
            .run()
            .begin(path, self.modules.folder_of(path).ok())
            .map_err(Failure::usage)?;
        self.evaluate(&script)
    }

    /// Evaluates a text of this program's own, in which `variables` stand: its errors show no place
    /// in it.
    ///
    /// # Errors
    /// What went wrong in it.
    pub fn ask(
        &self,
        text: &str,
        variables: impl IntoIterator<Item = (&'static str, Dynamic)>,
    ) -> Result<Dynamic, Failure> {
        interrupt::clear();
        self.answer(text, variables)
    }

    fn answer(
        &self,
        text: &str,
        variables: impl IntoIterator<Item = (&'static str, Dynamic)>,
    ) -> Result<Dynamic, Failure> {
        self.limit_memory();
        let mut scope = Scope::new();
        for (name, value) in variables {
            scope.push_dynamic(name, value);
        }
        let value = panics::catch_bug(|| self.engine.eval_with_scope(&mut scope, text))?
            .map_err(|error| self.failure("", &error))?;
        interrupt::check_failed()?;
        Ok(value)
    }

    /// What scripts may call, as the files that Rhai's language server reads, by name.
    pub fn definitions(&self) -> Vec<(String, String)> {
        definitions::files(&self.engine)
    }

    /// Whether a text is a script.
    ///
    /// # Errors
    /// It does not compile.
    pub fn check(&self, text: &str) -> Result<(), Failure> {
        let _deadline = self.deadline()?;
        compile(&self.engine, text).map(drop).map_err(|error| self.failure("", &error))
    }

    /// What `print` shows of a value.
    pub fn text_of(&self, value: &Dynamic) -> String {
        let text = self.ask("value.to_string()", [("value", value.clone())]);
        text.ok().and_then(|text| text.into_string().ok()).unwrap_or_else(|| describe_value(value))
    }

    /// Every function and property that there is.
    pub fn functions(&self) -> BTreeSet<Function> {
        vocabulary::functions(&self.engine, &self.sources)
    }

    /// What functions of a name give, as errors call it: those of this program, whose types are
    /// known.
    pub fn gives(&self, name: &str) -> BTreeSet<String> {
        let of_that_name =
            |(function, gives): (Function, String)| (function.name == name).then_some(gives);
        vocabulary::of_this_program(&self.engine).into_iter().filter_map(of_that_name).collect()
    }

    /// What errors call a value's type.
    pub fn type_of(&self, value: &Dynamic) -> &str {
        vocabulary::word(self.engine.map_type_name(value.type_name()))
    }

    /// A property of a value, where it has one of that name.
    pub fn property(&self, value: &Dynamic, name: &str) -> Option<Dynamic> {
        let mut scope = Scope::new();
        scope.push_dynamic("value", value.clone());
        self.engine.eval_expression_with_scope(&mut scope, &format!("value.{name}")).ok()
    }

    /// Where a hook was bound.
    pub fn place_of(&self, hook: &Hook) -> Option<String> {
        let (source, position) = hook.bound_at();
        Place::of(&self.sources, source, position).map(|place| place.short())
    }

    /// The options that a script declares.
    ///
    /// # Errors
    /// It is not there or does not compile.
    pub fn params(&self, program: &Program) -> Result<Vec<Declared>, Failure> {
        Ok(self.compiled(program)?.params)
    }

    /// What can be said of a script without running it.
    ///
    /// # Errors
    /// It, or a module that it imports, is not there or does not compile.
    pub fn describe(&self, program: &Program) -> Result<Description, Failure> {
        let script = self.compiled(program)?;
        let imported = self.modules.imported(&self.engine, &script.id, &script.ast);
        let imported = imported.map_err(|error| self.failure(&script.id, &error))?;
        let (mut points, mut texts, mut sources) = (Vec::new(), BTreeSet::new(), Vec::new());
        let all = std::iter::once((script.id.clone(), &script.ast))
            .chain(imported.iter().map(|(id, ast)| (id.clone(), &**ast)));
        for (id, ast) in all {
            let place = |position| Place::of(&self.sources, &id, position);
            let here =
                describe::points(ast).into_iter().filter_map(|(name, at)| Some((name, place(at)?)));
            points.extend(here);
            texts.append(&mut describe::texts(ast));
            let text =
                self.sources.get(&id).map(|source| source.text().to_owned()).unwrap_or_default();
            sources.push((id, text));
        }
        Ok(Description { params: script.params, models: script.models, points, texts, sources })
    }

    fn compiled(&self, program: &Program) -> Result<Script, Failure> {
        let _deadline = self.deadline()?;
        match program {
            Program::File(path) => self.read(path),
            Program::Bundle(bundle) => {
                self.modules.give(&bundle.texts);
                self.compile(
                    &bundle.main,
                    bundle.texts.get(&bundle.main).map_or("", String::as_str),
                )
            }
        }
    }

    /// Watches the clock for the work that follows, until it is dropped: as much time as the
    /// settings allow.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn deadline(&self) -> Result<Deadline> {
        Deadline::start(self.session.settings().limits)
    }

    pub(super) fn limit_memory(&self) {
        budget::set_limit(
            usize::try_from(self.session.settings().limits.memory).unwrap_or(usize::MAX),
        );
    }

    fn read(&self, path: &Path) -> Result<Script, Failure> {
        let id = path.display().to_string();
        let text = self.modules.read(path, &id).map_err(Failure::usage)?;
        self.compile(&id, &text)
    }

    fn compile(&self, id: &str, text: &str) -> Result<Script, Failure> {
        self.sources.add(id, text);
        let mut ast = compile(&self.engine, text).map_err(|error| self.failure(id, &error))?;
        ast.set_source(id);
        self.sources.describe(id, &ast);
        let (mut params, mut models) = (declared(&ast), named(&ast));
        let imported = self
            .modules
            .imported(&self.engine, id, &ast)
            .map_err(|error| self.failure(id, &error))?;
        params.extend(imported.iter().flat_map(|(_, ast)| declared(ast)));
        models.extend(imported.iter().flat_map(|(_, ast)| named(ast)));
        Ok(Script { id: id.into(), ast, params, models })
    }

    fn evaluate(&self, script: &Script) -> Result<Dynamic, Failure> {
        self.limit_memory();
        self.session.params().clear();
        let value = panics::catch_bug(|| {
            self.engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &script.ast)
        })?
        .map_err(|error| self.failure(&script.id, &error))
        .map_err(|failure| {
            if self.session.models().refused() { failure.into_usage() } else { failure }
        })?;
        interrupt::check_failed()?;
        Ok(value)
    }

    /// Prints a value as `print` does. Nothing is printed of a script without a value.
    pub(super) fn show(&self, value: &Dynamic) -> Result<(), Failure> {
        if !value.is_unit() {
            self.answer("print(value)", [("value", value.clone())]).map(drop)?;
        }
        self.console.check().map_err(Failure::from)
    }

    pub(super) fn failure(&self, id: &str, error: &rhai::EvalAltResult) -> Failure {
        Failure::of_script(&self.engine, &self.sources, id, error)
    }
}
