//! Inputs from a terminal: a line that can be edited, with history, completion and colours.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Helper};

use super::balance::Balance;
use super::completer::Words;
use super::highlighter::Colours;
use super::news::News;
use super::{Lines, Typed, history};
use crate::script::Failure;
use crate::script::session::workspace::Workspace;
use crate::system::message::notice;
use crate::{Error, error};

const PROMPT: &str = "> ";

pub struct Editor {
    editor: rustyline::Editor<Help, FileHistory>,
    history: Option<PathBuf>,
    news: Option<News>,
}

/// What helps while a line is typed.
struct Help {
    words: Words,
    colours: Colours,
    balance: Balance,
}

impl Editor {
    /// # Errors
    /// The terminal can't be used.
    pub fn new(workspace: &Rc<RefCell<Workspace>>) -> Result<Self, Failure> {
        let config = Config::builder()
            .max_history_size(history::KEPT)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(cannot)?
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .tab_stop(4)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(cannot)?;
        editor.set_helper(Some(Help {
            words: Words::new(workspace),
            colours: Colours::default(),
            balance: Balance::default(),
        }));
        let history = match history::file().and_then(|file| prepare(&mut editor, file)) {
            Ok(file) => Some(file),
            Err(error) => {
                notice(format_args!(
                    "warning: what you type is not kept for the next session: {error}"
                ));
                None
            }
        };
        // Where a terminal can do little, nothing is said above a line that is being typed.
        let news = editor.create_external_printer().ok().map(News::new);
        Ok(Self { editor, history, news })
    }

    /// What speaks while a line is being typed.
    pub fn news(&self) -> Option<News> {
        self.news.clone()
    }
}

/// Reads the history, and sees that it can be written.
fn prepare(
    editor: &mut rustyline::Editor<Help, FileHistory>,
    file: PathBuf,
) -> crate::Result<PathBuf> {
    let cannot = |cause: &dyn std::fmt::Display| error!("{}: {cause}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|cause| cannot(&cause))?;
    }
    if file.exists() {
        editor.load_history(&file).map_err(|cause| cannot(&cause))?;
    }
    editor.append_history(&file).map_err(|cause| cannot(&cause))?;
    Ok(file)
}

fn cannot(cause: ReadlineError) -> Failure {
    Error::new(format!("the terminal can't be used: {cause}")).into()
}

impl Lines for Editor {
    fn next(&mut self) -> Result<Typed, Failure> {
        let typing = |typing: bool| self.news.iter().for_each(|news| news.set_typing(typing));
        typing(true);
        let typed = self.editor.readline(PROMPT);
        typing(false);
        let text = match typed {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Typed::GivenUp),
            Err(ReadlineError::Eof) => return Ok(Typed::End),
            Err(other) => return Err(cannot(other)),
        };
        if !text.trim().is_empty() {
            self.editor.add_history_entry(&text).map_err(cannot)?;
            // At once: a session that is killed has said what it did. That it can be written was
            // seen at the start.
            if let Some(file) = &self.history {
                let _ = self.editor.append_history(file);
            }
        }
        Ok(Typed::Input(text))
    }
}

impl Helper for Help {}

impl Hinter for Help {
    type Hint = String;
}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        self.balance.validate(context)
    }
}

impl Highlighter for Help {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> std::borrow::Cow<'l, str> {
        self.colours.highlight(line, at)
    }

    fn highlight_char(&self, line: &str, at: usize, kind: CmdKind) -> bool {
        self.colours.highlight_char(line, at, kind)
    }
}

impl Completer for Help {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words.complete(line, at))
    }
}
