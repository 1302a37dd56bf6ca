//! Inputs from a terminal: a line editor with history, completion and colours.

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

use super::change_notifier::ChangeNotifier;
use super::completer::ScriptCompleter;
use super::continuation::ContinuationValidator;
use super::highlighter::ScriptHighlighter;
use super::history;
use super::input::{Input, InputSource};
use crate::script::{Failure, Workspace};
use crate::system::message::notice;
use crate::{Error, error};

const PROMPT: &str = "> ";

/// An input source that edits lines at a terminal.
pub struct Editor {
    editor: rustyline::Editor<EditorHelper, FileHistory>,
    /// The history file; none if it can't be written.
    history: Option<PathBuf>,
    notifier: Option<ChangeNotifier>,
}

/// Completion, colours and multi-line inputs, as rustyline asks for them.
struct EditorHelper {
    completer: ScriptCompleter,
    highlighter: ScriptHighlighter,
    validator: ContinuationValidator,
}

impl Editor {
    /// An editor for a session.
    ///
    /// # Errors
    /// The terminal can't be used.
    pub fn new(workspace: &Rc<RefCell<Workspace>>) -> Result<Self, Failure> {
        let config = Config::builder()
            .max_history_size(history::MAX_ENTRIES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(cannot)?
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .tab_stop(4)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(cannot)?;
        editor.set_helper(Some(EditorHelper {
            completer: ScriptCompleter::new(workspace),
            highlighter: ScriptHighlighter::default(),
            validator: ContinuationValidator::default(),
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
        // A terminal that can't print above the line being typed gets no change notices.
        let notifier = editor.create_external_printer().ok().map(ChangeNotifier::new);
        Ok(Self { editor, history, notifier })
    }

    /// The notifier that prints above the line being typed, if the terminal allows it.
    pub fn notifier(&self) -> Option<ChangeNotifier> {
        self.notifier.clone()
    }
}

/// Loads the history file, and creates it if it is missing.
fn prepare(
    editor: &mut rustyline::Editor<EditorHelper, FileHistory>,
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

impl InputSource for Editor {
    fn next(&mut self) -> Result<Input, Failure> {
        let typing =
            |typing: bool| self.notifier.iter().for_each(|notifier| notifier.set_typing(typing));
        typing(true);
        let read = self.editor.readline(PROMPT);
        typing(false);
        let text = match read {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Input::Discarded),
            Err(ReadlineError::Eof) => return Ok(Input::End),
            Err(other) => return Err(cannot(other)),
        };
        if !text.trim().is_empty() {
            self.editor.add_history_entry(&text).map_err(cannot)?;
            // Written at once, so that a session that is killed keeps its history. `prepare` has
            // checked that the file can be written.
            if let Some(file) = &self.history {
                let _ = self.editor.append_history(file);
            }
        }
        Ok(Input::Text(text))
    }
}

impl Helper for EditorHelper {}

impl Hinter for EditorHelper {
    type Hint = String;
}

impl Validator for EditorHelper {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        self.validator.validate(context)
    }
}

impl Highlighter for EditorHelper {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> std::borrow::Cow<'l, str> {
        self.highlighter.highlight(line, at)
    }

    fn highlight_char(&self, line: &str, at: usize, kind: CmdKind) -> bool {
        self.highlighter.highlight_char(line, at, kind)
    }
}

impl Completer for EditorHelper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.completer.complete(line, at))
    }
}
