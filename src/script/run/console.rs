//! Standard output of a script and of the commands: a reader that went away is no error, a full
//! disk is. What a script prints can't command the terminal.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::rc::Rc;

use crate::output::quota::Quota;
use crate::system::file::describe_io_error;
use crate::system::{escape, interrupt};
use crate::{Error, Result, error};

/// Standard output. A clone is the same one.
#[derive(Clone, Default)]
pub struct Console {
    state: Rc<RefCell<State>>,
    /// What a script may print.
    quota: Option<Quota>,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// The reader went away: nothing more is written.
    Closed,
    Failed(Error),
}

impl Console {
    /// A script's, who may print as much as `quota` allows.
    pub fn metered(quota: &Quota) -> Self {
        Self { quota: Some(quota.clone()), ..Self::default() }
    }

    /// Writes nothing.
    pub fn silent() -> Self {
        Self { state: Rc::new(RefCell::new(State::Closed)), quota: None }
    }

    /// Writes a line. A failure is kept for [`Console::check`], because Rhai's `print` can't fail.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes a part of a line, at once. On a terminal, what would command it is shown instead:
    /// much of what is written is others' text.
    pub fn text(&self, text: &str) {
        self.write(&escape::for_stream(text, io::stdout()));
    }

    /// Writes a picture of this program's own, with its colours.
    pub fn picture(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&self, text: &str) {
        let state = &mut *self.state.borrow_mut();
        if let (State::Open, Some(quota)) = (&*state, &self.quota)
            && let Err(error) = quota.take(text.len())
        {
            *state = State::Failed(error);
        }
        if let (State::Open, Err(error)) = (&*state, interrupt::check_failed()) {
            *state = State::Failed(error);
        }
        if matches!(state, State::Open) {
            let mut out = io::stdout().lock();
            match write!(out, "{text}").and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(cause) if cause.kind() == ErrorKind::BrokenPipe => *state = State::Closed,
                Err(cause) => {
                    *state = State::Failed(error!(
                        "standard output can't be written to: {}",
                        describe_io_error(&cause)
                    ))
                }
            }
        }
    }

    /// Opens it again for another run, unless its reader went away.
    pub fn renew(&self) {
        let state = &mut *self.state.borrow_mut();
        if matches!(state, State::Failed(_)) {
            *state = State::Open;
        }
    }

    pub fn lines(&self, lines: impl IntoIterator<Item = String>) {
        lines.into_iter().for_each(|line| self.line(&line));
    }

    /// # Errors
    /// Something could not be written: a full disk behind a redirection, say, or more than the
    /// quota allows.
    pub fn check(&self) -> Result<()> {
        match &*self.state.borrow() {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// The width of pictures where the terminal does not say its own.
const WIDTH: usize = 80;

/// The terminal's width, where standard output is one.
pub fn terminal_width() -> Option<usize> {
    std::io::stdout()
        .is_terminal()
        .then(|| terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into()))
}
