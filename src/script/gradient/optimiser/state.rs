//! `o.state`: what an optimiser keeps between steps, as a map of tensors that `save` writes and that a
//! later run assigns, so that training goes on as if it had not been broken off.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rhai::{Dynamic, Map};

use super::{Moved, Optimiser, Optimisers, State};
use crate::kernel::optimiser::Kept;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::options::describe;
use crate::script::value::record;
use crate::tensor::Value;
use crate::tensor::dtype::Kind;
use crate::{Result, bail, did_you_mean, error};

/// The key under which the number of steps stands, a whole number in a tensor of rank 0.
const STEP: &str = "step";

impl State {
    /// What is kept of each variable once a step has been taken, by PyTorch's names.
    fn parts(&self) -> &'static [&'static str] {
        match self.kind {
            Optimisers::Adam | Optimisers::AdamW => &["exp_avg", "exp_avg_sq"],
            Optimisers::Sgd if self.momentum == 0.0 => &[],
            Optimisers::Sgd => &["momentum_buffer"],
        }
    }

    /// The tensors by name. Before the first step there is only the number of steps.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        all.insert(STEP.to_owned(), Tensor::new(i64::from(self.steps), &Device::Cpu)?);
        for moved in &self.variables {
            let kept = moved.kept.tensors(&moved.variable)?;
            for (part, tensor) in self.parts().iter().zip(kept) {
                if all.insert(key(moved, part), tensor).is_some() {
                    bail!(
                        "two variables of {} are called {:?}, so its state can't name them",
                        self.kind.name(),
                        moved.name
                    );
                }
            }
        }
        Ok(all)
    }

    /// Takes over tensors that `tensors` gave. Nothing changes if one does not fit.
    fn restore(&mut self, given: &BTreeMap<String, Tensor>) -> Result<()> {
        let call = self.kind.name();
        let steps = steps(given.get(STEP))?;
        let parts = if steps == 0 { &[] } else { self.parts() };
        let mut restored = Vec::with_capacity(self.variables.len());
        let mut known = vec![STEP.to_owned()];
        for moved in &self.variables {
            let mut tensors = Vec::with_capacity(parts.len());
            for part in parts {
                let key = key(moved, part);
                let Some(tensor) = given.get(&key) else {
                    return Err(error!("the state has no {key:?}, which this {call} needs").help(
                        "it fits an optimiser of the same kind, of variables with the same names",
                    ));
                };
                let fits = |of: &Tensor| (of.dims().to_vec(), of.dtype());
                if fits(tensor) != fits(&moved.variable) {
                    let shown = |of: &Tensor| {
                        format!("{:?} of {}", of.dims(), Kind::from_candle(of.dtype()).name())
                    };
                    bail!(
                        "the state's {key:?} is {}, and the variable is {}",
                        shown(tensor),
                        shown(&moved.variable)
                    );
                }
                tensors.push(tensor.clone());
                known.push(key);
            }
            restored.push(Kept::of_tensors(&tensors, &moved.variable)?);
        }
        if let Some(other) = given.keys().find(|key| !known.contains(key)) {
            let error = error!("the state has {other:?}, which is nothing that this {call} keeps");
            let names = known.iter().map(String::as_str);
            return Err(match did_you_mean(other, names) {
                Some(near) => error.help(near),
                None => error.help("o.state gives what it keeps"),
            });
        }
        self.steps = steps;
        for (moved, kept) in self.variables.iter_mut().zip(restored) {
            moved.kept = kept;
        }
        Ok(())
    }
}

/// The name of a part of what is kept of a variable.
fn key(moved: &Moved, part: &str) -> String {
    match moved.name.is_empty() {
        true => part.to_owned(),
        false => format!("{}.{part}", moved.name),
    }
}

/// The number of steps that a state was left after.
fn steps(given: Option<&Tensor>) -> Result<i32> {
    let Some(tensor) = given else {
        return Err(error!("the state has no {STEP:?}").help("o.state gives a whole one"));
    };
    if tensor.elem_count() == 1 && tensor.dtype().is_int() {
        let number = tensor.to_dtype(DType::I64)?.flatten_all()?.get(0)?.to_scalar::<i64>()?;
        if let Some(steps) = i32::try_from(number).ok().filter(|steps| *steps >= 0) {
            return Ok(steps);
        }
    }
    bail!("the state's {STEP:?} must be one whole number of at least 0")
}

/// The tensors of a map that a script assigns.
fn given(value: &Dynamic) -> Result<BTreeMap<String, Tensor>> {
    let wrong = |what: &str| {
        error!("the state of an optimiser is a map of tensors, and not {what}")
            .help("o.state gives one, and load_tensors(path) reads one that was saved")
    };
    let Some(map) = record::read(value) else { return Err(wrong(&describe(value))) };
    let tensor = |(name, value): (&_, &Dynamic)| {
        let Some(handle) = value.read_lock::<Handle>() else {
            return Err(wrong(&format!("one in which {name:?} is {}", describe(value))));
        };
        Ok((ToString::to_string(name), handle.value().real("state")?.clone()))
    };
    map.iter().map(tensor).collect()
}

/// Registers `o.state`.
pub fn install(registry: &mut Registry) {
    registry
        .declare(
            ".state",
            Purity::Impure("reads an optimiser"),
            OnGpu::NATIVE,
            Gradient::Outside,
        )
        .row(
            "of an optimiser: what it keeps between steps, a map of tensors by PyTorch's names (NAME.exp_avg, \
            NAME.exp_avg_sq, NAME.momentum_buffer, and step, how many were taken) that may be saved, and assigned \
            to an optimiser of the same kind of variables with the same names: with the variables as they were \
            then, training goes on as if it had not stopped",
            "let v = variable(zeros([2])); let o = adam(#{v: v}); let p = adam(#{v: v}); \
            o.step((v - 1.0).sum()); p.state = o.state; p.state.keys()",
            "[\"step\", \"v.exp_avg\", \"v.exp_avg_sq\"]",
        )
        .get(|o: &mut Optimiser| -> ScriptResult<Map> {
            let tensors = o.0.borrow().tensors()?;
            let entry = |(name, tensor): (String, Tensor)| {
                (name.into(), Dynamic::from(Handle::fresh(Value::Real(tensor))))
            };
            Ok(tensors.into_iter().map(entry).collect())
        })
        .set(|o: &mut Optimiser, state: Dynamic| -> ScriptResult<()> {
            Ok(o.0.borrow_mut().restore(&given(&state)?)?)
        });
}
