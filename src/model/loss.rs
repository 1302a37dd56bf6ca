//! Next-token cross-entropy.

use candle_core::{D, DType, Tensor};

use super::input::Input;
use crate::{Result, bail};

/// −log p(next token) of every position but the last, [b, n-1], float32. Logits are [b, n, v].
///
/// # Errors
/// A single token has no next one.
pub fn unreduced(logits: &Tensor, input: &Input) -> Result<Tensor> {
    let n = input.len();
    if n < 2 {
        bail!("a loss needs at least two tokens: the prompt has one");
    }
    let logits = logits.narrow(1, 0, n - 1)?.to_dtype(DType::F32)?;
    let targets = input.ids(logits.device())?.narrow(1, 1, n - 1)?.unsqueeze(2)?.contiguous()?;
    let picked = logits.contiguous()?.gather(&targets, D::Minus1)?.squeeze(2)?;
    Ok((logits.log_sum_exp(D::Minus1)? - picked)?)
}

/// The mean over the real targets: those that are no padding, predicted from a token that is none. A scalar.
pub fn mean(unreduced: &Tensor, input: &Input) -> Result<Tensor> {
    let n = input.len();
    let mask = input.mask(unreduced.device())?.to_dtype(unreduced.dtype())?;
    let real = (mask.narrow(1, 0, n - 1)? * mask.narrow(1, 1, n - 1)?)?;
    // Padding may hold anything, infinities included: it is left out, not multiplied by zero.
    let kept = real.ne(0.0)?.where_cond(unreduced, &unreduced.zeros_like()?)?;
    Ok((kept.sum_all()? / real.sum_all()?)?)
}
