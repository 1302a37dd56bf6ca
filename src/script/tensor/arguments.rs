//! Reads the arguments of tensor functions, which are given in order or by name in a last map:
//! `x.flip(1)` and `x.flip(#{dim: 1})` are the same call. A wrong argument is an error that names
//! it.

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

/// The arguments of one call: first those in order, then the options.
pub struct Call {
    name: &'static str,
    positional: Vec<Dynamic>,
    options: Options,
}

impl Declaration<'_> {
    /// Registers the function with a tensor as its first argument. See [`on`](Self::on).
    pub fn on_tensor<R: Variant + Clone>(
        self,
        arity: RangeInclusive<usize>,
        run: impl Fn(&Call) -> Result<R> + Clone + 'static,
    ) -> Self {
        self.on::<Handle, R>(arity, run)
    }

    /// Registers the function for every number of arguments in `arity`, and for one more, which is
    /// the map of options, if the signature lists any. The first argument is a `First`; in a method
    /// call it is the receiver. The other arguments may be of any type, and `run` checks them.
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

    /// The options; empty if the call gave none.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The number of arguments before the options.
    pub fn count(&self) -> usize {
        self.positional.len()
    }

    /// The argument at position `place`, or else the option `name`. `()` counts as absent.
    pub fn get(&self, place: usize, name: &str) -> Option<Dynamic> {
        self.positional
            .get(place)
            .filter(|v| !v.is_unit())
            .cloned()
            .or_else(|| self.options.get(name))
    }

    /// The argument or option as a `T`, read by `read`; `expected` names its type in the error.
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

    /// # Errors
    /// The argument is missing or no tensor.
    pub fn tensor(&self, place: usize, name: &str) -> Result<Handle> {
        let tensor = self.read(place, name, "a tensor", |v| v.clone().try_cast::<Handle>())?;
        self.required(name, tensor)
    }

    /// # Errors
    /// The argument is missing or no integer.
    pub fn int(&self, place: usize, name: &str) -> Result<i64> {
        let int = self.int_or_absent(place, name)?;
        self.required(name, int)
    }

    /// # Errors
    /// The argument is no integer.
    pub fn int_or_absent(&self, place: usize, name: &str) -> Result<Option<i64>> {
        self.read(place, name, "an integer", |v| v.as_int().ok())
    }

    /// One integer or an array of integers.
    ///
    /// # Errors
    /// The argument is missing or neither.
    pub fn ints(&self, place: usize, name: &str) -> Result<Vec<i64>> {
        let ints = self.ints_or_absent(place, name)?;
        self.required(name, ints)
    }

    /// # Errors
    /// The argument is neither an integer nor an array of integers.
    pub fn ints_or_absent(&self, place: usize, name: &str) -> Result<Option<Vec<i64>>> {
        self.read(place, name, "an integer or an array of integers", options::ints)
    }

    /// Sizes or dims, given as one array or as the arguments from `place` on.
    ///
    /// # Errors
    /// An argument is missing or no integer.
    pub fn listed_ints(&self, place: usize, name: &str) -> Result<Vec<i64>> {
        if self.positional.len() <= place + 1 {
            return self.ints(place, name);
        }
        (place..self.positional.len()).map(|place| self.int(place, name)).collect()
    }

    /// # Errors
    /// The argument is missing or no number.
    pub fn float(&self, place: usize, name: &str) -> Result<f64> {
        let float = self.read(place, name, "a number", options::float)?;
        self.required(name, float)
    }

    /// # Errors
    /// The argument is missing, or neither a number nor a bool.
    pub fn number(&self, place: usize, name: &str) -> Result<Number> {
        let number = self.read(place, name, "a number or a bool", number)?;
        self.required(name, number)
    }

    /// # Errors
    /// The argument is no bool.
    pub fn bool_or_absent(&self, place: usize, name: &str) -> Result<Option<bool>> {
        self.read(place, name, "true or false", |v| v.as_bool().ok())
    }

    /// # Errors
    /// The argument is no string.
    pub fn string_or_absent(&self, place: usize, name: &str) -> Result<Option<String>> {
        self.read(place, name, "a string", |v| v.clone().into_string().ok())
    }

    /// # Errors
    /// The argument is missing or no array.
    pub fn array(&self, place: usize, name: &str) -> Result<Array> {
        let array = self.read(place, name, "an array", |v| v.clone().try_cast::<Array>())?;
        self.required(name, array)
    }

    /// A tensor, a number or a bool.
    ///
    /// # Errors
    /// The argument is missing or neither.
    pub fn side(&self, place: usize, name: &str) -> Result<Side> {
        let side = self.side_or_absent(place, name)?;
        self.required(name, side)
    }

    /// # Errors
    /// The argument is neither a tensor nor a number.
    pub fn side_or_absent(&self, place: usize, name: &str) -> Result<Option<Side>> {
        self.read(place, name, "a tensor or a number", Side::read)
    }
}

/// An operand as a script gives it.
#[derive(Clone)]
pub enum Side {
    /// A tensor.
    Tensor(Handle),
    /// A number or a bool.
    Number(Number),
}

impl Side {
    /// A tensor, a number or a bool; nothing else is an operand.
    pub fn read(value: &Dynamic) -> Option<Side> {
        match value.read_lock::<Handle>() {
            Some(handle) => Some(Side::Tensor(handle.clone())),
            None => number(value).map(Side::Number),
        }
    }

    /// Calls `f` with the operand that the tensor operations take.
    pub fn with<R>(&self, f: impl FnOnce(Operand) -> R) -> R {
        match self {
            Side::Tensor(handle) => f(Operand::Tensor(&handle.value())),
            Side::Number(number) => f(Operand::Number(*number)),
        }
    }

    /// The tensor's handle.
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Side::Tensor(handle) => Some(handle),
            Side::Number(_) => None,
        }
    }
}

/// A number or a bool from a script.
pub fn number(value: &Dynamic) -> Option<Number> {
    if let Ok(int) = value.as_int() {
        return Some(Number::Int(int));
    }
    if let Ok(bool) = value.as_bool() {
        return Some(Number::Bool(bool));
    }
    value.as_float().ok().map(Number::Float)
}

/// Applies `f` to a tensor; `masks` tells what becomes of the mask if the tensor is token ids.
///
/// # Errors
/// Those of `f`, or the mask can't follow.
pub fn derive(input: &Handle, masks: Masks, f: impl Fn(&Value) -> Result<Value>) -> Result<Handle> {
    let value = f(&input.value())?;
    masks.of(value, input, f)
}

/// As [`derive()`], for an operation whose result takes as much memory as the tensor does: that
/// there is room for it is checked first.
///
/// # Errors
/// As [`derive()`], or the memory limit would be exceeded.
pub fn derive_anew(
    input: &Handle,
    masks: Masks,
    f: impl Fn(&Value) -> Result<Value>,
) -> Result<Handle> {
    input.value().check_copy()?;
    derive(input, masks, f)
}

/// Applies `f` to two operands; `masks` tells what becomes of the masks of token ids.
///
/// # Errors
/// Those of `f`, or the masks differ or can't follow.
pub fn combine(
    a: &Side,
    b: &Side,
    masks: Masks,
    f: impl Fn(Operand, Operand) -> Result<Value>,
) -> Result<Handle> {
    let value = a.with(|a| b.with(|b| f(a, b)))?;
    masks.of_two(value, [a.handle(), b.handle()], f)
}

/// Applies `f`, which copies a tensor and writes `source` to some of its elements. If both are
/// token ids, their masks are combined in the same way.
///
/// # Errors
/// Those of `f`, or the memory limit would be exceeded.
pub fn put(
    input: &Handle,
    source: &Side,
    f: impl Fn(&Value, Operand) -> Result<Value>,
) -> Result<Handle> {
    input.value().check_copy()?;
    let value = source.with(|source| f(&input.value(), source))?;
    mask::put(value, input, source.handle(), f)
}
