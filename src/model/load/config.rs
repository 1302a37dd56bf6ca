//! Reading config.json as transformers does: a field that is absent has the default of the family's
//! config class, one that the class reads and this program does not is an error, and one that the
//! class does not read changes nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::classes::Class;
use super::field::Field;
pub use super::field::{Allowed, Repeated};
use super::known::{HONOURED_NOWHERE, IDLE, ROTARY, UNREAD, UNREAD_IF_FALSE};
use crate::model::spec::Activation;
use crate::{Result, bail, error};

/// Larger than any model's sizes, and so small that the product of two sizes cannot overflow.
const LARGEST_SIZE: usize = 1 << 24;

/// Positions are u32.
const MOST_POSITIONS: usize = 1 << 31;

/// The fields of one config.json. It records which were read, so that [`finish`](Self::finish) can
/// refuse the ones that were not.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// The config class of the family, of the fields of a whole config.json.
    class: Option<&'static Class>,
    /// What has the fields, for messages: `config.json` or `config.json's rope_scaling`.
    place: String,
    /// Whether sizes that are absent have the class's defaults, as those of a text model within a
    /// model of several parts have.
    complete: bool,
    read: RefCell<BTreeSet<&'static str>>,
    /// The fields that no one reads, transformers neither: `name = value`.
    unknown: Rc<RefCell<Vec<String>>>,
    /// What is to be said of the model where it is loaded.
    notes: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole config.json of a family, or with `within` of the map of that name in it.
    pub fn new(map: &'a Map<String, Value>, family: &str, within: Option<&str>) -> Self {
        Self {
            map,
            class: Class::of(family),
            place: match within {
                Some(name) => format!("config.json's {name}"),
                None => "config.json".into(),
            },
            complete: within.is_some(),
            read: RefCell::default(),
            unknown: Rc::default(),
            notes: RefCell::default(),
        }
    }

    /// Adds a sentence that is said where the model is loaded.
    pub fn note(&self, text: &'static str) {
        self.notes.borrow_mut().push(text);
    }

    /// What is to be said where the model is loaded.
    pub fn notes(&self) -> Vec<&'static str> {
        self.notes.take()
    }

    /// A field that is given, or the class's default; `None` if it is null or neither.
    fn value(&self, name: &'static str) -> Result<Option<&Value>> {
        self.read.borrow_mut().insert(name);
        let class =
            |of: fn(&'static Class, &str) -> bool| self.class.is_some_and(|it| of(it, name));
        match self.map.get(name) {
            Some(Value::Null) if class(Class::refuses_null) => {
                bail!("{}: {name} is null, and may only be left out", self.place)
            }
            Some(given) => Ok(Some(given).filter(|value| !value.is_null())),
            None => {
                let default = self.class.and_then(|class| class.fields.get(name));
                Ok(default.filter(|value| !value.is_null()))
            }
        }
    }

    /// A field, or the class's default; `None` if it is null or neither.
    ///
    /// # Errors
    /// The value has another type.
    pub fn optional<T: Field>(&self, name: &'static str) -> Result<Option<T>> {
        match self.value(name)? {
            None => Ok(None),
            Some(value) => T::read(value).map(Some).ok_or_else(|| {
                error!("{}: {name} must be {}, not {value}", self.place, T::EXPECTED)
            }),
        }
    }

    /// A field, or `default` if neither the config nor the class has it.
    ///
    /// # Errors
    /// The value has another type.
    pub fn or<T: Field>(&self, name: &'static str, default: T) -> Result<T> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Whether the field is given, null or not. It does not count as read.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// The field is null, absent without a default, or of another type.
    pub fn required<T: Field>(&self, name: &'static str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| error!("{} has no {name}", self.place))
    }

    /// A dimension of a weight or a number of layers or heads.
    ///
    /// # Errors
    /// The field is absent, 0 or absurdly large.
    pub fn size(&self, name: &'static str) -> Result<usize> {
        if !self.complete && !self.has(name) {
            bail!("{} has no {name}", self.place);
        }
        self.count(name, self.required(name)?, LARGEST_SIZE)
    }

    /// As [`size`](Self::size), or if the field is absent the class's default, or `default`.
    ///
    /// # Errors
    /// The field is 0 or absurdly large.
    pub fn size_or(&self, name: &'static str, default: usize) -> Result<usize> {
        self.count(name, self.optional(name)?.unwrap_or(default), LARGEST_SIZE)
    }

    /// A number of tokens, of a sequence or a window; `None` if the field is absent.
    ///
    /// # Errors
    /// The field is 0 or above 2³¹.
    pub fn positions(&self, name: &'static str) -> Result<Option<usize>> {
        self.optional(name)?.map(|n| self.count(name, n, MOST_POSITIONS)).transpose()
    }

    /// A number of tokens that must be there.
    ///
    /// # Errors
    /// The field is absent, 0 or above 2³¹.
    pub fn max_positions(&self, name: &'static str) -> Result<usize> {
        self.count(name, self.required(name)?, MOST_POSITIONS)
    }

    fn count(&self, name: &str, n: usize, most: usize) -> Result<usize> {
        match n {
            0 => bail!("{}: {name} must be at least 1, not 0", self.place),
            n if n > most => bail!("{}: {name} must be at most {most}, not {n}", self.place),
            n => Ok(n),
        }
    }

    /// A real number within a range, or `None` if the field is absent.
    ///
    /// # Errors
    /// The value is out of the range or no number.
    pub fn number(&self, name: &'static str, allowed: Allowed) -> Result<Option<f64>> {
        self.optional(name)?.map(|x| self.allowed(name, x, allowed)).transpose()
    }

    /// As [`number`](Self::number), but a field that is there must not be null.
    ///
    /// # Errors
    /// The value is null, out of the range or no number.
    pub fn given_number(&self, name: &'static str, allowed: Allowed) -> Result<Option<f64>> {
        if self.map.get(name).is_some_and(Value::is_null) {
            bail!("{}: {name} is null, and may only be left out", self.place);
        }
        self.number(name, allowed)
    }

    /// A real number within a range that must be there.
    ///
    /// # Errors
    /// The field is absent, out of the range or no number.
    pub fn required_number(&self, name: &'static str, allowed: Allowed) -> Result<f64> {
        self.allowed(name, self.required(name)?, allowed)
    }

    /// An array of real numbers within a range that must be there.
    ///
    /// # Errors
    /// The field is absent, or an element is out of the range or no number.
    pub fn numbers(&self, name: &'static str, allowed: Allowed) -> Result<Vec<f64>> {
        self.required::<Vec<f64>>(name)?
            .into_iter()
            .map(|x| self.allowed(name, x, allowed))
            .collect()
    }

    fn allowed(&self, name: &str, x: f64, allowed: Allowed) -> Result<f64> {
        // A range contains no NaN.
        match (allowed.least..=allowed.most).contains(&x) {
            true => Ok(x),
            false => bail!("{}: {name} must be {}, not {x:?}", self.place, allowed.words),
        }
    }

    /// The fields of a nested map, or `None` if it is absent or null.
    ///
    /// # Errors
    /// The value is no map.
    pub fn nested(&self, name: &'static str) -> Result<Option<Fields<'_>>> {
        self.read.borrow_mut().insert(name);
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields {
                map,
                class: None,
                place: format!("{}'s {name}", self.place),
                complete: self.complete,
                read: RefCell::default(),
                unknown: self.unknown.clone(),
                notes: RefCell::default(),
            })),
            Some(other) => bail!("{}: {name} must be a map, not {other}", self.place),
        }
    }

    /// Reads a field of which this program supports one value only. The field may be absent.
    ///
    /// # Errors
    /// The field has another value.
    pub fn only<T: Field + PartialEq + std::fmt::Debug>(
        &self,
        name: &'static str,
        value: T,
    ) -> Result<()> {
        match self.optional::<T>(name)? {
            Some(other) if other != value => {
                bail!(
                    "{}: {name} = {other:?} can't be honoured; only {value:?} is supported",
                    self.place
                )
            }
            _ => Ok(()),
        }
    }

    /// Marks fields as read that do not change a forward pass in this family.
    pub fn ignore(&self, names: &[&'static str]) {
        self.read.borrow_mut().extend(names);
    }

    /// Whether a field was read, or marked so.
    pub fn is_read(&self, name: &str) -> bool {
        self.read.borrow().contains(name)
    }

    /// The activation that a field names.
    ///
    /// # Errors
    /// There is no such field, or the activation is not supported.
    pub fn activation(&self, name: &'static str) -> Result<Activation> {
        let value = self.required::<String>(name)?;
        Ok(match value.as_str() {
            "relu" => Activation::Relu,
            "relu2" => Activation::Relu2,
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" => {
                Activation::GeluTanh
            }
            "quick_gelu" => Activation::QuickGelu,
            "silu" | "swish" => Activation::Silu,
            "mish" => Activation::Mish,
            _ => bail!("{}: the activation {value:?} of {name} is not supported", self.place),
        })
    }

    /// Checks the fields of a map of rotary embeddings. Those that another kind of scaling has are
    /// left unread, as transformers leaves them.
    pub fn finish_rotary(&self) {
        self.note_unknown(|name| ROTARY.contains(&name));
    }

    /// Checks that every field was read, or is known to change nothing. A field that was not read may
    /// repeat one of the `sizes`, given by name: configs that scripts save have the sizes under the
    /// names that all families share and under the family's own.
    ///
    /// Gives the fields that neither this program nor transformers reads, as `name = value`.
    ///
    /// # Errors
    /// A field was not read and could change the result, or differs from the size of its name.
    pub fn finish(&self, sizes: &[(&str, usize)]) -> Result<Vec<String>> {
        for name in self.map.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name) {
            if self.class.is_some_and(|class| class.refuses_null(name)) {
                bail!("{}: {name} is null, and may only be left out", self.place);
            }
        }
        let repeats = |name: &str| sizes.iter().find(|(known, _)| *known == name);
        for (name, value) in self.unread() {
            let text = value.to_string();
            if HONOURED_NOWHERE.iter().any(|&(it, idle)| it == name && text != idle) {
                bail!("{}: {name} = {} can't be honoured", self.place, shortened(value));
            }
            match repeats(name) {
                Some((_, size)) if value.as_u64() != Some(*size as u64) => bail!(
                    "{}: {name} is {}, and the fields that this family reads make it {size}",
                    self.place,
                    shortened(value)
                ),
                Some(_) => {}
                None if self.class.is_none_or(|class| class.reads(name)) => {
                    return Err(error!(
                        "{}: the field {name} = {} could change the result, and can't be honoured",
                        self.place,
                        shortened(value)
                    )
                    .help("remove the field if you are sure that it does not matter"));
                }
                None => {}
            }
        }
        let known = |name: &str| {
            repeats(name).is_some()
                || HONOURED_NOWHERE.iter().any(|(it, _)| *it == name)
                || UNREAD.contains(&name)
                || (UNREAD_IF_FALSE.contains(&name) && self.map.get(name) == Some(&false.into()))
        };
        self.note_unknown(known);
        Ok(self.unknown.take())
    }

    /// The fields that are given, were not read and could matter.
    fn unread(&self) -> impl Iterator<Item = (&str, &Value)> {
        let given = |(name, value): &(&str, &Value)| {
            !value.is_null() && !self.is_read(name) && !IDLE.contains(name)
        };
        self.map.iter().map(|(name, value)| (name.as_str(), value)).filter(given)
    }

    fn note_unknown(&self, known: impl Fn(&str) -> bool) {
        let unknown = self.unread().filter(|(name, _)| !known(name));
        let written = unknown.map(|(name, value)| format!("{name} = {}", shortened(value)));
        self.unknown.borrow_mut().extend(written);
    }
}

/// A value as messages show it.
fn shortened(value: &Value) -> String {
    /// The most characters that are shown.
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
