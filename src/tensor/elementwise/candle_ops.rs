//! Element-wise operations that candle lacks on devices other than the CPU, composed from its own
//! kernels.

use candle_core::{Result, Tensor};

/// `torch.maximum` (`largest`) or `torch.minimum` of two tensors of one dtype, broadcast: NaN where
/// either element is NaN.
pub fn pairwise_extreme(a: &Tensor, b: &Tensor, largest: bool) -> Result<Tensor> {
    let shape = a.shape().broadcast_shape_binary_op(b.shape(), "maximum")?;
    let (a, b) = (a.broadcast_as(&shape)?.contiguous()?, b.broadcast_as(&shape)?.contiguous()?);
    let first = if largest { a.gt(&b)? } else { a.lt(&b)? };
    a.ne(&a)?.where_cond(&a, &first.where_cond(&a, &b)?)
}

/// `torch.round`: to the nearest integer, halves to the even one. candle rounds halves away from 0.
pub fn round(x: &Tensor) -> Result<Tensor> {
    let floor = x.floor()?;
    let rest = (x - &floor)?;
    let odd = (&floor - (floor.affine(0.5, 0.0)?.floor()? * 2.0)?)?;
    let half = rest.eq(0.5)?.to_dtype(x.dtype())?;
    let more = rest.gt(0.5)?.to_dtype(x.dtype())?;
    // For an infinite x the fraction is NaN, which the last line replaces by x.
    let near = ((floor + more)? + (half * odd)?)?;
    // A result of 0 keeps the sign of x.
    let near = near.eq(0.0)?.where_cond(&x.mul(&x.zeros_like()?)?, &near)?;
    rest.ne(&rest)?.where_cond(x, &near)
}
