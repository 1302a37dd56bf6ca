//! The command line: one file per command.
//!
//! Doc comments of the command structs and their fields are the texts of `--help`.

mod completions;
mod definitions;
mod doctor;
mod generate;
mod live;
mod models;
pub mod options;
mod points;
pub mod process;
mod recipe;
mod repl;
mod rerun;
mod run;
mod sweep;
mod view;
mod watch;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::Error;
use crate::kernel::cpu::parallel;
use crate::kernel::cpu::simd::Cpu;
use crate::script::{Failure, Limits, STACK};
use crate::system::message::notice;
use crate::system::{memory, panics};

/// Look inside language models and change what happens there, by script.
///
/// A script loads a model, binds functions to its hook points, runs it, reads and changes what
/// flows inside, and saves what it found.
#[derive(Parser)]
#[command(name = "precompute", version, max_term_width = 100, after_help = AFTER, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How many threads compute at once, at most [default: the cores that this process may use]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Live(Box<live::Live>),
    View(view::View),
    Repl(repl::Repl),
    Generate(generate::Generate),
    Rerun(rerun::Rerun),
    Sweep(Box<sweep::Sweep>),
    #[command(subcommand)]
    Recipe(recipe::Recipe),
    Points(points::Points),
    Models(models::Models),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Definitions(definitions::Definitions),
}

const AFTER: &str = "\
Examples:
  precompute run experiment.rhai
  precompute live experiment.rhai
  precompute view runs
  precompute run experiment.rhai --model EleutherAI/pythia-70m-deduped --set cutoff=0.2
  precompute repl --model demo:opt
  precompute generate --model demo:opt --prompt 'Mary and John went to the store.'
  precompute recipe list
  precompute points demo:opt
  precompute doctor

Environment:
  HF_HOME            where models from the Hugging Face Hub are kept (default ~/.cache/huggingface)
  HF_TOKEN           a token for models that need one
  HF_ENDPOINT        another address of the Hub
  HF_HUB_OFFLINE     1: fetch nothing, as --offline does
  RAYON_NUM_THREADS  as --threads
  PRECOMPUTE_HOME    where the list of recipes that you let run, and what you type in the REPL, are
                     kept (default: your data directory)

Exit codes:
  0    done
  1    the script failed
  2    the command line was wrong
  130  interrupted";

/// Sets on how many threads everything computes, by the variables that its libraries read. candle's
/// own pool gets none: its operations end when each of its threads has come to a barrier, and on
/// shared cores one of them may be kept from running. What computes much is in `kernel`, which has a
/// pool of its own.
///
/// # Safety
/// The process has one thread.
unsafe fn set_threads(asked: Option<NonZeroUsize>) {
    // SAFETY: that of this function.
    let set =
        |variable: &str, value: usize| unsafe { std::env::set_var(variable, value.to_string()) };
    if let Some(threads) = asked {
        set(parallel::VARIABLE, threads.get().min(parallel::allowed()));
    }
    set("CANDLE_NUM_THREADS", 1);
}

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    panics::install_hook();
    memory::delay_purge();
    let cli = Cli::parse();
    // SAFETY: this is the only thread so far.
    unsafe { set_threads(cli.threads) };
    process::signals::install_handlers();
    process::exit::install_abort_handler();
    options::limits::limit_memory(&Limits::DEFAULT);
    // Nested scripts need more stack than the main thread has.
    let work = move || {
        process::stack_overflow::install_handler(STACK);
        cli.command.run()
    };
    let worker = std::thread::Builder::new().name("script".into()).stack_size(STACK).spawn(work);
    let outcome = match worker {
        Ok(worker) => worker.join(),
        Err(cause) => Ok(Err(Error::new(format!("no thread can be started: {cause}")).into())),
    };
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            notice(&failure);
            ExitCode::from(failure.exit_code())
        }
        // The panic hook has printed the panic.
        Err(_) => ExitCode::FAILURE,
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        // `doctor` tells of what is wrong here among its findings.
        if !matches!(self, Command::Doctor(_)) {
            Cpu::asked().map_err(|error| {
                let names = Cpu::names();
                Failure::usage(Error::from(error).help(format!("set it to {names}, or unset it")))
            })?;
        }
        match self {
            Command::Run(run) => run.run(),
            Command::Live(live) => live.run(),
            Command::View(view) => view.run(),
            Command::Repl(repl) => repl.run(),
            Command::Generate(generate) => generate.run(),
            Command::Rerun(rerun) => rerun.run(),
            Command::Sweep(sweep) => sweep.run(),
            Command::Recipe(recipe) => recipe.run(),
            Command::Points(points) => points.run(),
            Command::Models(models) => models.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Completions(completions) => completions.run(&mut Cli::command()),
            Command::Definitions(definitions) => definitions.run(),
        }
    }
}
