//! Sums of two tensors, and of the outputs of all heads.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor, bail};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::vectorized;
use super::differentiable::differentiable;
use super::elements::{Elements, Float, filled_tensor};
use super::elementwise::Binary;

/// a + b, of one shape.
pub fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("a sum of {:?} and {:?}", a.dims(), b.dims());
    }
    Binary::Add.apply(a, b)
}

/// [b, h, ..] to [b, ..]: the sum over h.
pub fn sum_of_heads(each: &Tensor) -> Result<Tensor> {
    let compute = |each: &[Tensor]| heads_by_chunks(&each[0]).unwrap_or_else(|| each[0].sum(1));
    differentiable(&[each], compute, |back| {
        let each = &back.inputs[0];
        Ok(vec![back.of(0, || back.gradient.unsqueeze(1)?.broadcast_as(each.shape()))?])
    })
}

/// [rows, d] to \[d\]: the sum over the rows, added up in float64 by the loops of this module. It is
/// the gradient of a bias, and records none itself.
pub fn sum_of_rows(x: &Tensor) -> Result<Tensor> {
    let x = x.detach();
    rows_by_columns::<f32>(&x).or_else(|| rows_by_columns::<f64>(&x)).unwrap_or_else(|| x.sum(0))
}

fn heads_by_chunks(each: &Tensor) -> Option<Result<Tensor>> {
    let &[rows, heads, ref rest @ ..] = each.dims() else { return None };
    let given = Elements::<f32>::contiguous(each)?;
    let size: usize = rest.iter().product();
    if heads == 0 || size == 0 {
        return None;
    }
    let given = &*given;
    let fill = |out: &mut [MaybeUninit<f32>]| {
        for (out, heads) in out.chunks_mut(size).zip(given.chunks(heads * size)) {
            parallel::chunks(out, CHUNK, |chunk, out| {
                add_heads(out, &heads[chunk * CHUNK..], size);
            });
        }
    };
    // SAFETY: the chunks of all rows cover the output, and `add_heads` writes all of a chunk.
    Some(unsafe { filled_tensor([&[rows], rest].concat(), fill) })
}

/// Columns that a task adds up.
const COLUMNS: usize = 64;

fn rows_by_columns<T: Float>(x: &Tensor) -> Option<Result<Tensor>> {
    let &[_, d] = x.dims() else { return None };
    let given = Elements::<T>::contiguous(x)?;
    let given = &*given;
    let fill = |out: &mut [MaybeUninit<T>]| {
        parallel::chunks(out, COLUMNS, |chunk, out| {
            let first = chunk * COLUMNS;
            let mut sums = [0f64; COLUMNS];
            // Without columns there is no chunk.
            for row in given.chunks_exact(d) {
                add_row(&mut sums[..out.len()], &row[first..][..out.len()]);
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                out.write(T::from_f64(sum));
            }
        });
    };
    // SAFETY: the chunks cover the output, and all of each is written.
    Some(unsafe { filled_tensor(d, fill) })
}

vectorized! {
    fn add_row[T: Float](sums: &mut [f64], row: &[T]) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += x.into();
        }
    }
}

vectorized! {
    /// Writes the sum of the heads, which begin `size` apart, to all of `out`.
    fn add_heads(out: &mut [MaybeUninit<f32>], heads: &[f32], size: usize) {
        /// Sums that stay in the nearest cache.
        const BLOCK: usize = 1024;
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0f32; BLOCK];
            for head in heads.chunks(size) {
                for (sum, x) in sums.iter_mut().zip(&head[block * BLOCK..][..out.len()]) {
                    *sum += x;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                out.write(sum);
            }
        }
    }
}
