//! `m.reset_weights(#{seed})`: a twin of a model with random weights, as transformers initialises
//! them.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rhai::Map;

use crate::Result;
use crate::model::load::loader::{Role, Stored};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::fingerprint::hasher::Hasher;
use crate::script::run::random;
use crate::script::run::random::Random;
use crate::script::value::model::Model;
use crate::script::value::options::Options;
use crate::tensor::dtype::Kind;
use crate::tensor::random::randn;

fn reset(m: &Model, options: Map, random: &Random) -> Result<Model> {
    let options = Options::new("reset_weights", options, &["seed"])?;
    let seed = match options.int("seed")? {
        Some(seed) => random::seed(seed)?,
        None => random.next(),
    };
    let loaded = m.loaded();
    let mut weights = BTreeMap::new();
    let mut embeddings: Option<Tensor> = None;
    for (name, stored) in &loaded.decoder.checkpoint_names().used {
        let tensor = match (stored.role, &embeddings) {
            // A tied weight that is stored twice.
            (Role::TokenEmbeddings, Some(tensor)) => tensor.clone(),
            _ => drawn(m, name, stored, seed)?,
        };
        if stored.role == Role::TokenEmbeddings {
            embeddings = Some(tensor.clone());
        }
        weights.insert(name.clone(), tensor);
    }
    Ok(m.with_decoder(loaded.decoder.with_weights(weights)?))
}

/// A weight as transformers initialises it, drawn by a generator of its own, so that it depends on
/// the seed and the name alone.
fn drawn(m: &Model, name: &str, stored: &Stored, seed: u64) -> Result<Tensor> {
    let (decoder, config) = (&m.loaded().decoder, &m.loaded().checkpoint.config);
    let Stored { role, shape } = stored;
    let initial = decoder.initial();
    let shape = shape.as_slice();
    let constant = match role {
        Role::Bias => Some(0f32),
        Role::Gain => Some(if decoder.spec().norm.gain_less_one { 0.0 } else { 1.0 }),
        _ => None,
    };
    if let Some(constant) = constant {
        return Ok(Tensor::full(constant, shape, decoder.device())?.to_dtype(decoder.dtype())?);
    }
    let mut std = initial.std(config)?;
    if initial.scaled.iter().any(|part| name.ends_with(&format!("{part}.weight"))) {
        std /= (2.0 * decoder.spec().layers as f64).sqrt();
    }
    let mut own = Hasher::default();
    own.number(seed);
    own.text(name);
    let normal = randn(shape, Kind::F32, &Device::Cpu, &mut StdRng::from_seed(own.finish()))?;
    let mut tensor = (normal.real(name)?.clone() * std)?;
    if *role == Role::TokenEmbeddings
        && let Some(padding) = initial.padding_row(config)
    {
        let row = |row: usize| if row == padding { 0f32 } else { 1f32 };
        let kept: Vec<f32> = (0..shape[0]).map(row).collect();
        tensor = tensor.broadcast_mul(&Tensor::from_vec(kept, (shape[0], 1), &Device::Cpu)?)?;
    }
    Ok(tensor.to_dtype(decoder.dtype())?.to_device(decoder.device())?)
}

/// Registers `m.reset_weights`.
pub fn install(registry: &mut Registry, random: &Random) {
    let [own, seeded] = [random.clone(), random.clone()];
    registry
        .declare(
            "reset_weights(model, #{seed})",
            Purity::Impure("draws random numbers"),
            OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "a twin with random weights, as transformers initialises the family: matrices and \
            embeddings normal with initializer_range, biases 0, gains 1; the same for the same seed",
            "m.reset_weights(#{seed: 1}).norms(0).attn.w.min().item()",
            "1.0",
        )
        .function(move |m: &mut Model| -> ScriptResult<Model> { Ok(reset(m, Map::new(), &own)?) })
        .function(move |m: &mut Model, options: Map| -> ScriptResult<Model> {
            Ok(reset(m, options, &seeded)?)
        });
}
