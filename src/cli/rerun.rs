//! `precompute rerun RUN.json`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueHint};
use serde_json::{Value as Json, json};

use super::options::limits::{FIXED, Limits};
use crate::checkpoint::{is_commit, is_hub_id};
use crate::data::hub_reference::HubReference;
use crate::kernel::cpu::simd::Cpu;
use crate::output::compare;
use crate::output::compare::{Change, Comparison};
use crate::output::format::json::number;
use crate::output::record::{HubRecipe, Record, ScriptText, Versions};
use crate::recipe::Remote;
use crate::script::program::identity;
use crate::script::{Bundle, Console, Failure, Host, Pin, Policy, Program, Settings, Substitutes};
use crate::system::digest::sha256_hex;
use crate::system::directory::HeldDirectory;
use crate::system::file;
use crate::system::file::FileKind;
use crate::system::message::notice;
use crate::{Result, bail, error};

/// Repeat a run from its record, and compare each saved value with the recorded run's
///
/// The record has the text of the script and of what it imported, the parameters, the models'
/// commits and the seed. The script may load the models that the record names, except directories
/// of this machine.
#[derive(Args)]
#[command(after_help = format!("{FIXED}\n\n{AFTER}"))]
pub struct Rerun {
    /// The record, or the directory that it is in
    #[arg(value_name = "RUN.JSON", value_hint = ValueHint::FilePath)]
    record: PathBuf,

    /// Where to save [default: runs/SCRIPT-TIME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    /// Leave no page, report.html, in the output directory
    #[arg(long)]
    no_report: bool,

    /// Fail if a number differs by more than this fraction of it
    #[arg(long, value_name = "FRACTION")]
    within: Option<f64>,

    /// Where models compute, in place of what the record says
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// Let load_rows(…), load_tensors(…) and load_store(…) read below this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    read: Vec<PathBuf>,

    /// Trust the record: load model directories that it names, and let its script read the files
    /// beside it
    #[arg(long)]
    trust: bool,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    check_finite: bool,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    /// Print the comparison as JSON, and nothing of what the script prints
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    limits: Limits,
}

const AFTER: &str = "\
Examples:
  precompute rerun runs/lens-20260101-120000/run.json
  precompute rerun run.json --device cuda --within 1e-3

Exit code 1 says that a value is missing, differs in more than numbers, or by more than --within. Pictures don't count.";

/// The comparison of one saved file with the recorded run's.
enum Outcome {
    /// The bytes are the same.
    Identical,
    /// The bytes differ, and values were compared.
    Differs(Comparison),
    /// The files can't be compared, for this reason.
    Incomparable(String),
    /// Only the recorded run saved it.
    Missing,
    /// Only this run saved it.
    New,
}

impl Rerun {
    pub fn run(self) -> Result<(), Failure> {
        let path =
            if self.record.is_dir() { self.record.join("run.json") } else { self.record.clone() };
        let record = Record::read(&path).map_err(Failure::usage)?;
        verify(&record).map_err(|e| Failure::usage(e.at(path.display())))?;
        if let Some(HubRecipe { reference, commit, .. }) = &record.recipe {
            notice(format_args!("note: the recorded run was of {reference}, at commit {commit}"));
        }
        differing_versions(&record);
        let host = Host::new(self.settings(&record)?).map_err(Failure::usage)?;
        let before = path.parent().unwrap_or(Path::new("")).to_owned();
        let done = host.run(&Program::Bundle(self.bundle(&record)));
        let after = host.session().run().directory();
        if record.outcome != "done" {
            notice(format_args!("note: the recorded run ended with: {}", record.outcome));
        }
        let _ = done?;
        let again = Record::read(&after.join("run.json")).map_err(Failure::from)?;
        self.report(&record, &again, &before, &after)
    }

    fn settings(&self, record: &Record) -> Result<Settings, Failure> {
        let adapters = record.adapters.iter().map(|adapter| &adapter.id);
        let named = record.models.iter().map(|model| &model.id).chain(adapters).cloned();
        let named = named.filter(|id| is_hub_id(id));
        let data = record.data.iter().map(|data| HubReference {
            repository: data.id.clone(),
            path: None,
            revision: None,
        });
        let policy = if self.trust { Policy::Own } else { Policy::stranger(named).and_files(data) };
        let models = Substitutes::read(record.command.model.iter().flat_map(|model| model.lines()));
        let models = models.map_err(Failure::usage)?;
        for model in models.ids() {
            policy.check_model(model).map_err(|e| {
                Failure::usage(
                    error!("the record is of a run with --model {model}: {}", e.message())
                        .help("--trust allows it, if the record is yours"),
                )
            })?;
        }
        let models_used = record.models.iter().map(|it| (&it.id, &it.asked, &it.revision));
        let adapters = record.adapters.iter().map(|it| (&it.id, &it.asked, &it.revision));
        let pins = models_used.chain(adapters).filter_map(|(id, revision, commit)| {
            Some(Pin { id: id.clone(), revision: revision.clone(), commit: commit.clone()? })
        });
        let data = record.data.iter().map(|it| Pin {
            id: it.id.clone(),
            revision: it.asked.clone(),
            commit: it.revision.clone(),
        });
        let command = record.command.clone();
        Ok(Settings {
            models,
            check_finite: self.check_finite,
            device: self.device.clone().or(command.device),
            dtype: command.dtype,
            offline: self.offline,
            seed: Some(record.first_seed),
            out: self.out.clone(),
            report: !self.no_report,
            read: self.read.clone(),
            params: command.set,
            silent: self.json,
            limits: self.limits.apply(),
            policy,
            pins: pins.chain(data).collect(),
            ..Settings::default()
        })
    }

    fn bundle(&self, record: &Record) -> Bundle {
        let path = Path::new(&record.script.path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name: String = stem
            .chars()
            .map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' })
            .take(64)
            .collect();
        let all = std::iter::once(&record.script).chain(&record.imports);
        Bundle {
            name: if name.is_empty() { "rerun".into() } else { name },
            main: record.script.path.clone(),
            texts: all.map(|source| (source.path.clone(), source.text.clone())).collect(),
            recipe: record.recipe.clone(),
            beside: self.beside(record),
        }
    }

    /// The directory of the original script, which the run may then read as the script could: if
    /// the record is trusted, or if the directory has exactly the recorded texts.
    fn beside(&self, record: &Record) -> Option<HeldDirectory> {
        let path = &record.script.path;
        // Such a script has no directory on this machine.
        if path.starts_with("hf:") || path.starts_with("precompute:") {
            return None;
        }
        if self.trust {
            return HeldDirectory::parent_of(Path::new(path)).ok();
        }
        identity::folder(record)
            .map_err(|error| {
                let why = error.message();
                notice(format_args!(
                    "note: {why}: this run reads nothing beside the script (--trust lets it, if the record is yours)"
                ));
            })
            .ok()
    }

    fn report(
        &self,
        record: &Record,
        again: &Record,
        before: &Path,
        after: &Path,
    ) -> Result<(), Failure> {
        let outcomes: Vec<(&str, Outcome)> = outcomes(record, again, before, after);
        let parameters = record.parameters == again.parameters;
        let console = Console::default();
        if self.json {
            let files: Vec<Json> =
                outcomes.iter().map(|(name, outcome)| outcome.json(name)).collect();
            let report = json!({"directory": after, "same_parameters": parameters, "files": files});
            console.line(&format!("{report:#}"));
        } else {
            console.columns(
                outcomes.iter().map(|(name, outcome)| [(*name).to_owned(), outcome.words()]),
            );
        }
        console.check().map_err(Failure::from)?;
        if !parameters {
            notice("warning: the script got other parameters than in the recorded run");
        }
        let wrong =
            outcomes.iter().filter(|(name, outcome)| outcome.is_wrong(name, self.within)).count();
        match wrong {
            0 => Ok(()),
            _ => {
                Err(error!("{wrong} of {} saved values are not as they were", outcomes.len())
                    .into())
            }
        }
    }
}

/// Checks that the record is consistent: texts have their hashes, and names stay inside a
/// directory.
fn verify(record: &Record) -> Result<()> {
    let mut names = BTreeSet::new();
    for source in std::iter::once(&record.script).chain(&record.imports) {
        if !names.insert(&source.path) {
            bail!("the record has two texts called {}", source.path);
        }
        if ScriptText::new(&source.path, &source.text) != *source {
            bail!("the text of {} is not the one that ran: its SHA-256 is another", source.path);
        }
    }
    if let Some(recipe) = &record.recipe {
        let remote: Remote = recipe.reference.parse()?;
        if !is_commit(&recipe.commit) {
            bail!("{:?} is no commit of {remote}", recipe.commit);
        }
        if recipe.sha256 != record.script.sha256 {
            bail!("the record's script is not the text of {remote}: its SHA-256 is another");
        }
    }
    for file in &record.files {
        let inside =
            Path::new(&file.name).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || file.name.is_empty() {
            bail!("{:?} is no name of a saved file", file.name);
        }
    }
    Ok(())
}

/// Notes which parts of the program differ from those of the recorded run.
fn differing_versions(record: &Record) {
    let (then, now) = (&record.versions, Versions::CURRENT);
    let each = [
        ("precompute", &then.precompute, &now.precompute),
        ("candle", &then.candle, &now.candle),
        ("rhai", &then.rhai, &now.rhai),
    ];
    for (what, then, now) in each.into_iter().filter(|(_, then, now)| then != now) {
        notice(format_args!("note: the recorded run was with {what} {then}, and this is {now}"));
    }
    let engine = Cpu::chosen().name();
    if let Some(then) = record.engine.as_deref().filter(|then| *then != engine) {
        notice(format_args!(
            "note: the recorded run was computed with {then}, and this one is with {engine}: last digits may differ"
        ));
    }
}

fn outcomes<'a>(
    record: &'a Record,
    again: &'a Record,
    before: &Path,
    after: &Path,
) -> Vec<(&'a str, Outcome)> {
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    for file in &record.files {
        let name = file.name.as_str();
        let outcome = match again.files.iter().find(|other| other.name == name) {
            None => Outcome::Missing,
            Some(other) if other.sha256 == file.sha256 => Outcome::Identical,
            Some(_)
                if file::read(&before.join(name), FileKind::Data)
                    .is_ok_and(|bytes| sha256_hex(&bytes) == file.sha256) =>
            {
                match compared(&before.join(name), &after.join(name), name) {
                    Ok(comparison) => Outcome::Differs(comparison),
                    Err(error) => Outcome::Incomparable(error.message().to_owned()),
                }
            }
            Some(_) => Outcome::Incomparable(
                "differs; the value of the recorded run is not beside the record".into(),
            ),
        };
        outcomes.push((name, outcome));
    }
    let new =
        again.files.iter().filter(|file| !record.files.iter().any(|other| other.name == file.name));
    outcomes.extend(new.map(|file| (file.name.as_str(), Outcome::New)));
    outcomes
}

fn compared(before: &Path, after: &Path, name: &str) -> Result<Comparison> {
    let open = |path: &Path| {
        file::open(path, FileKind::Data)
            .map_err(|e| error!("{} can't be read: {e}", path.display()))
    };
    compare::files(name, &open(before)?, &open(after)?)
}

impl Outcome {
    fn words(&self) -> String {
        match self {
            Outcome::Identical => "identical".into(),
            Outcome::Differs(comparison) => match comparison.greatest_change() {
                Some((Change { absolute, relative }, at)) if relative > 0.0 => {
                    let place =
                        if at.is_empty() { String::new() } else { format!(", most in {at}") };
                    format!("differs by at most {absolute:.1e}, a part of {relative:.1e}{place}")
                }
                Some(_) => compare::SAME_VALUES.into(),
                None => comparison.lines().join("; "),
            },
            Outcome::Incomparable(why) => why.clone(),
            Outcome::Missing => "was not saved this time".into(),
            Outcome::New => "was not saved in the recorded run".into(),
        }
    }

    fn json(&self, name: &str) -> Json {
        let state = match self {
            Outcome::Identical => "identical",
            Outcome::Differs(_) | Outcome::Incomparable(_) => "differs",
            Outcome::Missing => "missing",
            Outcome::New => "new",
        };
        let mut json = json!({"name": name, "state": state, "words": self.words()});
        if let Outcome::Differs(comparison) = self
            && let Some((change, _)) = comparison.greatest_change()
        {
            json["absolute"] = number(change.absolute);
            json["relative"] = number(change.relative);
        }
        json
    }

    fn is_wrong(&self, name: &str, within: Option<f64>) -> bool {
        let picture = name.ends_with(".svg") || name.ends_with(".png");
        match self {
            Outcome::Identical | Outcome::New => false,
            Outcome::Missing => true,
            Outcome::Differs(comparison) => match comparison.greatest_change() {
                Some((change, _)) => within.is_some_and(|within| change.relative > within),
                None => !picture,
            },
            Outcome::Incomparable(_) => !picture,
        }
    }
}
