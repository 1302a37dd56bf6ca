//! Products with weights in half precision, which stay as they are in memory: each is read once and
//! multiplied in float32. For a few rows, as in generation, a row of weights is widened as it is
//! multiplied; for many, a part of the weights that stays in a core's own cache is widened at a time.

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor, WithDType};
use half::{bf16, f16};

use super::few_rows::MOST;
use crate::cpu::parallel;
use crate::cpu::parallel::Disjoint;
use crate::cpu::sgemm;
use crate::cpu::sgemm::{Cores, Matrix, Sums};
use crate::cpu::simd::vectorized;
use crate::elements::{Elements, fill_with, filled_tensor};

/// x [rows, in], float32, · weight [out, in]ᵀ + bias \[out\], float32; nothing for tensors that do
/// not suit this way. Sums are in float32.
pub fn half_weights(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Result<Tensor>> {
    match weight.dtype() {
        DType::F16 => of::<f16>(x, weight, bias),
        DType::BF16 => of::<bf16>(x, weight, bias),
        _ => None,
    }
}

/// The halves, and how a slice of them is widened.
trait Half: WithDType {
    fn widen(from: &[Self], to: &mut [f32]);
}

impl Half for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        rescaled(from, to);
    }
}

impl Half for bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        shifted(from, to);
    }
}

vectorized! {
    /// An f16's exponent counts from another number: 2^112 makes up for it, also of numbers below the
    /// normal ones. Infinities and NaN keep the largest exponent.
    fn rescaled(from: &[f16], to: &mut [f32]) {
        const FACTOR: f32 = f32::from_bits((112 + 127) << 23);
        for (to, from) in to.iter_mut().zip(from) {
            let bits = u32::from(from.to_bits());
            let size = (bits & 0x7fff) << 13;
            let finite = f32::from_bits(size) * FACTOR;
            let wide = if bits & 0x7c00 == 0x7c00 { size | 0x7f80_0000 } else { finite.to_bits() };
            *to = f32::from_bits(wide | ((bits & 0x8000) << 16));
        }
    }
}

vectorized! {
    /// A bf16 is the first half of a float32.
    fn shifted(from: &[bf16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

fn of<T: Half>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Option<Result<Tensor>> {
    let (&[rows, input], &[out, columns]) = (x.dims(), weight.dims()) else { return None };
    let (x, weight) = (Elements::<f32>::contiguous(x)?, Elements::<T>::contiguous(weight)?);
    let bias = match bias {
        Some(bias) => Some(Elements::<f32>::contiguous(bias)?),
        None => None,
    };
    let misfit = bias.as_ref().is_some_and(|bias| bias.len() != out);
    if columns != input || misfit || rows * input * out == 0 {
        return None;
    }
    let (x, weight, bias) = (&*x, &*weight, bias.as_deref());
    // SAFETY: both ways write every element of the result.
    Some(unsafe {
        filled_tensor((rows, out), |y| match rows {
            ..=MOST => by_rows(y, x, weight, bias, input),
            _ => by_blocks(y, x, weight, bias, input),
        })
    })
}

/// Weights that a task of [`by_rows`] reads.
const CHUNK: usize = 1 << 15;
/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 32;
/// Weights of a row that are widened at a time.
const WIDE: usize = 512;

fn by_rows<T: Half>(
    y: &mut [MaybeUninit<f32>],
    x: &[f32],
    weight: &[T],
    bias: Option<&[f32]>,
    input: usize,
) {
    let (rows, out) = (x.len() / input, weight.len() / input);
    let each = CHUNK.div_ceil(input);
    let y = Disjoint::new(y);
    parallel::each(out.div_ceil(each), |task| {
        for column in task * each..out.min((task + 1) * each) {
            let mut sums = [[0f32; LANES]; MOST];
            let mut rests = [0f32; MOST];
            for (block, weight) in weight[column * input..][..input].chunks(WIDE).enumerate() {
                let mut wide = [0f32; WIDE];
                let wide = &mut wide[..weight.len()];
                T::widen(weight, wide);
                for row in 0..rows {
                    let x = &x[row * input + block * WIDE..][..wide.len()];
                    rests[row] += add_products(&mut sums[row], x, wide);
                }
            }
            for row in 0..rows {
                let sum = sums[row].iter().sum::<f32>() + rests[row];
                let sum = sum + bias.map_or(0.0, |bias| bias[column]);
                // SAFETY: this column of every row is the task's alone.
                unsafe { y.at(row * out + column).write(MaybeUninit::new(sum)) };
            }
        }
    });
}

vectorized! {
    /// Adds products of whole groups of lanes to the sums, and gives the sum of the others.
    fn add_products(sums: &mut [f32; LANES], x: &[f32], weight: &[f32]) -> f32 {
        let (x_whole, x_rest) = x.as_chunks::<LANES>();
        let (weight_whole, weight_rest) = weight.as_chunks::<LANES>();
        for (x, weight) in x_whole.iter().zip(weight_whole) {
            for lane in 0..LANES {
                sums[lane] += x[lane] * weight[lane];
            }
        }
        x_rest.iter().zip(weight_rest).map(|(x, weight)| x * weight).sum()
    }
}

/// Widened weights of a task of [`by_blocks`]: as many as stay in a core's own cache.
const BLOCK: usize = 1 << 18;
/// Outputs of a task are a multiple of this, of as many as the products' kernels compute at a time.
const COLUMNS: usize = 96;

fn by_blocks<T: Half>(
    y: &mut [MaybeUninit<f32>],
    x: &[f32],
    weight: &[T],
    bias: Option<&[f32]>,
    input: usize,
) {
    let (rows, out) = (x.len() / input, weight.len() / input);
    // As many tasks for each thread.
    let fewest = out.div_ceil((BLOCK / input).max(COLUMNS));
    let tasks = fewest.next_multiple_of(parallel::threads());
    let each = out.div_ceil(tasks).next_multiple_of(COLUMNS);
    let y = Disjoint::new(y);
    parallel::each(out.div_ceil(each), |task| {
        let first = task * each;
        let columns = each.min(out - first);
        let part = &weight[first * input..][..columns * input];
        let mut wide = Vec::with_capacity(part.len());
        let wide = fill_with(&mut wide.spare_capacity_mut()[..part.len()], 0f32);
        T::widen(part, wide);
        let left = Matrix { numbers: x, steps: [input, 1] };
        // [in, columns]
        let right = Matrix { numbers: wide, steps: [1, input] };
        let bias = bias.map(|bias| &bias[first..][..columns]);
        let (shape, how) = ([rows, columns, input], (Cores::One, Sums::Short));
        // SAFETY: these columns of every row are the task's alone, and the product writes them all.
        unsafe { sgemm::product(shape, (y.at(first).cast(), out), left, right, bias, how) };
    });
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn it_is_the_product_with_the_widened_weights() {
        let random = |shape: (usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
        for (rows, input, out) in
            [(1, 1, 1), (1, 768, 130), (6, 1100, 50), (7, 33, 17), (65, 520, 700), (3, 31, 4)]
        {
            let (x, bias) = (random((rows, input)), random((1, out)).squeeze(0).unwrap());
            for dtype in [DType::F16, DType::BF16] {
                let stored = random((out + 2, input)).to_dtype(dtype).unwrap();
                let weight = stored.narrow(0, 1, out).unwrap();
                let wide = weight.to_dtype(DType::F32).unwrap();
                let plain = x.matmul(&wide.t().unwrap()).unwrap();
                for bias in [None, Some(&bias)] {
                    let got = half_weights(&x, &weight, bias).unwrap().unwrap();
                    let expected = match bias {
                        Some(bias) => plain.broadcast_add(bias).unwrap(),
                        None => plain.clone(),
                    };
                    let off = (got - expected).unwrap().abs().unwrap().max_all().unwrap();
                    assert!(off.to_scalar::<f32>().unwrap() < 2e-4, "{rows} {input} {out}");
                }
            }
        }
    }

    #[test]
    fn every_half_is_widened_exactly() {
        fn check<T: Half>(half: impl Fn(u16) -> T, wide: impl Fn(u16) -> f32) {
            let halves: Vec<T> = (0..=u16::MAX).map(half).collect();
            let mut got = vec![0f32; halves.len()];
            T::widen(&halves, &mut got);
            for (bits, got) in (0..=u16::MAX).zip(got) {
                let expected = wide(bits);
                let same = got.to_bits() == expected.to_bits();
                assert!(same || (got.is_nan() && expected.is_nan()), "{bits:#x}: {got}");
            }
        }
        check(f16::from_bits, |bits| f16::from_bits(bits).to_f32());
        check(bf16::from_bits, |bits| bf16::from_bits(bits).to_f32());
    }

    #[test]
    fn it_leaves_what_does_not_suit_it() {
        let zeros = |dims: (usize, usize), dtype| Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let weight = zeros((8, 4), DType::BF16);
        assert!(half_weights(&zeros((1, 4), DType::F32), &weight, None).is_some());
        assert!(half_weights(&zeros((1, 4), DType::BF16), &weight, None).is_none());
        assert!(half_weights(&zeros((1, 8), DType::F32), &weight.t().unwrap(), None).is_none());
        assert!(half_weights(&zeros((1, 5), DType::F32), &weight, None).is_none());
    }
}
