//! Layer norms and RMS norms, a row at a time while it is near.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};

use super::cpu::parallel;
use super::cpu::simd::vectorized;
use super::{Elements, made, suits};

/// Independent sums, so that additions need not wait for each other.
const LANES: usize = 32;

/// What a norm takes away and divides by, and what it multiplies with and adds.
pub struct Rule<'a> {
    /// Whether the mean is taken away.
    pub centred: bool,
    pub eps: f32,
    pub weight: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
}

impl Rule<'_> {
    fn suits(&self, x: &Tensor) -> bool {
        let whole = |t: &Tensor| suits(t) && t.is_contiguous();
        let row = |t: &Tensor| whole(t) && t.rank() == 1 && t.dims().last() == x.dims().last();
        whole(x) && x.rank() > 0 && [self.weight, self.bias].into_iter().flatten().all(row)
    }

    /// What x [.., d] is divided by, [.., 1].
    pub fn scale(&self, x: &Tensor) -> Option<Result<Tensor>> {
        self.suits(x).then(|| {
            let d = x.dim(D::Minus1)?;
            let given = Elements::of(x);
            let given = given.whole()?;
            let mut shape = x.dims().to_vec();
            shape.pop();
            shape.push(1);
            let fill = |out: &mut [MaybeUninit<f32>]| {
                parallel::rows(out, 1, d, |row, out| {
                    let x = &given[row * d..][..d];
                    let mean = if self.centred { mean(x) } else { 0.0 };
                    out[0].write(scale(x, mean, self.eps));
                });
                Ok(())
            };
            // SAFETY: there is one scale for each row.
            unsafe { made(shape, fill) }
        })
    }

    /// x [.., d] normed, with its own scale or the one given, [.., 1].
    pub fn normed(&self, x: &Tensor, given_scale: Option<&Tensor>) -> Option<Result<Tensor>> {
        let fits = |s: &Tensor| {
            suits(s)
                && s.is_contiguous()
                && s.elem_count() * x.dims().last().unwrap_or(&0) == x.elem_count()
        };
        (self.suits(x) && given_scale.is_none_or(fits)).then(|| {
            let d = x.dim(D::Minus1)?;
            let (given, scales) = (Elements::of(x), given_scale.map(Elements::of));
            let (weight, bias) = (self.weight.map(Elements::of), self.bias.map(Elements::of));
            let given = given.whole()?;
            let scales = scales.as_ref().map(|scales| scales.whole()).transpose()?;
            let weight = weight.as_ref().map(|weight| weight.whole()).transpose()?;
            let bias = bias.as_ref().map(|bias| bias.whole()).transpose()?;
            let fill = |out: &mut [MaybeUninit<f32>]| {
                parallel::rows(out, d, d, |row, out| {
                    let x = &given[row * d..][..d];
                    let mean = if self.centred { mean(x) } else { 0.0 };
                    let scale =
                        scales.map_or_else(|| scale(x, mean, self.eps), |scales| scales[row]);
                    norm(out, x, mean, scale, weight, bias);
                });
                Ok(())
            };
            // SAFETY: the rows are all of it, and each is written from end to end.
            unsafe { made(x.shape().clone(), fill) }
        })
    }
}

/// The mean in two steps: the second takes in what rounding left out of the first, which a large
/// mean makes large.
fn mean(x: &[f32]) -> f32 {
    let first = total(x, 0.0) / x.len() as f32;
    first + total(x, first) / x.len() as f32
}

fn scale(x: &[f32], mean: f32, eps: f32) -> f32 {
    (squares(x, mean) / x.len() as f32 + eps).sqrt()
}

vectorized! {
    /// Σ (x − from)
    fn total(x: &[f32], from: f32) -> f32 {
        let mut sums = [0f32; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                sums[lane] += x[lane] - from;
            }
        }
        sums.iter().sum::<f32>() + rest.iter().map(|x| x - from).sum::<f32>()
    }
}

vectorized! {
    /// Σ (x − mean)²
    fn squares(x: &[f32], mean: f32) -> f32 {
        let mut sums = [0f32; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                let centred = x[lane] - mean;
                sums[lane] += centred * centred;
            }
        }
        sums.iter().sum::<f32>() + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
    }
}

vectorized! {
    fn norm(out: &mut [MaybeUninit<f32>], x: &[f32], mean: f32, scale: f32, weight: Option<&[f32]>, bias: Option<&[f32]>) {
        match (weight, bias) {
            (Some(weight), Some(bias)) => {
                for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                    out.write((x - mean) / scale * weight + bias);
                }
            }
            (Some(weight), None) => {
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    out.write((x - mean) / scale * weight);
                }
            }
            (None, Some(bias)) => {
                for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
                    out.write((x - mean) / scale + bias);
                }
            }
            (None, None) => {
                for (out, x) in out.iter_mut().zip(x) {
                    out.write((x - mean) / scale);
                }
            }
        }
    }
}
