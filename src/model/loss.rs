//! Next-token cross-entropy over the real tokens.

use candle_core::Tensor;

use super::input::Input;
use crate::kernel::cross_entropy::cross_entropy;
use crate::{Result, bail};

/// −log p(next token) at every position but the last, [b, n-1], float32, of logits [b, n, v] in any
/// float dtype; 0 where the target does not count (see [`of_real_targets`]).
///
/// # Errors
/// There is one token only, or no real token directly follows another.
pub fn unreduced(logits: &Tensor, input: &Input) -> Result<Tensor> {
    let n = input.len();
    if n < 2 {
        bail!("a loss needs at least two tokens: the prompt has one");
    }
    if input.targets() == 0 {
        bail!("a loss needs a real token right after another, and this batch has none");
    }
    let targets = input.ids(logits.device())?.narrow(1, 1, n - 1)?;
    of_real_targets(&cross_entropy(logits, &targets)?, input)
}

/// `unreduced` [b, n-1] with 0 wherever the target, or the token that predicts it, is padding.
///
/// # Errors
/// candle's.
pub fn of_real_targets(unreduced: &Tensor, input: &Input) -> Result<Tensor> {
    if !input.is_padded() {
        return Ok(unreduced.clone());
    }
    let n = input.len();
    let mask = input.mask(unreduced.device())?;
    let real = (mask.narrow(1, 0, n - 1)? * mask.narrow(1, 1, n - 1)?)?;
    // Padding may hold infinities, so it is replaced rather than multiplied by zero.
    Ok(real.where_cond(unreduced, &unreduced.zeros_like()?)?)
}

/// The mean of `unreduced` [b, n-1], which is 0 elsewhere, over the real targets: a scalar.
///
/// # Errors
/// candle's.
pub fn mean(unreduced: &Tensor, input: &Input) -> Result<Tensor> {
    let targets =
        Tensor::new(input.targets() as f32, unreduced.device())?.to_dtype(unreduced.dtype())?;
    Ok((unreduced.sum_all()? / targets)?)
}
