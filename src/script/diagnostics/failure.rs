//! A failed run as the user reads it: one sentence, the place under a caret, the calls that led
//! there, and help.

use std::fmt;

use rhai::{Engine, EvalAltResult, Position};

use super::explain::explain;
use super::try_catch::Caught;
use crate::Error;
use crate::script::errors::error::INTERRUPTED;
use crate::script::program::compile::is_closure;
use crate::script::program::location::Location;
use crate::script::program::own_names::written;
use crate::script::program::source::{Source, Sources};

/// The number of callers shown below an error, the nearest first.
const TRAIL: usize = 4;

/// Why a run ended early.
#[derive(Debug, Clone)]
pub struct Failure {
    kind: Kind,
    message: String,
    help: Option<String>,
    place: Option<Box<Location>>,
    /// The calls that led to the place, the nearest first.
    trail: Vec<(Step, Location)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// The script failed.
    Script,
    /// The command line asks for something impossible.
    Usage,
    Interrupted,
    /// What was ended from outside may succeed at another attempt.
    Retryable,
}

/// What happens at a place on the way to an error.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Calls(String),
    CallsClosure,
    Imports,
}

impl Failure {
    /// A command line that asks for something impossible.
    pub fn usage(error: Error) -> Self {
        Self::from(error).into_usage()
    }

    /// Work that was ended from outside, of which another attempt may succeed.
    pub fn retryable(error: Error) -> Self {
        Self { kind: Kind::Retryable, ..Self::from(error) }
    }

    /// An error at a place in a script, or in a file beside it.
    pub fn at_place(error: Error, place: Location) -> Self {
        Self { place: Some(place.into()), ..Self::from(error) }
    }

    /// A command line that asks for something impossible because of a place in a file.
    pub fn usage_at(error: Error, place: Location) -> Self {
        Self { kind: Kind::Usage, ..Self::at_place(error, place) }
    }

    /// The error with which evaluating or compiling the script `id` ended.
    pub fn of_script(engine: &Engine, sources: &Sources, id: &str, error: &EvalAltResult) -> Self {
        let (base, file, frames) = unwind(error, id);
        let source = match sources.at(&file, base.position()) {
            Some(at) => at.source,
            None => sources.get(&file),
        };
        let place = Location::of(sources, &file, position(base, source.as_deref()));
        let function = match frames.first().map(|frame| &frame.step) {
            Some(Step::Calls(function)) => Some(function.clone()),
            _ => None,
        };
        let mut trail: Vec<(Step, Location)> = Vec::new();
        for frame in frames {
            let Some(at) = Location::of(sources, &frame.file, frame.position) else { continue };
            let shown = trail.last().map(|(_, at)| at).or(place.as_ref());
            if shown != Some(&at) {
                trail.push((frame.step, at));
            }
        }
        if let EvalAltResult::ErrorRuntime(thrown, _) = base
            && let Some(caught) = thrown.read_lock::<Caught>()
        {
            // An error that was caught and thrown again keeps its own trail, followed by the
            // handler's.
            let mut failure = caught.failure().clone();
            trail.retain(|step| !failure.trail.contains(step));
            failure.trail.extend(trail);
            return failure;
        }
        let explained =
            explain(engine, sources, source.as_deref(), place.as_ref(), function.as_deref(), base);
        let kind = match base {
            EvalAltResult::ErrorTerminated(token, _) if token.to_string() == INTERRUPTED => {
                Kind::Interrupted
            }
            _ => Kind::Script,
        };
        let (message, help) =
            (explained.message().to_owned(), explained.help_text().map(str::to_owned));
        match place {
            Some(place) => Self { kind, message, help, place: Some(place.into()), trail },
            // The place itself is unknown: the nearest call takes its position.
            None if !trail.is_empty() => {
                let (_, place) = trail.remove(0);
                Self { kind, message, help, place: Some(place.into()), trail }
            }
            None => Self { kind, message, help, place: None, trail },
        }
    }

    /// The same failure, blamed on the command line.
    pub fn into_usage(self) -> Self {
        let kind = if self.kind == Kind::Interrupted { Kind::Interrupted } else { Kind::Usage };
        Self { kind, ..self }
    }

    /// The same failure, blamed on the script.
    pub fn into_scripts(self) -> Self {
        let kind = if self.kind == Kind::Interrupted { Kind::Interrupted } else { Kind::Script };
        Self { kind, ..self }
    }

    /// The exit code of the process: 1 if the script failed, 2 if the command line was wrong, 75
    /// (EX_TEMPFAIL) if another attempt may succeed, 130 if the user interrupted it.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Script => 1,
            Kind::Usage => 2,
            Kind::Interrupted => 130,
            Kind::Retryable => 75,
        }
    }

    /// Whether the command line was wrong.
    pub fn is_usage(&self) -> bool {
        self.kind == Kind::Usage
    }

    /// Whether the run was ended from outside: by the user, or because its script has changed.
    pub fn is_interrupted(&self) -> bool {
        self.kind == Kind::Interrupted
    }

    /// The sentence, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can try.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The place in the script.
    pub fn place(&self) -> Option<&Location> {
        self.place.as_deref()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_interrupted() { Kind::Interrupted } else { Kind::Script };
        let (message, help) = (error.message().into(), error.help_text().map(str::to_owned));
        Self { kind, message, help, place: None, trail: Vec::new() }
    }
}

/// One call on the way from the script's top level to the error.
struct Frame {
    step: Step,
    file: String,
    position: Position,
}

/// The innermost error, the script that contains it, and the calls that led there, the nearest
/// first.
fn unwind<'a>(error: &'a EvalAltResult, id: &str) -> (&'a EvalAltResult, String, Vec<Frame>) {
    let (mut error, mut file, mut frames) = (error, id.to_owned(), Vec::new());
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                let step = if is_closure(name) {
                    Step::CallsClosure
                } else {
                    Step::Calls(written(name).to_owned())
                };
                frames.push(Frame { step, file: file.clone(), position: *position });
                if !source.is_empty() {
                    file = source.clone();
                }
                error = inner;
            }
            EvalAltResult::ErrorInModule(source, inner, position) => {
                frames.push(Frame { step: Step::Imports, file: file.clone(), position: *position });
                file = source.clone();
                error = inner;
            }
            _ => {
                frames.reverse();
                return (error, file, frames);
            }
        }
    }
}

/// The position of the innermost error. For two simultaneous uses of one captured value Rhai
/// reports only the function's name, so the position is found if there is just one call of it.
fn position(base: &EvalAltResult, source: Option<&Source>) -> Position {
    if let (EvalAltResult::ErrorDataRace(what, Position::NONE), Some(source)) = (base, source)
        && let Some(function) = what.split('\'').nth(1)
        && let Some([only]) = source.calls.get(written(function)).map(Vec::as_slice)
    {
        return *only;
    }
    base.position()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Interrupted {
            return f.write_str("interrupted");
        }
        write!(f, "error: {}", self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n{place}")?;
        }
        for (step, at) in self.trail.iter().take(TRAIL) {
            match step {
                Step::Calls(function) => write!(f, "\n  in {function}, called at {}", at.short())?,
                Step::CallsClosure => write!(f, "\n  in a closure, called at {}", at.short())?,
                Step::Imports => write!(f, "\n  imported at {}", at.short())?,
            }
        }
        if self.trail.len() > TRAIL {
            write!(f, "\n  and {} more calls", self.trail.len() - TRAIL)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
