//! Sums of two tensors, and of the outputs of all heads.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::vectorized;
use super::elements::{Elements, filled_tensor};

/// a + b, of one shape.
pub fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sum_by_chunks(a, b).unwrap_or_else(|| a + b)
}

/// [b, h, ..] to [b, ..]: the sum over h.
pub fn sum_of_heads(each: &Tensor) -> Result<Tensor> {
    heads_by_chunks(each).unwrap_or_else(|| each.sum(1))
}

fn sum_by_chunks(a: &Tensor, b: &Tensor) -> Option<Result<Tensor>> {
    let (left, right) = (Elements::<f32>::contiguous(a)?, Elements::<f32>::contiguous(b)?);
    if a.dims() != b.dims() {
        return None;
    }
    let (left, right) = (&*left, &*right);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::chunks(out, CHUNK, |chunk, out| {
            let at = chunk * CHUNK..chunk * CHUNK + out.len();
            add(out, &left[at.clone()], &right[at]);
        });
    };
    // SAFETY: the chunks cover the output, and `add` writes all of a chunk, since both parts have
    // its length.
    Some(unsafe { filled_tensor(a.shape().clone(), fill) })
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

vectorized! {
    /// Writes all of `out`, if the other slices are as long.
    fn add(out: &mut [MaybeUninit<f32>], a: &[f32], b: &[f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            out.write(a + b);
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
