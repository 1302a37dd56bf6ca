//! Reductions made of candle's operations, for devices other than the CPU. They take f32 and f64
//! tensors that have elements, and keep the reduced dims as dims of size 1.

use candle_core::{DType, Result, Tensor};

/// The largest or smallest element, or NaN if one is NaN: candle's kernels skip NaN.
pub fn extreme(x: &Tensor, dims: &[usize], largest: bool) -> Result<Tensor> {
    let mut out = x.clone();
    for &dim in dims {
        out = if largest { out.max_keepdim(dim)? } else { out.min_keepdim(dim)? };
    }
    // The number of NaNs among the elements: only NaN differs from itself.
    let nan = x.ne(x)?.to_dtype(DType::F32)?.sum_keepdim(dims)?;
    let nans = (out.ones_like()? * f64::NAN)?;
    nan.gt(&nan.zeros_like()?)?.where_cond(&nans, &out)
}

/// Σ (x − mean)² / divisor.
pub fn variance(x: &Tensor, dims: &[usize], divisor: f64) -> Result<Tensor> {
    centred(x, dims)?.sqr()?.sum_keepdim(dims)? / divisor
}

/// x − mean. What rounding leaves of the mean after the first subtraction is subtracted in a second.
pub fn centred(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    let near = x.broadcast_sub(&x.mean_keepdim(dims)?)?;
    near.broadcast_sub(&near.mean_keepdim(dims)?)
}

/// The p-norm, for a finite p.
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

/// The cosine of the angle between the vectors along the dim, whose norms count as at least
/// `least`.
pub fn cosine(a: &Tensor, b: &Tensor, dim: usize, least: f64) -> Result<Tensor> {
    let norm = |x: &Tensor| x.sqr()?.sum(dim)?.sqrt()?.maximum(least);
    a.mul(b)?.sum(dim)? / norm(a)?.mul(&norm(b)?)?
}

/// The number of elements other than 0, in i64.
pub fn count_nonzero(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    x.ne(&x.zeros_like()?)?.to_dtype(DType::U32)?.sum_keepdim(dims)?.to_dtype(DType::I64)
}

/// The index along the dim of the largest or smallest element, in i64. Of equal elements the first
/// counts, and NaN counts before any number.
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
    // Nothing equals NaN, so if NaN is the extreme, it is found by being unequal to itself.
    let hits = most.ne(&most)?.where_cond(&x.ne(x)?, &x.eq(&most)?)?;
    hits.where_cond(&places, &beyond)?.min_keepdim(dim)?.to_dtype(DType::I64)
}

/// The `k` largest or smallest elements along the dim in order, and their indexes (i64). They are
/// found one by one, each search leaving out those found before.
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
    // NaN counts as the largest, and elements that are taken as less than all. Infinities stand for
    // both among the numbers, so ranks tell them apart.
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
        // All elements but one are replaced by 0, so that the sum is that one, which may be NaN.
        values.push(here.where_cond(x, &blank)?.sum_keepdim(dim)?);
        found.push(place);
        taken = taken.maximum(&here)?;
    }
    Ok((Tensor::cat(&values, dim)?, Tensor::cat(&found, dim)?))
}
