//! A session at the terminal, or from a pipe: an idea is a line, and what it made stays.

mod balance;
mod commands;
mod completer;
mod documented;
mod editor;
mod help;
mod highlighter;
mod history;
mod lexer;
mod listing;
mod names;
mod news;
mod piped;
mod transcript;

use std::cell::RefCell;
use std::io::{IsTerminal, stdin, stdout};
use std::path::Path;
use std::rc::Rc;

use rhai::Dynamic;

use crate::Error;
use crate::script::session::console::Console;
use crate::script::session::workspace::Workspace;
use crate::script::{Failure, Host};
use crate::system::directory::HeldDirectory;
use crate::system::interrupt;
use crate::system::message::notice;

/// A session.
pub struct Repl {
    workspace: Rc<RefCell<Workspace>>,
    console: Console,
    /// The model that `m` is, by its id.
    model: Option<String>,
    /// What speaks while a line is being typed.
    news: Option<news::News>,
}

/// What follows an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Input,
    End,
}

/// Where lines come from.
trait Lines {
    /// The next input, whole.
    fn next(&mut self) -> Result<Typed, Failure>;
}

/// What came of asking for an input.
enum Typed {
    Input(String),
    /// Ctrl-C: what was typed so far is given up.
    GivenUp,
    End,
}

/// Runs a session: the model `m`, the script in `file`, then what is typed or piped in.
///
/// # Errors
/// The model or the script can't be had. From a pipe, the first thing that fails.
pub fn run(host: Host, model: Option<&str>, file: Option<&Path>) -> Result<(), Failure> {
    let interactive = stdin().is_terminal() && stdout().is_terminal();
    let mut repl = Repl {
        workspace: Rc::new(RefCell::new(Workspace::new(host))),
        console: Console::default(),
        model: model.map(str::to_owned),
        news: None,
    };
    repl.workspace
        .borrow()
        .host()
        .session()
        .run()
        .begin_apart("session", HeldDirectory::open(Path::new(".")).ok())
        .map_err(Failure::usage)?;
    repl.set_model().map_err(Failure::into_usage)?;
    let ended = if interactive { repl.talk(file) } else { repl.read(file) };
    let closed = repl.close();
    ended.and(closed)
}

impl Repl {
    /// At a terminal, an error is shown, and the session goes on.
    fn talk(&mut self, file: Option<&Path>) -> Result<(), Failure> {
        interrupt::protect_session();
        self.greet();
        if let Some(file) = file {
            match self.run_file(file) {
                Err(failure) if failure.exit_code() == 2 => return Err(failure),
                Err(failure) => notice(&failure),
                Ok(()) => {}
            }
        }
        let mut lines = editor::Editor::new(&self.workspace)?;
        self.news = lines.news();
        loop {
            // Ctrl-C that came too late for what it was meant for.
            interrupt::clear();
            match lines.next()? {
                Typed::End => return Ok(()),
                Typed::GivenUp => {}
                Typed::Input(text) => match self.input(&text) {
                    Ok(Next::End) => return Ok(()),
                    Ok(Next::Input) => {}
                    Err(failure) => notice(&failure),
                },
            }
            // Nobody reads on: a terminal that was closed.
            self.console.check().map_err(Failure::from)?;
        }
    }

    fn greet(&self) {
        self.console.line(&format!(
            "precompute {}   :help lists what there is, Ctrl-D leaves",
            env!("CARGO_PKG_VERSION")
        ));
        if let Some(model) = self.workspace.borrow().variable("m") {
            self.console
                .line(&format!("m is {}", listing::summary(&self.workspace.borrow(), &model)));
        }
    }

    /// From a pipe, the first error ends it.
    fn read(&mut self, file: Option<&Path>) -> Result<(), Failure> {
        if let Some(file) = file {
            self.run_file(file)?;
        }
        let mut lines = piped::Piped::new(stdin().lock());
        loop {
            match lines.next()? {
                Typed::Input(text)
                    if self.input(&text).map_err(Failure::into_scripts)? == Next::Input => {}
                _ => return Ok(()),
            }
        }
    }

    fn input(&mut self, text: &str) -> Result<Next, Failure> {
        if commands::is_command(text) {
            let parsed = commands::parse(text);
            if !matches!(&parsed, Ok((command, _)) if command.takes == commands::Takes::Input) {
                self.workspace.borrow_mut().skip(text);
            }
            let (command, argument) = parsed?;
            return command.run(self, argument);
        }
        if let Some(hint) = commands::instead(text).filter(|_| !self.knows(text)) {
            self.workspace.borrow_mut().skip(text);
            self.console.line(hint);
            return Ok(Next::Input);
        }
        if text.trim().is_empty() {
            self.workspace.borrow_mut().skip(text);
            return Ok(Next::Input);
        }
        let value = self.workspace.borrow_mut().input(text)?;
        self.show(text, &value)?;
        Ok(Next::Input)
    }

    /// Whether the session has a variable or a function of that name.
    fn knows(&self, name: &str) -> bool {
        let (workspace, name) = (self.workspace.borrow(), name.trim().trim_end_matches("()"));
        let functions = workspace.host().session().live().functions();
        workspace.variable(name).is_some() || functions.iter().any(|(known, _)| known == name)
    }

    /// Shows the value of an input that does not end with a semicolon, and of a series of numbers
    /// its course where there is a terminal.
    fn show(&self, text: &str, value: &Dynamic) -> Result<(), Failure> {
        if lexer::is_statement(text) {
            return Ok(());
        }
        self.workspace.borrow().show(value)?;
        if stdout().is_terminal()
            && let Some(line) = listing::sparkline(value)
        {
            self.console.line(&line);
        }
        Ok(())
    }

    fn run_file(&mut self, file: &Path) -> Result<(), Failure> {
        let (text, value) = self.workspace.borrow_mut().run_file(file)?;
        self.show(&text, &value)
    }

    fn watch(&mut self, file: &Path) -> Result<(), Failure> {
        let (news, path) = (self.news.clone(), file.to_owned());
        let on_change = move || {
            if let Some(news) = &news {
                news.changed(path.clone());
            }
        };
        self.workspace.borrow_mut().watch(file, on_change)?;
        notice(format_args!("watching {}", file.display()));
        Ok(())
    }

    fn set_model(&mut self) -> Result<(), Failure> {
        match &self.model {
            Some(id) => self.workspace.borrow_mut().set_model(id),
            None => Ok(()),
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.workspace.borrow_mut().reset();
        self.set_model()
    }

    /// Writes the record of what was saved, if anything was.
    fn close(&self) -> Result<(), Failure> {
        let workspace = self.workspace.borrow();
        let run = workspace.host().session().run();
        if run.files().is_empty() && workspace.host().session().settings().out.is_none() {
            return Ok(());
        }
        workspace
            .host()
            .close(&transcript::compose(&workspace))
            .map_err(|error: Error| error.into())
    }
}
