//! Checks a recipe against its header: parameters and hook points against the code, outputs against
//! runs on demo models.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rhai::Dynamic;
use serde_json::Value as Json;
use tempfile::TempDir;
use toml::Spanned;

use super::Recipe;
use super::header::{Header, Param, glob};
use crate::checkpoint::{self, DEMOS, OpenOptions};
use crate::hook::PointName;
use crate::output::record::Record;
use crate::script::bind::output::json;
use crate::script::program::describe::Description;
use crate::script::program::model_names::NamedModel;
use crate::script::program::params::Declared;
use crate::script::{Failure, Host, Limits, Location, Settings, Substitutes};
use crate::{Error, error};

/// The seed of the runs, which makes them reproducible.
const SEED: u64 = 1;

/// The result of checking a recipe.
pub struct Checked {
    /// What is wrong; empty if the recipe is in order.
    pub findings: Vec<Failure>,
    /// The runs that were made.
    pub trials: Vec<Trial>,
    /// The name and the text of each of the recipe's files, the script first.
    pub sources: Vec<(String, String)>,
}

/// A run of a recipe on demo models.
pub struct Trial {
    /// The model or models, for messages.
    pub model: String,
    /// How long the run took.
    pub seconds: f64,
    /// The names of the files that it saved in `out`.
    pub files: Vec<String>,
    /// The output directory, which is removed when this is dropped.
    pub out: TempDir,
    /// The error that the run ended with.
    pub failure: Option<String>,
}

/// Checks a recipe: compiles it, compares its header with its code, and runs it. It runs on
/// `models`, else on each demo model that its header allows. A recipe that names several models
/// runs on those, if they are demo models.
///
/// # Errors
/// The recipe has no header, does not compile, or can't be run here. Everything else is a finding.
pub fn check(recipe: &Recipe, models: &Substitutes, limits: Limits) -> Result<Checked, Failure> {
    let Some(header) = &recipe.header else {
        let error = error!("{} has no header, so it is a script and no recipe", recipe.id)
            .help("`precompute recipe new NAME` writes a recipe with a header to begin from");
        return Err(Failure::at_place(error, at_header(recipe, 0..0)));
    };
    let mut findings = Vec::new();
    let mut found = |error: Error, place: Location| findings.push(Failure::at_place(error, place));
    let missing = header.missing();
    if !missing.is_empty() {
        let error = error!("the header does not say its {}", missing.join(", "));
        found(
            error.help("a script needs none of it; a recipe that others run does"),
            at_header(recipe, 0..0),
        );
    }
    if let Err(failure) = recipe.check_requires() {
        findings.push(failure);
    }
    let host =
        Host::new(Settings { silent: true, ..Settings::default() }).map_err(Failure::usage)?;
    let described = host.describe(&recipe.program())?;
    findings.extend(params(recipe, header, &described));
    findings.extend(points(recipe, header, &described));
    let trials = runs(header, models, &described.models);
    let trials: Vec<Trial> =
        trials.into_iter().map(|models| run(recipe, models, limits)).collect::<Result<_, _>>()?;
    for trial in &trials {
        if let Some(failure) = &trial.failure {
            findings.push(Failure::from(error!("it fails on {}: {failure}", trial.model)));
        }
    }
    findings.extend(outputs(recipe, header, &trials));
    Ok(Checked { findings, trials, sources: described.sources })
}

fn at_header(recipe: &Recipe, span: std::ops::Range<usize>) -> Location {
    Header::place(&recipe.id, &recipe.text, span)
}

/// Compares the header's parameters with those that the code declares.
fn params(recipe: &Recipe, header: &Header, described: &Description) -> Vec<Failure> {
    let mut findings = Vec::new();
    for declared in &described.params {
        let Some(name) = &declared.name else { continue };
        let differs = match header.params.get(name) {
            None => {
                let line = toml::Value::String(name.clone());
                Some((
                    error!("the header does not have the parameter {name}")
                        .help(format!("add //! [params.{line}]")),
                    None,
                ))
            }
            Some(param) => {
                compare(name, param.get_ref(), declared).map(|error| (error, Some(param.span())))
            }
        };
        if let Some((error, span)) = differs {
            let place = span.map_or_else(
                || place_of(described, declared),
                |span| Some(at_header(recipe, span)),
            );
            findings.push(place.map_or_else(
                || Failure::from(error.clone()),
                |place| Failure::at_place(error.clone(), place),
            ));
        }
    }
    let computed = described.params.iter().any(|declared| declared.name.is_none());
    let names: BTreeSet<&str> =
        described.params.iter().filter_map(|declared| declared.name.as_deref()).collect();
    for (name, param) in
        header.params.iter().filter(|(name, _)| !computed && !names.contains(name.as_str()))
    {
        let error = error!("the script has no parameter {name}")
            .help("param(name, default, help) declares one");
        findings.push(Failure::at_place(error, at_header(recipe, param.span())));
    }
    findings
}

fn place_of(described: &Description, declared: &Declared) -> Option<Location> {
    let (_, text) = described.sources.iter().find(|(id, _)| *id == declared.file)?;
    let line = declared.position.line()?;
    let text = text.lines().nth(line - 1)?.to_owned();
    Some(Location { file: declared.file.clone(), line, column: declared.position.position(), text })
}

fn compare(name: &str, param: &Param, declared: &Declared) -> Option<Error> {
    let theirs = declared.default.as_ref().map(value);
    let ours =
        param.default.as_ref().map(|default| serde_json::to_value(default).unwrap_or_default());
    match (ours, theirs) {
        // TOML has no null.
        (None, Some(Json::Null)) | (None, None) => {}
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (Some(ours), Some(theirs)) => {
            return Some(error!(
                "the header's default of {name} is {ours}, and the script's is {theirs}"
            ));
        }
        (None, Some(theirs)) => {
            return Some(
                error!("the header does not have the default of {name}")
                    .help(format!("it is {theirs}")),
            );
        }
        (Some(_), None) => {
            return Some(error!(
                "the script works out the default of {name}: the header can't have one"
            ));
        }
    }
    match (&param.help, &declared.help) {
        (Some(ours), Some(theirs)) if ours != theirs => Some(
            error!("the header's help of {name} is not the script's")
                .help(format!("the script says {theirs:?}")),
        ),
        (None, Some(theirs)) => Some(
            error!("the header does not have the help of {name}").help(format!("it is {theirs:?}")),
        ),
        _ => None,
    }
}

fn value(default: &Dynamic) -> Json {
    json(default).unwrap_or_default()
}

/// Compares the header's hook points with those that the code names.
fn points(recipe: &Recipe, header: &Header, described: &Description) -> Vec<Failure> {
    let point = |name: &str| PointName::parse(name).ok().map(|named| named.point);
    let said: BTreeSet<_> = header.points.iter().filter_map(|name| point(name.get_ref())).collect();
    let mut findings: BTreeMap<String, Failure> = BTreeMap::new();
    for (name, place) in &described.points {
        if let Some(point) = point(name).filter(|point| !said.contains(point)) {
            let error = error!("the header's points do not have {point}")
                .help("it names what hook(…) and capture(…) are given");
            findings
                .entry(point.to_string())
                .or_insert_with(|| Failure::at_place(error, place.clone()));
        }
    }
    let written: BTreeSet<_> = described.texts.iter().filter_map(|text| point(text)).collect();
    for name in &header.points {
        if point(name.get_ref()).is_some_and(|point| !written.contains(&point)) {
            let error = error!("the script does not name the point {}", name.get_ref());
            findings.insert(
                name.get_ref().clone(),
                Failure::at_place(error, at_header(recipe, name.span())),
            );
        }
    }
    findings.into_values().collect()
}

/// Compares the header's outputs with the files that the runs saved.
fn outputs(recipe: &Recipe, header: &Header, trials: &[Trial]) -> Vec<Failure> {
    let done: Vec<&Trial> = trials.iter().filter(|trial| trial.failure.is_none()).collect();
    let saved: BTreeSet<&str> =
        done.iter().flat_map(|trial| &trial.files).map(String::as_str).collect();
    let matches = |pattern: &Spanned<String>, name: &str| {
        glob(pattern.get_ref()).is_some_and(|glob| glob.is_match(name))
    };
    let mut findings = Vec::new();
    for name in &saved {
        if !header.outputs.iter().any(|pattern| matches(pattern, name)) {
            let error = error!("a run saves {name}, which is not among the header's outputs");
            findings.push(Failure::at_place(error, at_header(recipe, 0..0)));
        }
    }
    for pattern in header.outputs.iter().filter(|_| !done.is_empty()) {
        if !saved.iter().any(|name| matches(pattern, name)) {
            let error = error!("no run saves {}", pattern.get_ref())
                .help(format!("they save {}", listed(&saved)));
            findings.push(Failure::at_place(error, at_header(recipe, pattern.span())));
        }
    }
    findings
}

fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        "nothing".into()
    } else {
        names.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

/// The demo models that the header names by id or family; all of them if it names no model.
fn demos(header: &Header) -> Vec<String> {
    let named: BTreeSet<&str> =
        header.models.iter().map(|model| model.get_ref().as_str()).collect();
    let ids = DEMOS.iter().map(|demo| format!("demo:{}", demo.name));
    ids.filter(|id| {
        let config = checkpoint::config(id, &OpenOptions::default()).unwrap_or_default();
        let family = config.get("model_type").and_then(Json::as_str).unwrap_or_default();
        named.is_empty() || named.contains(id.as_str()) || named.contains(family)
    })
    .collect()
}

/// The models of each run.
fn runs(header: &Header, models: &Substitutes, named: &[NamedModel]) -> Vec<Substitutes> {
    if !models.is_empty() {
        return vec![models.clone()];
    }
    let one = |id: String| Substitutes { one: Some(id), ..Substitutes::default() };
    let each: Vec<Substitutes> = demos(header).into_iter().map(one).collect();
    if each.iter().all(|one| one.check(named, &BTreeMap::new()).is_ok()) {
        return each;
    }
    let own = named.iter().filter_map(NamedModel::id).all(|id| id.starts_with("demo:"));
    if own { vec![Substitutes::default()] } else { Vec::new() }
}

fn run(recipe: &Recipe, models: Substitutes, limits: Limits) -> Result<Trial, Failure> {
    let out = tempfile::tempdir().map_err(|e| error!("no directory can be made for a run: {e}"))?;
    let model = match models.is_empty() {
        true => "the models that it names".to_owned(),
        false => models.to_string().replace('\n', ", "),
    };
    let settings = Settings {
        policy: recipe.policy().and_user(models.named.values().cloned()),
        models,
        params: recipe.header.as_ref().map(Header::check_params).unwrap_or_default(),
        offline: true,
        seed: Some(SEED),
        out: Some(out.path().to_owned()),
        streaming: crate::script::Streaming::Nowhere,
        silent: true,
        limits,
        ..Settings::default()
    };
    let host = Host::new(settings).map_err(Failure::usage)?;
    let began = Instant::now();
    let result = host.run(&recipe.program());
    let seconds = began.elapsed().as_secs_f64();
    let failure = match result {
        Ok(_) => None,
        Err(failure) if failure.is_interrupted() => return Err(failure),
        Err(failure) => Some(failure.to_string().trim_start_matches("error: ").to_owned()),
    };
    let record = Record::read(&out.path().join("run.json")).map_err(Failure::from)?;
    let files = record.files.into_iter().map(|file| file.name).collect();
    Ok(Trial { model, seconds, files, out, failure })
}
