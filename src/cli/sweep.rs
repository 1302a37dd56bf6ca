//! `precompute sweep RECIPE`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};

use super::options::execution::assignment;
use super::recipe::ask;
use crate::data::rows::{Numbers, ReadOptions, Row, RowFile, Rows};
use crate::output::picture::table::draw;
use crate::output::record::Versions;
use crate::recipe::Recipe;
use crate::script::program::params::Declared;
use crate::script::run::console::terminal_width;
use crate::script::{Console, Failure, Host, Policy, Settings};
use crate::sweep::axis::Axis;
use crate::sweep::folder::{Failed, Folder, State};
use crate::sweep::gather::{Progress, TABLE, gather};
use crate::sweep::plan::{Item, MAX_ITEMS, Parts, Plan};
use crate::sweep::shard::Shard;
use crate::sweep::work::{Outcome, Runner, named};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, did_you_mean, error};

/// Run a script once for each combination of parameters
///
/// Each combination has a process and a directory of its own, and is not run again once it is done:
/// a sweep that was broken off goes on, a changed script runs anew, and more values run what is new.
/// What the script gives record(#{…}) is gathered in sweep.parquet.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = AFTER)]
pub struct Sweep {
    #[command(subcommand)]
    command: Option<Part>,

    #[command(flatten)]
    start: Option<Start>,
}

#[derive(Subcommand)]
enum Part {
    /// Join what the parts of a sweep recorded into sweep.parquet
    Gather {
        /// The sweep's directory
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

/// A sweep.
#[derive(Args)]
struct Start {
    /// The script: a file, the name of a recipe, or hf:owner/repo/recipe.rhai[@revision]
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath, required = true)]
    file: String,

    /// The values of a parameter: k=v1,v2,… or k=a..b or k=a..b:step
    #[arg(long, value_name = "NAME=VALUES")]
    grid: Vec<Axis>,

    /// Parameters from the rows of a file (.jsonl .csv .tsv .parquet): each row is a combination
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    rows: Option<PathBuf>,

    /// Run each combination N times, with seeds from --seed on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    repeat: Option<u64>,

    /// The seed of the first repetition
    #[arg(long, value_name = "N", default_value_t = 0, requires = "repeat")]
    seed: u64,

    /// Give a parameter one value in all combinations
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Use this model in place of the one that the script names, in all combinations
    #[arg(long, value_name = "[NAME=]ID", value_hint = ValueHint::AnyPath)]
    model: Vec<String>,

    /// The sweep's directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, required = true)]
    out: Option<PathBuf>,

    /// How many combinations run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,

    /// Do the part i of n parts, from 0: every n-th combination from the i-th on [default: what
    /// SLURM_ARRAY_TASK_ID and _COUNT, JOB_COMPLETION_INDEX or HQ_TASK_ID say, else all]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// How many parts there are, where the environment says only which one this is
    #[arg(long, value_name = "N", conflicts_with = "shard", value_parser = clap::value_parser!(u64).range(1..))]
    shards: Option<u64>,

    /// Run the combinations that have failed, and no others
    #[arg(long)]
    retry: bool,

    /// List the combinations and what is known of each, and run nothing
    #[arg(long)]
    dry_run: bool,

    /// Run a recipe from the Hub without asking, if it has not been run here before
    #[arg(long)]
    trust: bool,

    /// Further options of `precompute run`, the same for all
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

const AFTER: &str = "\
Examples:
  precompute sweep steering.rhai --grid layer=0..12 --grid strength=2,4,8 --out steered --jobs 4
  precompute sweep probe.rhai --rows prompts.jsonl --repeat 5 --out probes -- --device cuda --dtype bf16
  precompute sweep probe.rhai --rows prompts.jsonl --out probes --shard 3/64
  precompute sweep gather probes

Exit codes:
  0    every combination of this part is done
  1    some have failed by what the script does; --retry runs them again
  2    the command line was wrong
  75   some were ended from outside (a signal, no memory) and none failed otherwise: --retry may succeed
  130  interrupted, by SIGTERM too: run again to go on";

impl Sweep {
    pub fn run(self) -> Result<(), Failure> {
        match (self.command, self.start) {
            (Some(Part::Gather { directory }), _) => join(&directory),
            (None, Some(start)) => start.run(),
            (None, None) => Err(Failure::usage(error!("a sweep needs a script"))),
        }
    }
}

/// `precompute sweep gather DIR`.
fn join(directory: &Path) -> Result<(), Failure> {
    let (folder, plan) = Folder::open(directory).map_err(Failure::usage)?;
    let progress = gather(&folder, &plan)?;
    let console = Console::default();
    console.line(&said(&progress, plan.items.len(), 0));
    if progress.rows > 0 {
        console.line(&format!("{} rows in {}", progress.rows, folder.path().join(TABLE).display()));
    }
    console.check().map_err(Failure::from)?;
    match progress.pending + progress.failed {
        0 => Ok(()),
        left => Err(error!("{left} of {} combinations are not done", plan.items.len()).into()),
    }
}

fn combinations(count: usize) -> String {
    if count == 1 { "1 combination".into() } else { format!("{count} combinations") }
}

/// How far a sweep of `all` combinations has come, of which `before` were done before.
fn said(progress: &Progress, all: usize, before: usize) -> String {
    let mut said = format!("{} of {all} combinations are done", progress.done);
    for (count, what) in
        [(before, "of them before"), (progress.failed, "failed"), (progress.pending, "left")]
    {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    said
}

impl Start {
    fn run(self) -> Result<(), Failure> {
        let shard = Shard::find(self.shard, self.shards, |name| std::env::var(name).ok());
        let shard = shard.map_err(Failure::usage)?;
        let recipe = Recipe::open(&self.file, false)?;
        recipe.check_requires()?;
        ask::ensure_trusted(&recipe, self.trust)?;
        let plan = self.plan(&recipe)?;
        let own: Vec<Item> = {
            let mut place = 0..;
            plan.items
                .iter()
                .filter(|_| place.next().is_some_and(|place| shard.has(place)))
                .cloned()
                .collect()
        };
        let out = self.out.clone().unwrap_or_default();
        if self.dry_run {
            return list(&out, &own);
        }
        let folder = Folder::make(&out).map_err(Failure::usage)?;
        folder.write_plan(&plan)?;
        folder.remove_manifest(shard);
        let states: Vec<State> = own.iter().map(|item| folder.state(&item.id)).collect();
        let wanted = if self.retry { State::Failed } else { State::Pending };
        let of = |state: State| {
            own.iter()
                .zip(&states)
                .filter(move |(_, known)| **known == state)
                .map(|(item, _)| item.clone())
        };
        let before = of(State::Done).count();
        let runner = Runner {
            folder: &folder,
            script: &self.file,
            arguments: &self.arguments(),
            jobs: usize::from(self.jobs),
        };
        let outcome = runner.run(of(wanted).collect())?;
        self.finish(&folder, &plan, shard, &own, before, &outcome)
    }

    /// Says how far the sweep has come, and writes what marks its end.
    fn finish(
        &self,
        folder: &Folder,
        plan: &Plan,
        shard: Shard,
        own: &[Item],
        before: usize,
        outcome: &Outcome,
    ) -> Result<(), Failure> {
        let console = Console::default();
        let ids = |state: State| {
            own.iter()
                .map(|item| &item.id)
                .filter(move |id| folder.state(id) == state)
                .cloned()
                .collect::<Vec<_>>()
        };
        let [done, failed, pending] = [State::Done, State::Failed, State::Pending].map(ids);
        let progress =
            Progress { done: done.len(), failed: failed.len(), pending: pending.len(), rows: 0 };
        console.line(&format!(
            "{}; {} ran",
            said(&progress, own.len(), before),
            outcome.done + outcome.failed.len()
        ));
        let reasons: Vec<Failed> = failed.iter().filter_map(|id| folder.failed(id)).collect();
        show_failures(&console, folder, &reasons);
        if shard == Shard::WHOLE {
            let rows = gather(folder, plan)?.rows;
            if rows > 0 {
                console.line(&format!("{rows} rows in {}", folder.path().join(TABLE).display()));
            }
        }
        console.check().map_err(Failure::from)?;
        if pending.is_empty() {
            folder.write_manifest(shard, done, failed)?;
        }
        match reasons.iter().filter(|failed| !failed.retryable).count() {
            0 if reasons.is_empty() && !pending.is_empty() => {
                Err(error!("{} left", combinations(pending.len()))
                    .help("without --retry they are run")
                    .into())
            }
            0 if reasons.is_empty() => Ok(()),
            0 => {
                let ended = error!("{} ended from outside", combinations(reasons.len()));
                Err(Failure::retryable(ended.help("--retry runs them again")))
            }
            count => Err(error!("{} failed", combinations(count))
                .help("--retry runs them again, and no others")
                .into()),
        }
    }

    /// The combinations.
    fn plan(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        let settings =
            Settings { silent: true, policy: Policy::stranger([]), ..Settings::default() };
        let host = Host::new(settings)?;
        let declared = host.params(&recipe.program())?;
        let rows = match &self.rows {
            Some(path) => read_rows(path).map_err(Failure::usage)?,
            None => vec![Row::new()],
        };
        let swept: BTreeSet<&String> = self
            .grid
            .iter()
            .map(|axis| &axis.name)
            .chain(rows.iter().flat_map(Row::keys))
            .collect();
        let set = self.set.iter().map(|(name, _)| name);
        swept
            .iter()
            .copied()
            .chain(set.clone())
            .try_for_each(|name| check_declared(name, &declared))
            .map_err(Failure::usage)?;
        if let Some(name) = set.clone().find(|name| swept.contains(name)) {
            let on_grid = self.grid.iter().any(|axis| axis.name == *name);
            let other = if on_grid { "--grid" } else { "--rows" };
            return Err(Failure::usage(error!("{name} is given by --set and by {other}")));
        }
        let own = |option: &&String| {
            ["--set", "--seed", "--out"].iter().any(|own| {
                option
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        };
        if let Some(option) = self.options.iter().find(own) {
            return Err(Failure::usage(
                error!("{option} stands after --, among the options of precompute run")
                    .help("the sweep's own options of that name come before --"),
            ));
        }
        let mut basis = format!("{:?}\n{:?}\n", Versions::CURRENT.precompute, self.arguments());
        for (_, text) in host.texts() {
            basis.push_str(&text);
        }
        let repeat = self.repeat.map(|count| (count, self.seed));
        let parts = Parts { script: &self.file, basis, grid: &self.grid, rows, repeat };
        Plan::new(&parts).map_err(Failure::usage)
    }

    /// The arguments of `precompute run` that all combinations have.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (name, value) in &self.set {
            arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        for model in &self.model {
            arguments.extend(["--model".to_owned(), model.clone()]);
        }
        if self.trust {
            arguments.push("--trust".to_owned());
        }
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}

fn read_rows(path: &Path) -> crate::Result<Vec<Row>> {
    let name = path.display().to_string();
    let file = file::open(path, FileKind::Data)
        .map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))?;
    let options = ReadOptions { columns: None, numbers: Numbers::Nowhere };
    let rows = Rows::new(vec![RowFile::of_file(name.clone(), file)], options)?
        .select(|all| all.take(MAX_ITEMS as u64 + 1))
        .iter()
        .collect::<crate::Result<Vec<_>>>()?;
    if rows.is_empty() {
        return Err(error!("{name} has no rows"));
    }
    Ok(rows)
}

/// Checks that a script has a parameter, as far as its text says which it has.
fn check_declared(name: &str, declared: &[Declared]) -> crate::Result<()> {
    let known = declared.iter().filter_map(|param| param.name.as_deref());
    if known.clone().any(|known| known == name) || declared.iter().any(|param| param.name.is_none())
    {
        return Ok(());
    }
    let error: Error = error!("the script has no parameter {name}");
    Err(match did_you_mean(name, known) {
        Some(help) => error.help(help),
        None => error.help("it has none: param(\"name\", default) declares one"),
    })
}

fn show_failures(console: &Console, folder: &Folder, failed: &[Failed]) {
    /// The most failures that are shown.
    const SHOWN: usize = 20;
    if failed.is_empty() {
        return;
    }
    let row = |failed: &Failed| {
        vec![
            named(&failed.item),
            failed.message.clone(),
            folder.log(&failed.item.id).display().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = failed.iter().take(SHOWN).map(row).collect();
    let columns = ["failed", "why", "what it printed"].map(str::to_owned);
    console.line(&draw(&columns, &rows, terminal_width()));
    if failed.len() > SHOWN {
        console.line(&format!("… and {} more", failed.len() - SHOWN));
    }
}

/// Lists combinations, with what is known of each.
fn list(out: &Path, items: &[Item]) -> Result<(), Failure> {
    let known = Folder::open(out).ok();
    let console = Console::default();
    for item in items {
        let state = match known.as_ref().map(|(folder, _)| folder.state(&item.id)) {
            Some(State::Done) => "done",
            Some(State::Failed) => "failed",
            _ => "to run",
        };
        console.line(&format!("{}  {state}  {}", item.id, named(item)));
    }
    console.check().map_err(Failure::from)
}
