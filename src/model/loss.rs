//! Next-token cross-entropy.

use candle_core::{D, DType, Tensor};

use super::input::Input;
use crate::{Result, bail};

/// −log p(next token) of every position but the last, [b, n-1], float32; 0 where the target is not
/// real. Logits are [b, n, v].
///
/// # Errors
/// A single token has no next one; padding stands between all real ones.
pub fn unreduced(logits: &Tensor, input: &Input) -> Result<Tensor> {
    let n = input.len();
    if n < 2 {
        bail!("a loss needs at least two tokens: the prompt has one");
    }
    if input.targets() == 0 {
        bail!("a loss needs a real token right after another, and this batch has none");
    }
    let logits = logits.narrow(1, 0, n - 1)?.to_dtype(DType::F32)?;
    let targets = input.ids(logits.device())?.narrow(1, 1, n - 1)?.unsqueeze(2)?.contiguous()?;
    let picked = logits.contiguous()?.gather(&targets, D::Minus1)?.squeeze(2)?;
    of_real_targets(&(logits.log_sum_exp(D::Minus1)? - picked)?, input)
}

/// The losses of the real targets, those that are no padding and are predicted from a token that is
/// none; 0 elsewhere.
pub fn of_real_targets(unreduced: &Tensor, input: &Input) -> Result<Tensor> {
    if !input.is_padded() {
        return Ok(unreduced.clone());
    }
    let n = input.len();
    let mask = input.mask(unreduced.device())?;
    let real = (mask.narrow(1, 0, n - 1)? * mask.narrow(1, 1, n - 1)?)?;
    // Padding may hold anything, infinities included: it is left out, not multiplied by zero.
    Ok(real.where_cond(unreduced, &unreduced.zeros_like()?)?)
}

/// The mean over the real targets of losses that are 0 elsewhere. A scalar.
pub fn mean(unreduced: &Tensor, input: &Input) -> Result<Tensor> {
    let targets =
        Tensor::new(input.targets() as f32, unreduced.device())?.to_dtype(unreduced.dtype())?;
    Ok((unreduced.sum_all()? / targets)?)
}
