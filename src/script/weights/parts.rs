//! A model's weights as scripts read them: by the checkpoint's names, and by names that are the same in every family.

use candle_core::{DType, Device, Tensor};
use globset::GlobBuilder;
use rhai::{Array, Dynamic, Map};

use crate::hook::Layers;
use crate::kernel::differentiable::is_without_graph;
use crate::model::Input;
use crate::model::load::weights::{NormWeights, Projection};
use crate::model::spec::{NormKind, NormPlace};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::model::{Loaded, Model};
use crate::script::value::options::Options;
use crate::script::value::record::Record;
use crate::tensor::WeightSource;
use crate::{Error, Result, error};

/// The index of a layer; a negative number counts from the last.
fn layer(m: &Model, layer: i64) -> Result<usize> {
    Ok(Layers::one(layer).resolve(m.loaded().decoder.spec().layers)?[0])
}

/// A part of a model. Of a variable it is a copy that has a graph, since an optimiser writes into
/// the variable in place.
fn part(tensor: &Tensor) -> Result<Handle> {
    let part = match tensor.track_op() {
        true => tensor.force_contiguous()?,
        false => tensor.clone(),
    };
    Ok(given(part))
}

/// A tensor that a model has computed.
fn given(tensor: Tensor) -> Handle {
    Handle::lent(if is_without_graph() { tensor.detach() } else { tensor })
}

fn lent(tensor: &Tensor) -> Result<Dynamic> {
    Ok(Dynamic::from(part(tensor)?))
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Record {
    entries.into_iter().collect()
}

/// A tensor of the checkpoint or the one in its place, converted to the model's dtype.
///
/// # Errors
/// There is no such tensor, or it can't be read.
pub(super) fn weight(m: &Model, name: &str) -> Result<Tensor> {
    let Loaded { checkpoint, decoder, .. } = m.loaded();
    if let Some(changed) = decoder.changed_weight(name) {
        return Ok(changed.to_dtype(decoder.dtype())?);
    }
    if checkpoint.weights.contains(name) {
        return checkpoint.weights.load(name, decoder.dtype(), decoder.device());
    }
    Err(unknown(m, name))
}

/// The error for a name that the checkpoint does not have.
pub(super) fn unknown(m: &Model, name: &str) -> Error {
    let names = m.loaded().checkpoint.weights.names();
    let error = error!("the checkpoint has no weight {name:?}");
    match like(name, &names).as_slice() {
        [] => error.help(format!("m.weights(\"*\") has the names of all {}", names.len())),
        near => error.help(format!("did you mean {}?", near.join(" or "))),
    }
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

/// The names, of those given, that a glob pattern fits.
///
/// # Errors
/// It is no pattern, or fits none; the error has the nearest.
pub(super) fn fitting(pattern: &str, names: Vec<String>) -> Result<Vec<String>> {
    let glob = GlobBuilder::new(pattern)
        .build()
        .map_err(|e| error!("{pattern:?} is no pattern: {}", e.kind()))?;
    let glob = glob.compile_matcher();
    let fits: Vec<String> = names.iter().filter(|name| glob.is_match(name)).cloned().collect();
    if !fits.is_empty() {
        return Ok(fits);
    }
    let error = error!("no weight of the checkpoint is called {pattern:?}");
    Err(match like(pattern.trim_matches('*'), &names).as_slice() {
        [] => error.help("* stands for any part of a name, as in m.weights(\"*.0.*\")"),
        near => error.help(format!("* stands for any part of a name; the nearest is {}", near[0])),
    })
}

/// The shapes of the checkpoint's tensors whose names match a glob pattern, by name.
fn weights(m: &Model, pattern: &str) -> Result<Record> {
    let weights = &m.loaded().checkpoint.weights;
    let shape = |name: &String| -> Array {
        weights
            .shape(name)
            .unwrap_or_default()
            .into_iter()
            .map(|size| Dynamic::from(size as i64))
            .collect()
    };
    let fits = fitting(pattern, weights.names())?;
    Ok(fits.iter().map(|name| (name.as_str(), shape(name).into())).collect())
}

/// The attention weights of a layer, by head.
fn heads(m: &Model, at: i64) -> Result<Record> {
    let heads = m.loaded().decoder.heads(layer(m, at)?)?;
    Ok(map([
        ("w_q", lent(&heads.w_q)?),
        ("w_k", lent(&heads.w_k)?),
        ("w_v", lent(&heads.w_v)?),
        ("w_o", lent(&heads.w_o)?),
        ("b_q", lent(&heads.b_q)?),
        ("b_k", lent(&heads.b_k)?),
        ("b_v", lent(&heads.b_v)?),
        ("b_o", lent(&heads.b_o)?),
    ]))
}

/// The weights of a layer's MLP. `w_gate` and `b_gate` are `()` if it has no gate.
fn mlp(m: &Model, at: i64) -> Result<Record> {
    let mlp = m.loaded().decoder.mlp(layer(m, at)?)?;
    let [w_gate, b_gate] = match mlp.gate {
        Some(Projection { w, b }) => [lent(&w)?, lent(&b)?],
        None => [Dynamic::UNIT, Dynamic::UNIT],
    };
    Ok(map([
        ("w_in", lent(&mlp.input.w)?),
        ("w_gate", w_gate),
        ("w_out", lent(&mlp.output.w)?),
        ("b_in", lent(&mlp.input.b)?),
        ("b_gate", b_gate),
        ("b_out", lent(&mlp.output.b)?),
    ]))
}

/// The weights of one norm; `()` for none.
fn norm(norm: Option<NormWeights>) -> Result<Dynamic> {
    let Some(norm) = norm else { return Ok(Dynamic::UNIT) };
    let kind = match norm.kind {
        NormKind::Layer => "layer",
        NormKind::Rms => "rms",
    };
    Ok(Dynamic::from(map([
        ("kind", kind.into()),
        ("eps", norm.eps.into()),
        ("w", lent(&norm.w)?),
        ("b", lent(&norm.b)?),
    ])))
}

/// The norms of a layer. `post_attn` and `post_mlp` are `()` in a family that does not normalise
/// the outputs of attention and MLP.
fn norms(m: &Model, at: i64) -> Result<Record> {
    let norms = m.loaded().decoder.norms(layer(m, at)?)?;
    let place = match norms.place {
        NormPlace::Before => "before",
        NormPlace::After => "after",
        NormPlace::Stream => "stream",
        NormPlace::Outputs => "outputs",
        NormPlace::Both => "both",
    };
    Ok(map([
        ("place", place.into()),
        ("attn", norm(Some(norms.attn))?),
        ("post_attn", norm(norms.post_attn)?),
        ("mlp", norm(Some(norms.mlp))?),
        ("post_mlp", norm(norms.post_mlp)?),
    ]))
}

/// Applies a function of the decoder to a script's tensor.
fn applied(x: &Handle, what: &str, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Handle> {
    // A gradient of the weights may be computed from x later.
    let x = x.lend().real(what)?.clone();
    Ok(given(f(&x)?))
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
        let ids = Tensor::zeros((b, n), DType::U32, &Device::Cpu)?;
        let mask = mask.map(|mask| mask.value().real("the mask").cloned()).transpose()?;
        m.loaded().decoder.block(at, x, &Input::masked(&ids, None, mask.as_ref())?)
    })
}

/// Registers the parts of a model, as functions and as weights.
pub fn install(registry: &mut Registry) {
    registry
        .declare("final_norm(model, x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "everything between the last post-mlp and post-final-layer-norm",
            "m.final_norm(m.capture(ids, \"post-mlp\", #{layers: -1})).shape == [1, \
            ids.shape[1], m.config.hidden_size]",
            "true",
        )
        .function(|m: &mut Model, x: Handle| -> ScriptResult<Handle> {
            Ok(applied(&x, "final_norm", |x| m.loaded().decoder.final_norm(x))?)
        });
    registry
        .declare("unembed(model, x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "everything from post-final-layer-norm to logits",
            "m.unembed(m.capture(ids, \"post-final-layer-norm\")).shape[2] == \
            m.config.vocab_size",
            "true",
        )
        .function(|m: &mut Model, x: Handle| -> ScriptResult<Handle> {
            Ok(applied(&x, "unembed", |x| m.loaded().decoder.unembed(x))?)
        });
    registry
        .declare("block(model, layer, x, options)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "one block of a stream [b, n, d] that enters it: what the next one reads; \
            options #{mask}",
            "let x = m.capture(ids, \"pre-block\"); (m.block(0, x[0]) - \
            x[1]).abs().max().item()",
            "0.0",
        )
        .function(|m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
            Ok(block(m, at, &x, Map::new())?)
        })
        .function(|m: &mut Model, at: i64, x: Handle, options: Map| -> ScriptResult<Handle> {
            Ok(block(m, at, &x, options)?)
        });
    registry
        .declare("attn_norm(model, layer, x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "attention's norm of one layer, of a stream of your own",
            "m.attn_norm(0, zeros([1, 3, m.config.hidden_size])).shape[1]",
            "3",
        )
        .function(|m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
            let at = layer(m, at)?;
            Ok(applied(&x, "attn_norm", |x| m.loaded().decoder.attn_norm(at, x))?)
        });
    registry
        .declare("mlp_norm(model, layer, x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "the MLP's norm of one layer, likewise",
            "m.mlp_norm(-1, zeros([1, 3, m.config.hidden_size])).shape[1]",
            "3",
        )
        .function(|m: &mut Model, at: i64, x: Handle| -> ScriptResult<Handle> {
            let at = layer(m, at)?;
            Ok(applied(&x, "mlp_norm", |x| m.loaded().decoder.mlp_norm(at, x))?)
        });
    registry
        .declare("weight(model, name)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "a tensor of the checkpoint, by its name there",
            r#"m.weight("model.decoder.embed_tokens.weight").rank"#,
            "2",
        )
        .function(|m: &mut Model, name: &str| -> ScriptResult<Handle> {
            Ok(given(weight(m, name)?))
        });
    registry
        .declare("weights(model, pattern)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the shapes of the checkpoint's tensors by name, of those that a pattern fits: \
            * stands for anything",
            r#"m.weights("*.0.fc2.*").keys()"#,
            r#"["model.decoder.layers.0.fc2.bias", "model.decoder.layers.0.fc2.weight"]"#,
        )
        .function(|m: &mut Model, pattern: &str| -> ScriptResult<Record> {
            Ok(weights(m, pattern)?)
        });
    registry
        .declare("embedding(model)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "what each token brings to the stream, [v, d], scaled or projected as the \
            family does it",
            "m.embedding().shape[0] == m.config.vocab_size",
            "true",
        )
        .function(|m: &mut Model| -> ScriptResult<Handle> {
            Ok(part(&m.loaded().decoder.embedding()?)?)
        });
    registry
        .declare("unembedding(model)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "from post-final-layer-norm to logits: #{w: [d, v], b}; before a soft cap where \
            there is one",
            "m.unembedding().w.shape[1] == m.config.vocab_size",
            "true",
        )
        .function(|m: &mut Model| -> ScriptResult<Record> {
            let Projection { w, b } = m.loaded().decoder.unembedding()?;
            Ok(map([("w", lent(&w)?), ("b", lent(&b)?)]))
        });
    registry
        .declare("mlp(model, layer)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "a layer's MLP, input first: #{w_in, w_gate, w_out, b_in, b_gate, b_out}; the \
            gates are () where there are none",
            "m.mlp(0).w_gate == ()",
            "true",
        )
        .function(|m: &mut Model, at: i64| -> ScriptResult<Record> { Ok(mlp(m, at)?) });
    registry
        .declare("norms(model, layer)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "a layer's norms: #{attn, mlp, post_attn, post_mlp, place}, each #{w, b, kind: \
            \"layer\" or \"rms\", eps} or (); without a layer #{final}",
            "m.norms(0).attn.kind",
            "layer",
        )
        .function(|m: &mut Model, at: i64| -> ScriptResult<Record> { Ok(norms(m, at)?) })
        .function(|m: &mut Model| -> ScriptResult<Record> {
            let last = m.loaded().decoder.final_norm_weights()?;
            Ok(map([("final", norm(last)?)]))
        });
    registry
        .declare("heads(model, layer)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "a layer's attention weights by head, input first: #{w_q, w_k, w_v, w_o, b_q, \
            b_k, b_v, b_o}",
            "m.heads(0).w_q.rank",
            "3",
        )
        .function(|m: &mut Model, at: i64| -> ScriptResult<Record> { Ok(heads(m, at)?) });
}
