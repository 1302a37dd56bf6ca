//! A model's weights: by the checkpoint's names, and by names that are the same in every family.

use globset::GlobBuilder;
use rhai::{Array, Dynamic, Engine, Map};

use crate::hook::Layers;
use crate::model::Input;
use crate::model::load::weights::{NormWeights, Projection};
use crate::model::spec::{NormKind, NormPlace};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::model::{Loaded, Model};
use crate::script::value::options::Options;
use crate::script::value::record::Record;
use crate::tensor::WeightSource;
use crate::{Result, error};

/// The index of a layer; a negative number counts from the last.
fn layer(m: &Model, layer: i64) -> Result<usize> {
    Ok(Layers::one(layer).resolve(m.loaded().decoder.spec().layers)?[0])
}

fn lent(tensor: candle_core::Tensor) -> Dynamic {
    Dynamic::from(Handle::lent(tensor))
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Record {
    entries.into_iter().collect()
}

/// A tensor of the checkpoint, converted to the model's dtype.
fn weight(m: &Model, name: &str) -> Result<Handle> {
    let Loaded { checkpoint, decoder, .. } = m.loaded();
    if checkpoint.weights.contains(name) {
        return Ok(Handle::lent(WeightSource::load(
            &checkpoint.weights,
            name,
            decoder.dtype(),
            decoder.device(),
        )?));
    }
    let names = checkpoint.weights.names();
    let error = error!("the checkpoint has no weight {name:?}");
    Err(match like(name, &names).as_slice() {
        [] => error.help(format!("m.weights(\"*\") has the names of all {}", names.len())),
        near => error.help(format!("did you mean {}?", near.join(" or "))),
    })
}

/// The names nearest to an unknown one: those that contain it, else those with the smallest edit
/// distance.
fn like<'a>(name: &str, names: &'a [String]) -> Vec<&'a str> {
    const SHOWN: usize = 3;
    let all = || names.iter().map(String::as_str);
    let mut near: Vec<&str> =
        all().filter(|known| !name.is_empty() && known.contains(name)).collect();
    if near.is_empty() {
        near = crate::nearest(name, all());
    }
    near.truncate(SHOWN);
    near
}

/// The shapes of the checkpoint's tensors whose names match a glob pattern, by name.
fn weights(m: &Model, pattern: &str) -> Result<Record> {
    let weights = &m.loaded().checkpoint.weights;
    let glob = GlobBuilder::new(pattern)
        .build()
        .map_err(|e| error!("{pattern:?} is no pattern: {}", e.kind()))?;
    let glob = glob.compile_matcher();
    let shape = |name: &String| -> Array {
        weights
            .shape(name)
            .unwrap_or_default()
            .into_iter()
            .map(|size| Dynamic::from(size as i64))
            .collect()
    };
    let names = weights.names();
    let fits: Map = names
        .iter()
        .filter(|name| glob.is_match(name))
        .map(|name| (name.as_str().into(), shape(name).into()))
        .collect();
    if !fits.is_empty() {
        return Ok(fits.into());
    }
    let error = error!("no weight of the checkpoint is called {pattern:?}");
    Err(match like(pattern.trim_matches('*'), &names).as_slice() {
        [] => error.help("* stands for any part of a name, as in m.weights(\"*.0.*\")"),
        near => error.help(format!("* stands for any part of a name; the nearest is {}", near[0])),
    })
}

/// The attention weights of a layer, by head.
fn heads(m: &Model, at: i64) -> Result<Record> {
    let heads = m.loaded().decoder.heads(layer(m, at)?)?;
    Ok(map([
        ("w_q", lent(heads.w_q)),
        ("w_k", lent(heads.w_k)),
        ("w_v", lent(heads.w_v)),
        ("w_o", lent(heads.w_o)),
        ("b_q", lent(heads.b_q)),
        ("b_k", lent(heads.b_k)),
        ("b_v", lent(heads.b_v)),
        ("b_o", lent(heads.b_o)),
    ]))
}

/// The weights of a layer's MLP. `w_gate` and `b_gate` are `()` if it has no gate.
fn mlp(m: &Model, at: i64) -> Result<Record> {
    let mlp = m.loaded().decoder.mlp(layer(m, at)?)?;
    let [w_gate, b_gate] = match mlp.gate {
        Some(Projection { w, b }) => [lent(w), lent(b)],
        None => [Dynamic::UNIT, Dynamic::UNIT],
    };
    Ok(map([
        ("w_in", lent(mlp.input.w)),
        ("w_gate", w_gate),
        ("w_out", lent(mlp.output.w)),
        ("b_in", lent(mlp.input.b)),
        ("b_gate", b_gate),
        ("b_out", lent(mlp.output.b)),
    ]))
}

/// The weights of one norm; `()` for none.
fn norm(norm: Option<NormWeights>) -> Dynamic {
    let Some(norm) = norm else { return Dynamic::UNIT };
    let kind = match norm.kind {
        NormKind::Layer => "layer",
        NormKind::Rms => "rms",
    };
    Dynamic::from(map([
        ("kind", kind.into()),
        ("eps", norm.eps.into()),
        ("w", lent(norm.w)),
        ("b", lent(norm.b)),
    ]))
}

/// The norms of a layer. `post_attn` and `post_mlp` are `()` in a family that does not normalise
/// the outputs of attention and MLP.
fn norms(m: &Model, at: i64) -> Result<Record> {
    let norms = m.loaded().decoder.norms(layer(m, at)?)?;
    let place = match norms.place {
        NormPlace::Before => "before",
        NormPlace::After => "after",
        NormPlace::Outputs => "outputs",
        NormPlace::Both => "both",
    };
    Ok(map([
        ("place", place.into()),
        ("attn", norm(Some(norms.attn))),
        ("post_attn", norm(norms.post_attn)),
        ("mlp", norm(Some(norms.mlp))),
        ("post_mlp", norm(norms.post_mlp)),
    ]))
}

/// Applies a function of the decoder to a script's tensor.
fn applied(
    x: &Handle,
    what: &str,
    f: impl FnOnce(&candle_core::Tensor) -> Result<candle_core::Tensor>,
) -> Result<Handle> {
    let x = x.value().real(what)?.clone();
    Ok(Handle::lent(f(&x)?))
}

/// Runs one block on a residual stream \[b, n, d\].
fn block(m: &Model, at: i64, x: &Handle, options: Map) -> Result<Handle> {
    let options = Options::new("block", options, &["mask"])?;
    let at = layer(m, at)?;
    let mask = options.tensor("mask")?;
    applied(x, "block", |x| {
        let &[b, n, _] = x.dims() else {
            return Err(error!("block reads the residual stream [b, n, d], not {:?}", x.dims()));
        };
        // A block reads only the number of tokens, not their ids.
        let ids =
            candle_core::Tensor::zeros((b, n), candle_core::DType::U32, &candle_core::Device::Cpu)?;
        let mask = mask.map(|mask| mask.value().real("the mask").cloned()).transpose()?;
        m.loaded().decoder.block(at, x, &Input::masked(&ids, None, mask.as_ref())?)
    })
}

pub fn install(engine: &mut Engine) {
    engine.register_fn("weight", |m: &mut Model, name: &str| -> ScriptResult<Handle> {
        Ok(weight(m, name)?)
    });
    engine.register_fn("weights", |m: &mut Model, pattern: &str| -> ScriptResult<Record> {
        Ok(weights(m, pattern)?)
    });
    engine.register_fn("heads", |m: &mut Model, at: i64| -> ScriptResult<Record> {
        Ok(heads(m, at)?)
    });
    engine.register_fn("mlp", |m: &mut Model, at: i64| -> ScriptResult<Record> { Ok(mlp(m, at)?) });
    engine.register_fn("norms", |m: &mut Model, at: i64| -> ScriptResult<Record> {
        Ok(norms(m, at)?)
    });
    engine.register_fn("norms", |m: &mut Model| -> ScriptResult<Record> {
        let last = m.loaded().decoder.final_norm_weights()?;
        Ok(map([("final", norm(last))]))
    });
    engine.register_fn("embedding", |m: &mut Model| -> ScriptResult<Handle> {
        Ok(Handle::lent(m.loaded().decoder.embedding()?))
    });
    engine.register_fn("unembedding", |m: &mut Model| -> ScriptResult<Record> {
        let Projection { w, b } = m.loaded().decoder.unembedding()?;
        Ok(map([("w", lent(w)), ("b", lent(b))]))
    });
    engine.register_fn("final_norm", |m: &mut Model, x: Handle| -> ScriptResult<Handle> {
        Ok(applied(&x, "final_norm", |x| m.loaded().decoder.final_norm(x))?)
    });
    engine.register_fn("unembed", |m: &mut Model, x: Handle| -> ScriptResult<Handle> {
        Ok(applied(&x, "unembed", |x| m.loaded().decoder.unembed(x))?)
    });
    engine.register_fn("attn_norm", |m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
        let at = layer(m, at)?;
        Ok(applied(&x, "attn_norm", |x| m.loaded().decoder.attn_norm(at, x))?)
    });
    engine.register_fn("mlp_norm", |m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
        let at = layer(m, at)?;
        Ok(applied(&x, "mlp_norm", |x| m.loaded().decoder.mlp_norm(at, x))?)
    });
    engine.register_fn("block", |m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
        Ok(block(m, at, &x, Map::new())?)
    });
    engine.register_fn(
        "block",
        |m: &mut Model, at: i64, x: Handle, options: Map| -> ScriptResult<Handle> {
            Ok(block(m, at, &x, options)?)
        },
    );
}
