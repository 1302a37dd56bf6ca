//! `layer_norm`, `rms_norm`, `cross_entropy`, `kl_divergence`, `one_hot`.

use super::arguments::{Call, derive};
use super::handle::mask;
use super::{Handle, Masks};
use crate::Result;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::tensor::elementwise::logic;
use crate::tensor::index::masked;
use crate::tensor::loss::{self, Reduction};
use crate::tensor::nn;
use crate::tensor::{Kind, Number, Operand, Value, dtype};

/// Registers norms and losses.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Neural networks");
    registry
        .declare(
            "layer_norm(x, weight, bias, #{weight, bias, eps})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "rows of the last dim with mean 0 and variance 1: (weight, bias, #{eps: 1e-5})",
            "tensor([1.0, 3.0]).layer_norm(tensor([2.0, 2.0]), tensor([0.0, 1.0]))",
            "tensor [2] f32 cpu: [-2.0, 3.0]",
        )
        .on_tensor(1..=3, |call| {
            let (weight, bias) = (optional(call, 1, "weight")?, optional(call, 2, "bias")?);
            let eps = call.options().float("eps")?.unwrap_or(1e-5);
            derive(&call.tensor(0, "a tensor")?, Masks::End, |x| {
                nn::layer_norm(x, weight.as_ref(), bias.as_ref(), eps)
            })
        });
    registry
        .declare("rms_norm(x, weight, #{weight, eps})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "rows of the last dim with a mean square of 1: (weight, #{eps}), eps being \
            1.2e-7 (of f64 2.2e-16) unless given",
            "tensor([1.0, 7.0]).rms_norm()",
            "tensor [2] f32 cpu: [0.2, 1.4]",
        )
        .on_tensor(1..=2, |call| {
            let weight = optional(call, 1, "weight")?;
            let eps = call.options().float("eps")?;
            derive(&call.tensor(0, "a tensor")?, Masks::End, |x| {
                nn::rms_norm(x, weight.as_ref(), eps)
            })
        });
    registry
        .declare(
            "cross_entropy(logits, ids, #{reduction})",
            Purity::Pure,
            OnGpu("there; ids, and one number for each, come to the CPU"),
            Gradient::Yes,
        )
        .row(
            "-log softmax(logits) at the ids, averaged; logits [.., v], ids [..]",
            "cross_entropy(tensor([[0.0, 0.0], [0.0, 3.0]]), tensor([0, 1]))",
            "tensor [] f32 cpu: 0.37087",
        )
        .row_for(
            "with options",
            r#"for each position; "sum" adds them up. Ids of -100 count for nothing"#,
            r#"cross_entropy(zeros(2, 4), tensor([3, -100]), #{reduction: "none"})"#,
            "tensor [2] f32 cpu: [1.3863, 0.0]",
        )
        .on_tensor(2..=2, |call| {
            let ids = targets(&call.tensor(1, "ids")?)?;
            let reduction =
                call.options().string("reduction")?.map(|name| Reduction::parse(&name)).transpose();
            let reduction =
                reduction.map_err(|error| error.at("cross_entropy"))?.unwrap_or(Reduction::Mean);
            derive(&call.tensor(0, "logits")?, Masks::End, |x| {
                loss::cross_entropy(x, &ids, reduction)
            })
        });
    registry
        .declare("kl_divergence(p, q)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "from softmax(first) to softmax(second) over the last dim, for each position",
            "kl_divergence(tensor([[0.0, 1.0]]), tensor([[1.0, 0.0]]))",
            "tensor [1] f32 cpu: [0.46212]",
        )
        .on_tensor(2..=2, |call| {
            let q = call.tensor(1, "q_logits")?;
            derive(&call.tensor(0, "p_logits")?, Masks::End, |p| loss::kl_divergence(p, &q.value()))
        });
    registry
        .declare(
            "one_hot(ids, classes, #{classes})",
            Purity::Pure,
            OnGpu::VIA_CPU,
            Gradient::Outside,
        )
        .row(
            "for each id a row with a 1 there: (ids, classes)",
            "one_hot(tensor([2, 0]), 3)",
            "tensor [2, 3] i64 cpu: [[0, 0, 1], [1, 0, 0]]",
        )
        .on_tensor(1..=2, |call| {
            let classes = call.int_or_absent(1, "classes")?;
            derive(&call.tensor(0, "ids")?, Masks::End, |ids| nn::one_hot(ids, classes))
        });
}

/// Token ids as targets of a loss, with [`loss::IGNORED`] in place of padding.
fn targets(ids: &Handle) -> Result<Value> {
    let value = ids.value();
    match ids.mask() {
        Some(mask) if !mask::all_real(&mask.value())? => {
            let ignored = Operand::Number(Number::Int(loss::IGNORED));
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
