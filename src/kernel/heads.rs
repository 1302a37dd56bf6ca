//! The features of a token as heads, and back.

use candle_core::{Result, Tensor};

use super::differentiable::differentiable;

/// [b, n, h·c] to [b, h, n, c]: a view, in a graph of gradients a copy.
///
/// # Errors
/// `heads` does not divide the features.
pub fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    differentiable(
        &[x],
        |x| split_view(&x[0], heads),
        |back| Ok(vec![back.of(0, || join_plain(back.gradient))?]),
    )
}

/// [b, h, n, c] to [b, n, h·c].
///
/// # Errors
/// candle's.
pub fn join(z: &Tensor) -> Result<Tensor> {
    let heads = z.dim(1)?;
    differentiable(
        &[z],
        |z| join_plain(&z[0]),
        move |back| Ok(vec![back.of(0, || split_view(back.gradient, heads))?]),
    )
}

fn split_view(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    x.reshape((b, n, heads, ()))?.transpose(1, 2)
}

fn join_plain(z: &Tensor) -> Result<Tensor> {
    let (b, h, n, c) = z.dims4()?;
    z.transpose(1, 2)?.reshape((b, n, h * c))
}
