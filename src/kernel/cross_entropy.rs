//! The cross-entropy of logits with the tokens that followed.

use std::mem::MaybeUninit;

use candle_core::{D, DType, Result, Tensor};

use super::cpu::parallel;
use super::cpu::simd::math::exp_or_zero;
use super::cpu::simd::vectorized;
use super::differentiable::{Backward, differentiable};
use super::elements::{Elements, filled_tensor};
use super::elementwise::Binary;
use super::half_precision::widen;
use super::softmax::{logsumexp, softmax};

/// log Σ e^logit − the target's logit, [b, m], float32, of the first m positions of logits [b, n, v]
/// in any float dtype and their targets [b, m], u32.
///
/// # Errors
/// A target is no index of a logit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let compute = |logits: &[Tensor]| {
        by_rows(&logits[0], targets).unwrap_or_else(|| by_candle(&logits[0], targets))
    };
    let kept = targets.clone();
    differentiable(&[logits], compute, move |back| {
        let of_logits =
            || gradient_by_rows(back, &kept).unwrap_or_else(|| gradient_by_candle(back, &kept));
        Ok(vec![back.of(0, of_logits)?])
    })
}

fn by_candle(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = logits.narrow(1, 0, targets.dim(1)?)?.to_dtype(DType::F32)?.contiguous()?;
    let picked = logits.gather(&targets.unsqueeze(2)?.contiguous()?, D::Minus1)?.squeeze(2)?;
    logits.log_sum_exp(D::Minus1)? - picked
}

/// (softmax − 1 at the target) · g; 0 at positions without a target.
fn gradient_by_candle(back: &Backward, targets: &Tensor) -> Result<Tensor> {
    let logits = &back.inputs[0];
    let (b, n, v) = logits.dims3()?;
    let m = targets.dim(1)?;
    let shares = softmax(&widen(&logits.narrow(1, 0, m)?)?)?;
    let targets = targets.unsqueeze(2)?.contiguous()?;
    let less = Tensor::full(-1f32, targets.shape(), logits.device())?.to_dtype(shares.dtype())?;
    let g = back.gradient.to_dtype(shares.dtype())?.unsqueeze(2)?;
    let of_some = Binary::Mul.apply(&shares.scatter_add(&targets, &less, 2)?, &g)?;
    let rest = Tensor::zeros((b, n - m, v), of_some.dtype(), of_some.device())?;
    Tensor::cat(&[of_some, rest], 1)?.to_dtype(logits.dtype())
}

fn by_rows(logits: &Tensor, targets: &Tensor) -> Option<Result<Tensor>> {
    let (given, wanted) = (Elements::<f32>::contiguous(logits)?, Elements::<u32>::of(targets)?);
    let (&[b, n, v], &[rows, m], &[row_step, 1]) =
        (logits.dims(), targets.dims(), wanted.strides())
    else {
        return None;
    };
    if rows != b || m > n {
        return None;
    }
    let (given, wanted) = (&*given, &*wanted);
    let target = |at: usize| wanted[at / m * row_step + at % m] as usize;
    if let Some(wrong) = (0..b * m).map(target).find(|target| *target >= v) {
        return Some(Err(candle_core::Error::Msg(format!(
            "token {wrong} has no logit: there are {v}"
        ))));
    }
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, 1, v, |at, out| {
            let logits = &given[(at / m * n + at % m) * v..][..v];
            out[0].write((logsumexp(logits) - f64::from(logits[target(at)])) as f32);
        });
    };
    // SAFETY: every row of one element is written.
    Some(unsafe { filled_tensor((b, m), fill) })
}

fn gradient_by_rows(back: &Backward, targets: &Tensor) -> Option<Result<Tensor>> {
    let logits = &back.inputs[0];
    let (&[b, n, v], &[_, m]) = (logits.dims(), targets.dims()) else { return None };
    let (given, wanted) = (Elements::<f32>::contiguous(logits)?, Elements::<u32>::of(targets)?);
    let (g, &[row_step, 1]) = (Elements::<f32>::contiguous(back.gradient)?, wanted.strides())
    else {
        return None;
    };
    let (given, wanted, g) = (&*given, &*wanted, &*g);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, v, v, |at, out| {
            let (row, position) = (at / n, at % n);
            let g = if position < m { g[row * m + position] } else { 0.0 };
            if g == 0.0 {
                out.fill(MaybeUninit::new(0.0));
                return;
            }
            let logits = &given[at * v..][..v];
            let out = shares(out, logits, logsumexp(logits), g);
            out[wanted[row * row_step + position] as usize] -= g;
        });
    };
    // SAFETY: the rows of v elements cover the output, and each is written whole.
    Some(unsafe { filled_tensor((b, n, v), fill) })
}

/// Writes e^(logit − log) · g to all of `out`, which is as long as the logits.
fn shares<'a>(out: &'a mut [MaybeUninit<f32>], logits: &[f32], log: f64, g: f32) -> &'a mut [f32] {
    // log is split, so that the difference keeps its digits where logits are large.
    let most = log as f32;
    let out = out.write_copy_of_slice(logits);
    exponentials(out, most, (log - f64::from(most)) as f32, g);
    out
}

vectorized! {
    fn exponentials(row: &mut [f32], most: f32, rest: f32, by: f32) {
        for x in row {
            *x = exp_or_zero::<FUSED>((*x - most) - rest) * by;
        }
    }
}
