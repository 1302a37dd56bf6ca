//! The product of a projection: x·Wᵀ + bias, the bias standing where the product is added.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use super::{Elements, TASK, made, suits};

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
    let strides = |of: &Elements| (of.layout.stride()[0] as isize, of.layout.stride()[1] as isize);
    let ((x_row, x_column), (w_row, w_column)) = (strides(&x), strides(&weight));
    let (x, weight) = (x.f32()?, weight.f32()?);
    let fill = |y: &mut [MaybeUninit<f32>]| {
        if let Some(bias) = bias {
            let tasks = y.par_chunks_exact_mut(out.max(1)).with_min_len(TASK.div_ceil(out.max(1)));
            tasks.for_each(|row| {
                row.write_copy_of_slice(bias);
            });
        }
        // SAFETY: the shapes and strides are those of the tensors, whose elements are borrowed here; y is written whole, and
        // is read only where the bias stands.
        unsafe {
            gemm::gemm(
                rows,
                out,
                input,
                y.as_mut_ptr().cast::<f32>(),
                1,
                out as isize,
                bias.is_some(),
                x.as_ptr(),
                x_column,
                x_row,
                weight.as_ptr(),
                w_row,
                w_column,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(0),
            );
        }
        Ok(())
    };
    // SAFETY: the product writes all of it.
    unsafe { made((rows, out), fill) }
}
