//! Functions of whole rows (the elements along one dim) on the CPU, in parallel.

use candle_core::{Tensor, WithDType};
use rayon::prelude::*;

use super::fold::{Bounded, Fold, LogSumExp, Sum, with_slice};
use super::kernel::place;
use crate::Result;

/// Fewer elements than this are not worth a second thread.
const PIECE: usize = 1 << 14;
/// Elements that f32 sums accurately.
const BLOCK: usize = 512;

/// f32 and f64.
pub trait Float: Bounded + Into<f64> {
    fn round(x: f64) -> Self;
    fn exp(self) -> Self;
    fn sum(row: &[Self]) -> f64;

    /// log Σ e^x.
    fn logsumexp(row: &[Self]) -> f64 {
        let empty = Fold::<Self>::empty(&LogSumExp);
        let merge = |a, b| Fold::<Self>::merge(&LogSumExp, a, b);
        let (most, sum) = row.chunks(BLOCK).fold(empty, |acc, block| merge(acc, LogSumExp.block(block)));
        most + sum.ln()
    }
}

macro_rules! float {
    ($($T:ty)*) => {$(
        impl Float for $T {
            fn round(x: f64) -> Self {
                x as $T
            }
            fn exp(self) -> Self {
                <$T>::exp(self)
            }
            fn sum(row: &[Self]) -> f64 {
                row.chunks(BLOCK).map(|block| Sum.block(block)).sum()
            }
        }
    )*};
}
float!(f32 f64);

/// For each row of the last dim `width` results, which `f` writes over `blank`.
pub fn map_rows<T: WithDType, U: Copy + Send>(
    tensor: &Tensor,
    width: usize,
    blank: U,
    f: impl Fn(&[T], &mut [U]) + Sync,
) -> Result<Vec<U>> {
    let size = tensor.dims().last().copied().unwrap_or(1);
    let rows: usize = tensor.dims().iter().rev().skip(1).product();
    let mut out = vec![blank; rows * width];
    if out.is_empty() || size == 0 {
        return Ok(out);
    }
    with_slice(tensor, |elements: &[T]| {
        let rows = out.par_chunks_mut(width).zip(elements.par_chunks(size));
        rows.with_min_len(PIECE.div_ceil(size)).for_each(|(out, row)| f(row, out));
    })?;
    Ok(out)
}

/// `run` of the tensor with `dim` as its last one.
pub fn with_last<R>(tensor: &Tensor, dim: usize, run: impl FnOnce(&Tensor) -> Result<R>) -> Result<R> {
    run(&tensor.transpose(dim, tensor.rank() - 1)?.contiguous()?)
}

/// The elements that rows along `dim` of a tensor of `shape` were made into, `width` for each, as a CPU tensor.
pub fn unrow<U: WithDType>(elements: Vec<U>, shape: &[usize], dim: usize, width: usize) -> Result<Tensor> {
    let mut moved = shape.to_vec();
    moved.swap_remove(dim);
    moved.push(width);
    let rows = place(elements, &moved, &candle_core::Device::Cpu)?;
    Ok(rows.transpose(dim, shape.len() - 1)?.contiguous()?)
}

/// `f` of each row along `dim` of a CPU tensor, in its shape.
pub fn along<T: WithDType, U: WithDType>(
    tensor: &Tensor,
    dim: usize,
    f: impl Fn(&[T], &mut [U]) + Sync,
) -> Result<Tensor> {
    let size = tensor.dims()[dim];
    let elements = with_last(tensor, dim, |rows| map_rows(rows, size, U::zero(), f))?;
    unrow(elements, tensor.dims(), dim, size)
}
