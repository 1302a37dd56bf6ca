//! The header of a recipe: TOML in the `//!` comments at the start of a script.

use std::collections::BTreeMap;
use std::ops::Range;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use toml::{Spanned, Value};

use super::group::Group;
use crate::data::hub_reference::HubReference;
use crate::hook::PointName;
use crate::model::family::FAMILIES;
use crate::script::{Failure, Location, Policy};
use crate::{Error, Result, bail, checkpoint, did_you_mean, error, without_rust_types};

/// The start of each line of a header.
const MARK: &str = "//!";

/// This program's version.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// The keys of a header, in the order in which they are written.
pub const KEYS: [&str; 14] = [
    "name",
    "version",
    "license",
    "summary",
    "group",
    "change_first",
    "authors",
    "requires",
    "models",
    "points",
    "files",
    "outputs",
    "picture",
    "params",
];

/// What a recipe declares about itself. A key that is absent is `None` or empty. Spans are byte
/// ranges in the header's TOML, for messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The name by which people run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Spanned<String>>,
    /// Its own version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Spanned<String>>,
    /// Its licence, as an SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<Spanned<String>>,
    /// One sentence on what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Spanned<String>>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What to change first, for who has run it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_first: Option<Spanned<String>>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Spanned<String>>,
    /// The versions of this program that it runs with, as a requirement of Cargo: `0.1`, `>=0.2,
    /// <0.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires: Option<Spanned<String>>,
    /// The model families and models that it is known to work on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Spanned<String>>,
    /// The hook points that it hooks or captures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Spanned<String>>,
    /// The files and data sets of the Hub that it reads: `hf:datasets/owner/repo`,
    /// `hf:owner/repo/path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Spanned<String>>,
    /// The names of the files that a run saves, as glob patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Spanned<String>>,
    /// Which of the pictures that it saves stands for it, as a glob pattern; if absent, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<Spanned<String>>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Spanned<Param>>,
}

/// A parameter in a header.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its default; `None` if the script computes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The value with which `recipe check` runs the recipe, where a run with the default takes long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Value>,
}

/// An error and the bytes of the header's TOML that it is about.
struct Wrong {
    span: Option<Range<usize>>,
    error: Error,
}

impl Header {
    /// Reads the header of the script `text`, which messages call `id`. `None` if it has no header.
    ///
    /// # Errors
    /// Invalid TOML, an unknown key, or a value that is not allowed; the failure points at the
    /// line.
    pub fn read(id: &str, text: &str) -> Result<Option<Header>, Failure> {
        let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix(MARK)).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let toml = lines.join("\n");
        let read = toml::from_str::<Header>(&toml)
            .map_err(|e| Wrong { span: e.span(), error: explain(&e) });
        let header = read.and_then(|header| header.verify().map(|()| header));
        header.map(Some).map_err(|Wrong { span, error }| {
            Failure::at_place(
                hinted(error, &toml),
                place(id, text, &toml, span.unwrap_or_default()),
            )
        })
    }

    /// The location of a byte range of the header's TOML in the script `text`.
    pub fn place(id: &str, text: &str, span: Range<usize>) -> Location {
        let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix(MARK)).collect();
        place(id, text, &lines.join("\n"), span)
    }

    /// The header as the comment lines that a script starts with.
    pub fn write(&self) -> String {
        let toml = toml::to_string(self).unwrap_or_default();
        toml.lines().map(|line| format!("{MARK} {line}").trim_end().to_owned() + "\n").collect()
    }

    /// The required keys that are absent.
    pub fn missing(&self) -> Vec<&'static str> {
        let absent = [
            ("name", self.name.is_none()),
            ("version", self.version.is_none()),
            ("license", self.license.is_none()),
            ("summary", self.summary.is_none()),
            ("authors", self.authors.is_empty()),
            ("requires", self.requires.is_none()),
            ("models", self.models.is_empty()),
        ];
        absent.into_iter().filter(|(_, absent)| *absent).map(|(key, _)| key).collect()
    }

    /// The parameters with which `recipe check` runs the recipe, as `--set` gives them.
    pub fn check_params(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_value(other).unwrap_or_default().to_string(),
        };
        let given = |(name, param): (&String, &Spanned<Param>)| {
            Some((name.clone(), text(param.get_ref().check.as_ref()?)))
        };
        self.params.iter().filter_map(given).collect()
    }

    /// The picture that stands for the recipe, among the names of files that it saved.
    pub fn picture<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let wanted = self.picture.as_ref().map_or("*.svg", |pattern| pattern.get_ref());
        let wanted = glob(wanted)?;
        files.into_iter().filter(|name| name.ends_with(".svg") && wanted.is_match(name)).min()
    }

    /// Checks that the recipe runs with this version of the program.
    ///
    /// # Errors
    /// It requires another one.
    pub fn check_requires(&self) -> Result<()> {
        let Some(requires) = &self.requires else { return Ok(()) };
        let fits = VersionReq::parse(requires.get_ref())
            .is_ok_and(|wanted| Version::parse(OURS).is_ok_and(|ours| wanted.matches(&ours)));
        if fits {
            return Ok(());
        }
        Err(error!("this recipe requires precompute {}, and this is {OURS}", requires.get_ref())
            .help("install a version that fits, or ask the recipe's author for one that runs with this"))
    }

    /// What a recipe from the Hub may do: load the models and read the files that its header names.
    pub fn policy(header: Option<&Header>) -> Policy {
        let models = header.into_iter().flat_map(|header| &header.models);
        let files = header.into_iter().flat_map(|header| &header.files);
        Policy::stranger(models.map(|id| id.get_ref().clone()))
            .and_files(files.filter_map(|file| file.get_ref().parse().ok()))
    }

    fn verify(&self) -> Result<(), Wrong> {
        let each = |values: &[Spanned<String>], rule: fn(&str) -> Result<()>| {
            values.iter().try_for_each(|value| at(value, rule(value.get_ref())))
        };
        let one = |value: &Option<Spanned<String>>, rule: fn(&str) -> Result<()>| {
            value.as_ref().map_or(Ok(()), |value| at(value, rule(value.get_ref())))
        };
        one(&self.name, check_name)?;
        one(&self.version, |text| {
            Version::parse(text).map(drop).map_err(|e| {
                error!("{text:?} is no version: {e}").help("three numbers, as in \"0.1.0\"")
            })
        })?;
        one(&self.license, |text| said("license", text))?;
        one(&self.summary, |text| said("summary", text))?;
        one(&self.change_first, |text| said("change_first", text))?;
        one(&self.requires, |text| {
            VersionReq::parse(text).map(drop).map_err(|e| {
                error!("{text:?} names no versions of precompute: {e}")
                    .help("as in \"0.1\" or \">=0.2, <0.4\"")
            })
        })?;
        each(&self.authors, |text| said("author", text))?;
        each(&self.models, check_model)?;
        each(&self.points, |text| PointName::parse(text).map(drop))?;
        each(&self.files, |text| text.parse::<HubReference>().map(drop))?;
        each(&self.outputs, check_output)?;
        one(&self.picture, check_output)?;
        for (name, param) in &self.params {
            let named = if name.trim().is_empty() {
                Err(error!("a parameter needs a name"))
            } else {
                Ok(())
            };
            at(param, named)?;
            let Param { default, check, .. } = param.get_ref();
            default.iter().chain(check).try_for_each(|value| at(param, check_value(value)))?;
        }
        Ok(())
    }
}

fn at<T>(value: &Spanned<T>, result: Result<()>) -> Result<(), Wrong> {
    result.map_err(|error| Wrong { span: Some(value.span()), error })
}

fn said(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.contains('\n') {
        bail!("the {what} is one line of text");
    }
    Ok(())
}

/// Checks the name of a recipe. It is typed as an argument, so it must not look like a path or a
/// reference.
///
/// # Errors
/// Empty, too long, or with a character other than letters, digits, `_` and `-`.
pub fn check_name(name: &str) -> Result<()> {
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if fits && (1..=64).contains(&name.len()) && !name.starts_with('-') {
        return Ok(());
    }
    Err(error!("{name:?} is no name of a recipe").help("up to 64 letters, digits, _ and -"))
}

fn check_model(id: &str) -> Result<()> {
    let family = FAMILIES.iter().any(|family| family.name == id);
    if family || id.starts_with("demo:") || checkpoint::is_hub_id(id) {
        return Ok(());
    }
    Err(error!("{id:?} is no model that others have")
        .help("name a family (`precompute models` lists them), demo:NAME, or owner/name on the Hugging Face Hub"))
}

fn check_output(name: &str) -> Result<()> {
    let escapes_directory =
        name.starts_with('/') || name.split('/').any(|part| part == ".." || part.is_empty());
    if escapes_directory || name.chars().any(char::is_control) || glob(name).is_none() {
        return Err(error!("{name:?} is no name that save(…) writes under")
            .help("as in \"power.safetensors\" or \"*.svg\""));
    }
    Ok(())
}

/// A matcher for the names of saved files; `None` if the pattern is invalid.
pub fn glob(pattern: &str) -> Option<globset::GlobMatcher> {
    globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .ok()
        .map(|glob| glob.compile_matcher())
}

fn check_value(value: &Value) -> Result<()> {
    match value {
        Value::Datetime(_) => {
            Err(error!("the value of a parameter is no date").help("write it as a text, in quotes"))
        }
        Value::Array(values) => values.iter().try_for_each(check_value),
        Value::Table(table) => table.values().try_for_each(check_value),
        _ => Ok(()),
    }
}

/// The error of the TOML parser; for an unknown key, one that suggests a known key.
fn explain(e: &toml::de::Error) -> Error {
    let message = e.message().trim().lines().next().unwrap_or_default();
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let given = rest.split('`').next().unwrap_or_default();
        return error!("recipes have no group {given:?}")
            .help(format!("there are {}", Group::ALL.map(|group| group.to_string()).join(", ")));
    }
    let Some(key) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
    else {
        return error!("the header is wrong: {}", without_rust_types(message));
    };
    if message.contains("`help`") && !message.contains("`summary`") {
        return error!("a parameter in the header has no {key}")
            .help("it has default, help and check");
    }
    let error = error!("the header has no key {key}");
    match did_you_mean(key, KEYS) {
        Some(near) => error.help(near),
        None => error.help(format!("there are {}", KEYS.join(", "))),
    }
}

/// Adds a hint for an author who wrote an ordinary comment and not a header.
fn hinted(error: Error, toml: &str) -> Error {
    if toml.contains('=') || error.help_text().is_some() {
        return error;
    }
    error.help("lines that begin with //! hold a recipe's header in TOML; a comment begins with //")
}

/// The location in the script of a byte range of the header's TOML, which lacks the comment marks.
fn place(id: &str, text: &str, toml: &str, span: Range<usize>) -> Location {
    let start =
        (0..=span.start.min(toml.len())).rev().find(|&at| toml.is_char_boundary(at)).unwrap_or(0);
    let before = &toml[..start];
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let shown = text.lines().nth(line).unwrap_or_default().to_owned();
    Location { file: id.into(), line: line + 1, column: Some(MARK.len() + column + 1), text: shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> String {
        Header::read("s.rhai", text).unwrap_err().to_string()
    }

    #[test]
    fn a_script_without_a_header_is_a_script() {
        assert_eq!(Header::read("s.rhai", "// a comment\n//! name = \"x\"\n").unwrap(), None);
        assert_eq!(Header::read("s.rhai", "").unwrap(), None);
    }

    #[test]
    fn a_header_is_read() {
        let text = "//! name = \"lens\"\n//!models = [\"opt\", \"demo:opt\"]\n//!\n//! [params.k]\n//! default = 5\n\
                    //! help = \"how many\"\nlet k = param(\"k\", 5);\n";
        let header = Header::read("s.rhai", text).unwrap().unwrap();
        assert_eq!(header.name.as_ref().unwrap().get_ref(), "lens");
        assert_eq!(header.params["k"].get_ref().default, Some(Value::Integer(5)));
        assert_eq!(header.missing(), ["version", "license", "summary", "authors", "requires"]);
    }

    #[test]
    fn what_is_wrong_is_under_a_caret() {
        assert_eq!(
            failure("//! name = \"x\"\n//! sumary = \"y\"\n"),
            "error: the header has no key sumary\n   --> s.rhai:2:5\n    |\n  2 | //! sumary = \"y\"\n    |     ^^^^^^\n  \
             help: did you mean summary?"
        );
        let caret = |text: &str, at: &str| {
            let shown = failure(text);
            assert!(shown.contains(&format!("--> s.rhai:{at}\n")), "{shown}");
        };
        caret("//! name = 3\n", "1:12");
        caret("//! authors = \"me\"\n", "1:15");
        caret("//! version = \"1\"\n", "1:15");
        caret("//! requires = \"new\"\n", "1:16");
        caret("//! points = [\"post-mlp\",\n//!   \"post-mpl\"]\n", "2:7");
        caret("//! outputs = [\"../x\"]\n", "1:16");
        caret("//! models = [\"./mine\"]\n", "1:15");
        caret("//! name = \"a b\"\n", "1:12");
        caret("//! group = \"watch\"\n", "1:13");
        assert!(failure("//! group = \"watch\"\n").contains("there are look, attribute, patch"));
        caret("//! [params.k]\n//! defalt = 5\n", "2:5");
        caret("//! name = \"x\n", "1:14");
        assert!(failure("//! This script does much.\n").contains("a comment begins with //"));
    }

    #[test]
    fn the_picture_is_the_first_or_the_one_that_is_named() {
        let files = ["b.svg", "a.csv", "a.svg", "one/c.svg"];
        let header = |text: &str| Header::read("s", text).unwrap().unwrap();
        assert_eq!(header("//! name = \"x\"\n").picture(files), Some("a.svg"));
        assert_eq!(header("//! picture = \"b*\"\n").picture(files), Some("b.svg"));
        assert_eq!(header("//! picture = \"a.csv\"\n").picture(files), None);
    }

    #[test]
    fn a_version_that_does_not_fit_is_a_sentence() {
        let header = |requires: &str| {
            Header::read("s", &format!("//! requires = \"{requires}\"\n")).unwrap().unwrap()
        };
        assert!(header("0.1").check_requires().is_ok());
        let error = header(">=99").check_requires().unwrap_err();
        assert_eq!(
            error.message(),
            format!("this recipe requires precompute >=99, and this is {OURS}")
        );
    }
}
