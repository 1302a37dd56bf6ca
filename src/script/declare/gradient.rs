//! What going back through a function gives, and the guard that holds a function to it: no function
//! cuts the graph of gradients in silence.

use std::any::TypeId;
use std::rc::Rc;

use rhai::{Dynamic, NativeCallContext, RhaiFunc, RhaiNativeFunc};

use super::declaration::Purity;
use crate::script::errors::error::ScriptResult;
use crate::{Error, error};

/// Whether gradients go back through a function to the tensors that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// Every float or complex result has the derivative that PyTorch gives it.
    Yes,
    /// As [`Gradient::Yes`], and it is 0 wherever it exists: a function of steps.
    Zero,
    /// There is none, for the reason in these words: with a tensor that has a graph it is an error.
    None(&'static str),
    /// What it gives is outside of any graph: bools, integers, numbers, texts, files, new tensors.
    Outside,
    /// It computes nothing from tensors; it may pass them on.
    NoTensors,
}

impl Gradient {
    /// The cell of the reference.
    pub fn cell(self) -> &'static str {
        match self {
            Gradient::Yes => "yes",
            Gradient::Zero => "0",
            Gradient::None(_) => "none",
            Gradient::Outside => "–",
            Gradient::NoTensors => "",
        }
    }

    /// A sentence for editors; nothing of a function that computes nothing from tensors.
    pub fn sentence(self) -> Option<String> {
        match self {
            Gradient::Yes => Some("Differentiable.".into()),
            Gradient::Zero => Some("Its gradient is 0.".into()),
            Gradient::None(why) => Some(format!("Not differentiable: {why}.")),
            Gradient::Outside => Some("What it gives has no gradient.".into()),
            Gradient::NoTensors => None,
        }
    }
}

/// The arguments of a call as Rhai has them.
type Arguments<'a> = [&'a mut Dynamic];

/// How the guard recognises tensors among the values of scripts, which this module does not know.
#[derive(Clone, Copy)]
pub struct Graph {
    /// Whether a value is a tensor with a graph, or an array or a map with one.
    pub is_tracked: fn(&Dynamic) -> bool,
    /// Whether a value is a tensor of floats or complex numbers without a graph, or an array or a
    /// map with one. A tensor without elements is none.
    pub is_severed: fn(&Dynamic) -> bool,
    /// Keeps the storage of a tensor, or of those in an array or a map, from being written to.
    pub keep: fn(&Dynamic),
}

/// Looks at the arguments of each call of a function, and at what it gives for them.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    pub name: &'static str,
    pub purity: Purity,
    pub gradient: Gradient,
    pub graph: Graph,
}

impl Guard {
    /// Whether there is something to look for.
    pub fn is_needed(&self) -> bool {
        !matches!(self.gradient, Gradient::Outside | Gradient::NoTensors)
    }

    /// Calls `function`, and fails if an argument has a graph that the result, or the receiver that
    /// the call changed, has lost.
    pub fn call(
        &self,
        args: &mut Arguments,
        function: impl FnOnce(&mut Arguments) -> ScriptResult<Dynamic>,
    ) -> ScriptResult<Dynamic> {
        if !args.iter().any(|value| (self.graph.is_tracked)(value)) {
            return function(args);
        }
        let written = usize::from(self.purity == Purity::ChangesReceiver);
        args.iter().skip(written).for_each(|value| (self.graph.keep)(value));
        let result = function(args)?;
        let changed = match self.purity {
            Purity::ChangesReceiver => args.first().is_some_and(|x| (self.graph.is_severed)(x)),
            _ => false,
        };
        if changed || (self.graph.is_severed)(&result) {
            return Err(self.error().into());
        }
        Ok(result)
    }

    fn error(&self) -> Error {
        let name = self.name;
        let error = match self.gradient {
            Gradient::None(why) => error!("{name} has no derivative: {why}"),
            _ => error!("{name} has no derivative for these arguments"),
        };
        error.help("x.detach() is x outside of the graph of gradients, as a constant")
    }

    /// The function under guard.
    fn wrap(self, function: RhaiFunc) -> RhaiFunc {
        match function {
            RhaiFunc::Pure { func, has_context, is_pure, is_volatile } => RhaiFunc::Pure {
                func: Rc::new(move |context: Option<NativeCallContext>, args: &mut Arguments| {
                    self.call(args, |args| func(context, args))
                }),
                has_context,
                is_pure,
                is_volatile,
            },
            RhaiFunc::Method { func, has_context, is_pure, is_volatile } => RhaiFunc::Method {
                func: Rc::new(move |context: Option<NativeCallContext>, args: &mut Arguments| {
                    self.call(args, |args| func(context, args))
                }),
                has_context,
                is_pure,
                is_volatile,
            },
            other => other,
        }
    }
}

/// A function of Rust's under guard, which Rhai registers as it would the function itself.
pub(super) struct Guarded<T> {
    pub function: T,
    pub guard: Guard,
}

impl<A: 'static, const N: usize, const X: bool, R: 'static, const F: bool, T>
    RhaiNativeFunc<A, N, X, R, F> for Guarded<T>
where
    T: RhaiNativeFunc<A, N, X, R, F>,
{
    fn into_rhai_function(self, is_pure: bool, is_volatile: bool) -> RhaiFunc {
        let function = self.function.into_rhai_function(is_pure, is_volatile);
        if self.guard.is_needed() { self.guard.wrap(function) } else { function }
    }

    fn param_types() -> [TypeId; N] {
        T::param_types()
    }

    fn param_names() -> [&'static str; N] {
        T::param_names()
    }

    fn return_type() -> TypeId {
        T::return_type()
    }

    fn return_type_name() -> &'static str {
        T::return_type_name()
    }
}
