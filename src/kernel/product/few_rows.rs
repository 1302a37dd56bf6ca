//! The product of a few rows with a large matrix, as in generation: all cores read each weight once.
//! A general product would pack the matrix first.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::cpu::parallel;
use crate::cpu::simd::vectorized;
use crate::elements::{Elements, filled_tensor, filled_vec};

/// With more rows than this, packing pays.
pub(super) const MOST: usize = 6;
/// Weights per task, so many that starting a task costs little compared with its work.
const CHUNK: usize = 1 << 15;
/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 32;

/// x [rows, in] · weight [out, in]ᵀ; nothing for many rows or tensors that do not suit this way.
pub fn few_rows(x: &Tensor, weight: &Tensor) -> Option<Result<Tensor>> {
    let (&[rows, input], &[out, columns]) = (x.dims(), weight.dims()) else { return None };
    let (x, weight) = (Elements::<f32>::contiguous(x)?, Elements::<f32>::contiguous(weight)?);
    if columns != input || !(1..=MOST).contains(&rows) || input == 0 {
        return None;
    }
    let (x, weight) = (&*x, &*weight);
    let fill = |by_output: &mut [MaybeUninit<f32>]| {
        let outputs = CHUNK.div_ceil(input);
        parallel::chunks(by_output, outputs * rows, |task, results| {
            dots(results, x, &weight[task * outputs * input..], input);
        });
    };
    if rows == 1 {
        // SAFETY: the chunks cover the output, and `dots` writes all of a chunk.
        return Some(unsafe { filled_tensor((rows, out), fill) });
    }
    // [out, rows]: the results of a task are neighbours.
    // SAFETY: as above.
    let by_output = unsafe { filled_vec(out * rows, fill) };
    let results: Vec<f32> =
        (0..rows).flat_map(|row| by_output.iter().skip(row).step_by(rows).copied()).collect();
    Some(Tensor::from_vec(results, (rows, out), &candle_core::Device::Cpu))
}

vectorized! {
    /// Writes to `results` [outputs, rows] the products of the rows of x and of the weights, both of
    /// `width` elements. There are at least as many rows of weights as outputs.
    fn dots(results: &mut [MaybeUninit<f32>], x: &[f32], weights: &[f32], width: usize) {
        let rows = x.len() / width;
        for (results, weight) in results.chunks_exact_mut(rows).zip(weights.chunks_exact(width)) {
            for (result, x) in results.iter_mut().zip(x.chunks_exact(width)) {
                let mut sums = [0f32; LANES];
                let (x_whole, x_rest) = x.as_chunks::<LANES>();
                let (weight_whole, weight_rest) = weight.as_chunks::<LANES>();
                // Without optimisation, as in tests, the calls of iterators would take most of the time.
                for (x, weight) in x_whole.iter().zip(weight_whole) {
                    let mut lane = 0;
                    while lane < LANES {
                        sums[lane] += x[lane] * weight[lane];
                        lane += 1;
                    }
                }
                let (mut rest, mut at) = (0.0, 0);
                while at < x_rest.len() {
                    rest += x_rest[at] * weight_rest[at];
                    at += 1;
                }
                result.write(sums.iter().sum::<f32>() + rest);
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn it_is_the_product() {
        for (rows, input, out) in [(1, 1, 1), (1, 768, 50), (2, 33, 7), (6, 100, 2000), (3, 31, 4)]
        {
            let x = Tensor::randn(0f32, 1.0, (rows, input), &Device::Cpu).unwrap();
            let stored = Tensor::randn(0f32, 1.0, (out + 2, input), &Device::Cpu).unwrap();
            let weight = stored.narrow(0, 1, out).unwrap();
            let got = few_rows(&x, &weight).unwrap().unwrap();
            let expected = x.matmul(&weight.t().unwrap()).unwrap();
            let difference =
                (got - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-4, "{rows} {input} {out}");
        }
    }

    #[test]
    fn it_leaves_what_does_not_suit_it() {
        let zeros = |dims: (usize, usize), dtype| Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let weight = zeros((8, 4), DType::F32);
        assert!(few_rows(&zeros((1, 4), DType::F32), &weight).is_some());
        assert!(few_rows(&zeros((MOST + 1, 4), DType::F32), &weight).is_none());
        assert!(few_rows(&zeros((1, 4), DType::F64), &zeros((8, 4), DType::F64)).is_none());
        assert!(few_rows(&zeros((1, 8), DType::F32), &weight.t().unwrap()).is_none());
        let variable = candle_core::Var::zeros((8, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(few_rows(&zeros((1, 4), DType::F32), &variable).is_none());
    }
}
