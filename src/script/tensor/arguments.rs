//! How a tensor function takes its arguments: in order, or by name in a last map. `x.flip(1)` and
//! `x.flip(#{dim: 1})` are the same call, and a wrong argument is a sentence.

use std::any::TypeId;
use std::ops::RangeInclusive;
use std::rc::Rc;

use rhai::{Array, Dynamic, Map, Variant};

use super::handle::mask;
use super::{Handle, Masks};
use crate::script::declare::Declaration;
use crate::script::value::options;
use crate::script::value::options::{Options, describe};
use crate::tensor::{Number, Operand, Value};
use crate::{Result, bail, error};

/// One call: its arguments in order, and its options.
pub struct Call {
    name: &'static str,
    positional: Vec<Dynamic>,
    options: Options,
}

impl Declaration<'_> {
    /// Registers the function for a tensor, which may stand before the dot, as
    /// [`on`](Self::on) does.
    pub fn on_tensor<R: Variant + Clone>(
        self,
        arity: RangeInclusive<usize>,
        run: impl Fn(&Call) -> Result<R> + Clone + 'static,
    ) -> Self {
        self.on::<Handle, R>(arity, run)
    }

    /// Registers the function with `arity` arguments, of which the first is a `First`, and after
    /// them a map of the options that its signature lists. Called as a method, what stands before
    /// the dot is argument 0.
    pub fn on<First: Variant + Clone, R: Variant + Clone>(
        mut self,
        arity: RangeInclusive<usize>,
        run: impl Fn(&Call) -> Result<R> + Clone + 'static,
    ) -> Self {
        let (name, options) = (self.name(), Rc::<[&str]>::from(self.options()));
        let most = *arity.end();
        for count in *arity.start()..=most + usize::from(!options.is_empty()) {
            let mut types = vec![TypeId::of::<Dynamic>(); count];
            if let Some(first) = types.first_mut() {
                *first = TypeId::of::<First>();
            }
            let (run, options) = (run.clone(), options.clone());
            self = self.raw(&types, move |_, arguments| {
                let positional =
                    arguments.iter().map(|argument| argument.flatten_clone()).collect();
                Ok(run(&Call::new(name, positional, most, &options)?)?)
            });
        }
        self
    }
}

impl Call {
    fn new(
        name: &'static str,
        mut positional: Vec<Dynamic>,
        most: usize,
        known: &[&'static str],
    ) -> Result<Self> {
        let last_is_map =
            !known.is_empty() && positional.last().is_some_and(|last| last.is::<Map>());
        let map = if last_is_map {
            positional.pop().and_then(|last| last.try_cast::<Map>())
        } else {
            None
        };
        if positional.len() > most {
            bail!(
                "{name} takes at most {most} arguments before its options, and {} came",
                positional.len()
            );
        }
        let options = Options::new(name, map.unwrap_or_default(), known)?;
        Ok(Self { name, positional, options })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How many arguments came before the options.
    pub fn count(&self) -> usize {
        self.positional.len()
    }

    /// The argument at `place`, or the option `name`; absent if it is `()`.
    pub fn get(&self, place: usize, name: &str) -> Option<Dynamic> {
        self.positional
            .get(place)
            .filter(|v| !v.is_unit())
            .cloned()
            .or_else(|| self.options.get(name))
    }

    fn read<T>(
        &self,
        place: usize,
        name: &str,
        expected: &str,
        read: impl Fn(&Dynamic) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(place, name) else { return Ok(None) };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => {
                Err(error!("{}: {name} must be {expected}, not {}", self.name, describe(&value)))
            }
        }
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| error!("{} needs {name}", self.name))
    }

    pub fn tensor(&self, place: usize, name: &str) -> Result<Handle> {
        let tensor = self.read(place, name, "a tensor", |v| v.clone().try_cast::<Handle>())?;
        self.required(name, tensor)
    }

    pub fn int(&self, place: usize, name: &str) -> Result<i64> {
        let int = self.int_or_absent(place, name)?;
        self.required(name, int)
    }

    pub fn int_or_absent(&self, place: usize, name: &str) -> Result<Option<i64>> {
        self.read(place, name, "an integer", |v| v.as_int().ok())
    }

    /// One integer or an array of them.
    pub fn ints(&self, place: usize, name: &str) -> Result<Vec<i64>> {
        let ints = self.ints_or_absent(place, name)?;
        self.required(name, ints)
    }

    pub fn ints_or_absent(&self, place: usize, name: &str) -> Result<Option<Vec<i64>>> {
        self.read(place, name, "an integer or an array of integers", options::ints)
    }

    /// Sizes or dims, as one array or as the arguments from `place` on.
    pub fn listed_ints(&self, place: usize, name: &str) -> Result<Vec<i64>> {
        if self.positional.len() <= place + 1 {
            return self.ints(place, name);
        }
        (place..self.positional.len()).map(|place| self.int(place, name)).collect()
    }

    pub fn float(&self, place: usize, name: &str) -> Result<f64> {
        let float = self.read(place, name, "a number", options::float)?;
        self.required(name, float)
    }

    pub fn number(&self, place: usize, name: &str) -> Result<Number> {
        let number = self.read(place, name, "a number or a bool", number)?;
        self.required(name, number)
    }

    pub fn bool_or_absent(&self, place: usize, name: &str) -> Result<Option<bool>> {
        self.read(place, name, "true or false", |v| v.as_bool().ok())
    }

    pub fn string_or_absent(&self, place: usize, name: &str) -> Result<Option<String>> {
        self.read(place, name, "a string", |v| v.clone().into_string().ok())
    }

    pub fn array(&self, place: usize, name: &str) -> Result<Array> {
        let array = self.read(place, name, "an array", |v| v.clone().try_cast::<Array>())?;
        self.required(name, array)
    }

    /// A tensor, a number or a bool.
    pub fn side(&self, place: usize, name: &str) -> Result<Side> {
        let side = self.side_or_absent(place, name)?;
        self.required(name, side)
    }

    pub fn side_or_absent(&self, place: usize, name: &str) -> Result<Option<Side>> {
        self.read(place, name, "a tensor or a number", Side::read)
    }
}

/// One side of an operator as a script gives it.
#[derive(Clone)]
pub enum Side {
    Tensor(Handle),
    Number(Number),
}

impl Side {
    pub fn read(value: &Dynamic) -> Option<Side> {
        match value.read_lock::<Handle>() {
            Some(handle) => Some(Side::Tensor(handle.clone())),
            None => number(value).map(Side::Number),
        }
    }

    /// `f` of the side as an operand.
    pub fn with<R>(&self, f: impl FnOnce(Operand) -> R) -> R {
        match self {
            Side::Tensor(handle) => f(Operand::Tensor(&handle.value())),
            Side::Number(number) => f(Operand::Number(*number)),
        }
    }

    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Side::Tensor(handle) => Some(handle),
            Side::Number(_) => None,
        }
    }
}

/// A number or a bool.
pub fn number(value: &Dynamic) -> Option<Number> {
    if let Ok(int) = value.as_int() {
        return Some(Number::Int(int));
    }
    if let Ok(bool) = value.as_bool() {
        return Some(Number::Bool(bool));
    }
    value.as_float().ok().map(Number::Float)
}

/// The handle of what `f` makes of a tensor; `masks` says what becomes of the mask that token ids
/// carry.
pub fn derive(input: &Handle, masks: Masks, f: impl Fn(&Value) -> Result<Value>) -> Result<Handle> {
    let value = f(&input.value())?;
    masks.of(value, input, f)
}

/// As [`derive()`], of an operation whose result has as many elements as the tensor, in storage of
/// its own.
pub fn derive_anew(
    input: &Handle,
    masks: Masks,
    f: impl Fn(&Value) -> Result<Value>,
) -> Result<Handle> {
    input.value().check_copy()?;
    derive(input, masks, f)
}

/// The handle of what `f` makes of two sides.
pub fn combine(
    a: &Side,
    b: &Side,
    masks: Masks,
    f: impl Fn(Operand, Operand) -> Result<Value>,
) -> Result<Handle> {
    let value = a.with(|a| b.with(|b| f(a, b)))?;
    masks.of_two(value, [a.handle(), b.handle()], f)
}

/// The handle of what `f` makes by putting `source` among the elements of a tensor.
pub fn put(
    input: &Handle,
    source: &Side,
    f: impl Fn(&Value, Operand) -> Result<Value>,
) -> Result<Handle> {
    input.value().check_copy()?;
    let value = source.with(|source| f(&input.value(), source))?;
    mask::put(value, input, source.handle(), f)
}
