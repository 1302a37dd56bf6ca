//! The options map of a call: checks the names and converts the values.

use rhai::{Array, Dynamic, ImmutableString, Map};

use super::record;
use crate::script::errors::foreign;
use crate::script::value::Handle;
use crate::{Result, did_you_mean, error};

/// The options of a call: `#{dim: 1, keepdim: true}`.
pub struct Options {
    call: &'static str,
    map: Map,
}

impl Options {
    /// The options `map` of the function `call`, which takes the options `known`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn new(call: &'static str, map: Map, known: &[&str]) -> Result<Self> {
        for name in map.keys() {
            if !known.contains(&name.as_str()) {
                let error = error!("{call} has no option {name}");
                if let Some(here) = foreign::option(name).filter(|here| known.contains(here)) {
                    return Err(error.help(format!("{here} is what {name} is elsewhere")));
                }
                return Err(match did_you_mean(name, known.iter().copied()) {
                    Some(help) => error.help(help),
                    None => error.help("it takes no options"),
                });
            }
        }
        Ok(Self { call, map })
    }

    /// No options.
    pub fn none(call: &'static str) -> Self {
        Self { call, map: Map::new() }
    }

    /// The value of an option, unless it is absent or `()`.
    pub fn get(&self, name: &str) -> Option<Dynamic> {
        self.map.get(name).filter(|v| !v.is_unit()).map(|v| v.flatten_clone())
    }

    /// The value of an option, converted by `read`.
    fn typed<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&Dynamic) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(&value) {
            Some(typed) => Ok(Some(typed)),
            None => {
                Err(error!("{}: {name} must be {expected}, not {}", self.call, describe(&value)))
            }
        }
    }

    /// The value of a bool option; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn bool(&self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", |v| v.as_bool().ok())
    }

    /// The value of an integer option; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.typed(name, "an integer", |v| v.as_int().ok())
    }

    /// The value of a number option, which may be given as an integer; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn float(&self, name: &str) -> Result<Option<f64>> {
        self.typed(name, "a number", float)
    }

    /// The value of a string option; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn string(&self, name: &str) -> Result<Option<ImmutableString>> {
        self.typed(name, "a string", |v| v.clone().into_immutable_string().ok())
    }

    /// The value of an option that is an integer or an array of integers; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        self.typed(name, "an integer or an array of integers", ints)
    }

    /// The value of a tensor option; `None` if it is absent.
    ///
    /// # Errors
    /// A value of another type.
    pub fn tensor(&self, name: &str) -> Result<Option<Handle>> {
        self.typed(name, "a tensor", |v| v.clone().try_cast::<Handle>())
    }
}

/// A float, or an integer converted to one.
pub fn float(value: &Dynamic) -> Option<f64> {
    value.as_float().ok().or_else(|| value.as_int().ok().map(|i| i as f64))
}

/// The integers in a value: one, or an array of them.
pub fn ints(value: &Dynamic) -> Option<Vec<i64>> {
    if let Ok(one) = value.as_int() {
        return Some(vec![one]);
    }
    value.read_lock::<Array>()?.iter().map(|v| v.as_int().ok()).collect()
}

/// The word for a type that Rhai has no word for, from its name in Rust.
fn own_word(type_name: &str) -> String {
    let bare = type_name.split('<').next().unwrap_or(type_name);
    match bare.rsplit("::").next().unwrap_or(bare) {
        range if range.ends_with("Range") || range.ends_with("RangeInclusive") => "a range".into(),
        "Instant" => "a timestamp".into(),
        "Vec" => "a blob".into(),
        own => own.to_lowercase(),
    }
}

/// A phrase for a value in errors: "expected …, not *the string "a"*".
pub fn describe(value: &Dynamic) -> String {
    if let Some(handle) = value.read_lock::<Handle>() {
        return format!("a tensor {:?} of {}", handle.value().dims(), handle.value().dtype_name());
    }
    if record::read(value).is_some() {
        return "a map".into();
    }
    match value.type_name() {
        "()" => "nothing".into(),
        "string" => format!("the string {:?}", value.clone().into_string().unwrap_or_default()),
        "array" => format!("an array of {}", value.read_lock::<Array>().map_or(0, |a| a.len())),
        "i64" | "f64" | "bool" => format!("{value}"),
        "Fn" => "a function".into(),
        other => own_word(other),
    }
}
