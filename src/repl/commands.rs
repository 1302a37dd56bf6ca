//! The commands of a session (`:help`, `:run`, …), as a table that running, `:help` and completion
//! read.

use crate::script::Failure;
use crate::{did_you_mean, error, nearest};

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// The name of a function, a hook point or a command, or nothing.
    Name,
    /// The path of a file.
    File,
    /// A piece of script.
    Script,
}

/// What a command does. The session carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Shows the help on a name, or the list of commands.
    Help,
    /// Lists the hook points.
    Points,
    /// Lists the variables and functions.
    Variables,
    /// Lists the hooks that variables hold.
    Hooks,
    /// Lists the loaded models.
    Models,
    /// Runs a script.
    Run,
    /// Runs a script's definitions now and whenever the file changes.
    Watch,
    /// Measures how long a piece of script takes.
    Time,
    /// Writes the session as a script.
    Save,
    /// Forgets variables, functions and imports.
    Reset,
    /// Ends the session.
    Quit,
}

/// A row of the table.
pub struct Command {
    /// With the colon, as in `:help`.
    pub name: &'static str,
    /// What follows it.
    pub takes: Takes,
    /// The argument's name in the help; empty if there is none.
    pub argument: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What it does, for the session.
    pub action: Action,
}

/// Every command, in the order of `:help`.
pub const COMMANDS: &[Command] = &[
    Command {
        name: ":help",
        takes: Takes::Name,
        argument: "[NAME]",
        about: "what a function, a hook point or a command is, with an example; `:help functions` lists those; \
                without a name this list",
        action: Action::Help,
    },
    Command {
        name: ":points",
        takes: Takes::Nothing,
        argument: "",
        about: "the hook points, in the sizes of the model m if there is one",
        action: Action::Points,
    },
    Command {
        name: ":vars",
        takes: Takes::Nothing,
        argument: "",
        about: "the variables and functions of this session",
        action: Action::Variables,
    },
    Command {
        name: ":hooks",
        takes: Takes::Nothing,
        argument: "",
        about: "the hooks that variables hold, how often each fired in its last pass and what that cost",
        action: Action::Hooks,
    },
    Command {
        name: ":model",
        takes: Takes::Nothing,
        argument: "",
        about: "the models that are loaded",
        action: Action::Models,
    },
    Command {
        name: ":run",
        takes: Takes::File,
        argument: "FILE",
        about: "run a script as if it were typed here",
        action: Action::Run,
    },
    Command {
        name: ":watch",
        takes: Takes::File,
        argument: "FILE",
        about: "take the functions of a script, now and whenever it changes: at the next input, or the next pass",
        action: Action::Watch,
    },
    Command {
        name: ":time",
        takes: Takes::Script,
        argument: "EXPR",
        about: "how long an expression takes",
        action: Action::Time,
    },
    Command {
        name: ":save",
        takes: Takes::File,
        argument: "FILE",
        about: "write the session as a script that runs",
        action: Action::Save,
    },
    Command {
        name: ":reset",
        takes: Takes::Nothing,
        argument: "",
        about: "forget variables, functions and imports; models stay loaded",
        action: Action::Reset,
    },
    Command {
        name: ":quit",
        takes: Takes::Nothing,
        argument: "",
        about: "leave, as Ctrl-D does",
        action: Action::Quit,
    },
];

/// The command to use in place of `exit`, `help` and other words that mean one in other shells.
pub fn hint(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_end_matches(';');
    match text.strip_suffix("()").unwrap_or(text) {
        "exit" | "quit" | "bye" | "q" => Some(":quit leaves, as Ctrl-D does"),
        "help" | "?" | "h" => Some(
            ":help lists the commands, :help functions the functions; :help NAME tells what one is",
        ),
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

/// Whether an input is a command rather than a piece of script.
pub fn is_command(line: &str) -> bool {
    line.trim_start().starts_with(':')
}

/// The command that a line names, and its argument.
///
/// # Errors
/// There is no such command, its argument is missing, or it takes none.
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
        (Takes::File | Takes::Script, "") => {
            let Command { name, argument, .. } = command;
            Err(error!("{name} takes something: {name} {argument}").into())
        }
        _ => Ok((command, argument)),
    }
}

/// The command of that name, or the only one whose name begins with it.
fn find(name: &str) -> Option<&'static Command> {
    let mut begin =
        COMMANDS.iter().filter(|command| command.name.starts_with(name) && name.len() > 1);
    match (COMMANDS.iter().find(|command| command.name == name), begin.next(), begin.next()) {
        (Some(exact), ..) => Some(exact),
        (None, only, None) => only,
        _ => None,
    }
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
