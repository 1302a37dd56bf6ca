//! Standard output of a script and of the commands: a reader that went away is no error, a full disk is.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;

use crate::{Result, error};

/// Standard output. A clone is the same one.
#[derive(Clone, Default)]
pub struct Console(Rc<RefCell<State>>);

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// The reader went away: nothing more is written.
    Closed,
    Failed(io::Error),
}

impl Console {
    /// Writes nothing.
    pub fn silent() -> Self {
        Self(Rc::new(RefCell::new(State::Closed)))
    }

    /// Writes a line. A failure is kept for [`Console::check`], because Rhai's `print` can't fail.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes a part of a line, at once.
    pub fn text(&self, text: &str) {
        let state = &mut *self.0.borrow_mut();
        if matches!(state, State::Open) {
            let mut out = io::stdout().lock();
            match write!(out, "{text}").and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(cause) if cause.kind() == ErrorKind::BrokenPipe => *state = State::Closed,
                Err(cause) => *state = State::Failed(cause),
            }
        }
    }

    pub fn lines(&self, lines: impl IntoIterator<Item = String>) {
        lines.into_iter().for_each(|line| self.line(&line));
    }

    /// # Errors
    /// Something could not be written: a full disk behind a redirection, say.
    pub fn check(&self) -> Result<()> {
        match &*self.0.borrow() {
            State::Failed(cause) => Err(error!("standard output can't be written to: {cause}")),
            _ => Ok(()),
        }
    }
}
