//! `precompute live FILE`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::options::limits::FIXED;
use super::options::script::Script as Options;
use super::watch::{self, Follower, Terminal};
use crate::recipe::Recipe;
use crate::script::bind::output::json;
use crate::script::{Console, Failure, Host, Script};
use crate::serve::live::{Live as Page, Parameter};
use crate::system::progress;

/// Run a script as it is edited, in the browser
///
/// Prints the address of a page that shows the notes, pictures and tables of the script, and runs it
/// again whenever it or a module that it imports is saved; models stay loaded. Zoom and selection
/// stay where they were. An error shows above the results of the last good run. Parameters are
/// inputs of the page.
///
/// The page is served on 127.0.0.1 alone, under an address that nobody can guess. Ctrl-C ends it.
#[derive(Args)]
#[command(after_help = format!("{FIXED}\n\n{EXAMPLES}"))]
pub struct Live {
    #[command(flatten)]
    script: Options,

    /// The port of the page's address [default: a free one]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

const EXAMPLES: &str = "\
Examples:
  precompute live experiment.rhai
  precompute live experiment.rhai --model gpt2 --set prompt='Hello there' --port 8000";

impl Live {
    pub fn run(self) -> Result<(), Failure> {
        let recipe = Recipe::open(&self.script.file, self.script.execution.offline)?;
        recipe.check_requires()?;
        let host = Host::new(self.script.settings(&recipe)?).map_err(Failure::usage)?;
        let program = recipe.program();
        let (page, address) = Page::serve(&recipe.name(), self.port).map_err(Failure::usage)?;
        let console = Console::default();
        console.line(&address);
        console.check()?;
        let told = page.clone();
        progress::listen(move |label, done, of| {
            told.show(|shown| shown.progress = Some((label.to_owned(), done, of)));
        });
        let wanted = host.session().params().given().into();
        let follower = Browser { page, wanted, stopped: Cell::new(false) };
        watch::watch(&host, &program, false, &follower)
    }
}

/// Who looks at the page, and reads standard error too.
struct Browser {
    page: Page,
    /// The values of parameters that the command line and the page have given.
    wanted: RefCell<BTreeMap<String, String>>,
    /// Whether the run was ended by the page's button.
    stopped: Cell<bool>,
}

impl Follower for Browser {
    fn prepared(&self, host: &Host, script: &Script) {
        let declared = script.params();
        let declares =
            |name: &String| declared.iter().any(|param| param.name.as_ref() == Some(name));
        let mut wanted = self.wanted.borrow_mut();
        if let Some(set) = self.page.take_parameters() {
            // The page gives all values of the parameters that it shows.
            wanted.retain(|name, _| !declares(name));
            wanted.extend(set);
        }
        // A parameter that an edit took away does not fail the run, and has its value when it is back.
        let mut given = wanted.clone();
        if declared.iter().all(|param| param.name.is_some()) {
            given.retain(|name, _| declares(name));
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        for param in declared {
            let Some(name) = &param.name else { continue };
            if parameters.iter().any(|known| known.name == *name) {
                continue;
            }
            parameters.push(Parameter {
                name: name.clone(),
                default: param.default.as_ref().and_then(|it| json(it).ok()).unwrap_or_default(),
                given: given.get(name).cloned(),
                help: param.help.clone(),
            });
        }
        host.session().params().give(given);
        self.page.show(|shown| shown.parameters = parameters);
    }

    fn begins(&self) {
        self.stopped.set(false);
        let _ = self.page.take_stop();
        self.page.show(|shown| (shown.running, shown.progress) = (true, None));
    }

    fn done(&self, host: &Host, reloaded: Duration, ran: Duration) {
        Terminal.done(host, reloaded, ran);
        let run = host.session().run();
        let took = format!(
            "reloaded in {}, ran in {}",
            watch::milliseconds(reloaded),
            watch::milliseconds(ran)
        );
        let said = match run.differences() {
            Some(lines) if lines.is_empty() => {
                vec!["the results are those of the run before".into()]
            }
            Some(lines) => lines,
            None => vec![],
        };
        self.page.show_run(run.kept_in(), std::iter::once(took).chain(said).collect());
    }

    fn failed(&self, failure: &Failure, has_results: bool) {
        Terminal.failed(failure, has_results);
        let text = match self.stopped.get() {
            true => "The run was stopped.".to_owned(),
            false => failure.to_string(),
        };
        self.page.show(|shown| (shown.running, shown.error) = (false, Some(text)));
    }

    fn has_stopped(&self) -> bool {
        let stopped = self.page.take_stop();
        self.stopped.set(stopped);
        stopped
    }

    fn asks(&self) -> bool {
        self.page.take_request()
    }

    /// The page would be lost with the process.
    fn may_start_anew(&self) -> bool {
        false
    }
}
