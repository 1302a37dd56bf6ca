//! What can be typed besides the language: one table, from which `:help` and completion read too.

use std::path::PathBuf;
use std::time::Instant;

use super::{Next, Repl, help, listing, transcript};
use crate::script::Failure;
use crate::system::message::notice;
use crate::{did_you_mean, error, nearest};

/// What stands after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// A name that help is asked for, or nothing.
    Name,
    File,
    /// What is typed at the prompt.
    Input,
}

pub struct Command {
    pub name: &'static str,
    pub takes: Takes,
    /// How its argument is called.
    pub argument: &'static str,
    pub about: &'static str,
    run: fn(&mut Repl, &str) -> Result<Next, Failure>,
}

pub const COMMANDS: &[Command] = &[
    Command {
        name: ":help",
        takes: Takes::Name,
        argument: "[NAME]",
        about: "what a function, a hook point or a command is, with an example; without a name this list",
        run: |repl, name| {
            // A name that there is no help on ends no session, from a pipe either.
            if let Err(failure) = help::show(repl, name) {
                notice(&failure);
            }
            Ok(Next::Input)
        },
    },
    Command {
        name: ":points",
        takes: Takes::Nothing,
        argument: "",
        about: "the hook points, in the sizes of the model m if there is one",
        run: |repl, _| shown(repl, listing::points),
    },
    Command {
        name: ":vars",
        takes: Takes::Nothing,
        argument: "",
        about: "the variables and functions of this session",
        run: |repl, _| shown(repl, listing::variables),
    },
    Command {
        name: ":hooks",
        takes: Takes::Nothing,
        argument: "",
        about: "the hooks that variables hold, how often each fired in its last pass and what that cost",
        run: |repl, _| shown(repl, listing::hooks),
    },
    Command {
        name: ":model",
        takes: Takes::Nothing,
        argument: "",
        about: "the models that are loaded",
        run: |repl, _| shown(repl, listing::models),
    },
    Command {
        name: ":run",
        takes: Takes::File,
        argument: "FILE",
        about: "run a script as if it were typed here",
        run: |repl, file| repl.run_file(&path(":run", file)?).map(|()| Next::Input),
    },
    Command {
        name: ":watch",
        takes: Takes::File,
        argument: "FILE",
        about: "take the functions of a script, now and whenever it changes: at the next input, or the next pass",
        run: |repl, file| repl.watch(&path(":watch", file)?).map(|()| Next::Input),
    },
    Command {
        name: ":time",
        takes: Takes::Input,
        argument: "EXPR",
        about: "how long an expression takes",
        run: time,
    },
    Command {
        name: ":save",
        takes: Takes::File,
        argument: "FILE",
        about: "write the session as a script that runs",
        run: |repl, file| {
            let path = path(":save", file)?;
            transcript::save(&repl.workspace.borrow(), &path)?;
            repl.console.line(&format!("wrote {}", path.display()));
            Ok(Next::Input)
        },
    },
    Command {
        name: ":reset",
        takes: Takes::Nothing,
        argument: "",
        about: "forget variables, functions and imports; models stay loaded",
        run: |repl, _| repl.reset().map(|()| Next::Input),
    },
    Command {
        name: ":quit",
        takes: Takes::Nothing,
        argument: "",
        about: "leave, as Ctrl-D does",
        run: |_, _| Ok(Next::End),
    },
];

/// What to say to one who asks for a command in another shell's words.
pub fn instead(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_end_matches(';');
    match text.strip_suffix("()").unwrap_or(text) {
        "exit" | "quit" | "bye" | "q" => Some(":quit leaves, as Ctrl-D does"),
        "help" | "?" | "h" => {
            Some(":help lists the commands, :help NAME tells what a function or a hook point is")
        }
        _ if text
            .strip_prefix("help ")
            .or(text.strip_prefix('?'))
            .is_some_and(|name| !name.trim().is_empty()) =>
        {
            Some(":help NAME tells what a function, a hook point or a command is")
        }
        _ => None,
    }
}

/// Whether a line is a command rather than a piece of script.
pub fn is_command(line: &str) -> bool {
    line.trim_start().starts_with(':')
}

/// The command that a line names, and what stands after it.
pub fn parse(line: &str) -> Result<(&'static Command, &str), Failure> {
    let line = line.trim();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let Some(command) = find(name) else {
        let error = error!("there is no command {name}");
        let names = COMMANDS.iter().map(|command| command.name);
        return Err(match did_you_mean(name, names.clone())
            .filter(|_| !nearest(name, names).is_empty())
        {
            Some(help) => error.help(help),
            None => error.help(":help lists the commands"),
        }
        .into());
    };
    match (command.takes, argument) {
        (Takes::Nothing, extra) if !extra.is_empty() => {
            Err(error!("{} takes nothing, and {extra:?} follows it", command.name).into())
        }
        (Takes::File | Takes::Input, "") => {
            let Command { name, argument, .. } = command;
            Err(error!("{name} takes something: {name} {argument}").into())
        }
        _ => Ok((command, argument)),
    }
}

/// By its name, or by a beginning that no other has.
fn find(name: &str) -> Option<&'static Command> {
    let mut begin =
        COMMANDS.iter().filter(|command| command.name.starts_with(name) && name.len() > 1);
    match (COMMANDS.iter().find(|command| command.name == name), begin.next(), begin.next()) {
        (Some(exact), ..) => Some(exact),
        (None, only, None) => only,
        _ => None,
    }
}

impl Command {
    pub fn run(&self, repl: &mut Repl, argument: &str) -> Result<Next, Failure> {
        (self.run)(repl, argument)
    }
}

fn shown(repl: &mut Repl, list: fn(&Repl) -> Vec<String>) -> Result<Next, Failure> {
    for line in list(repl) {
        repl.console.line(&line);
    }
    Ok(Next::Input)
}

/// A path, between quotes or not.
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

fn time(repl: &mut Repl, text: &str) -> Result<Next, Failure> {
    let began = Instant::now();
    let value = repl.workspace.borrow_mut().input(text);
    let took = began.elapsed();
    repl.show(text, &value?)?;
    repl.console.line(&format!("took {}", listing::duration(took)));
    Ok(Next::Input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_beginning() {
        for (typed, name, argument) in
            [(":q", ":quit", ""), (":ru x.rhai ", ":run", "x.rhai"), (":help", ":help", "")]
        {
            let (command, rest) = parse(typed).unwrap_or_else(|_| panic!("{typed}"));
            assert_eq!((command.name, rest), (name, argument));
        }
        for (typed, said) in [
            (":r x", "error: there is no command :r"),
            (":halp", "error: there is no command :halp\n  help: did you mean :help?"),
            (":quit now", "error: :quit takes nothing, and \"now\" follows it"),
            (":run", "error: :run takes something: :run FILE"),
        ] {
            let error = parse(typed).err().map(|failure| failure.to_string()).unwrap_or_default();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
