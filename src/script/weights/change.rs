//! `m.with_weights(#{…})` and `m.trainable(pattern)`: a model with other weights, which shares
//! everything else.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use rhai::{Array, Dynamic, FnPtr, Map, NativeCallContext};

use super::parts::{fitting, unknown, weight};
use crate::model::load::loader::Role;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::{ScriptResult, of_call};
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::options::describe;
use crate::script::value::record::Record;
use crate::{Error, Result, error};

/// The names of the tensors that the model computes with. Of a tied weight that is stored twice it
/// has the first name only.
fn names(m: &Model) -> Vec<String> {
    let mut embedded = false;
    let used = &m.loaded().decoder.checkpoint_names().used;
    let once = used.iter().filter(|(_, stored)| {
        stored.role != Role::TokenEmbeddings || !std::mem::replace(&mut embedded, true)
    });
    once.map(|(name, _)| name.clone()).collect()
}

/// The names that a key stands for. Only the key of a function may be a pattern.
///
/// # Errors
/// There is no such weight, or the model does not compute with it.
fn named(m: &Model, key: &str, pattern: bool) -> Result<Vec<String>> {
    let checkpoint = &m.loaded().checkpoint.weights;
    if m.loaded().decoder.checkpoint_names().used.contains_key(key) {
        return Ok(vec![key.to_owned()]);
    }
    if checkpoint.shape(key).is_some() {
        return Err(error!(
            "the model does not compute with the weight {key}: to change it would have no effect"
        )
        .help("it is a buffer, or of another kind of model than this program runs"));
    }
    match (key.contains('*'), pattern) {
        (true, true) => fitting(key, names(m)),
        (true, false) => Err(error!(
            "with_weights: {key:?} may stand for several weights, and a tensor is one of them"
        )
        .help("for each weight that fits, give a function of it: |w| w * 0.5")),
        (false, _) => Err(unknown(m, key)),
    }
}

/// The tensor in a weight's place.
fn tensor(name: &str, given: &Dynamic) -> Result<Tensor> {
    let expected = || {
        error!(
            "with_weights: in the place of {name} stands a tensor, or a function that gives one, and not {}",
            describe(given)
        )
    };
    let handle = given.read_lock::<Handle>().ok_or_else(expected)?;
    let value = handle.settle()?;
    let tensor = value.real(name)?;
    Ok(tensor.clone())
}

fn of_one_weight() -> Error {
    error!("a function in a weight's place takes one parameter, the weight")
        .help("as in |w| w * 0.5")
}

fn with_weights(call: &NativeCallContext, m: &Model, given: &Map) -> ScriptResult<Model> {
    let mut changed: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut keys: BTreeMap<String, &str> = BTreeMap::new();
    for (key, value) in given {
        let function = value.read_lock::<FnPtr>().map(|function| function.clone());
        for name in named(m, key, function.is_some())? {
            if let Some(other) = keys.insert(name.clone(), key) {
                return Err(
                    error!("with_weights: {name} is meant by {other:?} and by {key:?}").into()
                );
            }
            let tensor = match &function {
                None => tensor(&name, value)?,
                Some(function) => {
                    let w = Dynamic::from(Handle::lent(weight(m, &name)?));
                    let given = function.call_within_context::<Dynamic>(call, (w,));
                    tensor(&name, &given.map_err(|error| of_call(error, function, of_one_weight))?)?
                }
            };
            changed.insert(name, tensor);
        }
    }
    Ok(m.with_decoder(m.loaded().decoder.with_weights(changed)?))
}

/// The names that patterns fit: one pattern, or an array of them.
///
/// # Errors
/// A pattern that fits none, or something else than patterns.
fn patterns(m: &Model, given: &Dynamic) -> Result<Vec<String>> {
    let wrong = || -> Error {
        error!(
            "trainable takes the pattern of weights' names, or an array of patterns, and not {}",
            describe(given)
        )
        .help("as in m.trainable(\"*.layers.0.*\"); m.weights(\"*\") has all names")
    };
    let text = |one: &Dynamic| one.clone().into_immutable_string().map_err(|_| wrong());
    let all = match given.read_lock::<Array>() {
        Some(array) => array.iter().map(text).collect::<Result<Vec<_>>>()?,
        None => vec![text(given)?],
    };
    if all.is_empty() {
        return Err(error!("trainable got no patterns, so that no weight would be a variable")
            .help("as in m.trainable(\"*.layers.0.*\"); m.weights(\"*\") has all names"));
    }
    let mut fits = Vec::new();
    for pattern in all {
        for name in named(m, &pattern, true)? {
            if !fits.contains(&name) {
                fits.push(name);
            }
        }
    }
    Ok(fits)
}

/// A model in which the weights that patterns fit are variables, and these by name.
fn trainable(m: &Model, given: &Dynamic) -> Result<Record> {
    let decoder = &m.loaded().decoder;
    let mut variables = BTreeMap::new();
    for name in patterns(m, given)? {
        let stored = weight(m, &name)?;
        // An optimiser's steps are too small for float16 and bfloat16.
        let wide = match stored.dtype() {
            DType::F64 => stored,
            _ => stored.to_dtype(DType::F32)?,
        };
        variables.insert(name, Var::from_tensor(&wide.detach())?.into_inner());
    }
    let handles: Record = variables
        .iter()
        .map(|(name, variable)| (name.as_str(), Dynamic::from(Handle::lent(variable.clone()))))
        .collect();
    let model = m.with_decoder(decoder.with_weights(variables)?);
    Ok([("model", Dynamic::from(model)), ("variables", Dynamic::from(handles))]
        .into_iter()
        .collect())
}

/// Registers `m.with_weights` and `m.trainable`.
pub fn install(registry: &mut Registry) {
    registry
        .declare("with_weights(model, weights)", Purity::Impure("makes a model"), OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "another model with tensors in the place of some weights, which shares all others: \
            #{name: tensor or |w| tensor}, names as in `weight`; * stands for any part of a name \
            where the value is a function. A tied weight changes at both its ends; gradients \
            reach a tensor that is a variable",
            r#"let n = m.with_weights(#{"*.fc2.bias": |w| w * 0.0}); n.mlp(0).b_out.abs().max().item()"#,
            "0.0",
        )
        .function(
            |call: NativeCallContext, m: Model, given: Map| -> ScriptResult<Model> {
                with_weights(&call, &m, &given)
            },
        )
        .function(
            |call: NativeCallContext, m: Model, given: Record| -> ScriptResult<Model> {
                with_weights(&call, &m, given.map())
            },
        );
    registry
        .declare(
            "trainable(model, pattern)",
            Purity::Impure("makes a model"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "#{model, variables}: a model in which the weights that a pattern fits, or several in \
            an array, are variables, and these by name; they are float32 in half models too",
            r#"m.trainable("*.layers.0.fc2.*").variables.keys()"#,
            r#"["model.decoder.layers.0.fc2.bias", "model.decoder.layers.0.fc2.weight"]"#,
        )
        .function(|m: &mut Model, pattern: Dynamic| -> ScriptResult<Record> {
            Ok(trainable(m, &pattern)?)
        });
}
