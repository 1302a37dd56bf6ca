//! The product of a projection: x·Wᵀ + bias, the bias added where the product is made.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::sgemm;
use super::cpu::sgemm::{Cores, Matrix};
use super::{Elements, made, suits};

/// x [rows, in] · weight [out, in]ᵀ + bias [out].
pub fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Result<Tensor>> {
    let matrix = |t: &Tensor| suits(t) && t.rank() == 2;
    let flat = bias.is_none_or(|bias| suits(bias) && bias.is_contiguous());
    (matrix(x) && matrix(weight) && flat).then(|| multiply(x, weight, bias))
}

fn multiply(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let ((rows, input), (out, _)) = (x.dims2()?, weight.dims2()?);
    if weight.dim(1)? != input || bias.is_some_and(|bias| bias.elem_count() != out) {
        candle_core::bail!("a projection of {input} to {out} does not fit {:?}", weight.dims());
    }
    let (x, weight, bias) = (Elements::of(x), Elements::of(weight), bias.map(Elements::of));
    let bias = bias.as_ref().map(|bias| bias.whole()).transpose()?;
    let steps = |of: &Elements| [of.layout.stride()[0], of.layout.stride()[1]];
    let x = Matrix { numbers: x.f32()?, steps: steps(&x) };
    // [in, out]
    let [w_out, w_in] = steps(&weight);
    let weight = Matrix { numbers: weight.f32()?, steps: [w_in, w_out] };
    let fill = |y: &mut [MaybeUninit<f32>]| {
        // SAFETY: y has a place for every number of the product, which writes all of them.
        unsafe {
            sgemm::product(
                [rows, out, input],
                (y.as_mut_ptr().cast(), out),
                x,
                weight,
                bias,
                Cores::All,
            )
        };
        Ok(())
    };
    // SAFETY: the product writes all of it.
    unsafe { made((rows, out), fill) }
}
