//! `layer_norm`, `rms_norm`, `cross_entropy`, `kl_divergence`, `one_hot`.

use rhai::Engine;

use super::arguments::{Call, define, derive};
use super::handle::mask;
use super::{Handle, Masks};
use crate::Result;
use crate::tensor::elementwise::logic;
use crate::tensor::index::masked;
use crate::tensor::nn::{self, Reduction};
use crate::tensor::{Kind, Number, Operand, Value, dtype};

pub fn install(engine: &mut Engine) {
    define::<Handle, Handle>(engine, "layer_norm", 1..=3, &["weight", "bias", "eps"], |call| {
        let (weight, bias) = (optional(call, 1, "weight")?, optional(call, 2, "bias")?);
        let eps = call.options().float("eps")?.unwrap_or(1e-5);
        derive(&call.tensor(0, "a tensor")?, Masks::End, |x| {
            nn::layer_norm(x, weight.as_ref(), bias.as_ref(), eps)
        })
    });
    define::<Handle, Handle>(engine, "rms_norm", 1..=2, &["weight", "eps"], |call| {
        let weight = optional(call, 1, "weight")?;
        let eps = call.options().float("eps")?;
        derive(&call.tensor(0, "a tensor")?, Masks::End, |x| nn::rms_norm(x, weight.as_ref(), eps))
    });
    define::<Handle, Handle>(engine, "cross_entropy", 2..=2, &["reduction"], |call| {
        let ids = targets(&call.tensor(1, "ids")?)?;
        let reduction =
            call.options().string("reduction")?.map(|name| Reduction::parse(&name)).transpose();
        let reduction =
            reduction.map_err(|error| error.at("cross_entropy"))?.unwrap_or(Reduction::Mean);
        derive(&call.tensor(0, "logits")?, Masks::End, |x| nn::cross_entropy(x, &ids, reduction))
    });
    define::<Handle, Handle>(engine, "kl_divergence", 2..=2, &[], |call| {
        let q = call.tensor(1, "q_logits")?;
        derive(&call.tensor(0, "p_logits")?, Masks::End, |p| nn::kl_divergence(p, &q.value()))
    });
    define::<Handle, Handle>(engine, "one_hot", 1..=2, &["classes"], |call| {
        let classes = call.int_or_absent(1, "classes")?;
        derive(&call.tensor(0, "ids")?, Masks::End, |ids| nn::one_hot(ids, classes))
    });
}

/// Token ids as targets of a loss, those that are padding being what counts for nothing.
fn targets(ids: &Handle) -> Result<Value> {
    let value = ids.value();
    match ids.mask() {
        Some(mask) if !mask::all_real(&mask.value())? => {
            let ignored = Operand::Number(Number::Int(nn::IGNORED));
            masked::masked_fill(
                &dtype::cast(&value, Kind::I64)?,
                &logic::not(&mask.value())?,
                ignored,
            )
        }
        _ => Ok(value.clone()),
    }
}

fn optional(call: &Call, place: usize, name: &str) -> Result<Option<Value>> {
    let given = call.get(place, name).is_some();
    given.then(|| Ok(call.tensor(place, name)?.value().clone())).transpose()
}
