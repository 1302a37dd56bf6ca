//! A session: reads inputs, runs them, and shows their values.

use std::cell::RefCell;
use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use rhai::Dynamic;

use super::change_notifier::ChangeNotifier;
use super::commands::{self, Action, Command};
use super::editor::Editor;
use super::input::{Input, InputSource};
use super::piped::PipedInput;
use super::{help, lexer, listing, transcript};
use crate::script::{Console, Failure, Host, Workspace};
use crate::system::directory::HeldDirectory;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::{Error, error};

struct Session {
    workspace: Rc<RefCell<Workspace>>,
    console: Console,
    /// The id of the model that the variable `m` holds.
    model: Option<String>,
    /// Prints above the line that is being typed. None without a terminal that allows it.
    notifier: Option<ChangeNotifier>,
}

/// Whether the session goes on after an input.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Input,
    End,
}

/// Runs a session: loads the model `m`, runs the script in `file`, then the inputs that are typed
/// or piped in.
///
/// # Errors
/// The model can't be loaded or the script can't be read. From a pipe, also the first input that
/// fails.
pub fn run(host: Host, model: Option<&str>, file: Option<&Path>) -> Result<(), Failure> {
    let interactive = stdin().is_terminal() && stdout().is_terminal();
    let mut session = Session {
        workspace: Rc::new(RefCell::new(Workspace::new(host))),
        console: Console::default(),
        model: model.map(str::to_owned),
        notifier: None,
    };
    session
        .workspace
        .borrow()
        .host()
        .session()
        .run()
        .begin_apart("session", HeldDirectory::open(Path::new(".")).ok())
        .map_err(Failure::usage)?;
    session.set_model().map_err(Failure::into_usage)?;
    let ended = if interactive { session.talk(file) } else { session.read_pipe(file) };
    let closed = session.close();
    ended.and(closed)
}

impl Session {
    /// Runs inputs from a terminal. An error is shown, and the session goes on.
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
        let mut editor = Editor::new(&self.workspace)?;
        self.notifier = editor.notifier();
        loop {
            // A Ctrl-C that came just after an input had ended must not stop the next one.
            interrupt::clear();
            match editor.next()? {
                Input::End => return Ok(()),
                Input::Discarded => {}
                Input::Text(text) => match self.input(&text) {
                    Ok(Next::End) => return Ok(()),
                    Ok(Next::Input) => {}
                    Err(failure) => notice(&failure),
                },
            }
            // The terminal was closed: nobody reads what the session prints.
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

    /// Runs inputs from a pipe. The first error ends the session.
    fn read_pipe(&mut self, file: Option<&Path>) -> Result<(), Failure> {
        if let Some(file) = file {
            self.run_file(file)?;
        }
        let mut inputs = PipedInput::new(stdin().lock());
        loop {
            match inputs.next()? {
                Input::Text(text)
                    if self.input(&text).map_err(Failure::into_scripts)? == Next::Input => {}
                _ => return Ok(()),
            }
        }
    }

    fn input(&mut self, text: &str) -> Result<Next, Failure> {
        if commands::is_command(text) {
            let parsed = commands::parse(text);
            if !matches!(&parsed, Ok((command, _)) if command.action == Action::Time) {
                self.workspace.borrow_mut().skip(text);
            }
            let (command, argument) = parsed?;
            return self.command(command, argument);
        }
        if let Some(hint) = commands::hint(text).filter(|_| !self.defines(text)) {
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

    fn command(&mut self, command: &Command, argument: &str) -> Result<Next, Failure> {
        match command.action {
            Action::Help => self.help(argument),
            Action::Points => self.list(listing::points),
            Action::Variables => self.list(listing::variables),
            Action::Hooks => self.list(listing::hooks),
            Action::Models => self.list(listing::models),
            Action::Run => self.run_file(&path(command.name, argument)?)?,
            Action::Watch => self.watch(&path(command.name, argument)?)?,
            Action::Time => self.time(argument)?,
            Action::Save => self.save(&path(command.name, argument)?)?,
            Action::Reset => self.reset()?,
            Action::Quit => return Ok(Next::End),
        }
        Ok(Next::Input)
    }

    /// Shows the help on a name. An unknown name does not end the session, not even from a pipe.
    fn help(&self, name: &str) {
        match help::about(&self.workspace.borrow(), name) {
            Ok(lines) => lines.iter().for_each(|line| self.console.line(line)),
            Err(failure) => notice(&failure),
        }
    }

    fn list(&self, lines: fn(&Workspace) -> Vec<String>) {
        for line in lines(&self.workspace.borrow()) {
            self.console.line(&line);
        }
    }

    /// Whether the session has a variable or a function of that name.
    fn defines(&self, name: &str) -> bool {
        let (workspace, name) = (self.workspace.borrow(), name.trim().trim_end_matches("()"));
        let functions = workspace.host().session().namespace().functions();
        workspace.variable(name).is_some() || functions.iter().any(|(known, _)| known == name)
    }

    /// Shows the value of an input, unless the input ends with a semicolon; at a terminal also a
    /// sparkline of a series of numbers.
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
        let (notifier, path) = (self.notifier.clone(), file.to_owned());
        let on_change = move || {
            if let Some(notifier) = &notifier {
                notifier.changed(&path);
            }
        };
        self.workspace.borrow_mut().watch(file, on_change)?;
        notice(format_args!("watching {}", file.display()));
        Ok(())
    }

    fn time(&mut self, text: &str) -> Result<(), Failure> {
        let began = Instant::now();
        let value = self.workspace.borrow_mut().input(text);
        let took = began.elapsed();
        self.show(text, &value?)?;
        self.console.line(&format!("took {}", listing::duration(took)));
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        transcript::save(&self.workspace.borrow(), path)?;
        self.console.line(&format!("wrote {}", path.display()));
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

    /// Writes the record of the session, if it saved anything or `--out` was given.
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

/// The path in a command's argument: in quotes or not, `~/` for the home directory.
fn path(command: &str, argument: &str) -> Result<PathBuf, Failure> {
    let bare =
        argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument);
    if bare.is_empty() {
        return Err(error!("{command} takes a file").into());
    }
    match (bare.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        _ => Ok(bare.into()),
    }
}
