//! Standard output, for scripts and for the commands. A closed pipe is not an error, a full disk
//! is. Output of scripts can't send control sequences to the terminal.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::rc::Rc;

use comfy_table::Row;

use crate::output::picture::table::columns;
use crate::output::quota::Quota;
use crate::system::file::describe_io_error;
use crate::system::{escape, interrupt};
use crate::{Error, Result, error};

/// Standard output. A clone is the same one.
#[derive(Clone, Default)]
pub struct Console {
    state: Rc<RefCell<State>>,
    /// How much a script may still print.
    quota: Option<Quota>,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// The reader has closed its end of the pipe: nothing more is written.
    Closed,
    Failed(Error),
}

impl Console {
    /// The standard output of a script, which may print as much as `quota` allows.
    pub fn metered(quota: &Quota) -> Self {
        Self { quota: Some(quota.clone()), ..Self::default() }
    }

    /// Discards everything.
    pub fn silent() -> Self {
        Self { state: Rc::new(RefCell::new(State::Closed)), quota: None }
    }

    /// Writes a line. An error is kept for [`Console::check`], because Rhai's `print` can't fail.
    pub fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes and flushes a part of a line. On a terminal, control characters are shown instead of
    /// sent: much of the text comes from others.
    pub fn text(&self, text: &str) {
        self.write(&escape::for_stream(text, io::stdout()));
    }

    /// Writes a picture, whose colours are control sequences that this program made.
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

    /// Makes it writable again for another run, unless its reader has closed the pipe.
    pub fn renew(&self) {
        let state = &mut *self.state.borrow_mut();
        if matches!(state, State::Failed(_)) {
            *state = State::Open;
        }
    }

    /// Writes several lines.
    pub fn lines(&self, lines: impl IntoIterator<Item = String>) {
        lines.into_iter().for_each(|line| self.line(&line));
    }

    /// Writes rows aligned in columns, which on a terminal wrap to its width.
    pub fn columns<R: Into<Row>>(&self, rows: impl IntoIterator<Item = R>) {
        self.lines(columns(rows, terminal_width()));
    }

    /// Reports the error that kept something from being written.
    ///
    /// # Errors
    /// The disk behind a redirection is full, or the quota is used up, for example.
    pub fn check(&self) -> Result<()> {
        match &*self.state.borrow() {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// The width of pictures on a terminal that does not tell its own.
const WIDTH: usize = 80;

/// The width of the terminal in columns; `None` if standard output is not a terminal.
pub fn terminal_width() -> Option<usize> {
    std::io::stdout()
        .is_terminal()
        .then(|| terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into()))
}
