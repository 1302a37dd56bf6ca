//! Reductions made of candle's own kernels, for devices other than the CPU: of f32 and f64 tensors
//! with elements, the dims reduced kept as dims of size 1.

use candle_core::{D, DType, Result, Tensor};

/// The largest or smallest element, or NaN where one is, which candle's kernels skip.
pub fn extreme(x: &Tensor, dims: &[usize], largest: bool) -> Result<Tensor> {
    let mut out = x.clone();
    for &dim in dims {
        out = if largest { out.max_keepdim(dim)? } else { out.min_keepdim(dim)? };
    }
    // 0 for a number, NaN for NaN or an infinity; the latter is set right by the comparison.
    let nan = x.ne(x)?.to_dtype(DType::F32)?.sum_keepdim(dims)?;
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

/// The cosine of the angle between the vectors along the dim, whose norms count as at least
/// `least`.
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

/// How many elements are other than 0, in i64.
pub fn count_nonzero(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    x.ne(&x.zeros_like()?)?.to_dtype(DType::U32)?.sum_keepdim(dims)?.to_dtype(DType::I64)
}

/// Where along the dim the largest or smallest element is, in i64: the first of several, a NaN
/// before any number.
pub fn first_place(x: &Tensor, dim: usize, largest: bool) -> Result<Tensor> {
    let most = extreme(x, &[dim], largest)?.broadcast_as(x.shape())?.contiguous()?;
    let n = x.dim(dim)?;
    let mut shape = vec![1; x.rank()];
    shape[dim] = n;
    let places = Tensor::arange(0u32, n as u32, x.device())?
        .reshape(shape)?
        .broadcast_as(x.shape())?
        .contiguous()?;
    let beyond = places.zeros_like()?.affine(0.0, n as f64)?;
    // NaN is no extreme of numbers, and where it is the extreme nothing equals it.
    let hits = most.ne(&most)?.where_cond(&x.ne(x)?, &x.eq(&most)?)?;
    hits.where_cond(&places, &beyond)?.min_keepdim(dim)?.to_dtype(DType::I64)
}

/// The `k` largest or smallest along the dim in order, and where they are (i64): one after the
/// other is found and left out.
pub fn topk(x: &Tensor, k: usize, dim: usize, largest: bool) -> Result<(Tensor, Tensor)> {
    let n = x.dim(dim)?;
    let mut shape = vec![1; x.rank()];
    shape[dim] = n;
    let places = Tensor::arange(0i64, n as i64, x.device())?
        .reshape(shape)?
        .broadcast_as(x.shape())?
        .contiguous()?;
    let mut taken = x.ne(x)?.zeros_like()?;
    let (mut values, mut found) = (Vec::with_capacity(k), Vec::with_capacity(k));
    // A NaN counts as the largest; what is taken is less than all, and so are infinities: they are
    // told apart by their ranks.
    let nan = x.ne(x)?;
    let infinite = if largest { f64::NEG_INFINITY } else { f64::INFINITY };
    let out = (x.ones_like()? * infinite)?;
    let blank = x.zeros_like()?;
    let numbers = nan.where_cond(&(x.ones_like()? * -infinite)?, x)?;
    // Rank 2 is NaN, 1 a number, 0 taken: first the highest rank counts (for the smallest, numbers
    // come before NaN), then the number.
    for _ in 0..k {
        let rank = match largest {
            true => nan.to_dtype(DType::F32)?.affine(1.0, 1.0)?,
            false => nan.to_dtype(DType::F32)?.affine(-1.0, 2.0)?,
        };
        let rank = taken.where_cond(&rank.zeros_like()?, &rank)?;
        let top = rank.max_keepdim(dim)?.broadcast_as(x.shape())?.contiguous()?;
        let may = rank.eq(&top)?;
        let candidates = may.where_cond(&numbers, &out)?;
        let best =
            if largest { candidates.max_keepdim(dim)? } else { candidates.min_keepdim(dim)? };
        let hit = candidates.eq(&best.broadcast_as(x.shape())?.contiguous()?)?.mul(&may)?;
        let beyond = places.zeros_like()?.affine(0.0, n as f64)?;
        let place = hit.where_cond(&places, &beyond)?.min_keepdim(dim)?;
        let here = places.eq(&place.broadcast_as(x.shape())?.contiguous()?)?;
        // One element stands there, NaN perhaps: the others are 0, and a sum of one is it.
        values.push(here.where_cond(x, &blank)?.sum_keepdim(dim)?);
        found.push(place);
        taken = taken.maximum(&here)?;
    }
    Ok((Tensor::cat(&values, dim)?, Tensor::cat(&found, dim)?))
}
