//! candle-nn's fused kernels, where the model computes on a GPU: what they take in one step, the
//! equations take in many. They remember nothing for gradients.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{ops, rotary_emb};

use crate::model::spec::Pairs;

fn suits(x: &Tensor) -> bool {
    !x.device().is_cpu()
        && !x.track_op()
        && matches!(x.dtype(), DType::F16 | DType::BF16 | DType::F32)
}

/// Over the last dimension, in float32 inside.
pub fn softmax(scores: &Tensor) -> Option<Result<Tensor>> {
    suits(scores).then(|| ops::softmax_last_dim(&scores.contiguous()?))
}

/// (x − mean) / √(variance + eps) · weight + bias.
pub fn layer_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Option<Result<Tensor>> {
    let (weight, bias) = (row(x, weight)?, row(x, bias)?);
    Some((|| {
        let (x, dtype) = (x.to_dtype(DType::F32)?, x.dtype());
        // The kernel takes E[x²] − mean², which cancels to nothing where the mean is large: it is
        // taken off before.
        let near = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let (weight, bias) = (weight.to_dtype(DType::F32)?, bias.to_dtype(DType::F32)?);
        ops::layer_norm(&near, &weight, &bias, eps as f32)?.to_dtype(dtype)
    })())
}

/// x / √(mean of x² + eps) · weight.
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Option<Result<Tensor>> {
    let weight = row(x, weight)?;
    Some((|| {
        let dtype = x.dtype();
        let x = x.to_dtype(DType::F32)?.contiguous()?;
        ops::rms_norm(&x, &weight.to_dtype(DType::F32)?, eps as f32)?.to_dtype(dtype)
    })())
}

/// A weight for each of the last dimension.
fn row<'a>(x: &Tensor, weight: Option<&'a Tensor>) -> Option<&'a Tensor> {
    weight.filter(|weight| {
        suits(x) && !weight.track_op() && weight.rank() == 1 && weight.is_contiguous()
    })
}

/// Queries or keys [b, h, n, c], all of whose dimensions turn by the angles of cos and sin [b, 1,
/// n, c/2].
pub fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Option<Result<Tensor>> {
    let whole = cos.dims().last().is_some_and(|half| x.dims().last() == Some(&(2 * half)));
    (suits(x) && whole && cos.dtype() == x.dtype()).then(|| {
        let x = x.contiguous()?;
        let (b, n) = (cos.dim(0)?, cos.dim(2)?);
        // One row of angles serves a whole batch.
        let row = |angles: &Tensor| match b {
            1 => angles.reshape((n, ()))?.contiguous(),
            b => angles.reshape((b, n, ()))?.contiguous(),
        };
        match pairs {
            Pairs::Halves => rotary_emb::rope(&x, &row(cos)?, &row(sin)?),
            Pairs::Neighbours => rotary_emb::rope_i(&x, &row(cos)?, &row(sin)?),
        }
    })
}
