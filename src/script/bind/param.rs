//! `param(name, default, help)`: an option of a script, which `--set name=value` sets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{Array, Dynamic, ImmutableString};

use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::program::model_names::GIVEN;
use crate::script::program::params::Declared;
use crate::script::value::options::describe;
use crate::{Error, Result, bail, did_you_mean, error};

/// The parameters of a run: the values that the command line gives, and those that the script has
/// read.
pub struct Params {
    /// The texts that `--set` gives, by name.
    given: RefCell<BTreeMap<String, String>>,
    /// The ids that `--model NAME=ID` gives, by NAME.
    models: BTreeMap<String, String>,
    /// The values that the script has read so far.
    values: RefCell<BTreeMap<String, Dynamic>>,
}

impl Params {
    /// With the values of `--set` and of `--model NAME=ID`.
    pub fn new(given: BTreeMap<String, String>, models: BTreeMap<String, String>) -> Self {
        Self { given: given.into(), models, values: RefCell::default() }
    }

    /// The texts that `--set` gives, by name.
    pub fn given(&self) -> BTreeMap<String, String> {
        self.given.borrow().clone()
    }

    /// Gives other values from the next run on.
    pub fn give(&self, given: BTreeMap<String, String>) {
        *self.given.borrow_mut() = given;
    }

    /// The values that the script has read so far, by name.
    pub fn values(&self) -> BTreeMap<String, Dynamic> {
        self.values.borrow().clone()
    }

    /// Forgets what a script has read, before another one runs.
    pub fn clear(&self) {
        self.values.borrow_mut().clear();
    }

    /// Checks the given values against the parameters that a script declares, before it runs.
    ///
    /// # Errors
    /// A name that is not declared (unless the script computes some names), or a value that can't
    /// be converted to the type of a literal default.
    pub fn check(&self, declared: &[Declared]) -> Result<()> {
        let known: BTreeSet<&str> =
            declared.iter().filter_map(|param| param.name.as_deref()).collect();
        if declared.iter().all(|param| param.name.is_some()) {
            self.refuse_unknown(&known)?;
        }
        for param in declared {
            if let (Some(name), Some(default)) = (&param.name, &param.default)
                && let Some(text) = self.given.borrow().get(name)
            {
                let _ = convert(name, text, default)?;
            }
        }
        Ok(())
    }

    /// Checks the given values against the parameters that a script has read, after it ran.
    ///
    /// # Errors
    /// A name that it neither read nor declares.
    pub fn check_used(&self, declared: &[Declared]) -> Result<()> {
        let values = self.values.borrow();
        let known = declared.iter().filter_map(|param| param.name.as_deref());
        self.refuse_unknown(&known.chain(values.keys().map(String::as_str)).collect())
    }

    fn refuse_unknown(&self, known: &BTreeSet<&str>) -> Result<()> {
        let given = self.given.borrow();
        let Some(name) = given.keys().find(|name| !known.contains(name.as_str())) else {
            return Ok(());
        };
        let error = error!("--set {name}: the script has no parameter {name}");
        if known.is_empty() {
            return Err(error.help("it has none: param(name, default) declares one"));
        }
        let all: Vec<&str> = known.iter().copied().collect();
        let all = format!("it has {}", all.join(", "));
        Err(match did_you_mean(name, known.iter().copied()) {
            Some(near) if near.starts_with("did") => error.help(format!("{near} {all}")),
            _ => error.help(all),
        })
    }

    fn get(&self, name: &str, default: Dynamic) -> Result<Dynamic> {
        let value = match (self.given.borrow().get(name), self.models.get(name)) {
            (Some(text), _) => convert(name, text, &default)?,
            (None, Some(id)) if default.is_string() || default.is_unit() => {
                let mut given = Dynamic::from(id.clone());
                given.set_tag(GIVEN);
                given
            }
            _ => default,
        };
        self.values.borrow_mut().insert(name.into(), value.clone());
        Ok(value)
    }
}

/// A phrase for the values that a parameter takes, given its default.
pub fn kind(default: &Dynamic) -> &'static str {
    match default.type_name() {
        "i64" => "an integer",
        "f64" => "a number",
        "bool" => "true or false",
        "string" => "a text",
        "array" => "an array",
        "map" => "a map",
        "()" => "anything",
        _ => "nothing that a command line can give",
    }
}

/// Converts `text` to the type of the default. For the default `()` it is an integer, a number, a
/// bool or a string, whichever it reads as first.
fn convert(name: &str, text: &str, default: &Dynamic) -> Result<Dynamic> {
    let value = match default.type_name() {
        "i64" => text.trim().parse::<i64>().ok().map(Dynamic::from),
        "f64" => text.trim().parse::<f64>().ok().map(Dynamic::from),
        "bool" => text.trim().parse::<bool>().ok().map(Dynamic::from),
        "string" => Some(text.into()),
        "array" => {
            array(name, text, &default.read_lock::<Array>().map(|a| a.clone()).unwrap_or_default())?
        }
        "map" => json(text).filter(Dynamic::is_map),
        "()" => Some(guess(text)),
        _ => bail!(
            "param: the default of {name} is {}, which no command line can give",
            describe(default)
        ),
    };
    value.ok_or_else(|| {
        let error = error!("--set {name}={text}: {name} takes {}", kind(default));
        match default.type_name() {
            "array" => error.help(format!("as in --set {name}=1,2,3 or --set '{name}=[1, 2, 3]'")),
            "map" => error.help(format!("as in --set '{name}={{\"a\": 1}}'")),
            _ => error.help(format!("its default is {default}")),
        }
    })
}

/// A JSON array, or values separated by commas, each of the type of the default's elements.
fn array(name: &str, text: &str, default: &Array) -> Result<Option<Dynamic>> {
    if text.trim_start().starts_with('[') {
        return Ok(json(text).filter(Dynamic::is_array));
    }
    if text.trim().is_empty() {
        return Ok(Some(Array::new().into()));
    }
    let like = match default.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other.type_id() == first.type_id()) => {
            first.clone()
        }
        _ => Dynamic::UNIT,
    };
    let values = text.split(',').map(|part| convert(name, part.trim(), &like));
    Ok(Some(values.collect::<Result<Array>>()?.into()))
}

fn json(text: &str) -> Option<Dynamic> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    rhai::serde::to_dynamic(value).ok()
}

fn guess(text: &str) -> Dynamic {
    if let Ok(int) = text.parse::<i64>() {
        return int.into();
    }
    if let Ok(float) = text.parse::<f64>() {
        return float.into();
    }
    match text {
        "true" => true.into(),
        "false" => false.into(),
        text => text.into(),
    }
}

/// Registers `param`.
pub fn install(registry: &mut Registry, params: &Rc<Params>) {
    let (own, with_help) = (params.clone(), params.clone());
    registry
        .declare(
            "param(name, otherwise, help)",
            Purity::Impure("reads a parameter of the script"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "an option of the script: (name, default, help); --set name=value gives it",
            r#"param("cutoff", 0.1, "where to cut")"#,
            "0.1",
        )
        .function(move |name: &str, default: Dynamic| -> ScriptResult<Dynamic> {
            Ok(own.get(name, default)?)
        })
        .function(
            move |name: &str, default: Dynamic, _help: ImmutableString| -> ScriptResult<Dynamic> {
                Ok(with_help.get(name, default)?)
            },
        )
        .function(|_name: &str| -> ScriptResult<Dynamic> {
            Err(Error::new("param takes a name and a default")
                .help("as in param(\"cutoff\", 0.1)")
                .into())
        });
}

#[cfg(test)]
mod tests {
    use rhai::Map;

    use super::*;

    fn converted(text: &str, default: impl Into<Dynamic>) -> Result<String> {
        convert("p", text, &default.into()).map(|value| format!("{value:?}"))
    }

    #[test]
    fn a_value_takes_the_type_of_the_default() {
        let floats: Array = vec![0.5.into()];
        assert_eq!(converted("3", 1_i64).unwrap(), "3");
        assert_eq!(converted("3", 1.0).unwrap(), "3.0");
        assert_eq!(converted("true", false).unwrap(), "true");
        assert_eq!(converted("3", "x").unwrap(), "\"3\"");
        assert_eq!(converted("1, 2", Dynamic::from(floats.clone())).unwrap(), "[1.0, 2.0]");
        assert_eq!(converted("[1, 2]", Dynamic::from(floats.clone())).unwrap(), "[1, 2]");
        assert_eq!(converted("", Dynamic::from(floats)).unwrap(), "[]");
        assert_eq!(converted("a,2,true", Dynamic::from(Array::new())).unwrap(), "[\"a\", 2, true]");
        assert_eq!(converted("{\"a\": 1}", Dynamic::from(Map::new())).unwrap(), "#{\"a\": 1}");
        assert_eq!(converted("0.5", ()).unwrap(), "0.5");
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_the_default() {
        let error = convert("cutoff", "high", &0.1.into()).unwrap_err();
        assert_eq!(error.message(), "--set cutoff=high: cutoff takes a number");
        assert_eq!(error.help_text(), Some("its default is 0.1"));
        assert!(convert("n", "1.5", &Dynamic::from(1_i64)).is_err());
        assert!(convert("n", "yes", &Dynamic::from(true)).is_err());
        assert!(convert("n", "[1, 2", &Dynamic::from(Array::new())).is_err());
    }
}
