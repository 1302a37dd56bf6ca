//! Runs scripts: a host is one engine and the state that its runs share. The entry point for
//! programs that embed Precompute.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, Scope};

mod inspect;

use super::bind::output::json;
use super::diagnostics::failure::Failure;
use super::engine;
use super::hook::backward::warn_of_hooks_in_vain;
use super::program::bundle::Program;
use super::program::compile::compile;
use super::program::model_names::{NamedModel, named};
use super::program::modules::Modules;
use super::program::own_names::{Compiled, Role};
use super::program::params::{Declared, declared};
use super::program::source::Sources;
use super::run::console::Console;
use super::run::limits::Deadline;
use super::run::settings::Settings;
use super::run_session::Session;
use super::value::model::Model;
use crate::Result;
use crate::kernel::cpu::simd::Cpu;
use crate::output::record::{Command, DONE, Record, ScriptText, Versions};
use crate::system::fingerprint::Fingerprint;
use crate::system::{interrupt, panics};
use crate::tensor::budget;

/// The name in errors for a text that is not in a file.
pub(super) const INPUT: &str = "input";

/// An engine, the session that its scripts share, and the scripts read so far.
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

impl Script {
    /// The parameters that it declares.
    pub fn params(&self) -> &[Declared] {
        &self.params
    }
}

impl Host {
    /// A host with the given settings.
    ///
    /// # Errors
    /// The settings can't be met: this machine lacks the device, for example.
    pub fn new(settings: Settings) -> Result<Self> {
        let session = Rc::new(Session::new(settings)?);
        let (sources, quota) = (Sources::default(), session.quota());
        let console =
            if session.settings().silent { Console::silent() } else { Console::metered(quota) };
        let modules = Modules::new(&sources);
        let engine = engine::build(&session, &console, modules.clone());
        Ok(Self { engine, session, sources, modules, console })
    }

    /// The state that the host's runs share.
    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Runs the script in `path`, prints its value and writes the run's record.
    ///
    /// # Errors
    /// The script failed, or the command line does not fit it. The host can run another script
    /// afterwards.
    pub fn run_file(&self, path: &Path) -> Result<Dynamic, Failure> {
        self.run(&Program::File(path.into()))
    }

    /// Runs a script that may come from a file or from a bundle; otherwise as
    /// [`run_file`](Self::run_file).
    ///
    /// # Errors
    /// As [`run_file`](Self::run_file).
    pub fn run(&self, program: &Program) -> Result<Dynamic, Failure> {
        interrupt::clear();
        let script = self.prepare(program)?;
        self.run_prepared(program, &script)
    }

    /// Reads and compiles a script and its imports, as the files are now.
    ///
    /// # Errors
    /// The script can't be read or does not compile.
    pub fn prepare(&self, program: &Program) -> Result<Script, Failure> {
        self.modules.forget();
        self.compiled(program)
    }

    /// The files that the script last prepared was read from, or was looked for in, and their
    /// contents then.
    pub fn files(&self) -> Vec<(PathBuf, Fingerprint)> {
        self.modules.sought()
    }

    /// The names and texts of the scripts read so far.
    pub fn texts(&self) -> Vec<(String, String)> {
        let text = |id: String| {
            let source = self.sources.get(&id)?;
            Some((id, source.text().to_owned()))
        };
        self.sources.ids().into_iter().filter_map(text).collect()
    }

    /// Runs a prepared script as [`run`](Self::run) does. Models stay loaded from one run to the
    /// next.
    ///
    /// # Errors
    /// As [`run_file`](Self::run_file).
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
        self.session.adapters().begin();
        self.session.data().begin();
        self.session.stores().begin();
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
            self.session.stores().close()?;
            self.session.run().write_records()?;
            Ok(value)
        });
        self.session.stores().abandon();
        let mut record = self.record(self.source(&script.id), value.as_ref().err());
        record.recipe = program.recipe().cloned();
        let recorded = self.session.run().finish(&record).map_err(Failure::from);
        let value = value?;
        recorded.map(|()| value)
    }

    /// Checks the command line against the parameters that a script declares and the models that it
    /// names, before anything is loaded.
    fn check_command(&self, script: &Script) -> Result<(), Failure> {
        self.session.params().check(&script.params).map_err(Failure::usage)?;
        self.session.models().check(&script.models).map_err(Failure::usage)
    }

    /// A script's entry in the run's record.
    fn source(&self, id: &str) -> ScriptText {
        ScriptText::new(id, self.sources.get(id).as_deref().map_or("", |source| source.text()))
    }

    /// Writes the record of a REPL session, whose transcript is `text`.
    ///
    /// # Errors
    /// The record can't be written.
    pub fn close(&self, text: &str) -> Result<()> {
        self.session.stores().close()?;
        self.session.run().write_records()?;
        let record = self.record(ScriptText::new("session", text), None);
        self.session.run().finish(&record)
    }

    /// Everything that is needed to repeat the run.
    fn record(&self, script: ScriptText, failure: Option<&Failure>) -> Record {
        let session = &self.session;
        let (started, seconds) = session.run().time();
        let imports = self.sources.ids().into_iter().filter(|id| *id != script.path);
        let parameters = session.params().values();
        Record {
            imports: imports.map(|id| self.source(&id)).collect(),
            script,
            recipe: None,
            parameters: parameters
                .into_iter()
                .map(|(name, v)| (name, json(&v).unwrap_or_default()))
                .collect(),
            command: Command { set: session.params().given(), ..session.settings().into() },
            models: session.models().asked().iter().map(Model::record).collect(),
            adapters: session.adapters().used(),
            data: session.data().used(),
            first_seed: session.random().first(),
            seed: session.random().seed(),
            versions: Versions::CURRENT,
            engine: Some(Cpu::chosen().name().into()),
            started,
            seconds,
            outcome: failure.map_or_else(|| DONE.into(), |failure| failure.message().to_owned()),
            files: session.run().files(),
        }
    }

    /// Evaluates a text that is not in a file. Its imports are looked for in the working directory.
    ///
    /// # Errors
    /// The text does not compile, or it failed.
    pub fn eval(&self, text: &str) -> Result<Dynamic, Failure> {
        interrupt::clear();
        let script = self.compile(INPUT, text)?;
        self.evaluate(&script)
    }

    /// The value of the script in `path`. Nothing is printed or recorded.
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

    /// Evaluates an expression written by this program, with `variables` in scope. Errors show no
    /// place in it.
    ///
    /// # Errors
    /// The expression failed.
    pub fn ask(
        &self,
        text: &str,
        variables: impl IntoIterator<Item = (&'static str, Dynamic)>,
    ) -> Result<Dynamic, Failure> {
        interrupt::clear();
        self.answer(text, variables)
    }

    /// [`ask`](Self::ask) without clearing an interrupt.
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

    /// Checks that a text compiles.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, text: &str) -> Result<(), Failure> {
        let _deadline = self.deadline()?;
        compile(&self.engine, text).map(drop).map_err(|error| self.failure("", &error))
    }

    /// Reads and compiles a script.
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

    /// Starts the time limit of the settings for the work that follows, until the result is
    /// dropped.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn deadline(&self) -> Result<Deadline> {
        Deadline::start(self.session.settings().limits)
    }

    /// Applies the memory limit of the settings to tensors.
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
        let compiled = self.modules.names().compile(&self.engine, id, text, Role::Script);
        let Compiled { written, ast } = compiled.map_err(|error| self.failure(id, &error))?;
        self.sources.describe(id, &written);
        let (mut params, mut models) = (declared(&written), named(&written));
        let imported = self
            .modules
            .imported(&self.engine, id, &written)
            .map_err(|error| self.failure(id, &error))?;
        params.extend(imported.iter().flat_map(|(_, ast)| declared(ast)));
        models.extend(imported.iter().flat_map(|(_, ast)| named(ast)));
        Ok(Script { id: id.into(), ast, params, models })
    }

    /// Runs a compiled script and returns its value.
    fn evaluate(&self, script: &Script) -> Result<Dynamic, Failure> {
        self.limit_memory();
        self.session.params().clear();
        let value = panics::catch_bug(|| {
            self.engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &script.ast)
        })?;
        warn_of_hooks_in_vain(value.is_err());
        let value = value.map_err(|error| self.failure(&script.id, &error)).map_err(|failure| {
            if self.session.models().refused() { failure.into_usage() } else { failure }
        })?;
        interrupt::check_failed()?;
        Ok(value)
    }

    /// Prints a value as `print` does, but nothing for `()`.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(super) fn show(&self, value: &Dynamic) -> Result<(), Failure> {
        if !value.is_unit() {
            self.answer("print(value)", [("value", value.clone())]).map(drop)?;
        }
        self.console.check().map_err(Failure::from)
    }

    /// The failure that an error in the script `id` amounts to.
    pub(super) fn failure(&self, id: &str, error: &rhai::EvalAltResult) -> Failure {
        Failure::of_script(&self.engine, &self.sources, id, error)
    }
}
