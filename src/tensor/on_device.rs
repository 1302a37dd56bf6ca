//! Reductions made of candle's own kernels, for devices other than the CPU: of f32 and f64 tensors with elements, the
//! dims reduced kept as dims of size 1.

use candle_core::{D, Result, Tensor};

/// The largest or smallest element, or NaN where one is, which candle's kernels skip.
pub fn extreme(x: &Tensor, dims: &[usize], largest: bool) -> Result<Tensor> {
    let mut out = x.clone();
    for &dim in dims {
        out = if largest { out.max_keepdim(dim)? } else { out.min_keepdim(dim)? };
    }
    // 0 for a number, NaN for NaN or an infinity; the latter is set right by the comparison.
    let nan = x.ne(x)?.to_dtype(candle_core::DType::F32)?.sum_keepdim(dims)?;
    let nans = (out.ones_like()? * f64::NAN)?;
    nan.gt(&nan.zeros_like()?)?.where_cond(&nans, &out)
}

/// The spread: Σ (x - mean)² / (count - correction).
pub fn variance(x: &Tensor, dims: &[usize], divisor: f64) -> Result<Tensor> {
    centred(x, dims)?.sqr()?.sum_keepdim(dims)? / divisor
}

/// What each element lacks of the mean; the mean's own rounding is taken off in a second step.
pub fn centred(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let near = x.broadcast_sub(&x.mean_keepdim(dims)?)?;
    near.broadcast_sub(&near.mean_keepdim(dims)?)
}

/// The norm of a finite `p`.
pub fn norm(x: &Tensor, dims: &[usize], p: f64) -> Result<Tensor> {
    match p {
        0.0 => x.ne(&x.zeros_like()?)?.to_dtype(x.dtype())?.sum_keepdim(dims),
        1.0 => x.abs()?.sum_keepdim(dims),
        2.0 => x.sqr()?.sum_keepdim(dims)?.sqrt(),
        _ => x.abs()?.powf(p)?.sum_keepdim(dims)?.powf(p.recip()),
    }
}

/// log Σ e^x.
pub fn logsumexp(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let most = extreme(x, dims, true)?;
    let infinite = most.abs()?.eq(&(most.ones_like()? * f64::INFINITY)?)?;
    let from = infinite.where_cond(&most.zeros_like()?, &most)?;
    x.broadcast_sub(&from)?.exp()?.sum_keepdim(dims)?.log()? + from
}

/// e^x / Σ e^x along the dim.
pub fn softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let powers = x.broadcast_sub(&extreme(x, &[dim], true)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(dim)?)
}

/// log of [`softmax`].
pub fn log_softmax(x: &Tensor, dim: usize) -> Result<Tensor> {
    let near = x.broadcast_sub(&extreme(x, &[dim], true)?)?;
    near.broadcast_sub(&near.exp()?.sum_keepdim(dim)?.log()?)
}

/// The cosine of the angle between the vectors along the dim, whose norms count as at least `least`.
pub fn cosine(a: &Tensor, b: &Tensor, dim: usize, least: f64) -> Result<Tensor> {
    let norm = |x: &Tensor| x.sqr()?.sum(dim)?.sqrt()?.maximum(least);
    a.mul(b)?.sum(dim)? / norm(a)?.mul(&norm(b)?)?
}

/// Last-dim rows with mean 0 and spread 1.
pub fn layer_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    let last = x.rank() - 1;
    let near = centred(x, &[last])?;
    near.broadcast_div(&(near.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?)
}

/// Last-dim rows with a mean square of 1.
pub fn rms_norm(x: &Tensor, eps: f64) -> Result<Tensor> {
    x.broadcast_div(&(x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?)
}
