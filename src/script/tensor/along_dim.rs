//! `cumsum`, `diff`, `softmax`, `log_softmax`: functions of the lines along one dim.

use super::arguments::{Call, derive_anew};
use super::{Handle, Masks};
use crate::Result;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::tensor::Value;
use crate::tensor::elementwise::diff::diff;
use crate::tensor::reduce::softmax;

/// Registers them.
pub fn install(registry: &mut Registry) {
    registry
        .declare("cumsum(x, dim, #{dim})", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "each element and all before it along a dim, summed",
            "tensor([1, 2, 3]).cumsum(0)",
            "tensor [3] i64 cpu: [1, 3, 6]",
        )
        .on_tensor(1..=2, |call| along(call, softmax::cumsum));
    registry
        .declare("diff(x, n, dim, #{n, dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "each element less the one before it along a dim, n times over: (#{n: 1, dim: -1})",
            "tensor([1, 2, 4, 7]).diff()",
            "tensor [3] i64 cpu: [1, 2, 3]",
        )
        .on_tensor(1..=3, |call| {
            let n = call.int_or_absent(1, "n")?.unwrap_or(1);
            let dim = call.int_or_absent(2, "dim")?.unwrap_or(-1);
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| diff(x, n, dim))
        });
    registry
        .declare("softmax(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "exponentials along a dim, scaled to sum 1",
            "tensor([0.0, 1.0]).softmax(-1)",
            "tensor [2] f32 cpu: [0.26894, 0.73106]",
        )
        .on_tensor(1..=2, |call| along(call, softmax::softmax));
    registry
        .declare("log_softmax(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "log of that",
            "tensor([0.0, 1.0]).log_softmax(-1)",
            "tensor [2] f32 cpu: [-1.3133, -0.31326]",
        )
        .on_tensor(1..=2, |call| along(call, softmax::log_softmax));
}

/// Applies `run` along the dim that is given.
fn along(call: &Call, run: fn(&Value, i64) -> Result<Value>) -> Result<Handle> {
    let dim = call.int(1, "dim")?;
    derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| run(x, dim))
}
